//! Who we are to Google Cloud: access tokens by google-cloud-auth, from a credentials file or the application default
//! credentials (https://google.aip.dev/auth/4110).
//!
//! google-cloud-auth keeps a token, renews it four minutes before its end, and gives up for good once it was refused
//! one: so after any failure it is asked anew. Its own HTTP has no time limit, which is why waiting for it has one.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use google_cloud_auth::build_errors::Error as BuildError;
use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, external_account, impersonated, service_account, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::config::GcpKmsConfig;
use crate::error::{Error, Kind, Result};
use crate::kms::CA_FILE;
use crate::net::tls;

const SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";

/// How long a request for a token that never ends is waited for by one call after another, before it is made anew.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where tokens come from.
#[derive(Debug)]
pub struct Tokens {
    /// The file of the configuration; `None` for the application default credentials.
    file: Option<PathBuf>,
    timeout: Duration,
    current: Mutex<Option<Session>>,
}

/// Credentials that were asked for at one time.
#[derive(Debug, Clone)]
pub struct Session {
    credentials: Credentials,
    since: Instant,
    identity: Arc<()>,
}

impl Tokens {
    /// Tokens of this configuration. The file must be there and be one that is understood; nobody is asked yet.
    pub fn new(config: &GcpKmsConfig, timeout: Duration) -> Result<Tokens> {
        tls::install();
        if let Some(file) = &config.credentials_file {
            read(file).and_then(|json| kind_of(&json).map(drop)).map_err(|reason| bad_file(file, &reason))?;
        }
        Ok(Tokens { file: config.credentials_file.clone(), timeout, current: Mutex::new(None) })
    }

    /// The headers that say who we are, and what to [`forget`](Self::forget) should they be refused.
    pub async fn headers(&self) -> Result<(HeaderMap, Session)> {
        let session = self.session()?;
        match tokio::time::timeout(self.timeout, session.credentials.headers(Default::default())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => Ok((data, session)),
            // Only who names an earlier answer is told that nothing has changed.
            Ok(Ok(CacheableResource::NotModified)) => Err(Kind::Internal.error("no token for Google Cloud was given")),
            Ok(Err(error)) => {
                self.forget(&session);
                Err(self.refused(&error))
            }
            Err(_elapsed) => {
                if session.since.elapsed() > PATIENCE {
                    self.forget(&session);
                }
                Err(Kind::KmsTimeout.error(format_args!(
                    "no token for Google Cloud was given within kms.attempt-timeout ({})",
                    self.source()
                )))
            }
        }
    }

    /// These credentials were refused: the next call asks for others.
    pub fn forget(&self, session: &Session) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|known| Arc::ptr_eq(&known.identity, &session.identity)) {
            *current = None;
        }
    }

    /// Must be called on the runtime: the credentials start a task that renews tokens.
    fn session(&self) -> Result<Session> {
        let mut current = self.current.lock();
        if let Some(session) = current.as_ref() {
            return Ok(session.clone());
        }
        let credentials = match &self.file {
            Some(file) => from_file(file)?,
            None => Builder::default().build().map_err(|error| {
                Kind::Credentials.error(format_args!(
                    "the application default credentials of Google Cloud cannot be used: {}; set GOOGLE_APPLICATION_CREDENTIALS or kms.gcp.credentials-file to a good file",
                    chain(&error)
                ))
            })?,
        };
        let session = Session { credentials, since: Instant::now(), identity: Arc::new(()) };
        *current = Some(session.clone());
        Ok(session)
    }

    fn refused(&self, error: &CredentialsError) -> Error {
        let source = self.source();
        if let Some(fault) = tls::fault(CA_FILE, error) {
            let advice = "; where tokens are asked for kms.ca-file does not count: set SSL_CERT_FILE";
            return fault.kind().error(format_args!("the token service of Google Cloud ({source}): {fault}{advice}"));
        }
        let kind = if error.is_transient() { Kind::KmsUnavailable } else { Kind::Credentials };
        let advice = match (&self.file, error.is_transient()) {
            (None, true) => "; outside of Google Cloud, set GOOGLE_APPLICATION_CREDENTIALS or kms.gcp.credentials-file",
            (_, true) => "",
            (_, false) => "; check the credentials and this machine's clock",
        };
        kind.error(format_args!("no token for Google Cloud was given ({source}): {}{advice}", chain(error)))
    }

    fn source(&self) -> String {
        match &self.file {
            Some(file) => format!("kms.gcp.credentials-file {}", file.display()),
            None => "application default credentials".to_owned(),
        }
    }
}

/// The kinds of credentials files.
enum FileKind {
    ServiceAccount,
    ExternalAccount,
    Impersonated,
    User,
}

fn read(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    // The text of a parse error would quote the file.
    serde_json::from_str(&text).map_err(|error| format!("is not JSON (line {})", error.line()))
}

fn kind_of(json: &Value) -> Result<FileKind, String> {
    match json.get("type").and_then(Value::as_str) {
        Some("service_account") => Ok(FileKind::ServiceAccount),
        Some("external_account") => Ok(FileKind::ExternalAccount),
        Some("impersonated_service_account") => Ok(FileKind::Impersonated),
        Some("authorized_user") => Ok(FileKind::User),
        Some(other) => Err(format!("holds credentials of an unknown type, '{}'", other.escape_debug())),
        None => Err("has no \"type\"".to_owned()),
    }
}

fn from_file(file: &Path) -> Result<Credentials> {
    let json = read(file).map_err(|reason| bad_file(file, &reason))?;
    let built = match kind_of(&json).map_err(|reason| bad_file(file, &reason))? {
        FileKind::ServiceAccount => service_account::Builder::new(json)
            .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
            .build(),
        FileKind::ExternalAccount => external_account::Builder::new(json).build(),
        FileKind::Impersonated => impersonated::Builder::new(json).build(),
        FileKind::User => user_account::Builder::new(json).build(),
    };
    built.map_err(|error: BuildError| bad_file(file, &format!("cannot be used: {}", chain(&error))))
}

fn bad_file(file: &Path, reason: &str) -> Error {
    Kind::Config.error(format_args!(
        "kms.gcp.credentials-file {} {reason}; give the JSON file of a service account or of workload identity federation",
        file.display()
    ))
}

/// What went wrong, from the outside in, each said once. Bodies of answers are left out: they may hold tokens.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.split(", body=<").next().unwrap_or_default().trim().to_owned();
        if !text.is_empty() && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

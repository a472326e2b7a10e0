//! AWS profiles: `AWS_PROFILE` and the files of `~/.aws`, with what they refer to (roles to assume, other profiles).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sts::config::{Region, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::http::{CA_FILE, Refusal};
use crate::error::{Error, Kind, Result};
use crate::net::{self, tls};
use crate::store::StoreOptions;

/// Credentials that expire sooner are renewed; those without an end are looked up again after this time.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// A profile, which may give credentials and may name a region.
pub struct Profile {
    provider: ProfileFileCredentialsProvider,
    region: Option<String>,
    held: Mutex<Option<(Arc<AwsCredential>, SystemTime)>>,
}

impl Profile {
    /// `None` where there are no such files and no profile is asked for.
    pub fn find(options: &StoreOptions, region: Option<&str>) -> Result<Option<Profile>> {
        let environment = &options.environment;
        let home = environment.get("HOME").map(|home| Path::new(home).join(".aws"));
        let file = |variable: &str, name: &str| {
            environment.get(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(name)))
        };
        let files = [file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), file("AWS_CONFIG_FILE", "config")];
        let named = environment.get("AWS_PROFILE").is_some_and(|name| !name.is_empty());
        if !named && !files.iter().flatten().any(|path| path.exists()) {
            return Ok(None);
        }
        let http = client(options)?;
        let region = match region {
            Some(region) => Some(region.to_owned()),
            None => region_of_profile(&http)?,
        };
        let config =
            ProviderConfig::without_region().with_region(region.clone().map(Region::new)).with_http_client(http);
        let provider = ProfileFileCredentialsProvider::builder().configure(&config).build();
        Ok(Some(Profile { provider, region, held: Mutex::default() }))
    }

    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(..)")
    }
}

#[async_trait]
impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some((credential, renew)) = &*held
            && SystemTime::now() < *renew
        {
            return Ok(Arc::clone(credential));
        }
        let found = self.provider.provide_credentials().await.map_err(|error| {
            let fault = tls::fault(CA_FILE, &error).unwrap_or_else(|| {
                Kind::Credentials.error(format_args!(
                    "no AWS credentials: {}; check the profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                    net::root_cause(&error)
                ))
            });
            object_store::Error::Generic { store: "S3", source: Box::new(Refusal::Fault(fault)) }
        })?;
        let renew = found.expiry().and_then(|end| end.checked_sub(AHEAD)).unwrap_or_else(|| SystemTime::now() + AHEAD);
        let credential = Arc::new(credential(&found));
        *held = Some((Arc::clone(&credential), renew));
        Ok(credential)
    }
}

fn credential(found: &Credentials) -> AwsCredential {
    AwsCredential {
        key_id: found.access_key_id().to_owned(),
        secret_key: found.secret_access_key().to_owned(),
        token: found.session_token().map(str::to_owned),
    }
}

/// Read on a thread of its own, because the caller may be inside a runtime.
fn region_of_profile(http: &SharedHttpClient) -> Result<Option<String>> {
    let failed = |reason: &str| Kind::Internal.error(format_args!("the AWS profile could not be read: {reason}"));
    let config = ProviderConfig::without_region().with_http_client(http.clone());
    let read = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let chain = aws_config::profile::ProfileFileRegionProvider::builder().configure(&config).build();
        Ok::<_, std::io::Error>(runtime.block_on(aws_config::meta::region::ProvideRegion::region(&chain)))
    });
    let region = read.join().map_err(|_| failed("a panic"))?.map_err(|error| failed(&error.to_string()))?;
    Ok(region.map(|region| region.to_string()))
}

fn client(options: &StoreOptions) -> Result<SharedHttpClient> {
    tls::install();
    let mut trusted = TrustStore::default();
    let bundle = options.environment.get("AWS_CA_BUNDLE").map(PathBuf::from);
    if let Some(path) = options.ca_file.clone().or(bundle) {
        trusted = TrustStore::empty().with_pem_certificate(tls::Authorities::read(CA_FILE, &path)?.pem);
    }
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context =
        context.map_err(|error| -> Error { Kind::Config.error(format_args!("no TLS client can be made: {error}")) })?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}

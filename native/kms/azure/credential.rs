//! Who we are to Azure: an application with a secret, the identity of a Kubernetes service account, or the identity of
//! the machine; and how each of them asks for a token.
//!
//! Files are read again with every login, so that what a secret store or Kubernetes has renewed holds without a restart.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::{AzureCredential, AzureKeyVaultConfig};
use crate::error::{Error, Kind, Result};
use crate::kms::credential_file::read;
use crate::kms::http::{self, Answer};

const AUTHORITY: &str = "https://login.microsoftonline.com";
const METADATA_SERVICE: &str = "http://169.254.169.254";
const TENANT: &str = "kms.azure.tenant-id";
const CLIENT: &str = "kms.azure.client-id";
const SECRET_FILE: &str = "kms.azure.client-secret-file";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// A way to get tokens.
#[derive(Debug)]
pub enum Credential {
    /// An application that shows its secret.
    ClientSecret { application: Application, file: PathBuf },
    /// An application that shows a token of the Kubernetes cluster which it trusts.
    WorkloadIdentity { application: Application, file: PathBuf },
    /// What the machine runs as, told by its metadata service.
    ManagedIdentity { client: Option<String>, host: IdentityHost },
}

/// An application, and where it logs in.
#[derive(Debug)]
pub struct Application {
    client: String,
    token_url: Url,
}

/// Who hands out the machine's tokens.
#[derive(Debug)]
pub enum IdentityHost {
    /// The instance metadata service of virtual machines and Kubernetes nodes.
    Metadata(Url),
    /// That of App Service and Container Apps: its address and the secret to show it, both from the environment.
    AppService { endpoint: Url, header: Zeroizing<String> },
}

/// A token, and for how long it is good.
pub struct Login {
    pub token: Zeroizing<String>,
    pub lifetime: Duration,
}

impl Credential {
    /// The credential of the configuration, completed from the environment as Microsoft's own clients do it.
    pub fn new(config: &AzureKeyVaultConfig, environment: &dyn Fn(&str) -> Option<String>) -> Result<Credential> {
        let found = Found { config, environment };
        match config.credential {
            AzureCredential::ClientSecret => found.client_secret(),
            AzureCredential::WorkloadIdentity => found.workload_identity(),
            AzureCredential::ManagedIdentity => found.managed_identity(),
            AzureCredential::Auto if config.client_secret_file.is_some() => found.client_secret(),
            AzureCredential::Auto if environment(TOKEN_FILE).is_some() => found.workload_identity(),
            AzureCredential::Auto => found.managed_identity(),
        }
    }

    /// Asks for a token that is made out to this resource.
    pub async fn log_in(&self, http: &Client, resource: &str) -> Result<Login> {
        let answer = match self {
            Credential::ClientSecret { application, file } => {
                let secret = read(SECRET_FILE, file)?;
                application.log_in(http, resource, &[("client_secret", secret.as_str())]).await
            }
            Credential::WorkloadIdentity { application, file } => {
                let assertion = read(TOKEN_FILE, file)?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let proof = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
                application.log_in(http, resource, &proof).await
            }
            Credential::ManagedIdentity { client, host } => host.log_in(http, resource, client.as_deref()).await,
        };
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if answer.status != 200 {
            return Err(self.refused(&answer));
        }
        Login::parse(&answer.body, SystemTime::now())
    }

    /// What it is, for messages: no secret.
    fn describe(&self) -> String {
        match self {
            Credential::ClientSecret { application, file } => {
                format!("application {} with the secret in {}", application.client, file.display())
            }
            Credential::WorkloadIdentity { application, file } => {
                format!("application {} with the workload identity token in {}", application.client, file.display())
            }
            Credential::ManagedIdentity { client: Some(client), .. } => format!("the managed identity {client}"),
            Credential::ManagedIdentity { client: None, .. } => "the managed identity of this machine".to_owned(),
        }
    }

    fn unreachable(&self, error: Error) -> Error {
        match self {
            Credential::ManagedIdentity { .. } if error.may_pass() => error
                .at("no token for the managed identity of this machine (is it a machine in Azure? \
                 elsewhere set kms.azure.credential to client-secret)"),
            _ => error.at("no token from Entra ID"),
        }
    }

    fn refused(&self, answer: &Answer) -> Error {
        let text = reason(&answer.body);
        let who = self.describe();
        let kind = match (answer.status, self) {
            (429, _) => Kind::KmsThrottled,
            (500.., _) => Kind::KmsUnavailable,
            // The metadata service is being updated, or does not know yet.
            (404 | 410, Credential::ManagedIdentity { host: IdentityHost::Metadata(_), .. }) => Kind::KmsUnavailable,
            _ => Kind::Credentials,
        };
        let next = match self {
            _ if kind != Kind::Credentials => "",
            Credential::ClientSecret { .. } => {
                ": check kms.azure.tenant-id, kms.azure.client-id and kms.azure.client-secret-file"
            }
            Credential::WorkloadIdentity { .. } => {
                ": check kms.azure.tenant-id, kms.azure.client-id and the federated credential of the application"
            }
            Credential::ManagedIdentity { .. } => ": assign an identity to the machine, or check kms.azure.client-id",
        };
        kind.error(format_args!("no token for {who} (HTTP {}: {text}){next}", answer.status)).after(answer.retry_after)
    }
}

/// The configuration beside its environment.
struct Found<'a> {
    config: &'a AzureKeyVaultConfig,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Found<'_> {
    fn client_secret(&self) -> Result<Credential> {
        let file = self.config.client_secret_file.clone().ok_or_else(|| {
            Kind::Config.error(format_args!("{SECRET_FILE} is missing: kms.azure.credential is 'client-secret'"))
        })?;
        read(SECRET_FILE, &file)?;
        Ok(Credential::ClientSecret { application: self.application()?, file })
    }

    fn workload_identity(&self) -> Result<Credential> {
        let file = (self.environment)(TOKEN_FILE).map(PathBuf::from).ok_or_else(|| {
            Kind::Config.error(format_args!(
                "{TOKEN_FILE} is not in the environment: kms.azure.credential is 'workload-identity', which a pod has \
                 with the label azure.workload.identity/use: \"true\" and a service account that names the application"
            ))
        })?;
        read(TOKEN_FILE, &file)?;
        Ok(Credential::WorkloadIdentity { application: self.application()?, file })
    }

    fn managed_identity(&self) -> Result<Credential> {
        if self.config.client_secret_file.is_some() {
            return Err(Kind::Config.error(format_args!(
                "{SECRET_FILE} is set, but kms.azure.credential is 'managed-identity': remove one of the two"
            )));
        }
        let variable = self.environment;
        let url = |name: &str, text: &str| {
            Url::parse(text)
                .map_err(|_| Kind::Config.error(format_args!("{name} is no address: '{}'", text.escape_debug())))
        };
        let host = match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
            (Some(endpoint), Some(header)) => IdentityHost::AppService {
                endpoint: url("IDENTITY_ENDPOINT", &endpoint)?,
                header: Zeroizing::new(header),
            },
            _ => {
                let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
                let base = variable(name).unwrap_or_else(|| METADATA_SERVICE.to_owned());
                let mut endpoint = url(name, &base)?;
                endpoint.set_path("metadata/identity/oauth2/token");
                IdentityHost::Metadata(endpoint)
            }
        };
        let client = self.config.client_id.clone().or_else(|| variable("AZURE_CLIENT_ID"));
        Ok(Credential::ManagedIdentity { client, host })
    }

    fn application(&self) -> Result<Application> {
        let tenant = self.required(TENANT, self.config.tenant_id.as_ref(), "AZURE_TENANT_ID")?;
        let client = self.required(CLIENT, self.config.client_id.as_ref(), "AZURE_CLIENT_ID")?;
        if !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
            return Err(Kind::Config.error(format_args!("{TENANT} is the id or the domain of a directory")));
        }
        let host = self.config.authority_host.clone().or_else(|| (self.environment)("AZURE_AUTHORITY_HOST"));
        let mut token_url = http::address("kms.azure.authority-host", host.as_deref().unwrap_or(AUTHORITY))?;
        token_url.set_path(&format!("{tenant}/oauth2/v2.0/token"));
        Ok(Application { client, token_url })
    }

    fn required(&self, option: &str, set: Option<&String>, variable: &str) -> Result<String> {
        let value = set.cloned().or_else(|| (self.environment)(variable));
        value.ok_or_else(|| {
            Kind::Config.error(format_args!(
                "{option} is missing, and {variable} is not in the environment: set one of the two"
            ))
        })
    }
}

impl Application {
    async fn log_in(&self, http: &Client, resource: &str, proof: &[(&str, &str)]) -> Result<Answer> {
        let scope = format!("{resource}/.default");
        let mut form = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let known = [("grant_type", "client_credentials"), ("client_id", &self.client), ("scope", &scope)];
        for (name, value) in known.iter().chain(proof) {
            put(&mut form, name, value);
        }
        let request = http.post(self.token_url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        http::send(request.body(http::wiped(form))).await
    }
}

impl IdentityHost {
    async fn log_in(&self, http: &Client, resource: &str, client: Option<&str>) -> Result<Answer> {
        let (url, version) = match self {
            IdentityHost::Metadata(url) => (url, "2018-02-01"),
            IdentityHost::AppService { endpoint, .. } => (endpoint, "2019-08-01"),
        };
        let mut url = url.clone();
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", resource)
            .extend_pairs(client.map(|client| ("client_id", client)));
        let request = http.get(url);
        http::send(match self {
            IdentityHost::Metadata(_) => request.header("Metadata", "true"),
            IdentityHost::AppService { header, .. } => request.header("X-IDENTITY-HEADER", header.as_str()),
        })
        .await
    }
}

impl Login {
    fn parse(body: &[u8], now: SystemTime) -> Result<Login> {
        /// Some of them write numbers as text, and one gives only the time of expiry.
        #[derive(Deserialize)]
        struct Form {
            access_token: Zeroizing<String>,
            #[serde(default)]
            expires_in: serde_json::Value,
            #[serde(default)]
            expires_on: serde_json::Value,
        }
        let form: Form = serde_json::from_slice(body)
            .map_err(|_| Kind::KmsUnavailable.error("the answer to a login is not what Entra ID answers"))?;
        let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let until = |seconds| (UNIX_EPOCH + Duration::from_secs(seconds)).duration_since(now).unwrap_or_default();
        let lifetime =
            number(&form.expires_in).map(Duration::from_secs).or_else(|| number(&form.expires_on).map(until));
        // A life of no known length is taken for a short one.
        Ok(Login { token: form.access_token, lifetime: lifetime.unwrap_or(Duration::from_secs(300)) })
    }
}

/// The service's words, without the ids that only its makers can look up.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => {
            let text = refusal.error_description.split("Trace ID").next().unwrap_or_default().trim();
            let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
            format!("{}: {text}", refusal.error.escape_debug())
        }
        Err(_) => "no explanation".to_owned(),
    }
}

/// A pair of a form, without a copy of the value that nobody wipes.
fn put(form: &mut Vec<u8>, name: &str, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if !form.is_empty() {
        form.push(b'&');
    }
    form.extend_from_slice(name.as_bytes());
    form.push(b'=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            form.push(byte);
        } else {
            form.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

//! Who we are to Azure: an application with a secret, the identity of a Kubernetes service account, or the identity of
//! the machine; and how each of them asks for a token.
//!
//! Files are read again with every login, so that what a secret store or Kubernetes has renewed holds without a restart.

use std::fmt;
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
pub enum Credential {
    /// An application that shows its secret.
    ClientSecret { application: Application, file: PathBuf },
    /// An application that shows a token of the Kubernetes cluster which it trusts.
    WorkloadIdentity { application: Application, file: PathBuf },
    /// What the machine runs as, told by its metadata service.
    ManagedIdentity { client: Option<String>, host: IdentityHost },
}

/// An application, and where it logs in.
pub struct Application {
    client: String,
    token_url: Url,
}

/// Who hands out the machine's tokens.
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

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.describe())
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use reqwest::header::HeaderMap;

    use super::*;
    use crate::config::{AzureAlgorithm, KmsTransport};

    fn config(credential: AzureCredential) -> AzureKeyVaultConfig {
        AzureKeyVaultConfig {
            vault_url: "https://flink.vault.azure.net".to_owned(),
            key_name: "state".to_owned(),
            key_version: None,
            algorithm: AzureAlgorithm::Auto,
            wrap_locally: false,
            credential,
            tenant_id: None,
            client_id: None,
            client_secret_file: None,
            authority_host: None,
        }
    }

    fn made(config: &AzureKeyVaultConfig, environment: &[(&str, &str)]) -> Result<Credential> {
        let find =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Credential::new(config, &find)
    }

    /// A server of one answer; it gives the request that it got.
    fn answering(status: &'static str, body: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let request = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 65_536];
            let length = stream.read(&mut request).unwrap();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        (address, request)
    }

    fn log_in(credential: &Credential) -> Result<Login> {
        let transport = KmsTransport {
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            ca_file: None,
            proxy: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(credential.log_in(&http::client(&transport)?, "https://vault.azure.net"))
    }

    #[test]
    fn auto_takes_what_is_configured_before_what_the_environment_offers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credential");
        std::fs::write(&file, "text").unwrap();
        let pod = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), (TOKEN_FILE, file.to_str().unwrap())];
        let auto = config(AzureCredential::Auto);
        let with_secret = AzureKeyVaultConfig { client_secret_file: Some(file.clone()), ..auto.clone() };
        assert!(matches!(made(&with_secret, &pod).unwrap(), Credential::ClientSecret { .. }));
        assert!(matches!(made(&auto, &pod).unwrap(), Credential::WorkloadIdentity { .. }));
        let Credential::ManagedIdentity { client, host: IdentityHost::Metadata(url) } = made(&auto, &pod[..2]).unwrap()
        else {
            panic!("the machine's identity is the last resort")
        };
        assert_eq!((client.as_deref(), url.host_str()), (Some("c"), Some("169.254.169.254")));
    }

    #[test]
    fn what_is_missing_or_contradicts_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "hunter2").unwrap();
        let secret = |tenant: Option<&str>, authority: Option<&str>| AzureKeyVaultConfig {
            tenant_id: tenant.map(str::to_owned),
            client_id: Some("c".to_owned()),
            client_secret_file: Some(file.clone()),
            authority_host: authority.map(str::to_owned),
            ..config(AzureCredential::ClientSecret)
        };
        let gone =
            AzureKeyVaultConfig { client_secret_file: Some(folder.path().join("gone")), ..secret(Some("t"), None) };
        let both = AzureKeyVaultConfig { credential: AzureCredential::ManagedIdentity, ..secret(Some("t"), None) };
        for (config, said) in [
            (config(AzureCredential::ClientSecret), "kms.azure.client-secret-file is missing"),
            (config(AzureCredential::WorkloadIdentity), "AZURE_FEDERATED_TOKEN_FILE"),
            (secret(None, None), "AZURE_TENANT_ID"),
            (secret(Some("t/../x"), None), "kms.azure.tenant-id"),
            (secret(Some("t"), Some("http://login.microsoftonline.com")), "kms.azure.authority-host"),
            (secret(Some("t"), Some("login")), "kms.azure.authority-host"),
            (gone, "kms.azure.client-secret-file"),
            (both, "remove one of the two"),
        ] {
            let error = made(&config, &[]).unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{error}");
            assert!(error.message().contains(said) && !error.message().contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", made(&secret(Some("t"), None), &[]).unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_secret_is_sent_whatever_letters_it_has() {
        let (address, request) = answering("200 OK", r#"{"access_token": "token", "expires_in": 3599}"#);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "a~b&c=d+e%f g\n").unwrap();
        let config = AzureKeyVaultConfig {
            tenant_id: Some("contoso.onmicrosoft.com".to_owned()),
            client_id: Some("c".to_owned()),
            client_secret_file: Some(file),
            authority_host: Some(address),
            ..config(AzureCredential::ClientSecret)
        };
        let login = log_in(&made(&config, &[]).unwrap()).unwrap();
        assert_eq!((login.token.as_str(), login.lifetime), ("token", Duration::from_secs(3599)));
        let request = request.join().unwrap();
        assert!(request.starts_with("POST /contoso.onmicrosoft.com/oauth2/v2.0/token HTTP/1.1"), "{request}");
        let form = "grant_type=client_credentials&client_id=c&scope=https%3A%2F%2Fvault.azure.net%2F.default&client_secret=a~b%26c%3Dd%2Be%25f%20g";
        assert!(request.ends_with(form), "{request}");
    }

    #[test]
    fn app_service_has_an_address_and_a_secret_of_its_own() {
        let (address, request) = answering("200 OK", r#"{"access_token": "token", "expires_on": "4102444800"}"#);
        let environment =
            [("IDENTITY_ENDPOINT", format!("{address}/msi/token")), ("IDENTITY_HEADER", "header".to_owned())];
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let config = AzureKeyVaultConfig { client_id: Some("c".to_owned()), ..config(AzureCredential::Auto) };
        let credential = made(&config, &environment).unwrap();
        assert!(!format!("{credential:?}").contains("header"), "{credential:?}");
        let login = log_in(&credential).unwrap();
        assert!(login.lifetime > Duration::from_secs(3600), "{:?}", login.lifetime);
        let request = request.join().unwrap().to_lowercase();
        let path = "get /msi/token?api-version=2019-08-01&resource=https%3a%2f%2fvault.azure.net&client_id=c ";
        assert!(request.starts_with(path) && request.contains("x-identity-header: header"), "{request}");
    }

    /// The words are those of Entra ID and of the metadata service, as their references and users give them.
    #[test]
    fn each_refusal_of_a_login_has_its_kind() {
        let url = Url::parse(METADATA_SERVICE).unwrap();
        let machine = Credential::ManagedIdentity { client: None, host: IdentityHost::Metadata(url) };
        let application = Application { client: "c".to_owned(), token_url: Url::parse(AUTHORITY).unwrap() };
        let secret = Credential::ClientSecret { application, file: PathBuf::from("/run/secrets/azure") };
        for (credential, status, body, kind, said) in [
            (
                &secret,
                401,
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '832d86c8'.\r\nTrace ID: 654ce9b2\r\nCorrelation ID: 5be327fc","error_codes":[7000215]}"#,
                Kind::Credentials,
                "kms.azure.client-secret-file",
            ),
            (
                &secret,
                400,
                r#"{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'c' was not found in the directory 'd'."}"#,
                Kind::Credentials,
                "AADSTS700016",
            ),
            (&secret, 429, "{}", Kind::KmsThrottled, "HTTP 429"),
            (&secret, 503, "<html>", Kind::KmsUnavailable, "HTTP 503"),
            (
                &machine,
                400,
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
                Kind::Credentials,
                "assign an identity",
            ),
            (&machine, 404, "", Kind::KmsUnavailable, "HTTP 404"),
            (&machine, 410, "", Kind::KmsUnavailable, "HTTP 410"),
            (&machine, 429, "", Kind::KmsThrottled, "HTTP 429"),
        ] {
            let body = Zeroizing::new(body.as_bytes().to_vec());
            let retry_after = (status == 429).then_some(Duration::from_secs(7));
            let error = credential.refused(&Answer { status, retry_after, headers: HeaderMap::new(), body });
            assert_eq!((error.kind(), error.retry_after()), (kind, retry_after), "{error}");
            assert!(error.message().contains(said) && !error.message().contains("Trace ID"), "{error}");
        }
    }

    #[test]
    fn half_an_answer_to_a_login_may_pass() {
        let (address, _request) = answering("200 OK", r#"{"access_token": "tok"#);
        let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", address.as_str())];
        let credential = made(&config(AzureCredential::ManagedIdentity), &environment).unwrap();
        let Err(error) = log_in(&credential) else { panic!("half a token was taken") };
        assert_eq!(error.kind(), Kind::KmsUnavailable, "{error}");
        assert!(!error.message().contains("tok\""), "{error}");
    }
}

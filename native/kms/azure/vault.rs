//! The vault itself: its keys API over HTTPS, a token with every request, refusals as errors.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::config::{AzureKeyVaultConfig, KmsTransport};
use crate::error::{Kind, Result};
use crate::kms::azure::algorithm::{Algorithm, Operation};
use crate::kms::azure::challenge;
use crate::kms::azure::credential::Credential;
use crate::kms::azure::errors::{Call, refusal};
use crate::kms::azure::rotation_policy::RotationPolicy;
use crate::kms::azure::token::Tokens;
use crate::kms::azure::wire::{self, Bundle, CryptoAnswer, CryptoRequest, DeletedBundle, VersionItem, VersionPage};
use crate::kms::http::{self, Answer};

/// Old enough for every cloud, and it has `rotate`.
const API_VERSION: &str = "7.4";
const URL_OPTION: &str = "kms.azure.vault-url";

/// A key vault or Managed HSM, and who we are to it. Shared by the clients of all its keys.
#[derive(Debug)]
pub struct Vault {
    http: Client,
    url: Url,
    tokens: Tokens,
    /// What tokens are made out to, once the vault has said so.
    resource: OnceCell<String>,
}

/// One key of it, and one version or the current one.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub key: &'a str,
    pub version: Option<&'a str>,
}

impl Vault {
    /// Checks the addresses, the certificates and the files of the credentials; calls nobody.
    pub fn new(config: &AzureKeyVaultConfig, transport: &KmsTransport) -> Result<Vault> {
        let url = http::address(URL_OPTION, &config.vault_url)?;
        if url.path() != "/" {
            return Err(Kind::Config.error(format_args!(
                "{URL_OPTION}: the address of the vault ends with its host, unlike '{}'; the key is named by kms.azure.key-name",
                config.vault_url.escape_debug()
            )));
        }
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let tokens = Tokens::new(Credential::new(config, &environment)?);
        Ok(Vault { http: http::client(transport)?, url, tokens, resource: OnceCell::new() })
    }

    /// `https://<vault>/keys/<name>`: the key, as files name it.
    pub fn kek(&self, key: &str) -> String {
        format!("{}/keys/{key}", self.url.origin().ascii_serialization())
    }

    /// True for a Managed HSM, as far as its address tells.
    pub fn is_hsm(&self) -> bool {
        self.url.host_str().is_some_and(|host| host.contains(".managedhsm."))
    }

    /// A version of the key, and what it may be used for.
    pub async fn get(&self, target: Target<'_>) -> Result<Bundle> {
        let path: Vec<&str> = ["keys", target.key].into_iter().chain(target.version).collect();
        self.call(Operation::Get, target, Method::GET, self.url_of(&path), None).await
    }

    /// All its versions, in no order.
    pub async fn versions(&self, key: &str) -> Result<Vec<VersionItem>> {
        let mut versions = Vec::new();
        let mut url = self.url_of(&["keys", key, "versions"]);
        loop {
            let target = Target { key, version: None };
            let page: VersionPage = self.call(Operation::List, target, Method::GET, url.clone(), None).await?;
            versions.extend(page.value);
            // The link names an address, but a token is only ever sent to the one that is configured.
            let Some(link) = page.next_link.filter(|link| !link.is_empty()) else { return Ok(versions) };
            let next = Url::parse(&link)
                .map_err(|_| wire::nonsense(format_args!("the link to the next page is no address")))?;
            if next.query() == url.query() {
                return Err(wire::nonsense(format_args!("the list of versions has no end")));
            }
            url.set_query(next.query());
        }
    }

    /// Makes a new version.
    pub async fn rotate(&self, key: &str) -> Result<Bundle> {
        let target = Target { key, version: None };
        let url = self.url_of(&["keys", key, "rotate"]);
        self.call(Operation::Rotate, target, Method::POST, url, Some(Zeroizing::new(b"{}".to_vec()))).await
    }

    /// When the vault rotates the key by itself.
    pub async fn rotation_policy(&self, key: &str) -> Result<RotationPolicy> {
        let target = Target { key, version: None };
        let url = self.url_of(&["keys", key, "rotationpolicy"]);
        self.call(Operation::GetRotationPolicy, target, Method::GET, url, None).await
    }

    /// Enables or disables a version.
    pub async fn set_enabled(&self, target: Target<'_>, enabled: bool) -> Result<Bundle> {
        #[derive(Serialize)]
        struct Change {
            attributes: Attributes,
        }
        #[derive(Serialize)]
        struct Attributes {
            enabled: bool,
        }
        let body = wire::to_json(&Change { attributes: Attributes { enabled } })?;
        let path: Vec<&str> = ["keys", target.key].into_iter().chain(target.version).collect();
        self.call(Operation::Update, target, Method::PATCH, self.url_of(&path), Some(body)).await
    }

    /// Deletes the key with all its versions; one that is deleted already is told as it is.
    pub async fn delete(&self, key: &str) -> Result<DeletedBundle> {
        let target = Target { key, version: None };
        let url = self.url_of(&["keys", key]);
        match self.call(Operation::Delete, target, Method::DELETE, url, None).await {
            Err(error) if error.kind() == Kind::KeyPendingDeletion => {
                let url = self.url_of(&["deletedkeys", key]);
                self.call(Operation::Get, target, Method::GET, url, None).await
            }
            outcome => outcome,
        }
    }

    /// Wraps, unwraps, encrypts or decrypts.
    pub async fn crypto(
        &self,
        operation: Operation,
        target: Target<'_>,
        algorithm: Algorithm,
        request: CryptoRequest<'_>,
    ) -> Result<CryptoAnswer> {
        let path = operation.path();
        let path: Vec<&str> = ["keys", target.key].into_iter().chain(target.version).chain([path.as_str()]).collect();
        let body = wire::to_json(&CryptoRequest { alg: algorithm.name(), ..request })?;
        self.call(operation, target, Method::POST, self.url_of(&path), Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        target: Target<'_>,
        method: Method,
        url: Url,
        body: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<T> {
        let answer = self.send_authorized(target.key, &method, &url, body.as_ref()).await?;
        if answer.status == 200 {
            return wire::from_json(&answer.body);
        }
        let kek = self.kek(target.key);
        let is_hsm = self.is_hsm() || matches!(operation, Operation::Encrypt | Operation::Decrypt);
        let call = Call { operation, kek: &kek, version: target.version, is_hsm };
        Err(match answer.status {
            404 => self.explain_absence(target, refusal(&answer, call)).await,
            _ => refusal(&answer, call),
        })
    }

    async fn send_authorized(
        &self,
        key: &str,
        method: &Method,
        url: &Url,
        body: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Answer> {
        let resource = self.resource.get_or_try_init(|| self.ask_for_challenge(key)).await?;
        let authorization = self.tokens.authorization(&self.http, resource).await?;
        let answer = self.send(method, url, Some(&authorization), body).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        // The token was revoked, or the vault's clock is ahead of what issued it: a new one shows which.
        self.tokens.forget(&authorization);
        let authorization = self.tokens.authorization(&self.http, resource).await?;
        self.send(method, url, Some(&authorization), body).await
    }

    /// A request without a token and without a body is answered by what a token must be made out to.
    async fn ask_for_challenge(&self, key: &str) -> Result<String> {
        let answer = self.send(&Method::GET, &self.url_of(&["keys", key]), None, None).await?;
        match answer.status {
            401 => challenge::resource(&answer.headers, &self.url),
            status if status == 429 || status >= 500 => {
                let kek = self.kek(key);
                let call = Call { operation: Operation::Get, kek: &kek, version: None, is_hsm: self.is_hsm() };
                Err(refusal(&answer, call))
            }
            status => Err(Kind::Config.error(format_args!(
                "{} answers HTTP {status} where a key vault asks for a token: check {URL_OPTION}, and whether the firewall of the vault lets this machine through",
                self.url
            ))),
        }
    }

    /// Tells a key that is not there from a version that is not, and from a key that waits to be purged.
    async fn explain_absence(&self, target: Target<'_>, refusal: crate::error::Error) -> crate::error::Error {
        let there = |path: &[&str]| {
            let url = self.url_of(path);
            async move {
                let answer = self.send_authorized(target.key, &Method::GET, &url, None).await;
                answer.is_ok_and(|answer| answer.status == 200)
            }
        };
        let kek = self.kek(target.key);
        if let Some(version) = target.version
            && there(&["keys", target.key]).await
        {
            return Kind::KeyVersionNotFound.error(format_args!(
                "key {kek} has no version {version}: restore it from a backup of the key, if there is one"
            ));
        }
        if there(&["deletedkeys", target.key]).await {
            return Kind::KeyPendingDeletion.error(format_args!(
                "key {kek} is deleted and waits to be purged: recover it (az keyvault key recover)"
            ));
        }
        refusal
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        authorization: Option<&HeaderValue>,
        body: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Answer> {
        let mut request = self.http.request(method.clone(), url.clone());
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(http::wiped(body.clone()));
        }
        http::send(request).await
    }

    /// The path is built from segments, so that none can be more than one.
    fn url_of(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        url
    }
}

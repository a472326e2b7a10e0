//! Requests to a server of HashiCorp Vault or OpenBao.

use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::config::{KmsTransport, VaultConfig};
use crate::error::{Kind, Result};
use crate::kms::http::{self, Answer};

/// Room for any request of ours, so that a buffer with a key in it is never moved.
const ROOM: usize = 32 * 1024;

/// One server, or one cluster behind one address.
pub struct Server {
    http: Client,
    address: Url,
    namespace: Option<HeaderValue>,
}

impl Server {
    pub fn new(config: &VaultConfig, transport: &KmsTransport) -> Result<Server> {
        let namespace = config.namespace.as_deref().map(|namespace| {
            HeaderValue::from_str(namespace).map_err(|_| {
                Kind::Config.error(format_args!("kms.vault.namespace: '{}' is no namespace", namespace.escape_debug()))
            })
        });
        Ok(Server {
            address: http::address("kms.vault.address", &config.address)?,
            http: http::client(transport)?,
            namespace: namespace.transpose()?,
        })
    }

    /// Where it is, for errors.
    pub fn address(&self) -> &str {
        self.address.as_str().trim_end_matches('/')
    }

    pub async fn get(&self, path: &str, token: &str) -> Result<Answer> {
        http::send(self.request(Method::GET, path, Some(token))?).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Result<Answer> {
        http::send(self.request(Method::DELETE, path, Some(token))?).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: &impl Serialize) -> Result<Answer> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *bytes, body)
            .map_err(|error| Kind::Internal.error(format_args!("a request cannot be written: {error}")))?;
        http::send(self.request(Method::POST, path, token)?.body(http::wiped(bytes))).await
    }

    fn request(&self, method: Method, path: &str, token: Option<&str>) -> Result<RequestBuilder> {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.split('/'));
        }
        // Agents and proxies of Vault may be told to insist on this header.
        let mut request = self.http.request(method, url).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(token) = token {
            let mut header = HeaderValue::from_str(token).map_err(|_| {
                Kind::Credentials.error("the Vault token has characters that no token has: write it anew")
            })?;
            header.set_sensitive(true);
            request = request.header("X-Vault-Token", header);
        }
        Ok(request)
    }
}

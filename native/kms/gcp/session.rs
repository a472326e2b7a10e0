//! Calls of the REST interface: who we are, where to, and what comes back.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Url};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::config::{GcpKmsConfig, KmsTransport};
use crate::error::{Error, Kind, Result};
use crate::kms::gcp::errors::{Operation, refusal};
use crate::kms::gcp::name::KeyName;
use crate::kms::gcp::resources::Body;
use crate::kms::gcp::tokens::{Session as Identity, Tokens};
use crate::kms::http::{self, Answer};

const ENDPOINT: &str = "https://cloudkms.googleapis.com";

/// A way to one key.
#[derive(Debug, Clone)]
pub struct Session {
    key: KeyName,
    way: Arc<Way>,
}

/// What the keys of one service share: connections and tokens.
#[derive(Debug)]
struct Way {
    endpoint: String,
    client: Client,
    tokens: Tokens,
}

impl Session {
    /// A way that has not been gone yet; the error names the option that is wrong.
    pub fn new(config: &GcpKmsConfig, transport: &KmsTransport) -> Result<Session> {
        let endpoint = http::address("kms.gcp.endpoint", config.endpoint.as_deref().unwrap_or(ENDPOINT))?;
        let way = Way {
            endpoint: endpoint.as_str().trim_end_matches('/').to_owned(),
            client: http::client(transport)?,
            // Before the attempt as a whole ends, which would say less.
            tokens: Tokens::new(config, transport.attempt_timeout.mul_f64(0.9))?,
        };
        Ok(Session { key: KeyName::new(config)?, way: Arc::new(way) })
    }

    /// The same way to another key.
    pub fn with_key(&self, config: &GcpKmsConfig) -> Result<Session> {
        Ok(Session { key: KeyName::new(config)?, way: Arc::clone(&self.way) })
    }

    /// The key's name.
    pub fn key(&self) -> &KeyName {
        &self.key
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.way.endpoint
    }

    /// Reads a resource; `tail` follows the key's name.
    pub async fn get<T: DeserializeOwned>(
        &self,
        operation: Operation,
        tail: &str,
        query: &[(&str, &str)],
    ) -> Result<T> {
        self.parse(operation, &self.call(operation, Method::GET, &self.url(tail, query)?, None).await?)
    }

    /// Asks for a change.
    pub async fn send<T: DeserializeOwned>(
        &self,
        operation: Operation,
        method: Method,
        tail: &str,
        query: &[(&str, &str)],
        body: &Body<'_>,
    ) -> Result<T> {
        let body = Zeroizing::new(serde_json::to_vec(body).map_err(|error| Kind::Internal.error(error))?);
        self.parse(operation, &self.call(operation, method, &self.url(tail, query)?, Some(&body)).await?)
    }

    /// Sends a body that may hold a key.
    pub async fn post(&self, operation: Operation, tail: &str, body: &Zeroizing<Vec<u8>>) -> Result<Answer> {
        self.call(operation, Method::POST, &self.url(tail, &[])?, Some(body)).await
    }

    /// The answer is good, but cannot be what it should be.
    pub fn nonsense(&self, operation: Operation, what: &str) -> Error {
        Kind::KmsUnavailable.error(format_args!(
            "Google Cloud KMS at {} answered {operation:?} of {} with {what}: something on the way changes answers, or kms.gcp.endpoint is not Cloud KMS",
            self.way.endpoint, self.key
        ))
    }

    fn url(&self, tail: &str, query: &[(&str, &str)]) -> Result<Url> {
        let path = format!("{}/v1/{}{tail}", self.way.endpoint, self.key);
        let url = if query.is_empty() { Url::parse(&path) } else { Url::parse_with_params(&path, query) };
        url.map_err(|error| Kind::Config.error(format_args!("kms.gcp.endpoint: {error}")))
    }

    fn parse<T: DeserializeOwned>(&self, operation: Operation, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|_| self.nonsense(operation, "what is no such resource"))
    }

    /// A token may end before its time, by a revocation or a clock that jumped: it is renewed once.
    async fn call(
        &self,
        operation: Operation,
        method: Method,
        url: &Url,
        body: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<Answer> {
        let (first, identity) = self.attempt(&method, url, body).await?;
        let answer = if first.status == 401 {
            self.way.tokens.forget(&identity);
            self.attempt(&method, url, body).await?.0
        } else {
            first
        };
        match answer.status {
            200 => Ok(answer),
            _ => Err(refusal(operation, &self.way.endpoint, self.key.as_str(), &answer)),
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<(Answer, Identity)> {
        let (headers, identity) = self.way.tokens.headers().await.map_err(|error| error.at(&self.key))?;
        let mut request = self.way.client.request(method.clone(), url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(http::wiped(body.clone()));
        }
        let answer = http::send(request).await.map_err(|error| error.at(&self.key))?;
        Ok((answer, identity))
    }
}

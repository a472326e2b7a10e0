//! The token in use: renewed before it expires, by one caller at a time, and kept while it is good.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::Client;
use reqwest::header::HeaderValue;

use crate::error::{Kind, Result};
use crate::kms::azure::credential::{Credential, Login};

/// A renewal that failed is not tried again for so long, if the old token is still good.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Hands out the token of one credential.
#[derive(Debug)]
pub struct Tokens {
    credential: Credential,
    current: Mutex<Option<Token>>,
    /// Held by whoever logs in.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
}

impl Tokens {
    pub fn new(credential: Credential) -> Tokens {
        Tokens { credential, current: Mutex::new(None), renewing: tokio::sync::Mutex::new(()) }
    }

    /// The `Authorization` to send. Nobody waits for the renewal of a token that is still good, but who renews it.
    pub async fn authorization(&self, http: &Client, resource: &str) -> Result<HeaderValue> {
        let _renewing = match self.good() {
            Some(token) if Instant::now() < token.renew_at => return Ok(token.header),
            Some(token) => match self.renewing.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(token.header),
            },
            None => self.renewing.lock().await,
        };
        // Someone else may have renewed it in the meantime.
        let old = self.good();
        if let Some(token) = old.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.header.clone());
        }
        match (self.credential.log_in(http, resource).await, old) {
            (Ok(login), _) => {
                let token = Token::new(&login)?;
                *self.current.lock() = Some(token.clone());
                Ok(token.header)
            }
            (Err(error), Some(mut token)) => {
                log::warn!("the token of the key service could not be renewed and is used until it expires: {error}");
                token.renew_at = Instant::now() + AGAIN_AFTER;
                let header = token.header.clone();
                *self.current.lock() = Some(token);
                Ok(header)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The service refused this token: the next caller logs in anew.
    pub fn forget(&self, refused: &HeaderValue) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|token| token.header == *refused) {
            *current = None;
        }
    }

    fn good(&self) -> Option<Token> {
        self.current.lock().clone().filter(|token| Instant::now() < token.expires_at)
    }
}

impl Token {
    fn new(login: &Login) -> Result<Token> {
        let mut header = HeaderValue::try_from(format!("Bearer {}", login.token.as_str()))
            .map_err(|_| Kind::Credentials.error("the token that came back cannot be sent"))?;
        header.set_sensitive(true);
        let now = Instant::now();
        // Lives of more than a day are no promise that this library relies on.
        let lifetime = login.lifetime.min(Duration::from_secs(86_400));
        Ok(Token { header, renew_at: now + lifetime * 4 / 5, expires_at: now + lifetime })
    }
}

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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::config::{AzureAlgorithm, AzureCredential, AzureKeyVaultConfig, KmsTransport};
    use crate::kms::http;

    /// A metadata service that gives `token-1`, `token-2` and so on, or fails from the given login on.
    fn tokens(fails_from: usize) -> (Tokens, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let logins = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&logins);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if stream.read(&mut [0; 4096]).unwrap_or_default() == 0 {
                    continue;
                }
                let login = count.fetch_add(1, Ordering::SeqCst) + 1;
                let body = format!(r#"{{"access_token": "token-{login}", "expires_in": "3600"}}"#);
                let status = if login < fails_from { "200 OK" } else { "500 Broken" };
                let head =
                    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        let config = AzureKeyVaultConfig {
            vault_url: String::new(),
            key_name: String::new(),
            key_version: None,
            algorithm: AzureAlgorithm::Auto,
            wrap_locally: false,
            credential: AzureCredential::ManagedIdentity,
            tenant_id: None,
            client_id: None,
            client_secret_file: None,
            authority_host: None,
        };
        let environment = |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| address.clone());
        (Tokens::new(Credential::new(&config, &environment).unwrap()), logins)
    }

    async fn authorization(tokens: &Tokens) -> Result<HeaderValue> {
        let transport = KmsTransport {
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            ca_file: None,
            proxy: None,
        };
        tokens.authorization(&http::client(&transport)?, "https://vault.azure.net").await
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// The token in use is due for its renewal, or at its end.
    fn age(tokens: &Tokens, expired: bool) {
        let mut current = tokens.current.lock();
        let token = current.as_mut().unwrap();
        token.renew_at = Instant::now();
        token.expires_at = if expired { Instant::now() } else { token.expires_at };
    }

    #[test]
    fn a_token_serves_until_it_is_due() {
        let (tokens, logins) = tokens(usize::MAX);
        run(async {
            for _ in 0..3 {
                assert_eq!(authorization(&tokens).await.unwrap(), "Bearer token-1");
            }
            age(&tokens, false);
            assert_eq!(authorization(&tokens).await.unwrap(), "Bearer token-2");
            age(&tokens, true);
            assert_eq!(authorization(&tokens).await.unwrap(), "Bearer token-3");
            assert_eq!(authorization(&tokens).await.unwrap(), "Bearer token-3");
        });
        assert_eq!(logins.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn many_callers_log_in_once() {
        let (tokens, logins) = tokens(usize::MAX);
        let tokens = Arc::new(tokens);
        let headers = run(async {
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let tokens = Arc::clone(&tokens);
                calls.spawn(async move { authorization(&tokens).await.unwrap() });
            }
            calls.join_all().await
        });
        assert!(headers.len() == 8 && headers.iter().all(|header| header == "Bearer token-1"), "{headers:?}");
        assert_eq!(logins.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_renewal_does_no_harm_while_the_old_token_is_good() {
        let (tokens, logins) = tokens(2);
        run(async {
            authorization(&tokens).await.unwrap();
            age(&tokens, false);
            for _ in 0..3 {
                assert_eq!(authorization(&tokens).await.unwrap(), "Bearer token-1");
            }
            assert_eq!(logins.load(Ordering::SeqCst), 2, "it is not tried again at once");
            age(&tokens, true);
            assert_eq!(authorization(&tokens).await.unwrap_err().kind(), Kind::KmsUnavailable);
        });
    }

    #[test]
    fn only_the_token_that_was_refused_is_forgotten() {
        let (tokens, _) = tokens(usize::MAX);
        run(async {
            let first = authorization(&tokens).await.unwrap();
            tokens.forget(&first);
            let second = authorization(&tokens).await.unwrap();
            tokens.forget(&first);
            assert_eq!(authorization(&tokens).await.unwrap(), second);
        });
    }

    #[test]
    fn a_token_is_not_shown() {
        let (tokens, _) = tokens(usize::MAX);
        run(authorization(&tokens)).unwrap();
        assert!(!format!("{tokens:?}").contains("token-1"), "{tokens:?}");
    }
}

//! Tokens: obtained, renewed before they expire, replaced when they are dead.

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::{KmsTransport, VaultAuth, VaultConfig};
use crate::error::{Error, Kind, Result};
use crate::kms::credential_file;
use crate::kms::http::Answer;
use crate::kms::vault::errors::{explain_login, refuses_the_token};
use crate::kms::vault::server::Server;

const LOOKUP: &str = "auth/token/lookup-self";
const RENEW: &str = "auth/token/renew-self";

/// The least pause between two attempts to renew a token.
const PAUSE: Duration = Duration::from_secs(1);

/// Who we are to one server.
pub struct Session {
    server: Server,
    login: Login,
    current: Mutex<Option<Arc<Token>>>,
    /// Held by the one that talks to the server about tokens.
    turn: tokio::sync::Mutex<()>,
    me: Weak<Session>,
}

/// A token and how long it lives.
pub struct Token {
    text: Zeroizing<String>,
    lease: Option<Lease>,
}

#[derive(Clone, Copy)]
struct Lease {
    length: Duration,
    expires: Instant,
    renewable: bool,
}

enum Login {
    TokenFile(PathBuf),
    TokenOfEnvironment(Zeroizing<String>),
    AppRole { path: String, role_id: String, secret_id_file: PathBuf },
    Kubernetes { path: String, role: String, jwt_file: PathBuf },
}

impl Session {
    /// Checks what can be checked without the network.
    pub fn new(config: &VaultConfig, transport: &KmsTransport) -> Result<Arc<Session>> {
        let server = Server::new(config, transport)?;
        let login = Login::new(config)?;
        Ok(Arc::new_cyclic(|me| Session {
            server,
            login,
            current: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            me: me.clone(),
        }))
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A token that was alive when the server was last asked about it.
    pub async fn token(&self) -> Result<Arc<Token>> {
        if let Some(token) = self.usable()? {
            return Ok(token);
        }
        let _turn = self.turn.lock().await;
        match self.usable()? {
            Some(token) => Ok(token),
            None => self.obtain().await,
        }
    }

    /// After an answer 403: another token, if that one is dead and there is another; `None` if it lives, so that it was
    /// the request that was refused.
    pub async fn after_refusal(&self, refused: &Arc<Token>) -> Result<Option<Arc<Token>>> {
        let _turn = self.turn.lock().await;
        if let Some(token) = self.usable()?
            && !Arc::ptr_eq(&token, refused)
        {
            return Ok(Some(token));
        }
        let answer = self.server.get(LOOKUP, &refused.text).await?;
        match answer.status {
            200 => Ok(None),
            403 if !refuses_the_token(&answer) => Ok(None),
            403 => {
                *self.current.lock() = None;
                self.obtain().await.map(Some)
            }
            _ => Err(self.explain(&answer, LOOKUP)),
        }
    }

    /// The current token, unless it has expired or its file holds another one now.
    fn usable(&self) -> Result<Option<Arc<Token>>> {
        let current = self.current.lock().clone();
        let Some(token) = current.filter(|token| !token.has_expired()) else { return Ok(None) };
        let replaced = match &self.login {
            Login::TokenFile(path) => *credential_file::read(TOKEN_FILE, path)? != *token.text,
            Login::TokenOfEnvironment(_) | Login::AppRole { .. } | Login::Kubernetes { .. } => false,
        };
        Ok((!replaced).then_some(token))
    }

    async fn obtain(&self) -> Result<Arc<Token>> {
        let token = match &self.login {
            Login::TokenFile(path) => self.inspect(credential_file::read(TOKEN_FILE, path)?).await?,
            Login::TokenOfEnvironment(text) => self.inspect(text.clone()).await?,
            Login::AppRole { path, role_id, secret_id_file } => {
                let secret_id = credential_file::read(SECRET_ID_FILE, secret_id_file)?;
                self.log_in(path, &AppRoleLogin { role_id, secret_id: &secret_id }).await?
            }
            Login::Kubernetes { path, role, jwt_file } => {
                let jwt = credential_file::read(JWT_FILE, jwt_file)?;
                self.log_in(path, &KubernetesLogin { role, jwt: &jwt }).await?
            }
        };
        Ok(self.adopt(token))
    }

    /// A token that someone else obtained: whether it lives, and for how long.
    async fn inspect(&self, text: Zeroizing<String>) -> Result<Token> {
        let answer = self.server.get(LOOKUP, &text).await?;
        let lease = match answer.status {
            200 => {
                let Found { data } = parse(&answer, &self.server)?;
                Lease::new(data.ttl, data.renewable)
            }
            // It lives, but may not ask about itself.
            403 if !refuses_the_token(&answer) => None,
            _ => return Err(self.explain(&answer, LOOKUP)),
        };
        Ok(Token { text, lease })
    }

    async fn log_in(&self, path: &str, body: &impl Serialize) -> Result<Token> {
        let answer = self.server.post(path, None, body).await?;
        if answer.status != 200 {
            return Err(self.explain(&answer, path));
        }
        let Granted { auth } = parse(&answer, &self.server)?;
        let lease = Lease::new(auth.lease_duration, auth.renewable);
        Ok(Token { text: Zeroizing::new(auth.client_token.to_owned()), lease })
    }

    /// Makes a token the current one, and sees to it that it is renewed in time.
    fn adopt(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *self.current.lock() = Some(Arc::clone(&token));
        if let (Some(lease), Ok(runtime)) = (token.lease, tokio::runtime::Handle::try_current()) {
            runtime.spawn(keep_alive(self.me.clone(), Arc::downgrade(&token), lease));
        }
        token
    }

    /// Renews the token where that is possible, or logs in again; false if neither can be done.
    async fn renew(&self, token: &Arc<Token>, lease: Lease) -> Result<bool> {
        let _turn = self.turn.lock().await;
        if !self.is_current(token) {
            return Ok(true);
        }
        if lease.renewable {
            let answer = self.server.post(RENEW, Some(&token.text), &Empty {}).await?;
            if answer.status == 200 {
                let Granted { auth } = parse(&answer, &self.server)?;
                // Near the longest life that the server allows, a renewal gives less and less: then it is no use.
                let renewable = auth.renewable && Duration::from_secs(auth.lease_duration) >= lease.length / 2;
                let lease = Lease::new(auth.lease_duration, renewable);
                self.adopt(Token { text: token.text.clone(), lease });
                return Ok(true);
            }
            log::debug!("{}", self.explain(&answer, RENEW));
        }
        match &self.login {
            Login::TokenFile(_) | Login::TokenOfEnvironment(_) => Ok(false),
            Login::AppRole { .. } | Login::Kubernetes { .. } => self.obtain().await.map(|_| true),
        }
    }

    fn is_current(&self, token: &Arc<Token>) -> bool {
        self.current.lock().as_ref().is_some_and(|current| Arc::ptr_eq(current, token))
    }

    fn explain(&self, answer: &Answer, path: &str) -> Error {
        explain_login(answer, self.server.address(), path, self.login.option())
    }
}

/// Renews a token at two thirds of its life, for as long as someone uses it.
async fn keep_alive(session: Weak<Session>, token: Weak<Token>, lease: Lease) {
    let mut pause = lease.length * 2 / 3;
    loop {
        tokio::time::sleep(pause).await;
        let (Some(session), Some(token)) = (session.upgrade(), token.upgrade()) else { return };
        match session.renew(&token, lease).await {
            Ok(true) => return,
            Ok(false) => {
                return log::warn!(
                    "the Vault token expires in {} s and cannot be renewed: put another one into {}",
                    lease.left().as_secs(),
                    session.login.option()
                );
            }
            Err(error) if lease.left().is_zero() => return log::warn!("the Vault token was not renewed: {error}"),
            Err(error) => log::warn!("the Vault token is not renewed yet: {error}"),
        }
        pause = (lease.left() / 4).max(PAUSE);
    }
}

impl Token {
    pub fn text(&self) -> &str {
        &self.text
    }

    fn has_expired(&self) -> bool {
        self.lease.is_some_and(|lease| lease.left().is_zero())
    }
}

impl Lease {
    /// `None` for a token that never expires.
    fn new(seconds: u64, renewable: bool) -> Option<Lease> {
        let length = Duration::from_secs(seconds);
        let expires = Instant::now().checked_add(length)?;
        (seconds > 0).then_some(Lease { length, expires, renewable })
    }

    fn left(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }
}

const TOKEN_FILE: &str = "kms.vault.token-file";
const SECRET_ID_FILE: &str = "kms.vault.secret-id-file";
const JWT_FILE: &str = "kms.vault.jwt-file";

impl Login {
    fn new(config: &VaultConfig) -> Result<Login> {
        let path = |method: &str| {
            let mount = config.auth_mount.as_deref().unwrap_or(method).trim_matches('/');
            format!("auth/{mount}/login")
        };
        let required = |value: &Option<String>, option: &str| {
            value.clone().ok_or_else(|| Kind::Config.error(format_args!("{option} is missing")))
        };
        let login = match config.auth {
            VaultAuth::Token => match (&config.token_file, std::env::var("VAULT_TOKEN")) {
                (Some(path), _) => Login::TokenFile(path.clone()),
                (None, Ok(token)) if !token.trim().is_empty() => {
                    Login::TokenOfEnvironment(Zeroizing::new(token.trim().to_owned()))
                }
                (None, _) => {
                    return Err(Kind::Config.error(format_args!(
                        "there is no Vault token: set {TOKEN_FILE}, or VAULT_TOKEN in the environment, or choose another kms.vault.auth"
                    )));
                }
            },
            VaultAuth::AppRole => Login::AppRole {
                path: path("approle"),
                role_id: required(&config.role_id, "kms.vault.role-id")?,
                secret_id_file: (config.secret_id_file.clone())
                    .ok_or_else(|| Kind::Config.error(format_args!("{SECRET_ID_FILE} is missing")))?,
            },
            VaultAuth::Kubernetes => Login::Kubernetes {
                path: path("kubernetes"),
                role: required(&config.role, "kms.vault.role")?,
                jwt_file: config.jwt_file.clone(),
            },
        };
        match &login {
            Login::TokenOfEnvironment(_) => {}
            Login::TokenFile(path)
            | Login::AppRole { secret_id_file: path, .. }
            | Login::Kubernetes { jwt_file: path, .. } => {
                credential_file::read(login.option(), path)?;
            }
        }
        Ok(login)
    }

    /// Where the credential comes from.
    fn option(&self) -> &'static str {
        match self {
            Login::TokenFile(_) => TOKEN_FILE,
            Login::TokenOfEnvironment(_) => "VAULT_TOKEN of the environment",
            Login::AppRole { .. } => SECRET_ID_FILE,
            Login::Kubernetes { .. } => JWT_FILE,
        }
    }
}

/// The body of an answer that says it succeeded.
pub fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer, server: &Server) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // The error of the parser may quote what it stumbled over; its place says enough.
        Kind::KmsUnavailable.error(format_args!(
            "vault at {} sent an answer that cannot be read (column {}): is it Vault, and was the answer cut?",
            server.address(),
            error.column()
        ))
    })
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct AppRoleLogin<'l> {
    role_id: &'l str,
    secret_id: &'l str,
}

#[derive(Serialize)]
struct KubernetesLogin<'l> {
    role: &'l str,
    jwt: &'l str,
}

#[derive(Deserialize)]
struct Granted<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    lease_duration: u64,
    renewable: bool,
}

#[derive(Deserialize)]
struct Found {
    data: Life,
}

#[derive(Deserialize)]
struct Life {
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

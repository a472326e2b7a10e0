//! `vault`: the transit engine of HashiCorp Vault or OpenBao.
//!
//! Data keys are drawn here and wrapped by `encrypt`, the canonical context as associated data: the engine's own
//! `datakey` endpoint takes none at Vault, and its `rewrap` takes none at all, so rewrapping is `decrypt` and `encrypt`.

mod errors;
mod login;
mod server;
mod wrapped;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::{KmsTransport, VaultConfig};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::http::Answer;
use crate::kms::{Canary, Destruction, KeyVersion, KmsClient, Need, Probe, WrappedKey};
use crate::secret::{MAX_LEN, Secret};

use errors::{Action, Target};
use login::{Session, parse};

/// The types of key that take associated data and have 256 bits.
const TYPES: &[&str] = &["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// One key of a transit engine.
#[derive(Clone)]
pub struct VaultClient {
    session: Arc<Session>,
    target: Arc<Target>,
    kek: Arc<str>,
    namespace: String,
    /// The key was found to exist and to be of use: `encrypt` would create one that does not.
    seen: Arc<AtomicBool>,
}

impl VaultClient {
    /// A client that has not called the server yet; the error says what is wrong with the configuration.
    pub fn new(config: &VaultConfig, transport: &KmsTransport) -> Result<VaultClient> {
        let session = Session::new(config, transport)?;
        let mount = config.mount.trim_matches('/').to_owned();
        if mount.is_empty() || mount.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(
                Kind::Config.error(format_args!("kms.vault.mount: '{}' is no path", config.mount.escape_debug()))
            );
        }
        let namespace = config.namespace.as_deref().unwrap_or_default().trim_matches('/').to_owned();
        let target = Target { address: session.server().address().to_owned(), mount, key: String::new() };
        let client = VaultClient {
            session,
            target: Arc::new(target),
            kek: Arc::from(""),
            namespace,
            seen: Arc::new(AtomicBool::new(false)),
        };
        client.with_key(&config.key_name)
    }

    /// Another key of the same engine, with the same login.
    pub fn with_key(&self, key: &str) -> Result<VaultClient> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || !key.chars().all(plain) || key.starts_with('.') {
            return Err(Kind::Config.error(format_args!(
                "kms.vault.key-name: a key's name has letters, digits, '-', '_' and '.', unlike '{}'",
                key.escape_debug()
            )));
        }
        let Target { address, mount, .. } = &*self.target;
        let lead = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        let kek = format!("{lead}{mount}/keys/{key}");
        let target = Target { address: address.clone(), mount: mount.clone(), key: key.to_owned() };
        Ok(VaultClient {
            session: Arc::clone(&self.session),
            target: Arc::new(target),
            kek: Arc::from(kek),
            namespace: self.namespace.clone(),
            seen: Arc::new(AtomicBool::new(false)),
        })
    }

    async fn call(&self, action: Action, body: Option<&(impl Serialize + Sync)>) -> Result<Answer> {
        let path = action.path(&self.target.mount, &self.target.key);
        let token = self.session.token().await?;
        let mut answer = self.send(action, &path, token.text(), body).await?;
        if answer.status == 403
            && let Some(fresh) = self.session.after_refusal(&token).await?
        {
            answer = self.send(action, &path, fresh.text(), body).await?;
        }
        match answer.status {
            200..=299 => Ok(answer),
            _ => {
                let error = errors::explain(&answer, action, &self.target);
                if error.kind() == Kind::KeyNotFound {
                    // It was deleted: it is looked for again before anything is wrapped.
                    self.seen.store(false, Ordering::Release);
                }
                Err(error)
            }
        }
    }

    async fn send(
        &self,
        action: Action,
        path: &str,
        token: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Answer> {
        match body {
            Some(body) => self.session.server().post(path, Some(token), body).await,
            None if action == Action::Delete => self.session.server().delete(path, token).await,
            None => self.session.server().get(path, token).await,
        }
    }

    async fn read(&self) -> Result<Key> {
        let answer = self.call(Action::Read, None::<&Value>).await?;
        let KeyAnswer { data } = parse(&answer, self.session.server())?;
        Ok(data)
    }

    /// Refuses to wrap under a key that is not there, which the server would create, or is of no use.
    async fn ensure_usable(&self) -> Result<()> {
        if !self.seen.load(Ordering::Acquire) {
            let key = self.read().await?;
            key.check().map_err(|error| error.at(&self.kek))?;
            if key.exportable || key.allow_plaintext_backup {
                log::warn!(
                    "the Vault key {} may be taken out of the server (exportable, allow_plaintext_backup)",
                    self.kek
                );
            }
            self.seen.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn wrap(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        let associated_data = STANDARD.encode(context.encode());
        let plaintext = encode(plaintext);
        let body = EncryptRequest { plaintext: &plaintext, associated_data: &associated_data };
        let answer = self.call(Action::Encrypt, Some(&body)).await?;
        let EncryptAnswer { data } = parse(&answer, self.session.server())?;
        let version = wrapped::version(data.ciphertext.as_bytes()).ok_or_else(|| {
            Kind::KmsUnavailable.error(format_args!("vault at {} sent no wrapped key", self.target.address))
        })?;
        Ok(WrappedKey {
            kek: self.kek.to_string(),
            version: version.to_string(),
            bytes: data.ciphertext.as_bytes().to_vec(),
        })
    }

    async fn unwrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        let refused =
            |reason: &str| Kind::WrappedKey.error(format_args!("{}: the wrapped data key {reason}", self.kek));
        let ciphertext = wrapped::check(wrapped).ok_or_else(|| {
            refused("is not what Vault gives: it is damaged, or was wrapped under another version than its file says")
        })?;
        let associated_data = STANDARD.encode(context.encode());
        let body = DecryptRequest { ciphertext, associated_data: &associated_data };
        let answer = match self.call(Action::Decrypt, Some(&body)).await {
            Err(error) if error.kind() == Kind::KeyDisabled => return Err(self.disabled_or_gone(error, wrapped).await),
            outcome => outcome?,
        };
        let DecryptAnswer { data } = parse(&answer, self.session.server())?;
        let mut plaintext = Zeroizing::new([0; MAX_LEN]);
        let length = STANDARD
            .decode_slice(data.plaintext, plaintext.as_mut_slice())
            .map_err(|_| refused("holds no data key: it is far too long, or no base64"))?;
        Secret::take(&mut plaintext[..length])
    }

    /// The server refuses versions below its minimum alike, whether they can come back or were trimmed away for good.
    async fn disabled_or_gone(&self, disabled: Error, wrapped: &WrappedKey) -> Error {
        match (self.read().await, wrapped.version.parse::<u64>()) {
            (Ok(key), Ok(version)) if version < key.min_available_version => {
                Kind::KeyVersionNotFound.error(format_args!(
                    "{}: version {version} was trimmed away: the versions before {} are gone for good",
                    self.kek, key.min_available_version
                ))
            }
            _ => disabled,
        }
    }

    /// Moves the lower bound of the versions that open, which is the only switch that there is.
    async fn set_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let key = self.read().await?;
        let unknown =
            || Kind::KeyVersionNotFound.error(format_args!("{} has no version '{}'", self.kek, version.escape_debug()));
        let number: u64 = version.parse().map_err(|_| unknown())?;
        let lowest = key.min_decryption_version.max(1);
        if number < key.min_available_version.max(1) || number > key.latest_version {
            return Err(unknown());
        }
        let unsupported = |reason: String| Err(Kind::Unsupported.error(format_args!("{}: {reason}", self.kek)));
        let bound = match (number >= lowest, enabled) {
            (true, true) | (false, false) => return Ok(()),
            (true, false) if number == key.latest_version => {
                return unsupported(format!(
                    "version {number} is the current one, which cannot be disabled: rotate first"
                ));
            }
            (true, false) if number == lowest => number + 1,
            (true, false) => {
                return unsupported(format!(
                    "Vault disables versions from the oldest on only: disable version {lowest} before version {number}"
                ));
            }
            (false, true) if number + 1 == lowest => number,
            (false, true) => {
                return unsupported(format!(
                    "Vault enables versions from the newest on only: enable version {} before version {number}",
                    lowest - 1
                ));
            }
        };
        self.call(Action::Configure, Some(&json!({"min_decryption_version": bound}))).await.map(drop)
    }

    /// A server deletes at once, and only keys of which that was allowed by a change before. There is no key `after`.
    async fn delete(&self) -> Result<()> {
        // Read first: a change of a key that is not there is told in other words.
        self.read().await?;
        self.call(Action::Configure, Some(&json!({"deletion_allowed": true}))).await?;
        self.seen.store(false, Ordering::Release);
        self.call(Action::Delete, None::<&Value>).await.map(drop)
    }

    async fn probe_all(&self) -> Vec<Probe> {
        let probe = |action: Action, outcome| {
            let path = action.path(&self.target.mount, &self.target.key);
            Probe::new(format!("{path} [{}]", action.capability()), outcome)
        };
        let read = self.read().await.and_then(|key| key.check().map_err(|error| error.at(&self.kek)));
        // Without the key, or without knowing that it is there, nothing may be wrapped: the server might create it.
        let exists = match &read {
            Ok(()) => true,
            Err(error) => error.kind() == Kind::AccessDenied && self.may_not_create().await,
        };
        let mut probes = vec![probe(Action::Read, read)];
        if !exists {
            return probes;
        }
        let wrapped = match Canary::new() {
            Ok(canary) => self.wrap(&canary.secret, &canary.context).await.map(|wrapped| (canary, wrapped)),
            Err(error) => Err(error),
        };
        let opened = match &wrapped {
            Ok((canary, wrapped)) => self
                .unwrap(wrapped, &canary.context)
                .await
                .and_then(|opened| if canary.is(&opened) { Ok(()) } else { Err(self.broken()) }),
            Err(_) => self.try_to_unwrap().await,
        };
        probes.push(probe(Action::Encrypt, wrapped.map(drop)));
        probes.push(probe(Action::Decrypt, opened));
        // Rotating cannot be tried without doing it. A token that may not ask leaves it open.
        if let Some(granted) = self.granted(Action::Rotate).await {
            let may = granted.iter().any(|word| word == Action::Rotate.capability() || word == "root");
            let outcome = if may { Ok(()) } else { Err(errors::not_granted(Action::Rotate, &self.target)) };
            probes.push(probe(Action::Rotate, outcome).needed_for(Need::Care));
        }
        probes
    }

    /// True if the policy itself keeps `encrypt` from creating a key.
    async fn may_not_create(&self) -> bool {
        let granted = self.granted(Action::Encrypt).await;
        granted.is_some_and(|list| !list.iter().any(|word| word == "create" || word == "root"))
    }

    /// What the token may do at the path of this action, by the server's word; `None` if it does not say.
    async fn granted(&self, action: Action) -> Option<Vec<String>> {
        let path = action.path(&self.target.mount, &self.target.key);
        let body = CapabilitiesRequest { paths: [&path] };
        let token = self.session.token().await.ok()?;
        let answer = self.send(Action::Read, "sys/capabilities-self", token.text(), Some(&body)).await.ok()?;
        let granted: BTreeMap<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
        granted.get(&path).and_then(|list| serde_json::from_value(list.clone()).ok())
    }

    /// Where nothing can be wrapped: whether unwrapping would be allowed. What never was wrapped is refused by the key.
    async fn try_to_unwrap(&self) -> Result<()> {
        let nonsense = STANDARD.encode([0; 60]);
        let ciphertext = format!("vault:v1:{nonsense}");
        let body = DecryptRequest { ciphertext: &ciphertext, associated_data: "" };
        match self.call(Action::Decrypt, Some(&body)).await {
            Err(error) if !matches!(error.kind(), Kind::WrappedKey | Kind::KeyDisabled) => Err(error),
            _ => Ok(()),
        }
    }

    fn broken(&self) -> Error {
        Kind::Internal.error(format_args!("{} does not unwrap what it wrapped", self.kek))
    }
}

#[async_trait]
impl KmsClient for VaultClient {
    fn provider(&self) -> &str {
        "vault"
    }

    fn key_id(&self) -> &str {
        &self.kek
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.ensure_usable().await?;
        self.wrap(plaintext, context).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.unwrap(wrapped, context).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.read().await?.current().ok_or_else(|| self.broken())
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        Ok(self.read().await?.versions())
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.call(Action::Rotate, Some(&BTreeMap::<String, String>::new())).await?;
        self.current_key_version().await
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.read().await?.rotates_every()
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        self.set_enabled(version, enabled).await
    }

    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        self.delete().await?;
        Ok(Destruction::Done)
    }

    async fn probe(&self) -> Vec<Probe> {
        self.probe_all().await
    }
}

impl fmt::Debug for VaultClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultClient({}, {})", self.target.address, self.kek)
    }
}

fn encode(secret: &Secret) -> Zeroizing<String> {
    // With room for all of it, so that it is never moved.
    let mut text = Zeroizing::new(String::with_capacity(MAX_LEN * 2));
    STANDARD.encode_string(secret.expose(), &mut text);
    text
}

#[derive(Serialize)]
struct EncryptRequest<'r> {
    plaintext: &'r str,
    associated_data: &'r str,
}

#[derive(Deserialize)]
struct EncryptAnswer<'a> {
    #[serde(borrow)]
    data: Ciphertext<'a>,
}

#[derive(Deserialize)]
struct Ciphertext<'a> {
    ciphertext: &'a str,
}

#[derive(Serialize)]
struct DecryptRequest<'r> {
    ciphertext: &'r str,
    associated_data: &'r str,
}

#[derive(Deserialize)]
struct DecryptAnswer<'a> {
    #[serde(borrow)]
    data: Plaintext<'a>,
}

/// Borrowed from the body, which is wiped.
#[derive(Deserialize)]
struct Plaintext<'a> {
    plaintext: &'a str,
}

#[derive(Serialize)]
struct CapabilitiesRequest<'r> {
    paths: [&'r str; 1],
}

#[derive(Deserialize)]
struct KeyAnswer {
    data: Key,
}

/// What the server says about a key.
#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    /// When each version from `min_decryption_version` on was made, in seconds since 1970; asymmetric keys say more.
    keys: BTreeMap<String, Value>,
    latest_version: u64,
    #[serde(default)]
    min_decryption_version: u64,
    #[serde(default)]
    min_available_version: u64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    soft_deleted: bool,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
    /// Seconds; zero where the server does not rotate by itself.
    #[serde(default)]
    auto_rotate_period: Value,
}

impl Key {
    fn check(&self) -> Result<()> {
        if !TYPES.contains(&self.kind.as_str()) {
            return Err(Kind::Config.error(format_args!("it is a key of type {}: {}", self.kind, errors::WRONG_TYPE)));
        }
        if self.derived {
            return Err(Kind::Config.error("it is a derived key: create one with derived=false"));
        }
        if self.soft_deleted {
            return Err(Kind::KeyPendingDeletion.error("it was deleted softly: restore it (.../soft-delete-restore)"));
        }
        Ok(())
    }

    fn current(&self) -> Option<KeyVersion> {
        self.versions().pop()
    }

    /// From the oldest that was not trimmed away. The server says of disabled ones no time: they get that of the oldest
    /// enabled one, before which they were made.
    fn versions(&self) -> Vec<KeyVersion> {
        let oldest = self.min_available_version.max(1);
        let lowest = self.min_decryption_version.max(oldest);
        (oldest..=self.latest_version)
            .map(|number| KeyVersion {
                id: number.to_string(),
                created_at: self.created_at(number.max(lowest)),
                enabled: number >= lowest,
            })
            .collect()
    }

    fn rotates_every(&self) -> Result<Option<Duration>> {
        match &self.auto_rotate_period {
            Value::Null => Ok(None),
            Value::Number(seconds) => Ok(seconds.as_u64().filter(|seconds| *seconds > 0).map(Duration::from_secs)),
            other => Err(Kind::Internal.error(format_args!(
                "auto_rotate_period of the key is {}, no number of seconds",
                other.to_string().escape_debug()
            ))),
        }
    }

    fn created_at(&self, version: u64) -> SystemTime {
        let seconds = self.keys.get(&version.to_string()).and_then(Value::as_u64);
        UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenBao 2.7.2 told it after two rotations, `min_decryption_version=3` and `min_available_version=2`.
    const KEY: &str = r#"{"request_id":"4","data":{"allow_plaintext_backup":false,"auto_rotate_period":0,"deletion_allowed":false,"derived":false,"exportable":false,"imported_key":false,"keys":{"3":1795554627},"latest_version":3,"min_available_version":2,"min_decryption_version":3,"min_encryption_version":3,"name":"state","soft_deleted":false,"supports_decryption":true,"supports_derivation":true,"supports_encryption":true,"supports_signing":false,"type":"aes256-gcm96"},"warnings":null,"auth":null}"#;

    fn key(text: &str) -> Key {
        serde_json::from_str::<KeyAnswer>(text).unwrap().data
    }

    #[test]
    fn versions_are_those_that_can_come_back() {
        let versions = key(KEY).versions();
        let shown: Vec<_> = versions.iter().map(|version| (version.id.as_str(), version.enabled)).collect();
        assert_eq!(shown, [("2", false), ("3", true)]);
        let made = UNIX_EPOCH + Duration::from_secs(1_795_554_627);
        assert!(versions.iter().all(|version| version.created_at == made));
        assert_eq!(key(KEY).current().unwrap().id, "3");
    }

    #[test]
    fn keys_of_no_use_are_refused_with_the_reason() {
        assert!(key(KEY).check().is_ok());
        for (from, to, kind) in [
            ("aes256-gcm96", "rsa-4096", Kind::Config),
            ("aes256-gcm96", "aes128-gcm96", Kind::Config),
            ("aes256-gcm96", "ed25519", Kind::Config),
            (r#""derived":false"#, r#""derived":true"#, Kind::Config),
            (r#""soft_deleted":false"#, r#""soft_deleted":true"#, Kind::KeyPendingDeletion),
        ] {
            assert_eq!(key(&KEY.replace(from, to)).check().unwrap_err().kind(), kind, "{to}");
        }
    }
}

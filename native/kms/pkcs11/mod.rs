//! `pkcs11`: a key on a hardware security module, by the PKCS#11 library that comes with it.
//!
//! Loading that library is trust: it runs in this process, with all that it may do and sees all keys that pass. Unsafe
//! code is inside the `cryptoki` crate only.

mod cipher;
mod errors;
mod key;
mod module;
mod token;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptoki::mechanism::MechanismType;
use cryptoki::session::Session;

use crate::config::{KmsTransport, Pkcs11Config, Pkcs11Mechanism};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::{Canary, Destruction, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::secret::Secret;

use cipher::Cipher;
use errors::Fault;
use key::Version;
use token::{Access, Token};

pub use module::lock_of;

/// One key of a token.
#[derive(Clone)]
pub struct Pkcs11Client {
    key: Arc<TokenKey>,
    limit: Duration,
}

/// What the blocking calls need.
struct TokenKey {
    token: Arc<Token>,
    label: String,
    kek: String,
    mechanism: Pkcs11Mechanism,
    warned: AtomicBool,
    /// There were versions when they were last looked for.
    seen: AtomicBool,
}

impl Pkcs11Client {
    /// A client that has not loaded the module yet; the error says what is wrong with the configuration.
    pub fn new(config: &Pkcs11Config, transport: &KmsTransport) -> Result<Pkcs11Client> {
        let token = Arc::new(Token::new(config)?);
        Ok(Pkcs11Client { key: Arc::new(TokenKey::new(token, config)), limit: transport.attempt_timeout })
    }

    /// Another key of the same token.
    pub fn with_key(&self, config: &Pkcs11Config) -> Pkcs11Client {
        Pkcs11Client { key: Arc::new(TokenKey::new(Arc::clone(&self.key.token), config)), limit: self.limit }
    }

    /// Makes the first version of a key that does not exist yet. Blocks.
    pub fn create_key(config: &Pkcs11Config) -> Result<KeyVersion> {
        let key = TokenKey::new(Arc::new(Token::new(config)?), config);
        key.token.with(Access::Write, |session| {
            match key.versions(session) {
                Err(Fault::Known(error)) if error.kind() == Kind::KeyNotFound => {}
                Ok(_) => {
                    return Err(Kind::Config.error(format_args!("there is a key '{}' already", key.label)).into());
                }
                Err(fault) => return Err(fault),
            }
            key.generate(session, None)
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        access: Access,
        work: impl Fn(&TokenKey, &Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let key = Arc::clone(&self.key);
        self.key.token.run(self.limit, access, move |session| work(&key, session)).await
    }
}

impl TokenKey {
    fn new(token: Arc<Token>, config: &Pkcs11Config) -> TokenKey {
        TokenKey {
            kek: format!("{}/{}", token.label, config.key_label),
            token,
            label: config.key_label.clone(),
            mechanism: config.mechanism,
            warned: AtomicBool::new(false),
            seen: AtomicBool::new(false),
        }
    }

    fn versions(&self, session: &Session) -> Result<Vec<Version>, Fault> {
        let versions = key::versions(session, &self.token.label, &self.label, self.seen.load(Ordering::Relaxed))?;
        self.seen.store(true, Ordering::Relaxed);
        Ok(versions)
    }

    /// The newest version, which must be of use.
    fn current(&self, session: &Session) -> Result<(Version, Cipher), Fault> {
        let newest = self.versions(session)?.pop().ok_or_else(|| Kind::Internal.error("a key without versions"))?;
        let cipher = self.cipher()?;
        newest.check_wraps(cipher, &self.kek)?;
        if newest.is_extractable() && !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!("the key {} may be taken out of its token (CKA_EXTRACTABLE)", self.kek);
        }
        Ok((newest, cipher))
    }

    fn cipher(&self) -> Result<Cipher, Fault> {
        match self.mechanism {
            Pkcs11Mechanism::AesGcm => Ok(Cipher::Gcm),
            Pkcs11Mechanism::AesKwp => Ok(Cipher::Kwp),
            Pkcs11Mechanism::Auto => {
                let mechanisms = self.token.ask(|module, slot| module.get_mechanism_list(slot))??;
                let gcm = mechanisms.contains(&MechanismType::AES_GCM);
                Ok(if gcm { Cipher::Gcm } else { Cipher::Kwp })
            }
        }
    }

    fn generate(&self, session: &Session, after: Option<&Version>) -> Result<KeyVersion, Fault> {
        key::generate(session, &self.label, self.cipher()?, after)?;
        let newest = self.versions(session)?.pop().ok_or_else(|| Kind::Internal.error("a key without versions"))?;
        Ok(newest.describe())
    }

    fn wrap(&self, session: &Session, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey, Fault> {
        let (version, cipher) = self.current(session)?;
        let bytes = cipher.wrap(session, version.handle, plaintext, context)?;
        Ok(WrappedKey { kek: self.kek.clone(), version: version.id(), bytes })
    }

    fn unwrap(&self, session: &Session, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret, Fault> {
        let cipher = Cipher::of(&wrapped.bytes).ok_or_else(|| self.refused())?;
        let version = self.version(session, &wrapped.version)?;
        if !version.opens() {
            return Err(key::disabled(&self.kek, &wrapped.version).into());
        }
        match cipher.unwrap(session, version.handle, &wrapped.bytes, context) {
            Err(fault) if fault.refuses_the_wrapped_key() => Err(self.refused().into()),
            // Is it the token that fails, or only this wrapped key?
            Err(fault) if fault.says_nothing() => match self.round_trip(session, &version, cipher) {
                Ok(()) => Err(self.refused().into()),
                Err(_) => Err(fault),
            },
            outcome => outcome,
        }
    }

    fn version(&self, session: &Session, id: &str) -> Result<Version, Fault> {
        let found = self.versions(session)?.into_iter().find(|version| version.id() == id);
        Ok(found.ok_or_else(|| {
            Kind::KeyVersionNotFound.error(format_args!(
                "key '{}' has no version '{}' on this token: was it deleted, or is this another token of the same label?",
                self.kek,
                id.escape_debug()
            ))
        })?)
    }

    /// Wraps and unwraps what is of no worth.
    fn round_trip(&self, session: &Session, version: &Version, cipher: Cipher) -> Result<(), Fault> {
        let canary = Canary::new()?;
        let wrapped = cipher.wrap(session, version.handle, &canary.secret, &canary.context)?;
        let opened = cipher.unwrap(session, version.handle, &wrapped, &canary.context)?;
        if canary.is(&opened) { Ok(()) } else { Err(self.broken().into()) }
    }

    fn set_enabled(&self, session: &Session, id: &str, enabled: bool) -> Result<(), Fault> {
        let version = self.version(session, id)?;
        let newest = self.versions(session)?.pop();
        if !enabled && newest.is_some_and(|newest| newest.id() == id) {
            return Err(Kind::Unsupported
                .error(format_args!("version {id} of key '{}' is the current one: rotate first", self.kek))
                .into());
        }
        key::set_enabled(session, &version, self.cipher()?, enabled)
    }

    fn refused(&self) -> Error {
        Kind::WrappedKey.error(format_args!(
            "key '{}' refuses the wrapped data key: it is damaged, or was wrapped for another tenant or encryption context",
            self.kek
        ))
    }

    fn broken(&self) -> Error {
        Kind::Internal.error(format_args!("key '{}' does not unwrap what it wrapped", self.kek))
    }
}

#[async_trait]
impl KmsClient for Pkcs11Client {
    fn provider(&self) -> &str {
        "pkcs11"
    }

    fn key_id(&self) -> &str {
        &self.key.kek
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        let plaintext = Secret::take(&mut plaintext.expose().to_vec())?;
        let context = context.clone();
        self.run(Access::Read, move |key, session| key.wrap(session, &plaintext, &context)).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        let (wrapped, context) = (wrapped.clone(), context.clone());
        self.run(Access::Read, move |key, session| key.unwrap(session, &wrapped, &context)).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.run(Access::Read, |key, session| Ok(key.current(session)?.0.describe())).await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.run(Access::Read, |key, session| Ok(key.versions(session)?.iter().map(Version::describe).collect())).await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        // A second attempt, after a session was lost, could make a second version: it is the current one then.
        self.run(Access::Write, |key, session| {
            let newest = key.versions(session)?.pop();
            key.generate(session, newest.as_ref())
        })
        .await
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let version = version.to_owned();
        self.run(Access::Write, move |key, session| key.set_enabled(session, &version, enabled)).await
    }

    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        self.run(Access::Write, |key, session| {
            // The oldest first: what a failure leaves behind still wraps under the newest.
            for version in key.versions(session)? {
                session.destroy_object(version.handle)?;
            }
            Ok(Destruction::Done)
        })
        .await
    }

    async fn probe(&self) -> Vec<Probe> {
        let probe = |permission: &str, outcome| Probe::new(permission, outcome);
        let mut probes = vec![probe("C_Login", self.run(Access::Read, |_, _| Ok(())).await)];
        if probes.iter().all(|probe| probe.outcome.is_ok()) {
            let found = self.run(Access::Read, |key, session| key.versions(session).map(drop)).await;
            let used = self.run(Access::Read, |key, session| {
                let (version, cipher) = key.current(session)?;
                key.round_trip(session, &version, cipher)
            });
            probes.push(probe("C_FindObjects", found));
            probes.push(probe("C_Encrypt and C_Decrypt, or C_WrapKey and C_UnwrapKey", used.await));
        }
        probes
    }
}

impl fmt::Debug for Pkcs11Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Client({})", self.key.kek)
    }
}

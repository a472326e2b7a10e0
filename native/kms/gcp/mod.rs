//! Google Cloud KMS, over its REST interface: https://cloud.google.com/kms/docs/reference/rest.
//!
//! The context goes along as additional authenticated data in its canonical encoding; every field that matters is
//! guarded by a CRC-32C both ways. A data key is drawn here, because the service draws none.

mod crc32c;
mod errors;
mod name;
mod resources;
mod session;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::Method;

use crate::config::{GcpKmsConfig, KmsTransport};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::timestamp::rfc3339;
use crate::kms::{Canary, Destruction, KeySpec, KeyVersion, KmsClient, Need, Probe, WrappedKey};
use crate::secret::Secret;

use errors::Operation;
use name::{KeyName, is_version_id};
use resources::{Body, CryptoKey, CryptoKeyVersion, Decrypted, Encrypted, Granted, VersionPage, sealed_request};
use session::Session;

/// A new primary version reaches every server of Google within this time (https://cloud.google.com/kms/docs/consistency).
const PRIMARY_SETTLES_IN: Duration = Duration::from_secs(3 * 3600);

/// Pages of versions are read up to this many; a key that is rotated hourly for ten years has fewer.
const MOST_PAGES: usize = 500;

/// The states of a version that is gone, or will be.
const ENDING: [&str; 2] = ["DESTROY_SCHEDULED", "DESTROYED"];
/// How often versions are looked for that are not.
const MOST_LOOKS: usize = 5;

/// One key of Google Cloud KMS.
#[derive(Clone)]
pub struct GcpKmsClient {
    session: Session,
    /// The version that this client made the primary one, until every server of Google knows.
    rotated: Arc<Mutex<Option<(String, Instant)>>>,
}

impl GcpKmsClient {
    /// A client that has not called yet. What can be seen wrong in the configuration is an error that names its option.
    pub fn new(config: &GcpKmsConfig, transport: &KmsTransport) -> Result<GcpKmsClient> {
        Ok(GcpKmsClient { session: Session::new(config, transport)?, rotated: Arc::default() })
    }

    /// Another key, of any ring, through the same connections and tokens.
    pub fn with_key(&self, config: &GcpKmsConfig) -> Result<GcpKmsClient> {
        Ok(GcpKmsClient { session: self.session.with_key(config)?, rotated: Arc::default() })
    }

    fn key(&self) -> &KeyName {
        self.session.key()
    }

    async fn wrap(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        const OPERATION: Operation = Operation::Encrypt;
        let pinned = self.rotated_lately();
        let tail = match &pinned {
            Some(version) => format!("/cryptoKeyVersions/{version}:encrypt"),
            None => ":encrypt".to_owned(),
        };
        let body = sealed_request("plaintext", plaintext.expose(), &context.encode());
        let answer = self.session.post(OPERATION, &tail, &body).await.inspect_err(|error| {
            if pinned.is_some() && !error.may_pass() {
                *self.rotated.lock() = None;
            }
        })?;
        let encrypted: Encrypted =
            serde_json::from_slice(&answer.body).map_err(|_| self.session.nonsense(OPERATION, "no wrapped key"))?;
        let arrived = encrypted.verified_plaintext_crc32c && encrypted.verified_additional_authenticated_data_crc32c;
        if !arrived || encrypted.ciphertext_crc32c != Some(crc32c::crc32c(&encrypted.ciphertext)) {
            return Err(self.session.nonsense(OPERATION, "a wrong or missing checksum"));
        }
        let version = self.key().version_id(&encrypted.name);
        let version = version.ok_or_else(|| self.session.nonsense(OPERATION, "the name of another key"))?;
        Ok(WrappedKey { kek: self.key_id().to_owned(), version: version.to_owned(), bytes: encrypted.ciphertext })
    }

    fn rotated_lately(&self) -> Option<String> {
        let rotated = self.rotated.lock();
        rotated.as_ref().filter(|(_, at)| at.elapsed() < PRIMARY_SETTLES_IN).map(|(version, _)| version.clone())
    }

    async fn read_key(&self) -> Result<CryptoKey> {
        let key: CryptoKey = self.session.get(Operation::GetKey, "", &[]).await?;
        if key.purpose != "ENCRYPT_DECRYPT" {
            return Err(Kind::Config.error(format_args!(
                "{} has the purpose {}; choose a key with the purpose ENCRYPT_DECRYPT (kms.gcp.key-name)",
                self.key(),
                key.purpose.escape_debug()
            )));
        }
        Ok(key)
    }

    fn describe(&self, operation: Operation, version: &CryptoKeyVersion) -> Result<KeyVersion> {
        let id = self.key().version_id(&version.name);
        let id = id.ok_or_else(|| self.session.nonsense(operation, "the name of another key"))?;
        let created_at = rfc3339(&version.create_time);
        Ok(KeyVersion {
            id: id.to_owned(),
            created_at: created_at.ok_or_else(|| self.session.nonsense(operation, "no time of creation"))?,
            enabled: version.state == "ENABLED",
        })
    }

    /// Every version, whatever its state.
    async fn list(&self) -> Result<Vec<CryptoKeyVersion>> {
        const OPERATION: Operation = Operation::ListVersions;
        let (mut versions, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let query = [("pageSize", "200"), ("pageToken", token.as_str())];
            let page: VersionPage = self.session.get(OPERATION, "/cryptoKeyVersions", &query).await?;
            versions.extend(page.crypto_key_versions);
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(versions);
            }
        }
        Err(self.session.nonsense(OPERATION, "pages without an end"))
    }

    /// Schedules every version for destruction, the primary one last, and looks whether a rotation has made another one
    /// meanwhile. The time of the last one's end.
    async fn destroy_versions(&self) -> Result<Option<SystemTime>> {
        let primary = self.read_key().await?.primary.map(|primary| primary.name);
        for _ in 0..MOST_LOOKS {
            let mut versions = self.list().await?;
            if versions.iter().all(|version| ENDING.contains(&version.state.as_str())) {
                return Ok(versions.iter().filter_map(|version| rfc3339(&version.destroy_time)).max());
            }
            versions.retain(|version| !ENDING.contains(&version.state.as_str()));
            versions.sort_by_key(|version| Some(&version.name) == primary.as_ref());
            for version in &versions {
                let id = self.describe(Operation::ListVersions, version)?.id;
                let tail = format!("/cryptoKeyVersions/{id}:destroy");
                let _changed: CryptoKeyVersion =
                    self.session.send(Operation::Destroy, Method::POST, &tail, &[], &Body::Empty {}).await?;
            }
        }
        Err(Kind::KmsUnavailable.error(format_args!("{} gets new versions while it is destroyed", self.key())))
    }

    /// Wraps and unwraps for real; what came of each.
    async fn try_out(&self) -> (Result<()>, Option<Result<()>>) {
        let round_trip = async {
            let context = Canary::context()?;
            let (secret, wrapped) = self.generate_data_key(KeySpec::Aes256, &context).await?;
            Ok((context, secret, wrapped))
        };
        let (context, secret, wrapped) = match round_trip.await {
            Ok(made) => made,
            Err(error) => return (Err(error), None),
        };
        let opened = self
            .decrypt(&wrapped, &context)
            .await
            .and_then(|opened| if opened.expose() == secret.expose() { Ok(()) } else { Err(self.broken()) });
        (Ok(()), Some(opened))
    }

    /// Whether the caller has these permissions, by the service's own account.
    async fn granted(&self, operations: &[Operation]) -> Vec<Result<()>> {
        let asked: Vec<&str> = operations.iter().map(|operation| operation.permission()).collect();
        let body = Body::Permissions { permissions: &asked };
        let answer = self.session.send(Operation::TestPermissions, Method::POST, ":testIamPermissions", &[], &body);
        let answer: Result<Granted> = answer.await;
        let outcome = |permission: &&str| match &answer {
            Ok(granted) if granted.permissions.iter().any(|one| one == permission) => Ok(()),
            Ok(_) => Err(Kind::AccessDenied.error(format_args!(
                "the caller has no permission {permission} on {}; grant it on the key, and check the key's name",
                self.key()
            ))),
            Err(error) => Err(error.clone()),
        };
        asked.iter().map(outcome).collect()
    }

    fn broken(&self) -> Error {
        Kind::Internal.error(format_args!("{} does not unwrap what it wrapped", self.key()))
    }
}

#[async_trait]
impl KmsClient for GcpKmsClient {
    fn provider(&self) -> &str {
        "gcp"
    }

    fn key_id(&self) -> &str {
        self.key().as_str()
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.wrap(plaintext, context).await
    }

    /// The wrapped key finds its version by itself.
    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        const OPERATION: Operation = Operation::Decrypt;
        let body = sealed_request("ciphertext", &wrapped.bytes, &context.encode());
        let answer = self.session.post(OPERATION, ":decrypt", &body).await?;
        let decrypted: Decrypted<'_> =
            serde_json::from_slice(&answer.body).map_err(|_| self.session.nonsense(OPERATION, "no data key"))?;
        let plaintext = decrypted.checked();
        let mut plaintext = plaintext.ok_or_else(|| self.session.nonsense(OPERATION, "a wrong or missing checksum"))?;
        Secret::take(&mut plaintext).map_err(|error| {
            Kind::WrappedKey.error(format_args!("what {} unwrapped is no data key: {error}", self.key()))
        })
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        match self.read_key().await?.primary {
            Some(primary) => self.describe(Operation::GetKey, &primary),
            None => Err(Kind::KeyVersionNotFound
                .error(format_args!("{} has no primary version: make one, for example by rotating it", self.key()))),
        }
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        let listed = self.list().await?;
        let versions = listed.iter().map(|version| self.describe(Operation::ListVersions, version));
        let mut versions = versions.collect::<Result<Vec<_>>>()?;
        // The service orders them by name, 10 before 2.
        versions.sort_by_key(|version| (version.created_at, version.id.len(), version.id.clone()));
        Ok(versions)
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        let (create, set) = (Operation::CreateVersion, Operation::SetPrimary);
        self.read_key().await?;
        let made: CryptoKeyVersion =
            self.session.send(create, Method::POST, "/cryptoKeyVersions", &[], &Body::Empty {}).await?;
        let version = self.describe(create, &made)?;
        if !version.enabled {
            return Err(Kind::KmsUnavailable.error(format_args!(
                "the new version {} of {} is not usable yet, its state is {}; version before it stays the primary one",
                version.id,
                self.key(),
                made.state.escape_debug()
            )));
        }
        let body = Body::Primary { crypto_key_version_id: &version.id };
        let key: Result<CryptoKey> = self.session.send(set, Method::POST, ":updatePrimaryVersion", &[], &body).await;
        key.map_err(|error| {
            error.at(format_args!("the new version {} is made, but is not the primary one", version.id))
        })?;
        *self.rotated.lock() = Some((version.id.clone(), Instant::now()));
        Ok(version)
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        let key = self.read_key().await?;
        key.rotation_period
            .map(|text| period(&text).ok_or_else(|| self.session.nonsense(Operation::GetKey, "no period of rotation")))
            .transpose()
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        if !is_version_id(version) {
            let version = version.escape_debug();
            return Err(Kind::KeyVersionNotFound.error(format_args!("{} has no version '{version}'", self.key())));
        }
        let body = Body::State { state: if enabled { "ENABLED" } else { "DISABLED" } };
        let tail = format!("/cryptoKeyVersions/{version}");
        let query = [("updateMask", "state")];
        let _changed: CryptoKeyVersion =
            self.session.send(Operation::SetState, Method::PATCH, &tail, &query, &body).await?;
        Ok(())
    }

    /// After the time that the key itself has been given (`destroyScheduledDuration`), which no call can change.
    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        let at = self.destroy_versions().await?;
        *self.rotated.lock() = None;
        let undo = format!("gcloud kms keys versions restore, then enable, for each version of {}", self.key());
        Ok(at.map_or(Destruction::Done, |at| Destruction::Scheduled { at: Some(at), undo }))
    }

    async fn probe(&self) -> Vec<Probe> {
        let named = |operation: Operation, outcome| {
            let need = match operation {
                Operation::Encrypt | Operation::Decrypt => Need::Data,
                Operation::GetKey
                | Operation::ListVersions
                | Operation::CreateVersion
                | Operation::SetPrimary
                | Operation::SetState
                | Operation::Destroy
                | Operation::TestPermissions => Need::Care,
            };
            Probe::new(operation.permission(), outcome).needed_for(need)
        };
        let (wrapped, unwrapped) = self.try_out().await;
        let mut asked = vec![Operation::CreateVersion, Operation::SetPrimary];
        if unwrapped.is_none() {
            asked.insert(0, Operation::Decrypt);
        }
        let mut probes = vec![named(Operation::Encrypt, wrapped)];
        probes.extend(unwrapped.map(|outcome| named(Operation::Decrypt, outcome)));
        probes.push(named(Operation::GetKey, self.current_key_version().await.map(drop)));
        probes.push(named(Operation::ListVersions, self.key_versions().await.map(drop)));
        let granted = self.granted(&asked).await;
        probes.extend(asked.into_iter().zip(granted).map(|(operation, outcome)| named(operation, outcome)));
        probes
    }
}

/// A Duration of protobuf in JSON, such as `7776000s` or `7776000.500s`; the fraction does not matter.
fn period(text: &str) -> Option<Duration> {
    let seconds = text.strip_suffix('s')?;
    let whole = seconds.split_once('.').map_or(seconds, |(whole, _)| whole);
    whole.parse().ok().map(Duration::from_secs)
}

impl fmt::Debug for GcpKmsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GcpKmsClient({}, {})", self.session.endpoint(), self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_as_protobuf_writes_them() {
        for (text, seconds) in [("7776000s", Some(7_776_000)), ("86400.500s", Some(86_400)), ("90d", None), ("s", None)]
        {
            assert_eq!(period(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}

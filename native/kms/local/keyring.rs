//! The keyring: named keys, each with its versions, in one JSON file.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Kind, Result};
use crate::kms::KeyVersion;
use crate::kms::local::passphrase::{Passphrase, Stretching};
use crate::kms::local::{aead, file};
use crate::secret::Secret;

const FORMAT: &str = "sealpoint-keyring";
const FORMAT_VERSION: u32 = 1;
const KEY_LEN: usize = 32;
const CHECK_LEN: usize = 8;
const MAX_KEYS: usize = 1_000;
const MAX_VERSIONS: usize = 1_000;
const MAX_NAME: usize = 128;

/// The keys of a keyring file, unlocked.
#[derive(Debug)]
pub struct Keyring {
    stretching: Option<Stretching>,
    keys: Vec<Key>,
}

/// A named key-encryption key.
#[derive(Debug)]
pub struct Key {
    name: String,
    versions: Vec<Version>,
}

/// One version of a key. Versions count from 1; the last one is the current one.
#[derive(Debug)]
pub struct Version {
    id: u32,
    created_at_ms: u64,
    enabled: bool,
    material: Secret,
}

impl Keyring {
    /// A keyring of one fresh key.
    pub fn new(key: &str, with_passphrase: bool, now: SystemTime) -> Result<Keyring> {
        let stretching = with_passphrase.then(Stretching::recommended).transpose()?;
        let mut keyring = Keyring { stretching, keys: Vec::new() };
        keyring.add(key, now)?;
        Ok(keyring)
    }

    /// Its keys, in the order of the file.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// True if the key material is sealed by a passphrase.
    pub fn has_passphrase(&self) -> bool {
        self.stretching.is_some()
    }

    /// Adds a fresh key.
    pub fn add(&mut self, name: &str, now: SystemTime) -> Result<&Key> {
        check_name(name).map_err(|reason| Kind::InvalidArgument.error(reason))?;
        if self.keys.iter().any(|key| key.name == name) {
            return Err(Kind::InvalidArgument.error(format_args!("there is a key '{name}' already")));
        }
        if self.keys.len() == MAX_KEYS {
            return Err(Kind::InvalidArgument.error(format_args!("a keyring holds at most {MAX_KEYS} keys")));
        }
        let mut key = Key { name: name.to_owned(), versions: Vec::new() };
        key.rotate(now)?;
        Ok(self.keys.push_mut(key))
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Result<&Key> {
        self.keys.iter().find(|key| key.name == name).ok_or_else(|| self.no_key(name))
    }

    /// The key of this name, to change it.
    pub fn key_mut(&mut self, name: &str) -> Result<&mut Key> {
        match self.keys.iter().position(|key| key.name == name) {
            Some(index) => Ok(&mut self.keys[index]),
            None => Err(self.no_key(name)),
        }
    }

    /// Removes the key with all its versions.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let before = self.keys.len();
        self.keys.retain(|key| key.name != name);
        if self.keys.len() == before { Err(self.no_key(name)) } else { Ok(()) }
    }

    fn no_key(&self, name: &str) -> Error {
        let known: Vec<_> = self.keys.iter().map(|key| format!("'{}'", key.name)).collect();
        let known =
            if known.is_empty() { "and no other either".to_owned() } else { format!("only {}", known.join(", ")) };
        Kind::KeyNotFound.error(format_args!("there is no key '{name}', {known}"))
    }
}

impl Key {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its versions, oldest first.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The version that wraps.
    pub fn current(&self) -> Result<&Version> {
        let last = self
            .versions
            .last()
            .ok_or_else(|| Kind::Keyring.error(format_args!("key '{}' has no version", self.name)))?;
        self.enabled(last)
    }

    /// The version of this name, if it may still unwrap.
    pub fn usable(&self, id: &str) -> Result<&Version> {
        let known = self.versions.iter().find(|version| version.id.to_string() == id);
        self.enabled(known.ok_or_else(|| self.no_version(id))?)
    }

    /// Makes a fresh version the current one.
    pub fn rotate(&mut self, now: SystemTime) -> Result<&Version> {
        if self.versions.len() == MAX_VERSIONS {
            return Err(Kind::InvalidArgument
                .error(format_args!("key '{}' has {MAX_VERSIONS} versions, the most there can be", self.name)));
        }
        let id = self.versions.last().map_or(0, |last| last.id) + 1;
        let version = Version { id, created_at_ms: millis(now)?, enabled: true, material: Secret::random(KEY_LEN)? };
        Ok(self.versions.push_mut(version))
    }

    /// Disables a version, or enables it again. The current one cannot be disabled: rotate first.
    pub fn set_enabled(&mut self, id: u32, enabled: bool) -> Result<()> {
        let last = self.versions.last().map(|last| last.id);
        let no_version = self.no_version(&id.to_string());
        let version = self.versions.iter_mut().find(|version| version.id == id).ok_or(no_version)?;
        if !enabled && last == Some(id) {
            return Err(Kind::InvalidArgument.error(format_args!(
                "version {id} is the current one of key '{}': run `sealpoint keyring rotate` first",
                self.name
            )));
        }
        version.enabled = enabled;
        Ok(())
    }

    fn enabled<'v>(&self, version: &'v Version) -> Result<&'v Version> {
        if version.enabled {
            return Ok(version);
        }
        Err(Kind::KeyDisabled.error(format_args!(
            "key '{}' version {} is disabled: `sealpoint keyring enable` enables it again",
            self.name, version.id
        )))
    }

    fn no_version(&self, id: &str) -> Error {
        let last = self.versions.last().map_or(0, |last| last.id);
        let id: String = id.chars().take(20).flat_map(char::escape_debug).collect();
        Kind::KeyVersionNotFound.error(format_args!("key '{}' has no version '{}', only 1 to {last}", self.name, id))
    }
}

impl Version {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Milliseconds since 1970 when it was made.
    pub fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    /// False once it is disabled.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// As the trait tells it.
    pub fn describe(&self) -> KeyVersion {
        KeyVersion {
            id: self.id.to_string(),
            created_at: UNIX_EPOCH + Duration::from_millis(self.created_at_ms),
            enabled: self.enabled,
        }
    }

    pub(super) fn material(&self) -> &Secret {
        &self.material
    }
}

/// Where a keyring is, and what unlocks it.
pub struct KeyringFile {
    path: PathBuf,
    passphrase: Option<Passphrase>,
}

impl KeyringFile {
    /// Reads the passphrase, if there is to be one, but not yet the keyring.
    pub fn new(path: &Path, passphrase_file: Option<&Path>) -> Result<KeyringFile> {
        let passphrase = passphrase_file.map(Passphrase::from_file).transpose()?;
        Ok(KeyringFile { path: path.to_owned(), passphrase })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new keyring of one key, under the passphrase if there is one; an existing file is never touched.
    pub fn create(&self, key: &str) -> Result<Keyring> {
        let _lock = file::lock(&self.path)?;
        if self.path.symlink_metadata().is_ok() {
            return Err(Kind::Keyring.error(format_args!(
                "{} exists already and is left as it is: choose another path, or see `sealpoint keyring show {}`",
                self.path.display(),
                self.path.display()
            )));
        }
        let keyring = Keyring::new(key, self.passphrase.is_some(), SystemTime::now())?;
        file::replace(&self.path, &self.write(&keyring)?)?;
        Ok(keyring)
    }

    /// Reads, checks and unlocks it.
    pub fn load(&self) -> Result<(file::Stamp, Keyring)> {
        let (stamp, bytes) = file::read(&self.path)?;
        Ok((stamp, self.parse(&bytes)?))
    }

    /// Which file is there now.
    pub fn stamp(&self) -> Result<file::Stamp> {
        file::stamp(&self.path)
    }

    /// Reads it, changes it and writes it, with no other process in between; nothing is written if the change fails.
    pub fn update<T>(&self, change: impl FnOnce(&mut Keyring) -> Result<T>) -> Result<T> {
        let _lock = file::lock(&self.path)?;
        let (_, mut keyring) = self.load()?;
        let result = change(&mut keyring).map_err(|error| self.at(error))?;
        file::replace(&self.path, &self.write(&keyring)?)?;
        Ok(result)
    }

    /// Puts the keys under the passphrase in another file, or under none. Every process that uses the keyring needs the new
    /// one from then on.
    pub fn change_passphrase(&self, passphrase_file: Option<&Path>) -> Result<()> {
        let new = KeyringFile::new(&self.path, passphrase_file)?;
        let _lock = file::lock(&self.path)?;
        let (_, mut keyring) = self.load()?;
        keyring.stretching = new.passphrase.is_some().then(Stretching::recommended).transpose()?;
        file::replace(&self.path, &new.write(&keyring)?)
    }

    /// The error, led by this file.
    pub fn at(&self, error: Error) -> Error {
        error.at(format_args!("keyring {}", self.path.display()))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Keyring> {
        // The parser's own text may quote a value, and the value may be a key that stands in the wrong place.
        let place = |error: serde_json::Error| format!("at line {}, column {}", error.line(), error.column());
        let file: FileForm = serde_json::from_slice(bytes).map_err(|error| self.damaged(&place(error)))?;
        file.check().map_err(|reason| self.damaged(&reason))?;
        let lock = self.lock_of(file.passphrase.as_ref())?;
        let mut keys = Vec::with_capacity(file.keys.len());
        for key in &file.keys {
            let versions = key.versions.iter().map(|version| self.unlock(&key.name, version, lock.as_ref()));
            keys.push(Key { name: key.name.clone(), versions: versions.collect::<Result<_>>()? });
        }
        Ok(Keyring { stretching: file.passphrase, keys })
    }

    fn write(&self, keyring: &Keyring) -> Result<Zeroizing<Vec<u8>>> {
        let lock = self.lock_of(keyring.stretching.as_ref())?;
        let mut keys = Vec::with_capacity(keyring.keys.len());
        for key in &keyring.keys {
            let mut versions = Vec::with_capacity(key.versions.len());
            for version in &key.versions {
                let label = label(&key.name, version.id, version.created_at_ms);
                let material = match &lock {
                    Some(lock) => STANDARD.encode(aead::seal(&lock.key, &lock.aad(&label), version.material.expose())?),
                    None => STANDARD.encode(version.material.expose()),
                };
                versions.push(VersionForm {
                    version: version.id,
                    created_at_ms: version.created_at_ms,
                    enabled: version.enabled,
                    material,
                    check: STANDARD.encode(check_value(&version.material, &label)),
                });
            }
            keys.push(KeyForm { name: key.name.clone(), versions });
        }
        let form = FileForm {
            format: FORMAT.to_owned(),
            version: FORMAT_VERSION,
            passphrase: keyring.stretching.clone(),
            keys,
        };
        let text = serde_json::to_vec_pretty(&form).map(Zeroizing::new);
        text.map_err(|error| Kind::Internal.error(format_args!("cannot encode the keyring: {error}")))
    }

    fn unlock(&self, key: &str, form: &VersionForm, lock: Option<&Lock>) -> Result<Version> {
        let label = label(key, form.version, form.created_at_ms);
        let mut bytes =
            Zeroizing::new(STANDARD.decode(&form.material).map_err(|_| self.damaged(&"a key is not base64"))?);
        let material = match lock {
            Some(lock) => aead::open(&lock.key, &lock.aad(&label), &bytes)?.ok_or_else(|| self.wrong_passphrase())?,
            None => Secret::take(&mut bytes).map_err(|_| self.damaged(&"a key is too long"))?,
        };
        let check = STANDARD.decode(&form.check).map_err(|_| self.damaged(&"a check value is not base64"))?;
        let same = constant_time::verify_slices_are_equal(&check, &check_value(&material, &label)).is_ok();
        if !same || material.expose().len() != KEY_LEN {
            return Err(self.damaged(&format_args!("key '{key}' version {} fails its check value", form.version)));
        }
        Ok(Version { id: form.version, created_at_ms: form.created_at_ms, enabled: form.enabled, material })
    }

    fn lock_of(&self, stretching: Option<&Stretching>) -> Result<Option<Lock>> {
        let shown = self.path.display();
        match (stretching, &self.passphrase) {
            (None, None) => Ok(None),
            (Some(stretching), Some(passphrase)) => {
                Ok(Some(Lock { key: passphrase.key(stretching)?, parameters: stretching.encode() }))
            }
            (Some(_), None) => Err(Kind::Keyring.error(format_args!(
                "keyring {shown} is protected by a passphrase: set kms.local.passphrase-file (on the command line, --passphrase-file)"
            ))),
            (None, Some(passphrase)) => Err(Kind::Keyring.error(format_args!(
                "keyring {shown} has no passphrase, but {} was given as its passphrase file: remove that setting",
                passphrase.file().display()
            ))),
        }
    }

    fn wrong_passphrase(&self) -> Error {
        let file = self.passphrase.as_ref().map_or(Path::new("-"), Passphrase::file);
        Kind::Keyring.error(format_args!(
            "the passphrase in {} does not open keyring {}: correct it (if it is right, the keyring was altered: restore it from a backup)",
            file.display(),
            self.path.display()
        ))
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> Error {
        Kind::Keyring.error(format_args!(
            "keyring {} is damaged ({reason}): restore it from a backup; nothing sealed under it can be opened without it",
            self.path.display()
        ))
    }
}

/// What seals key material.
struct Lock {
    key: std::sync::Arc<Secret>,
    parameters: Vec<u8>,
}

impl Lock {
    fn aad(&self, label: &[u8]) -> Vec<u8> {
        [label, &self.parameters].concat()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    format: String,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<Stretching>,
    keys: Vec<KeyForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyForm {
    name: String,
    versions: Vec<VersionForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionForm {
    version: u32,
    created_at_ms: u64,
    enabled: bool,
    /// Base64 of the key, sealed if there is a passphrase.
    material: String,
    /// Base64 of a few bytes that only the right key gives.
    check: String,
}

impl Drop for VersionForm {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

impl FileForm {
    fn check(&self) -> std::result::Result<(), String> {
        if self.format != FORMAT || self.version != FORMAT_VERSION {
            return Err(format!("it is not a {FORMAT} of version {FORMAT_VERSION}"));
        }
        self.passphrase.as_ref().map_or(Ok(()), Stretching::check)?;
        if self.keys.len() > MAX_KEYS {
            return Err(format!("it has {} keys, more than {MAX_KEYS}", self.keys.len()));
        }
        for (index, key) in self.keys.iter().enumerate() {
            check_name(&key.name)?;
            if self.keys[..index].iter().any(|other| other.name == key.name) {
                return Err(format!("it holds key '{}' twice", key.name));
            }
            let counted = key.versions.iter().zip(1..).all(|(version, number)| version.version == number);
            if key.versions.is_empty() || key.versions.len() > MAX_VERSIONS || !counted {
                return Err(format!("the versions of key '{}' do not count from 1", key.name));
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(|c: char| c.is_control()) {
        return Err(format!("a key's name has 1 to {MAX_NAME} bytes and no control characters"));
    }
    Ok(())
}

/// What a key's material is bound to: a version cannot pass for another, nor as older or younger than it is.
fn label(key: &str, version: u32, created_at_ms: u64) -> Vec<u8> {
    format!("sealpoint keyring 1\n{key}\n{version}\n{created_at_ms}\n").into_bytes()
}

fn check_value(material: &Secret, label: &[u8]) -> [u8; CHECK_LEN] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, material.expose()), label);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&tag.as_ref()[..CHECK_LEN]);
    check
}

fn millis(time: SystemTime) -> Result<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok());
    since.ok_or_else(|| Kind::Internal.error("this machine's clock stands before 1970"))
}

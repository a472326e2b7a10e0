//! A keyring's passphrase: stretched by Argon2id (RFC 9106) to the key that seals the key material.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Kind, Result};
use crate::secret::Secret;

const MAX_PASSPHRASE: usize = 4096;
/// Enough to tell that one is too long, with its newline.
const READ_AT_MOST: usize = MAX_PASSPHRASE + 3;
const SALT_LEN: usize = 16;

/// How a passphrase is stretched; stands in the keyring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretching {
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Stretching {
    /// The second recommended option of RFC 9106, section 4, and a fresh salt.
    pub fn recommended() -> Result<Stretching> {
        let mut salt = [0; SALT_LEN];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| Kind::Internal.error("the random generator failed"))?;
        let salt = STANDARD.encode(salt);
        Ok(Stretching { kdf: "argon2id".to_owned(), memory_kib: 64 * 1024, passes: 3, lanes: 4, salt })
    }

    /// Refuses what would be no protection, and what would take the machine down.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.kdf != "argon2id" {
            return Err(format!("the passphrase's kdf '{}' is unknown", self.kdf));
        }
        for (name, value, least, most) in [
            ("memory_kib", self.memory_kib, 8 * 1024, 1024 * 1024),
            ("passes", self.passes, 1, 16),
            ("lanes", self.lanes, 1, 16),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("the passphrase's {name} is {value}, not between {least} and {most}"));
            }
        }
        let salt = STANDARD.decode(&self.salt).map_err(|_| "the passphrase's salt is not base64".to_owned())?;
        if salt.len() == SALT_LEN { Ok(()) } else { Err(format!("the passphrase's salt has not {SALT_LEN} bytes")) }
    }

    /// The parameters as associated data: one reading for each set of them.
    pub fn encode(&self) -> Vec<u8> {
        format!("{}\n{}\n{}\n{}\n{}\n", self.kdf, self.memory_kib, self.passes, self.lanes, self.salt).into_bytes()
    }

    fn stretch(&self, passphrase: &[u8]) -> Result<Secret> {
        let failed = |what: &dyn std::fmt::Display| Kind::Keyring.error(format_args!("Argon2id failed: {what}"));
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|error| failed(&error))?;
        let salt = STANDARD.decode(&self.salt).map_err(|error| failed(&error))?;
        let mut key = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase, &salt, key.as_mut()).map_err(|error| failed(&error))?;
        Secret::take(key.as_mut())
    }
}

/// A passphrase, and the key it was last stretched to: stretching is slow on purpose, and a file is read often.
pub struct Passphrase {
    file: PathBuf,
    text: Zeroizing<Vec<u8>>,
    stretched: Mutex<Option<(Stretching, std::sync::Arc<Secret>)>>,
}

impl Passphrase {
    /// Reads it from a file; one newline at its end is not part of it.
    pub fn from_file(path: &Path) -> Result<Passphrase> {
        let bad = |what: &dyn std::fmt::Display| {
            Kind::Keyring.error(format_args!("the passphrase file {}: {what}", path.display()))
        };
        let mut text = Zeroizing::new(Vec::with_capacity(READ_AT_MOST));
        let file = fs::File::open(path).map_err(|error| bad(&error))?;
        file.take(READ_AT_MOST as u64).read_to_end(&mut text).map_err(|error| bad(&error))?;
        // Not refused: Kubernetes mounts its secrets so by default.
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            log::warn!("the passphrase file {0} may be read by others: run `chmod 600 {0}`", path.display());
        }
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        match text.len() {
            0 => Err(bad(&"it is empty")),
            1..=MAX_PASSPHRASE => Ok(Passphrase { file: path.to_owned(), text, stretched: Mutex::new(None) }),
            _ => Err(bad(&format_args!("it has more than {MAX_PASSPHRASE} bytes"))),
        }
    }

    /// Where it came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The key that it stretches to.
    pub fn key(&self, stretching: &Stretching) -> Result<std::sync::Arc<Secret>> {
        let mut stretched = self.stretched.lock();
        if let Some((known, key)) = stretched.as_ref()
            && known == stretching
        {
            return Ok(std::sync::Arc::clone(key));
        }
        let key = std::sync::Arc::new(stretching.stretch(&self.text)?);
        *stretched = Some((stretching.clone(), std::sync::Arc::clone(&key)));
        Ok(key)
    }
}

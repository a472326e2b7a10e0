//! A keyring's passphrase: stretched by Argon2id (RFC 9106) to the key that seals the key material.

use std::collections::TryReserveError;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Kind, Result};
use crate::kms::local::file;
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
        // From what is left in the work area the key can be computed: it is wiped.
        let mut memory = work_area(params.block_count()).map_err(|error| failed(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let stretched = argon2.hash_password_into_with_memory(passphrase, &salt, key.as_mut(), &mut memory[..]);
        stretched.map_err(|error| failed(&error))?;
        Secret::take(key.as_mut())
    }
}

fn work_area(blocks: usize) -> std::result::Result<Zeroizing<Box<[Block]>>, TryReserveError> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks)?;
    memory.resize(blocks, Block::default());
    Ok(Zeroizing::new(memory.into_boxed_slice()))
}

/// A passphrase, and the key it was last stretched to: stretching is slow on purpose, and a file is read often.
pub struct Passphrase {
    file: PathBuf,
    text: Zeroizing<Vec<u8>>,
    stretched: Mutex<Option<(Stretching, std::sync::Arc<Secret>)>>,
}

impl Passphrase {
    /// Reads it from a file that nobody else may read, but see [`check`]; one newline at its end is not part of it.
    pub fn from_file(path: &Path) -> Result<Passphrase> {
        let bad = |what: &dyn std::fmt::Display| {
            Kind::Keyring.error(format_args!("the passphrase file {}: {what}", path.display()))
        };
        let mut text = Zeroizing::new(Vec::with_capacity(READ_AT_MOST));
        let file = fs::File::open(path).map_err(|error| bad(&error))?;
        let metadata = file.metadata().map_err(|error| bad(&error))?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        check(path, owner, mode, file::effective_user()?).map_err(|reason| bad(&reason))?;
        file.take(READ_AT_MOST as u64).read_to_end(&mut text).map_err(|error| bad(&error))?;
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

/// Refuses a file of another user than this one or root, and one that others may read, or anybody else write. A group
/// may read what belongs to root: so Kubernetes hands a secret to a process that is not root (`fsGroup`). Links are
/// followed, for that is how it mounts secrets; what counts is the file behind them.
fn check(path: &Path, owner: u32, mode: u32, user: u32) -> std::result::Result<(), String> {
    const ROOT: u32 = 0;
    if owner != user && owner != ROOT {
        return Err(format!(
            "it belongs to user {owner}, but this process runs as user {user}: run `chown {user} {}`",
            path.display()
        ));
    }
    let forbidden = if owner == ROOT { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(format!(
            "it may be read or written by others (mode {mode:04o}): run `chmod 600 {}` (a Kubernetes secret: set defaultMode: 0400 and fsGroup)",
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_user_and_root_may_own_it_and_nobody_else_read_it_but_a_group_of_roots() {
        let check = |owner, mode, user| check(Path::new("/run/secrets/p"), owner, mode, user);
        for (owner, mode, user) in
            [(9999, 0o600, 9999), (9999, 0o400, 9999), (0, 0o400, 0), (0, 0o440, 9999), (0, 0o640, 0)]
        {
            assert_eq!(check(owner, mode, user), Ok(()), "{mode:o} of {owner} for {user}");
        }
        for (owner, mode, user) in [
            (9999, 0o640, 9999),
            (9999, 0o604, 9999),
            (9999, 0o620, 9999),
            (0, 0o644, 9999),
            (0, 0o444, 0),
            (0, 0o460, 9999),
            (0, 0o442, 0),
        ] {
            let refused = check(owner, mode, user).unwrap_err();
            assert!(refused.contains("chmod 600 /run/secrets/p") && refused.contains("fsGroup"), "{refused}");
        }
        let refused = check(1000, 0o600, 9999).unwrap_err();
        assert!(refused.contains("chown 9999 /run/secrets/p"), "{refused}");
        assert!(check(1000, 0o600, 0).is_err(), "nor does root take what a user can change");
    }
}

//! A data key with everything that a new file needs of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::envelope::{DataKeyId, Slot};
use crate::secret::Secret;

/// The bytes of a data key.
pub const LEN: usize = 32;

/// A data key: wiped on drop, never printed, never copied.
pub struct DataKey {
    id: DataKeyId,
    secret: Arc<Secret>,
    slots: Vec<u8>,
    wrapped_by: Vec<Kek>,
    born: Born,
    sealed: Arc<Sealed>,
}

/// What was sealed under a data key, by whichever of its slots.
#[derive(Debug, Default)]
struct Sealed {
    files: AtomicU64,
    bytes: AtomicU64,
}

/// A key-encryption key that wraps a data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kek {
    pub provider: String,
    pub name: String,
    pub version: String,
}

impl DataKey {
    /// A key of which it is known how it is wrapped: `section` is the encoding of `slots`.
    pub(super) fn new(id: DataKeyId, secret: Arc<Secret>, slots: &[Slot], section: Vec<u8>, born: Born) -> DataKey {
        DataKey { id, secret, slots: section, wrapped_by: keks(slots), born, sealed: Arc::default() }
    }

    /// The same key in other slots, of which `section` is the encoding. What was sealed under either counts for both.
    pub(super) fn in_slots(&self, slots: &[Slot], section: Vec<u8>) -> DataKey {
        let (secret, sealed) = (Arc::clone(&self.secret), Arc::clone(&self.sealed));
        DataKey { id: self.id, secret, slots: section, wrapped_by: keks(slots), born: self.born, sealed }
    }

    /// Its identity.
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// The key itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The key itself, for a task that may outlive this.
    pub(super) fn shared_secret(&self) -> Arc<Secret> {
        Arc::clone(&self.secret)
    }

    /// Its slots section, ready for any head under it.
    pub fn slots(&self) -> &[u8] {
        &self.slots
    }

    /// When it was drawn, or unwrapped by this process: milliseconds since 1970.
    pub fn created_at_ms(&self) -> u64 {
        self.born.wall_ms
    }

    /// The key-encryption keys that wrap it.
    pub(super) fn wrapped_by(&self) -> &[Kek] {
        &self.wrapped_by
    }

    /// True if a key-encryption key that wraps both has another version here.
    pub(super) fn rotated_since(&self, other: &DataKey) -> bool {
        let rotated =
            |kek: &Kek, old: &Kek| kek.provider == old.provider && kek.name == old.name && kek.version != old.version;
        self.wrapped_by.iter().any(|kek| other.wrapped_by.iter().any(|old| rotated(kek, old)))
    }

    /// Counts what was sealed under it, against the bounds.
    pub fn count(&self, files: u64, bytes: u64) {
        self.sealed.files.fetch_add(files, Relaxed);
        self.sealed.bytes.fetch_add(bytes, Relaxed);
    }

    /// Files sealed under it so far.
    pub fn files(&self) -> u64 {
        self.sealed.files.load(Relaxed)
    }

    /// Plaintext bytes sealed under it so far.
    pub fn bytes(&self) -> u64 {
        self.sealed.bytes.load(Relaxed)
    }

    /// By the ring's clock, when it was drawn.
    pub(super) fn drawn(&self) -> Duration {
        self.born.elapsed
    }
}

fn keks(slots: &[Slot]) -> Vec<Kek> {
    let kek =
        |slot: &Slot| Kek { provider: slot.provider.clone(), name: slot.kek.clone(), version: slot.version.clone() };
    slots.iter().map(kek).collect()
}

/// A moment, by both readings of a clock.
#[derive(Debug, Clone, Copy)]
pub struct Born {
    pub wall_ms: u64,
    pub elapsed: Duration,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

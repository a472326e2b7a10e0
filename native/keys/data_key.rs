//! A data key with everything that a new file needs of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::envelope::{DataKeyId, Slot};
use crate::secret::Secret;

/// The bytes of a data key.
pub const LEN: usize = 32;

/// A data key: wiped on drop, never printed, never copied.
pub struct DataKey {
    id: DataKeyId,
    secret: Secret,
    slots: Vec<u8>,
    versions: Vec<String>,
    created_at_ms: u64,
    drawn: Duration,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl DataKey {
    /// A key of which it is known how it is wrapped: `section` is the encoding of `slots`.
    pub(super) fn new(id: DataKeyId, secret: Secret, slots: &[Slot], section: Vec<u8>, born: Born) -> DataKey {
        DataKey {
            id,
            secret,
            slots: section,
            versions: slots.iter().map(|slot| slot.version.clone()).collect(),
            created_at_ms: born.wall_ms,
            drawn: born.elapsed,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Its identity.
    pub fn id(&self) -> DataKeyId {
        self.id
    }

    /// The key itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Its slots section, ready for any head under it.
    pub fn slots(&self) -> &[u8] {
        &self.slots
    }

    /// When it was drawn, or unwrapped by this process: milliseconds since 1970.
    pub fn created_at_ms(&self) -> u64 {
        self.created_at_ms
    }

    /// The versions of the key-encryption keys that wrap it, one a slot.
    pub fn versions(&self) -> &[String] {
        &self.versions
    }

    /// Counts what was sealed under it, against the bounds.
    pub fn count(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Files sealed under it so far.
    pub fn files(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// Plaintext bytes sealed under it so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// By the ring's clock, when it was drawn.
    pub(super) fn drawn(&self) -> Duration {
        self.drawn
    }
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

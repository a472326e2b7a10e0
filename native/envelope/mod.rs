//! The sealed file format, version 1: bytes only, no I/O, no key service. `docs/FORMAT.md` is its normative text.
//!
//! ```text
//! file = head || frame* || end
//! head = prelude || bound || slots || salt || commitment
//! ```
//!
//! [`Head`] reads the head, [`slots`] the wrapped data keys in it, [`Sealer`] writes a file, [`Opener`] reads one in any
//! order, and [`sidecar`] holds wrapped keys that were renewed after the files were written.

mod bound;
mod bytes;
mod cbc_hmac;
mod data_key_id;
mod gcm;
mod head;
mod layout;
mod opener;
mod sealer;
pub mod sidecar;
pub mod slots;
mod suite;
mod waypoints;

pub use bound::Bound;
pub use data_key_id::DataKeyId;
pub use head::{Head, Parsed, VERSION as FORMAT_VERSION};
pub use layout::Layout;
pub use opener::{AtEof, Opened, Opener};
pub use sealer::{SealOptions, Sealer};
pub use slots::{Slot, encode_slots};
pub use waypoints::Waypoints;

/// The limits of the format. Readers check each before they allocate or compute with what a file claims.
pub mod limits {
    /// The smallest chunk, as a power of two: 4 KiB.
    pub const MIN_CHUNK_LOG2: u8 = 12;
    /// The largest chunk, as a power of two: 1 MiB.
    pub const MAX_CHUNK_LOG2: u8 = 20;
    /// The chunk size unless configured otherwise: 16 KiB.
    pub const DEFAULT_CHUNK_SIZE: u32 = 1 << 14;
    /// The longest bound section.
    pub const MAX_BOUND: usize = 16_384;
    /// The longest slots section, its count and mac included.
    pub const MAX_SLOTS: usize = 65_536;
    /// The most slots in a section.
    pub const MAX_SLOT_COUNT: usize = 8;
    /// The longest wrapped data key.
    pub const MAX_WRAPPED: usize = 8_192;
    /// The longest tenant, in bytes of UTF-8.
    pub const MAX_TENANT: usize = 128;
    /// The longest subject, in bytes of UTF-8.
    pub const MAX_SUBJECT: usize = 1_024;
    /// The most frames in a file.
    pub const MAX_FRAMES: u64 = (1 << 32) - 2;
    /// The longest plaintext of a file.
    pub const MAX_PLAINTEXT: u64 = (1 << 63) - 1;
    /// The longest sidecar file.
    pub const MAX_SIDECAR: usize = 16 << 20;
}

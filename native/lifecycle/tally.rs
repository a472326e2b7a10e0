//! How far an operation has come, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Files and bytes of plaintext, done and to be done. Any thread may read it while others work.
#[derive(Debug, Default)]
pub struct Tally {
    files: AtomicU64,
    of_files: AtomicU64,
    bytes: AtomicU64,
    of_bytes: AtomicU64,
}

/// What a [`Tally`] said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Files that are done.
    pub files: u64,
    /// Files altogether.
    pub of_files: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes altogether, as far as they are known.
    pub of_bytes: u64,
}

impl Tally {
    /// There is more to do.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.of_files.fetch_add(files, Relaxed);
        self.of_bytes.fetch_add(bytes, Relaxed);
    }

    /// A part of a file is done.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// A file is done.
    pub fn file(&self) {
        self.files.fetch_add(1, Relaxed);
    }

    /// How far it is.
    pub fn count(&self) -> Count {
        Count {
            files: self.files.load(Relaxed),
            of_files: self.of_files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            of_bytes: self.of_bytes.load(Relaxed),
        }
    }
}

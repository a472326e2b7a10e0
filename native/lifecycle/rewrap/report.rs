//! What came of a rewrap.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::Error;
use crate::keys::Wrapping;
use crate::lifecycle::Few;
use crate::store::Location;

/// What came of a rewrap, or would come of it. Data keys are counted once for each sidecar that they belong into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// True if nothing was to be written.
    pub dry_run: bool,
    /// Sealed files.
    pub sealed: u64,
    /// Files that are not sealed.
    pub plain: Few<Location>,
    /// Files that are being written, of which nothing can be read yet.
    pub unfinished: u64,
    /// Files that vanished between their listing and the read.
    pub gone: u64,
    /// Data keys that files are sealed under.
    pub data_keys: u64,
    /// Those that had to be wrapped anew, and were.
    pub renewed: u64,
    /// Those that were wrapped by the current versions already.
    pub current: u64,
    /// Those whose files were deleted meanwhile.
    pub vanished: u64,
    /// Entries of sidecars that no file needed any more.
    pub dropped: u64,
    /// Sidecars that were written.
    pub sidecars: Few<Location>,
    /// By what data keys were wrapped anew, and how many.
    pub versions: BTreeMap<Wrapping, u64>,
    /// What is worth knowing, and no failure.
    pub notes: Few<String>,
    /// What failed: files whose data key was not renewed, one for each data key, and whatever could not be read.
    pub failures: Few<Failure>,
}

/// One thing that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The file, or the directory.
    pub location: Location,
    /// How many files share it.
    pub files: u64,
    /// Why.
    pub error: Error,
}

impl Report {
    /// True if nothing failed.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// Data keys that had to be wrapped anew and were not.
    pub fn failed(&self) -> u64 {
        self.data_keys - self.renewed - self.current - self.vanished
    }

    /// For programs. Lists hold a thousand at most; the counts beside them are right.
    pub fn json(&self) -> Value {
        let versions = self.versions.iter().map(
            |(by, count)| json!({"provider": by.provider, "key": by.kek, "version": by.version, "data_keys": count}),
        );
        let failures = self.failures.first.iter().map(|failure| {
            json!({
                "location": failure.location.to_string(), "files": failure.files,
                "code": failure.error.code().0, "error": failure.error.message(),
            })
        });
        json!({
            "dry_run": self.dry_run,
            "files": {
                "sealed": self.sealed, "plain": self.plain.count, "unfinished": self.unfinished, "gone": self.gone,
            },
            "plain": uris(&self.plain),
            "data_keys": {
                "all": self.data_keys, "renewed": self.renewed, "current": self.current, "vanished": self.vanished,
                "failed": self.failed(),
            },
            "versions": versions.collect::<Vec<_>>(),
            "sidecars": uris(&self.sidecars),
            "sidecars_written": self.sidecars.count,
            "entries_dropped": self.dropped,
            "notes": self.notes.first,
            "failed": self.failures.count,
            "failures": failures.collect::<Vec<_>>(),
        })
    }
}

fn uris(list: &Few<Location>) -> Vec<String> {
    list.first.iter().map(Location::to_string).collect()
}

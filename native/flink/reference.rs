//! What `_metadata` says of a file.

use std::ops::Range;

/// A file, or a directory, that a checkpoint's `_metadata` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What is in it.
    pub role: Role,
    /// How much of it belongs to the checkpoint.
    pub extent: Extent,
    /// Where it is: relative to the directory of `_metadata` if [`relative`](Self::relative), else a path as Flink's
    /// `Path.toString` gives it, that is not percent-encoded.
    pub path: String,
    /// True for a `RelativeFileStateHandle`.
    pub relative: bool,
    /// Where the path stands in the bytes of `_metadata`, its two length bytes included.
    pub span: Range<u64>,
}

/// What kind of state a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Keyed state, managed or raw: key groups, the files of an incremental snapshot, materialised changelog state.
    Keyed,
    /// Operator state, managed or raw.
    Operator,
    /// Records in flight of an unaligned checkpoint.
    Channel,
    /// Changes that were not materialised (`ChangelogStateHandleStreamImpl`).
    Changelog,
    /// State of an operator's coordinator.
    Coordinator,
}

/// How much of a file belongs to the checkpoint, in bytes of plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it, and this is its length.
    Whole(u64),
    /// All of it, but the length that Flink recorded counts what was written before it was compressed, and leaves out
    /// the byte that says whether it was (`OutputStreamWithPos` of flink-dstl-dfs): it says nothing of the file.
    Unsized,
    /// A part of a file that Flink merged others into (`SegmentFileStateHandle`). Such a file may still be written.
    Segment {
        /// Where the part begins.
        start: u64,
        /// How long it is.
        length: u64,
    },
    /// No file but a directory that merged files lie in: Flink deletes it once the checkpoint is discarded.
    Directory,
}

impl Role {
    /// Its name in messages and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Role::Keyed => "keyed",
            Role::Operator => "operator",
            Role::Channel => "channel",
            Role::Changelog => "changelog",
            Role::Coordinator => "coordinator",
        }
    }
}

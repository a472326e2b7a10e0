//! Flink's `_metadata`: which files a checkpoint or savepoint consists of, and how to name others in their place. Bytes
//! only, no files are opened here.
//!
//! The format is that of `org.apache.flink.runtime.checkpoint.metadata` (its class `MetadataV2V3SerializerBase` and those
//! that extend it), versions 2 to 6: what Flink 1.20 and 2.x write and what they still read. All integers are big-endian,
//! as `java.io.DataOutput` writes them, and text is its modified UTF-8.
//!
//! The reader is told by nobody how long anything is: it passes over state in blocks, keeps one reference at a time, and
//! allocates nothing by a length that it read, so that `_metadata` of any size and of any origin can be given to it.

mod handles;
mod metadata;
mod names;
mod reference;
mod tape;
mod text;

pub use metadata::{METADATA, Summary, read, relocate};
pub use names::names_are_bound;
pub use reference::{Extent, Reference, Role};

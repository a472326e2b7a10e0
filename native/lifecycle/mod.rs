//! The life of a key beyond sealing and opening: what is sealed under which keys, and how that is changed.
//!
//! Everything here reads and writes through a [`Store`](crate::store::Store) and asks the key services through an engine.

pub mod checkpoint;
mod few;
pub mod kek;
pub mod manifest;
mod patience;
pub mod preflight;
pub mod problem;
pub mod progress;
pub mod reach;
pub mod recover;
pub mod reencrypt;
pub mod report;
pub mod retire;
pub mod rewrap;
pub mod sealed_file;
pub mod sealed_writer;
pub mod shred;
pub mod sidecars;
pub mod survey;
pub mod verify;

pub use few::Few;
pub use patience::PATIENCE;
pub use reach::Reach;

//! The life of a key beyond sealing and opening: what is sealed under which keys, and how that is changed.
//!
//! Everything here reads and writes through a [`Store`](crate::store::Store) and asks the key services through an engine.

pub mod survey;

//! Sealpoint: envelope encryption of everything Apache Flink persists.
//!
//! The modules point one way, from the outside in: `ffi`, `cli` -> `lifecycle` -> `store`, `stream` -> `engine` ->
//! `keys` -> `envelope`, `kms` -> `metrics`, `config`, `context`, `secret`, `clock`, `net`, `error`.
//! `tests/layering.rs` holds them to it.

#![deny(clippy::unwrap_used, clippy::panic)]

pub mod clock;
pub mod config;
pub mod context;
pub mod engine;
pub mod envelope;
pub mod error;
pub mod ffi;
pub mod flink;
pub mod keys;
pub mod kms;
pub mod lifecycle;
pub mod metrics;
#[cfg(feature = "tls")]
pub mod net;
pub mod secret;
pub mod store;
pub mod stream;

pub use error::{Code, Error, Result};

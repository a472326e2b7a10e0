//! The borders to C and to the JVM: two thin siblings over the same handles, and the only place with unsafe code
//! besides the module that locks memory.
//!
//! Rules that both keep: only `&T` is formed from a handle, mutation sits behind its lock; a panic ends at the border
//! as an error and poisons its handle; outputs are written only on success.
#![allow(unsafe_code)]

pub mod c;
mod handle;
pub mod jni;

pub use jni::abi_version as java_abi_version;

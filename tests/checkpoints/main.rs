//! Whole checkpoints: `sealpoint verify` names everything that is wrong with one and nothing else, and `sealpoint reencrypt`
//! gives the same state under new keys, however often it is broken off. What takes a fixture holds wherever the files lie.

mod bad_input;
#[path = "../elsewhere/mod.rs"]
mod elsewhere;
mod fixture;
mod manifest;
#[path = "../mounts/mod.rs"]
mod mounts;
mod recover;
mod reencrypt;
mod verify;
mod whole;

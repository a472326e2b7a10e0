//! `sealpoint report`, `retire` and `shred`: the proof that an old key can go, and that nothing goes without it.

#[path = "../elsewhere/mod.rs"]
mod elsewhere;
mod fixture;
mod report;
mod retire;
mod runbooks;
mod shred;
#[path = "../terminal/mod.rs"]
mod terminal;
mod typed;

//! `sealpoint report`, `retire` and `shred`: the proof that an old key can go, and that nothing goes without it.

mod fixture;
mod report;
mod retire;
mod runbooks;
mod shred;

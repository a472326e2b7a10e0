//! A whole checkpoint, with a file of each kind.

use sealpoint::engine::EncryptionEngine;

use super::fixture::{Fixture, Handle, plaintext};

pub const EXCLUSIVE: &str = "job/chk-5/00000000-0000-0000-0000-000000000001";
pub const OTHER: &str = "job/chk-5/00000000-0000-0000-0000-000000000002";
pub const SHARED: &str = "job/shared/00000000-0000-0000-0000-000000000003";
pub const MERGED: &str = "job/shared/job_1_op/00000000-0000-0000-0000-000000000004";
pub const CHANGES: &str = "dstl/00000000-0000-0000-0000-000000000005";

/// How long each of them is.
pub const FILES: [(&str, usize); 5] =
    [(EXCLUSIVE, 100_000), (OTHER, 100_000), (SHARED, 200_000), (MERGED, 50_000), (CHANGES, 3_000)];

/// A checkpoint with a file of each kind.
pub fn checkpoint(fixture: &Fixture) {
    let engine = fixture.engine();
    for (seed, (name, length)) in FILES.iter().enumerate() {
        fixture.seal(&engine, name, &plaintext(*length, seed));
    }
    describe(fixture, &engine);
}

/// Its metadata.
pub fn describe(fixture: &Fixture, engine: &EncryptionEngine) {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let handles = [
        Handle::Relative(name(EXCLUSIVE), 100_000),
        Handle::Relative(name(OTHER), 100_000),
        Handle::Absolute(fixture.uri(SHARED), 200_000),
        Handle::Segment(fixture.uri(MERGED), 10_000, 20_000),
        Handle::Segment(fixture.uri(MERGED), 0, 10_000),
        Handle::Changes(fixture.uri(CHANGES)),
        Handle::Directory(fixture.uri("job/shared/job_1_op")),
    ];
    fixture.metadata(engine, "job/chk-5", &handles);
}

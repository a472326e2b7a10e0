//! What tests/checkpoints says of checkpoints on disk, said of objects.

#![allow(dead_code, unused_imports, reason = "what is said of files only")]

use crate::elsewhere;
use crate::servers::Fixture as Place;

#[path = "../checkpoints/fixture.rs"]
mod fixture;
#[path = "../checkpoints/manifest.rs"]
mod manifest;
#[path = "../checkpoints/recover.rs"]
mod recover;
#[path = "../checkpoints/verify.rs"]
mod verify;
#[path = "../checkpoints/whole.rs"]
mod whole;

use fixture::Fixture;

pub fn what_is_wrong_with_a_checkpoint(place: &Place) {
    verify::harmed(&|| Fixture::elsewhere(place.elsewhere()));
}

pub fn replaced_file(place: &Place) {
    manifest::replaced(&Fixture::elsewhere(place.elsewhere()));
}

pub fn preflight_of_a_restore(place: &Place) {
    recover::restorable(&Fixture::elsewhere(place.elsewhere()));
}

pub fn compromised_key(place: &Place) {
    recover::compromised(&Fixture::elsewhere(place.elsewhere()));
}

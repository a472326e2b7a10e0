//! What tests/retirement says of files on disk, said of objects.

#![allow(dead_code, unused_imports, reason = "what is said of files only")]

use crate::elsewhere;
use crate::servers::Fixture as Place;

#[path = "../retirement/fixture.rs"]
mod fixture;
#[path = "../retirement/shred.rs"]
mod shred;

use fixture::Fixture;

pub fn shredded_tenant(place: &Place) {
    shred::shredded(&Fixture::elsewhere(place.elsewhere(), &shred::TENANTS));
}

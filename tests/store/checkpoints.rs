//! What tests/checkpoints says of checkpoints on disk, said of objects.

#![allow(dead_code, unused_imports, reason = "what is said of files only")]

use serde_json::json;

use crate::elsewhere;
use crate::proxy::Tls;
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

/// A store that gives back other bytes than were written: what was written is removed, and no checkpoint is there before
/// all of it is.
pub fn written_and_not_given_back(place: &Place) {
    let fixture = Fixture::elsewhere(place.elsewhere());
    whole::checkpoint(&fixture);
    let (route, options) = place.through(Tls::Good);
    let mut config = std::fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    config += &format!("store.ca-file = '{}'\n", options.ca_file.unwrap().display());
    std::fs::write(fixture.path("sealpoint.toml"), config).unwrap();
    let endpoint = options.endpoint.unwrap();
    let reencrypt = || {
        let mut command = fixture.command(&["reencrypt", "job/chk-5", "new/chk-5", "--threads", "1"]);
        let output = command.env(place.service.address_names[0], &endpoint).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let there = |name: &str| {
        place.runtime.block_on(place.store().stat(&place.root.join(&format!("new/chk-5/{name}")))).unwrap().is_some()
    };
    let exclusive = whole::EXCLUSIVE.rsplit('/').next().unwrap();
    for name in [exclusive, "_metadata"] {
        let read = format!("/new/chk-5/{name}");
        route.inject_into(&format!("GET {}{read}", path_of(place)), 1, json!({"flip": true}));
        let (code, said) = reencrypt();
        assert_eq!(code, Some(1), "{said}");
        for words in [read.as_str(), "gives back other bytes than were written", "run the same again"] {
            assert!(said.contains(words), "{words} in {said}");
        }
        assert!(!there(name) && !there("_metadata"), "{said}");
    }
    let (code, said) = reencrypt();
    assert!(code == Some(0) && there("_metadata"), "{said}");
    assert_eq!(fixture.json(&["verify", "new/chk-5"]).0, Some(0));
}

/// Of the place in requests.
fn path_of(place: &Place) -> String {
    format!("/{}/{}", place.root.authority(), place.root.key())
}

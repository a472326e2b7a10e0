//! A tenant's keys are destroyed only after its name was given, and nobody else's with them.

use std::fs;

use super::fixture::{Fixture, metadata};

pub const TENANTS: [&str; 3] = ["common", "a", "b"];

fn fixture() -> Fixture {
    let fixture = Fixture::new(&TENANTS);
    seal(&fixture);
    fixture
}

/// A checkpoint of each tenant.
fn seal(fixture: &Fixture) {
    let engine = fixture.engine();
    for tenant in TENANTS {
        fixture.seal(&engine, &format!("{tenant}/chk-1/f"), b"state");
        let file = fixture.place(&format!("{tenant}/chk-1/f"));
        let scheme = if file.starts_with('/') { "sealed+file:" } else { "sealed+" };
        fixture.seal(&engine, &format!("{tenant}/chk-1/_metadata"), &metadata(&[format!("{scheme}{file}")]));
    }
}

fn opens(fixture: &Fixture, tenant: &str) -> bool {
    fixture.run(&["verify", &fixture.place(&format!("{tenant}/chk-1"))]).code == 0
}

#[test]
fn a_tenants_keys_are_destroyed_once_its_name_was_given_and_no_others() {
    shredded(&Fixture::new(&TENANTS));
}

/// Wherever the files of these tenants lie: the default one, `a` and `b`.
pub fn shredded(fixture: &Fixture) {
    seal(fixture);
    let place = fixture.place("");
    let shred = |more: &[&str]| fixture.run(&[&["shred", "--tenant", "a", &place], more].concat());
    let ran = shred(&["--dry-run"]).ended(0, &["becomes unreadable, for good", "1 checkpoints and savepoints"]);
    assert!(ran.out.contains("/a/chk-1") && !ran.out.contains("/b/chk-1"), "{ran:#?}");
    shred(&[]).ended(2, &["--confirm 'a'"]);
    shred(&["--confirm", "b"]).ended(2, &["nothing was done"]);
    assert!(opens(fixture, "a") && opens(fixture, "b") && fixture.has_key("a"));
    shred(&["--confirm", "a"]).ended(0, &["key local 'key-of-a' is destroyed"]);
    assert!(!fixture.has_key("a") && fixture.has_key("b") && fixture.has_key("common"));
    // The configuration names a key that is gone, which every process says.
    fixture.run(&["verify", &fixture.place("b/chk-1")]).ended(1, &["there is no key 'key-of-a'"]);
}

#[test]
fn a_key_that_serves_others_too_is_not_destroyed() {
    let fixture = Fixture::new(&["common", "a"]);
    let engine = fixture.engine();
    fixture.seal(&engine, "common/f", b"state");
    fixture.seal(&engine, "a/f", b"state");
    let place = fixture.place("");
    // By the configuration: a fallback that all have in common.
    let config = std::fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    let own = config.replace("tenants.a.key = 'key-of-a'", "tenants.a.key = 'key-of-common'");
    std::fs::write(fixture.path("sealpoint.toml"), &own).unwrap();
    for tenant in ["a", "common"] {
        let ran = fixture.run(&["shred", "--tenant", tenant, "--confirm", tenant, &place]);
        ran.ended(1, &["cannot be destroyed", "is configured with it"]);
    }
    // By what lies there: the other one's files were sealed under it before.
    fixture.seal(&fixture.engine(), "a/g", b"state");
    std::fs::write(fixture.path("sealpoint.toml"), &config).unwrap();
    let ran = fixture.run(&["shred", "--tenant", "common", "--confirm", "common", &place]);
    ran.ended(1, &["cannot be destroyed", "tenant 'a' has files under it"]);
    assert!(fixture.has_key("common") && fixture.has_key("a"));
    // The other way round it may go, but what is under the key that stays opens still.
    let ran = fixture.run(&["shred", "--tenant", "a", "--confirm", "a", &place]);
    ran.ended(3, &["which stay, and open them still", "key local 'key-of-a' is destroyed"]);
}

#[test]
fn what_could_not_be_looked_into_is_counted_for_people_and_programs() {
    let fixture = fixture();
    let sealed = fs::read(fixture.store().join("a/chk-1/f")).unwrap();
    let (mut foreign, mut malformed) = (sealed.clone(), sealed);
    (foreign[8], malformed[10]) = (9, 1);
    for (name, bytes) in [("foreign", &foreign[..]), ("malformed", &malformed), (".sealpoint-keys", b"no sidecar")] {
        fs::write(fixture.store().join("a/chk-1").join(name), bytes).unwrap();
    }
    let shred = |more: &[&str]| fixture.run(&[&["shred", "--tenant", "a", &fixture.place("")], more].concat());
    let json = shred(&["--dry-run", "--json"]).ended(0, &[]).json();
    assert_eq!((&json["not_looked_into"], &json["outcomes"]), (&3.into(), &serde_json::json!([])), "{json}");
    shred(&["--dry-run"]).ended(0, &["3 files, directories or sidecars could not be looked into"]);
    assert!(fixture.has_key("a"));
    let json = shred(&["--confirm", "a", "--json"]).ended(0, &[]).json();
    assert_eq!((&json["not_looked_into"], &json["outcomes"][0]["destroyed"]), (&3.into(), &true.into()), "{json}");
}

#[test]
fn what_cannot_be_shredded_is_said_with_the_reason() {
    let fixture = fixture();
    let shred = |tenant: &str, place: &str| fixture.run(&["shred", "--tenant", tenant, "--confirm", tenant, place]);
    shred("c", &fixture.place("")).ended(2, &["there is no tenant 'c'", "common"]);
    shred("a", &fixture.place("nowhere")).ended(1, &["there is no file at or below it"]);
    let ran = shred("a", &fixture.place("b"));
    ran.ended(0, &["no file of tenant 'a' lies here", "is destroyed"]);
}

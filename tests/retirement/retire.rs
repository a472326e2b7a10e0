//! A version is disabled only if nobody needs it, and that can be taken back.

use std::io::{BufRead, BufReader};
use std::time::Instant;

use sealpoint::lifecycle::kek::State;
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::report::{self, Options};
use sealpoint::lifecycle::retire::Candidate;
use sealpoint::store::Location;

use crate::fixture::{Fixture, key_of};

const NAME: &str = "key-of-common@1";

/// A file under the first version, and a second version.
fn fixture() -> Fixture {
    let fixture = Fixture::new(&["common"]);
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fixture.rotate("common");
    fixture
}

fn rewrap(fixture: &Fixture) {
    let folder = fixture.store().join("common");
    fixture.rewrap(&fixture.engine(), &folder, &[folder.join("f")]);
}

#[test]
fn a_version_that_is_needed_stays_and_one_that_nobody_needs_is_disabled_and_can_be_enabled_again() {
    let fixture = fixture();
    let place = fixture.place("");
    fixture.run(&["retire", "--settle", "0 s", NAME, &place]).ended(3, &["is needed by 1 files", "stays enabled"]);
    assert!(fixture.is_enabled("common", 1));
    rewrap(&fixture);
    let ran = fixture.run(&["retire", "--settle", "0 s", "--dry-run", NAME, &place]);
    ran.ended(0, &["would be disabled"]);
    assert!(fixture.is_enabled("common", 1));
    let ran = fixture.run(&["retire", "--settle", "0 s", NAME, &place]);
    ran.ended(0, &["nobody needs", "is disabled", "retire --undo key-of-common@1"]);
    assert!(!fixture.is_enabled("common", 1));
    // By the sidecar.
    fixture.run(&["open", "--verify", &fixture.place("common/f")]).ended(0, &["verified"]);
    fixture.run(&["report", "--needs", NAME, &place]).ended(0, &["disabled", "nobody needs"]);
    fixture.run(&["retire", "--settle", "0 s", NAME, &place]).ended(0, &["is disabled already"]);
    fixture.run(&["retire", "--undo", NAME]).ended(0, &["is enabled"]);
    assert!(fixture.is_enabled("common", 1));
}

#[test]
fn the_current_version_is_never_retired_not_even_by_force() {
    let fixture = fixture();
    let (place, name) = (fixture.place(""), "key-of-common@2");
    for more in [&[][..], &["--force", "--confirm", name]] {
        let ran = fixture.run(&[&["retire", "--settle", "0 s", name, &place], more].concat());
        ran.ended(3, &["is the current version", "rotate first"]);
    }
    assert!(fixture.is_enabled("common", 2));
}

#[test]
fn force_takes_the_name_once_more() {
    let fixture = fixture();
    let place = fixture.place("");
    fixture.run(&["retire", "--force", NAME, &place]).ended(2, &["--confirm 'key-of-common@1'"]);
    let ran = fixture.run(&["retire", "--force", "--confirm", "key-of-common@2", NAME, &place]);
    ran.ended(2, &["nothing was done"]);
    fixture.run(&["retire", "--confirm", NAME, NAME, &place]).ended(2, &["--force"]);
    assert!(fixture.is_enabled("common", 1));
    let ran = fixture.run(&["retire", "--force", "--confirm", NAME, NAME, &place]);
    ran.ended(0, &["is needed by 1 files", "is disabled"]);
    assert!(!fixture.is_enabled("common", 1));
    fixture.run(&["open", "--verify", &fixture.place("common/f")]).ended(1, &["is disabled"]);
    fixture.run(&["retire", "--undo", NAME]).ended(0, &[]);
    fixture.run(&["open", "--verify", &fixture.place("common/f")]).ended(0, &["verified"]);
}

#[test]
fn a_checkpoint_that_ran_meanwhile_is_seen_by_the_second_look() {
    let fixture = Fixture::new(&["common"]);
    let before = fixture.engine();
    fixture.seal(&before, "common/f", b"state");
    let rotated = Instant::now();
    fixture.rotate("common");
    rewrap(&fixture);
    let place = fixture.place("");
    let ran = fixture.run(&["retire", "--dry-run", "--json", NAME, &place]).ended(0, &[]);
    assert_eq!(ran.json()["state"], "waiting", "for twice data-key.max-age, from the rotation on");
    // The settle time counts from the rotation: however slow the machine was so far, 20 s are left.
    let settle = format!("{} s", rotated.elapsed().as_secs() + 20);
    let mut retiring = fixture.command(&["retire", "--settle", &settle, NAME, &place]).spawn().unwrap();
    let mut said = BufReader::new(retiring.stderr.take().unwrap()).lines();
    let waits = said.any(|line| line.unwrap().contains("waiting, then looking again"));
    assert!(waits, "it says so");
    // This process has not heard of the rotation yet; its file is in another folder than the sidecar.
    fixture.seal(&before, "later/f", b"state");
    assert_eq!(retiring.wait().unwrap().code(), Some(3));
    assert!(fixture.is_enabled("common", 1));
}

#[test]
fn what_cannot_be_retired_is_said_with_the_reason() {
    let fixture = fixture();
    let place = fixture.place("");
    let retire = |name: &str, place: &str| fixture.run(&["retire", "--settle", "0 s", name, place]);
    retire("key-of-common@9", &place).ended(1, &["has no version '9'"]);
    retire("key-of-common", &place).ended(2, &["which version?"]);
    retire("other@1", &place).ended(1, &["no configured key service has a key 'other'", &key_of("common")]);
    retire(NAME, &fixture.place("nowhere")).ended(1, &["there is no file at or below it"]);
    fixture.run(&["retire", NAME]).ended(2, &["<URI>"]);
    fixture.run(&["retire", "--undo", "key-of-common@9"]).ended(1, &["has no version '9'"]);
    retire(NAME, "s4://bucket/x").ended(2, &["did you mean s3?"]);
    std::fs::create_dir(fixture.store().join("plain")).unwrap();
    std::fs::write(fixture.store().join("plain/f"), "in clear").unwrap();
    retire(NAME, &fixture.place("plain")).ended(1, &["none of its 1 files is sealed"]);
    rewrap(&fixture);
    let mut newer = std::fs::read(fixture.store().join("common/f")).unwrap();
    newer[8] = 9;
    std::fs::write(fixture.store().join("common/newer"), newer).unwrap();
    retire(NAME, &place).ended(3, &["cannot be said", "stays enabled"]);
    assert!(fixture.is_enabled("common", 1));
}

#[test]
fn a_file_that_is_being_written_counts_as_far_as_it_says_what_it_needs() {
    let fixture = fixture();
    let (place, whole) = (fixture.place(""), std::fs::read(fixture.store().join("common/f")).unwrap());
    rewrap(&fixture);
    // Its head is there, in a folder without a sidecar.
    std::fs::create_dir(fixture.store().join("new")).unwrap();
    let begun = fixture.store().join("new/begun");
    std::fs::write(&begun, &whole[..whole.len() - 1]).unwrap();
    fixture.run(&["retire", "--settle", "0 s", NAME, &place]).ended(3, &["new/begun", "is needed by 1 files"]);
    // What has no whole head yet is said; past the settle time it is under another version.
    std::fs::write(&begun, &whole[..30]).unwrap();
    fixture.run(&["retire", "--settle", "0 s", NAME, &place]).ended(0, &["1 files end in their head", "is disabled"]);
}

#[test]
fn of_two_key_services_with_a_key_of_one_name_none_is_taken_for_the_other() {
    let fixture = fixture();
    std::fs::copy(fixture.path("keyring"), fixture.path("other")).unwrap();
    let other = fixture.path("other").display().to_string();
    fixture.configure(&format!(
        "kms.fallbacks = 'other'\nkms.fallback.other.local.keyring = '{other}'\nkms.fallback.other.local.key = 'key-of-common'\n"
    ));
    let ran = fixture.run(&["retire", "--force", "--confirm", NAME, NAME, &fixture.place("")]);
    ran.ended(2, &["two key services have a key 'key-of-common'"]);
    assert!(fixture.is_enabled("common", 1));
}

#[test]
fn of_two_versions_that_are_retired_at_once_each_because_of_the_other_one_stays() {
    let fixture = Fixture::new(&["common", "other"]);
    let config = format!(
        "kms.provider = 'local'\nkms.local.keyring = '{}'\nkms.local.key = '{}'\n\
         kms.fallbacks = 'second'\nkms.require = 'all'\nkms.fallback.second.local.key = '{}'\n",
        fixture.path("keyring").display(),
        key_of("common"),
        key_of("other")
    );
    std::fs::write(fixture.path("sealpoint.toml"), config).unwrap();
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fixture.rotate("common");
    fixture.rotate("other");
    let place = fixture.place("common");
    // One has looked: the file opens by the other version.
    let engine = fixture.engine();
    let candidate = Candidate::find(&engine, &NAME.parse().unwrap()).unwrap();
    let options = Options { needs: Some(candidate.name.clone()), ..Options::default() };
    let roots = [Location::parse(&place).unwrap()];
    let report = report::report(&engine, &roots, &options, &Progress::default(), |_| Ok(())).unwrap();
    assert!(report.needs.as_ref().unwrap().nobody() && !report.is_partial());
    // Then somebody retires that one, counting on the first.
    fixture.run(&["retire", "--settle", "0 s", "key-of-other@1", &place]).ended(0, &["is disabled"]);
    let relied_on = candidate.disable(&engine, &report).unwrap().expect("it is told");
    let (wrapping, state) = relied_on;
    assert_eq!((wrapping.kek.as_str(), wrapping.version.as_str(), state), ("key-of-other", "1", State::Disabled));
    assert!(fixture.is_enabled("common", 1) && !fixture.is_enabled("other", 1));
    fixture.run(&["open", "--verify", &fixture.place("common/f")]).ended(0, &["verified"]);
    fixture.run(&["retire", "--settle", "0 s", NAME, &place]).ended(3, &["is needed by 1 files"]);
    // Once nothing has changed meanwhile, it is disabled.
    rewrap(&fixture);
    let engine = fixture.engine();
    let candidate = Candidate::find(&engine, &NAME.parse().unwrap()).unwrap();
    let report = report::report(&engine, &roots, &options, &Progress::default(), |_| Ok(())).unwrap();
    assert_eq!(candidate.disable(&engine, &report).unwrap(), None);
    assert!(!fixture.is_enabled("common", 1));
}

#[test]
fn a_version_whose_stand_in_does_not_answer_the_second_time_stays() {
    let fixture = Fixture::new(&["common"]);
    std::fs::copy(fixture.path("keyring"), fixture.path("other")).unwrap();
    let other = fixture.path("other").display().to_string();
    fixture.run(&["keyring", "add", &other, "--key", "stand-in"]).ended(0, &[]);
    fixture.configure(&format!(
        "kms.fallbacks = 'other'\nkms.require = 'all'\nkms.fallback.other.local.keyring = '{other}'\nkms.fallback.other.local.key = 'stand-in'\n"
    ));
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fixture.rotate("common");
    let engine = fixture.engine();
    let candidate = Candidate::find(&engine, &NAME.parse().unwrap()).unwrap();
    let options = Options { needs: Some(candidate.name.clone()), ..Options::default() };
    let roots = [Location::parse(&fixture.place("common")).unwrap()];
    let report = report::report(&engine, &roots, &options, &Progress::default(), |_| Ok(())).unwrap();
    assert!(report.needs.as_ref().unwrap().nobody() && !report.is_partial());
    std::fs::rename(&other, fixture.path("away")).unwrap();
    let (wrapping, state) = candidate.disable(&engine, &report).unwrap().expect("it is told");
    assert_eq!((wrapping.kek.as_str(), state), ("stand-in", State::Unknown));
    assert!(fixture.is_enabled("common", 1));
}

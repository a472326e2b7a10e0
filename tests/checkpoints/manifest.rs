//! The manifest of a checkpoint: whole files of the right name that are not the right ones.

use std::fs;

use serde_json::json;

use super::fixture::{Fixture, plaintext, problems};
use super::whole::{EXCLUSIVE, MERGED, SHARED, checkpoint, describe};

const MANIFEST: &str = "job/chk-5/.sealpoint-manifest";

fn with_manifest() -> Fixture {
    let fixture = Fixture::new();
    write_manifest(&fixture);
    fixture
}

fn write_manifest(fixture: &Fixture) {
    checkpoint(fixture);
    let (code, report) = fixture.json(&["verify", "--write-manifest", "job/chk-5"]);
    assert_eq!((code, &report["checkpoints"][0]["manifest"]), (Some(0), &json!(true)), "{report}");
}

#[test]
fn a_file_replaced_by_another_of_its_name_is_named() {
    replaced(&Fixture::new());
}

pub fn replaced(fixture: &Fixture) {
    write_manifest(fixture);
    let (code, report) = fixture.json(&["verify", "--require-manifest", "job/chk-5"]);
    assert_eq!((code, &report["unreferenced"]), (Some(0), &json!([])), "{report}");
    // The same tenant, the same name, the same length, and nothing else to tell them apart by.
    fixture.seal(&fixture.engine(), SHARED, &plaintext(200_000, 99));
    for options in [&[][..], &["--quick"]] {
        let (code, report) = fixture.json(&[&["verify", "job/chk-5"], options].concat());
        assert_eq!((code, problems(&report)), (Some(3), vec!["replaced".to_owned()]), "{report}");
        let message = report["checkpoints"][0]["problems"][0]["message"].as_str().unwrap();
        assert!(message.contains(SHARED), "{message}");
    }
    fs::remove_file(fixture.path(MANIFEST)).unwrap();
    assert_eq!(fixture.json(&["verify", "job/chk-5"]).0, Some(0), "what a manifest is for");
}

#[test]
fn metadata_rolled_back_to_older_ones_are_named() {
    let fixture = with_manifest();
    describe(&fixture, &fixture.engine());
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["replaced".to_owned()]), "{report}");
}

#[test]
fn rewrapped_keys_and_a_moved_directory_leave_a_manifest_right() {
    let fixture = with_manifest();
    fixture.keyring(&["rotate"]);
    let (code, out, err) = fixture.run(&["rewrap", "job", "dstl"]);
    assert_eq!(code, Some(0), "{out} {err}");
    let (code, report) = fixture.json(&["verify", "--require-manifest", "job/chk-5"]);
    assert_eq!(code, Some(0), "{report}");
    fs::create_dir_all(fixture.path("elsewhere")).unwrap();
    fs::rename(fixture.path("job/chk-5"), fixture.path("elsewhere/chk-5")).unwrap();
    let (code, report) = fixture.json(&["verify", "--require-manifest", "elsewhere/chk-5"]);
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn a_manifest_is_rewrapped_with_the_files_and_keeps_an_old_version_from_being_retired_before() {
    let fixture = with_manifest();
    fixture.keyring(&["rotate"]);
    // The manifest alone is left under the first version: nothing else may decide.
    let job = fixture.path("job");
    fs::create_dir_all(fixture.path("alone/chk-5")).unwrap();
    fs::copy(job.join("chk-5/.sealpoint-manifest"), fixture.path("alone/chk-5/.sealpoint-manifest")).unwrap();
    let (code, out, err) = fixture.run(&["report", "--needs", "sealpoint@1", "alone"]);
    assert_eq!(code, Some(3), "{out} {err}");
    let (code, out, err) = fixture.run(&["rewrap", "job", "dstl", "alone"]);
    assert_eq!(code, Some(0), "{out} {err}");
    let (code, out, err) = fixture.run(&["retire", "--settle", "0 s", "sealpoint@1", "job", "dstl", "alone"]);
    assert_eq!(code, Some(0), "{out} {err}");
    let (code, report) = fixture.json(&["verify", "--require-manifest", "job/chk-5"]);
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn a_file_that_still_grew_may_have_become_longer_and_not_shorter() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let whole = fs::read(fixture.path(MERGED)).unwrap();
    let head = whole.len() - 36 - 50_000 - 4 * 20;
    fixture.write(MERGED, &whole[..head + 2 * (16_384 + 20) + 100]);
    assert_eq!(fixture.json(&["verify", "--write-manifest", "job/chk-5"]).0, Some(0));
    fixture.write(MERGED, &whole);
    assert_eq!(fixture.json(&["verify", "job/chk-5"]).0, Some(0));
    fixture.write(MERGED, &whole[..head + 2 * (16_384 + 20)]);
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["replaced".to_owned()]), "{report}");
}

#[test]
fn a_manifest_of_somebody_elses_or_of_another_checkpoint_is_not_believed() {
    let fixture = with_manifest();
    let good = fs::read(fixture.path(MANIFEST)).unwrap();
    let stranger = Fixture::new();
    let mut damaged = good.clone();
    let middle = damaged.len() - 100;
    damaged[middle] ^= 1;
    for (bytes, problem) in [
        (stranger.sealed(&stranger.engine(), MANIFEST, b"SEALMAN\n\x01\0\0\0\0\0\0\0\0\0\0\0"), "key"),
        (fixture.sealed(&fixture.engine(), EXCLUSIVE, b"SEALMAN\n\x01\0\0\0\0\0\0\0\0\0\0\0"), "swapped"),
        (fixture.engine().encrypt("", b"SEALMAN\n\x01\0\0\0\0\0\0\0\0\0\0\0").unwrap(), "swapped"),
        (damaged, "damaged"),
        (b"in the clear".to_vec(), "plaintext"),
    ] {
        fixture.write(MANIFEST, &bytes);
        let (code, report) = fixture.json(&["verify", "job/chk-5"]);
        assert_eq!((code, problems(&report)), (Some(3), vec![problem.to_owned()]), "{report}");
    }
    fixture.write(MANIFEST, &good);
    assert_eq!(fixture.json(&["verify", "job/chk-5"]).0, Some(0));
}

#[test]
fn a_checkpoint_that_is_not_whole_is_given_none() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fs::remove_file(fixture.path(SHARED)).unwrap();
    assert_eq!(fixture.json(&["verify", "--write-manifest", "job/chk-5"]).0, Some(3));
    assert!(!fixture.path(MANIFEST).exists());
    let (_, report) = fixture.json(&["verify", "--require-manifest", "job/chk-5"]);
    assert_eq!(problems(&report), ["missing", "missing"], "{report}");
}

//! The manifest of a checkpoint: whole files of the right name that are not the right ones.

use std::fs;

use serde_json::{Value, json};

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
fn a_restore_that_the_jobmanager_would_refuse_by_its_manifest_is_not_said_to_work() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let config = fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    let preflight = |policy: &str| {
        fs::write(fixture.path("sealpoint.toml"), format!("{config}checkpoint.manifest = '{policy}'\n")).unwrap();
        let (code, report) = fixture.json(&["preflight", "--savepoint", "job/chk-5"]);
        assert_eq!(report["clear"], json!(code == Some(0)), "{report}");
        let problems = report["problems"].as_array().unwrap().iter();
        let text = |problem: &Value, field: &str| problem[field].as_str().unwrap().to_owned();
        (code, problems.map(|problem| (text(problem, "problem"), text(problem, "message"))).collect::<Vec<_>>())
    };
    let works = (Some(0), Vec::new());
    let refused = |(code, problems): (Option<i32>, Vec<(String, String)>), what: &str, words: &str| {
        let as_told = problems.len() == 1 && problems[0].0 == what && problems[0].1.contains(words);
        assert!(code == Some(3) && as_told, "{what}: {code:?} {problems:?}");
    };
    // Without one.
    assert_eq!(preflight("none"), works);
    assert_eq!(preflight("write"), works);
    refused(preflight("require"), "missing", "chk-5/.sealpoint-manifest: there is no manifest, and one is required");
    let (code, out, _) = fixture.run(&["preflight", "--savepoint", "job/chk-5"]);
    assert!(code == Some(3) && out.ends_with("the restore would not work\n"), "{code:?} {out}");
    // With the right one.
    assert_eq!(fixture.json(&["verify", "--write-manifest", "job/chk-5"]).0, Some(0));
    let manifest = fs::read(fixture.path(MANIFEST)).unwrap();
    for policy in ["none", "write", "require"] {
        assert_eq!(preflight(policy), works, "{policy}");
    }
    // With one that cannot be believed.
    fixture.write(MANIFEST, &manifest[..manifest.len() - 1]);
    assert_eq!(preflight("none"), works);
    refused(preflight("write"), "truncated", MANIFEST);
    fixture.write(MANIFEST, &manifest);
    // A file of another length than it was: what is wrong inside shows once it is read.
    let whole = fs::read(fixture.path(EXCLUSIVE)).unwrap();
    fixture.write(EXCLUSIVE, &[&whole[..], b"x"].concat());
    assert_eq!(preflight("none"), works);
    refused(preflight("write"), "replaced", EXCLUSIVE);
    fixture.write(EXCLUSIVE, &whole);
    // A file, and then the metadata, replaced by others of their names.
    fixture.seal(&fixture.engine(), SHARED, &plaintext(200_000, 99));
    assert_eq!(preflight("none"), works);
    for policy in ["write", "require"] {
        refused(preflight(policy), "replaced", SHARED);
    }
    fs::remove_file(fixture.path(MANIFEST)).unwrap();
    write_manifest(&fixture);
    describe(&fixture, &fixture.engine());
    assert_eq!(preflight("none"), works);
    refused(preflight("write"), "replaced", "_metadata");
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

//! `sealpoint reencrypt`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::json;

use super::fixture::{CLI, Fixture, Handle, plaintext};
use super::whole::{CHANGES, EXCLUSIVE, FILES, MERGED, OTHER, SHARED, checkpoint};

/// Where the files of the checkpoint go.
fn moved(fixture: &Fixture) -> BTreeMap<&'static str, String> {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    [
        (EXCLUSIVE, format!("new/chk-5/{}", name(EXCLUSIVE))),
        (OTHER, format!("new/chk-5/{}", name(OTHER))),
        (SHARED, format!("new/chk-5/shared/{}", name(SHARED))),
        (MERGED, format!("new/chk-5/shared/job_1_op/{}", name(MERGED))),
        (CHANGES, format!("new/chk-5/elsewhere{}", fixture.path(CHANGES).display())),
    ]
    .into()
}

fn check_result(fixture: &Fixture) {
    let engine = fixture.engine();
    for (seed, (old, length)) in FILES.iter().enumerate() {
        let new = &moved(fixture)[old];
        assert!(fixture.open(&engine, new) == plaintext(*length, seed), "{new}");
        assert_ne!(fixture.data_key(new).0, fixture.data_key(old).0);
    }
    let (code, report) = fixture.json(&["verify", "new/chk-5"]);
    assert_eq!((code, &report["unreferenced"]), (Some(0), &json!([])), "{report}");
    assert_eq!(fixture.files("new").len(), FILES.len() + 1, "{:?}", fixture.files("new"));
}

#[test]
fn the_same_state_is_under_new_keys_and_needs_nothing_of_the_old_place() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.seal(&fixture.engine(), "job/chk-5/00000000-0000-0000-0000-000000000099", b"of nobody");
    let before = fixture.files("job");
    let (code, report) = fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
    assert_eq!((code, &report["written"]), (Some(0), &json!(6)), "{report}");
    assert_eq!(report["left_out"].as_array().unwrap().len(), 1);
    assert_eq!(fixture.files("job"), before);
    check_result(&fixture);
    fs::rename(fixture.path("job"), fixture.path("gone")).unwrap();
    fs::rename(fixture.path("dstl"), fixture.path("gone too")).unwrap();
    assert_eq!(fixture.json(&["verify", "new/chk-5"]).0, Some(0));
    let text = String::from_utf8_lossy(&fixture.open(&fixture.engine(), "new/chk-5/_metadata")).into_owned();
    assert!(text.contains("sealed+file:///") && !text.contains(fixture.path("job").to_str().unwrap()), "{text}");
}

#[test]
fn a_second_run_finds_all_done_and_mends_what_is_not() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let run = || fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
    assert_eq!(run().0, Some(0));
    let (code, report) = run();
    assert_eq!((code, &report["written"], &report["kept"]), (Some(0), &json!(0), &json!(6)), "{report}");
    let moved = moved(&fixture);
    fs::remove_file(fixture.path("new/chk-5/_metadata")).unwrap();
    fs::remove_file(fixture.path(&moved[OTHER])).unwrap();
    let bytes = fs::read(fixture.path(&moved[SHARED])).unwrap();
    fixture.write(&moved[SHARED], &bytes[..bytes.len() / 2]);
    fixture.seal(&fixture.engine(), &moved[EXCLUSIVE], &plaintext(100_000, 77));
    fs::copy(fixture.path(MERGED), fixture.path(&moved[MERGED])).unwrap();
    let (code, report) = run();
    assert_eq!((code, &report["written"], &report["kept"]), (Some(0), &json!(5), &json!(1)), "{report}");
    check_result(&fixture);
}

#[test]
fn what_an_earlier_run_sealed_under_a_version_that_was_rotated_since_is_sealed_anew() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]).0, Some(0));
    fixture.keyring(&["rotate"]);
    let (code, report) = fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
    assert_eq!((code, &report["written"]), (Some(0), &json!(6)), "{report}");
    let versions = |name: &str| fixture.data_key(name).1;
    assert_ne!(versions("new/chk-5/_metadata"), versions("job/chk-5/_metadata"));
    check_result(&fixture);
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    for pause in [5, 20, 40, 80, 160, 320] {
        let mut child = fixture.command(&["reencrypt", "job/chk-5", "new/chk-5", "--threads", "1"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        if fixture.path("new/chk-5/_metadata").exists() {
            assert_eq!(fixture.json(&["verify", "new/chk-5"]).0, Some(0), "metadata come last");
        }
    }
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]).0, Some(0));
    // Nor is anything left of the files that were not whole when it was killed.
    check_result(&fixture);
}

#[test]
fn ctrl_c_leaves_nothing_half_written() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let large = "job/shared/00000000-0000-0000-0000-00000000000a";
    fixture.seal(&fixture.engine(), large, &plaintext(60_000_000, 5));
    fixture.metadata(&fixture.engine(), "job/chk-6", &[Handle::Absolute(fixture.uri(large), 60_000_000)]);
    // Slow enough to be caught in the middle of the file.
    let mut command = fixture.command(&["reencrypt", "job/chk-6", "new/chk-6", "--store-rate", "5"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !fixture.files("new").iter().any(|name| name.contains(".sealpoint-tmp-")) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    assert!(fixture.files("new").is_empty(), "{:?}", fixture.files("new"));
}

#[test]
fn a_file_that_does_not_open_is_named_and_no_checkpoint_is_written() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let mut bytes = fs::read(fixture.path(SHARED)).unwrap();
    bytes[100_000] ^= 1;
    fixture.write(SHARED, &bytes);
    fixture.write(OTHER, &plaintext(100_000, 1));
    let (code, report) = fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
    let mut found: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["problem"]).collect();
    found.sort_by_key(|name| name.to_string());
    assert_eq!((code, found), (Some(3), vec![&json!("damaged"), &json!("plaintext")]), "{report}");
    assert_eq!(report["checkpoints"], json!([]));
    assert!(!fixture.path("new/chk-5/_metadata").exists() && !fixture.path(&moved(&fixture)[SHARED]).exists());
}

#[test]
fn a_place_that_is_not_its_own_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("taken/somebody's", b"file");
    let before = fixture.files("");
    for (source, target, words) in [
        ("job/chk-5", "job/chk-5", "in one another"),
        ("job/chk-5", "job/chk-5/new", "in one another"),
        ("job/chk-5", "job", "in one another"),
        ("job/chk-5", "taken", "in the way"),
    ] {
        let (code, _, err) = fixture.run(&["reencrypt", source, target]);
        assert!(code == Some(2) && err.contains(words), "{source} {target}: {code:?} {err}");
    }
    let (code, _, err) = fixture.run(&["reencrypt", "nowhere", "new"]);
    assert!(code == Some(1) && err.contains("nowhere"), "{err}");
    assert_eq!(fixture.files(""), before);
}

#[test]
fn another_savepoint_at_the_target_is_not_replaced() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    // Small state lies in `_metadata` itself: it is all that this one consists of.
    fixture.metadata(&fixture.engine(), "kept", &[]);
    for content in [None, Some(&b"of something else"[..])] {
        if let Some(bytes) = content {
            fixture.write("kept/_metadata", bytes);
        }
        let before = fixture.files("");
        let bytes = fs::read(fixture.path("kept/_metadata")).unwrap();
        let (code, _, err) = fixture.run(&["reencrypt", "job/chk-5", "kept"]);
        assert!(code == Some(2) && err.contains("kept/_metadata is in the way"), "{code:?} {err}");
        assert_eq!(fixture.files(""), before);
        assert!(fs::read(fixture.path("kept/_metadata")).unwrap() == bytes);
    }
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let (code, report) = fixture.json(&["reencrypt", "--dry-run", "job/chk-5", "new/chk-5"]);
    assert_eq!((code, &report["files"], &report["written"]), (Some(0), &json!(6), &json!(0)), "{report}");
    assert!(!fixture.path("new").exists());
}

#[test]
fn a_whole_job_keeps_its_layout_and_files_without_a_checkpoint_are_taken_as_they_are() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.metadata(&fixture.engine(), "job/chk-6", &[Handle::Absolute(fixture.uri(SHARED), 200_000)]);
    let (code, report) = fixture.json(&["reencrypt", "job", "new"]);
    assert_eq!((code, &report["written"]), (Some(0), &json!(7)), "{report}");
    let below = |name: &str| name.strip_prefix("job/").unwrap().to_owned();
    for name in [EXCLUSIVE, SHARED, MERGED] {
        assert!(fixture.path("new").join(below(name)).exists(), "{name}");
    }
    let (code, report) = fixture.json(&["verify", "new"]);
    assert_eq!((code, report["checkpoints"].as_array().unwrap().len()), (Some(0), 2), "{report}");
    fixture.write("ha/completedCheckpoint01", &fixture.engine().encrypt("", b"a record").unwrap());
    assert_eq!(fixture.json(&["reencrypt", "ha", "new-ha"]).0, Some(0));
    assert_eq!(fixture.files("new-ha"), ["completedCheckpoint01"]);
}

#[test]
fn a_file_that_was_still_merged_into_is_given_an_end() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let bytes = fs::read(fixture.path(MERGED)).unwrap();
    let head = bytes.len() - 36 - 50_000 - 4 * 20;
    fixture.write(MERGED, &bytes[..head + 2 * (16_384 + 20) + 100]);
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]).0, Some(0));
    let (code, report) = fixture.json(&["verify", "new/chk-5"]);
    assert_eq!((code, &report["checkpoints"][0]["open_ended"]), (Some(0), &json!(0)), "{report}");
    let opened = fixture.open(&fixture.engine(), &moved(&fixture)[MERGED]);
    assert!(opened == plaintext(50_000, 3)[..32_768]);
}

#[test]
fn a_write_that_fails_ends_it_and_leaves_nothing_half_written() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    // No file may become longer than 64 KiB: what a full disk is to a writer.
    let limit = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("bash")
        .args(["-c", limit, CLI, "reencrypt", "job/chk-5", "new/chk-5", "--config", "sealpoint.toml"])
        .current_dir(fixture.path(""))
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("File too large"), "{err}");
    let left = fixture.files("new");
    assert!(!left.iter().any(|name| name.contains("_metadata") || name.contains(".sealpoint-tmp-")), "{left:?}");
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]).0, Some(0));
    check_result(&fixture);
}

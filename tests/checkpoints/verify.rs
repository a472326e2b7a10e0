//! `sealpoint verify`.

use std::fs;

use serde_json::json;

use super::fixture::{Fixture, Handle, plaintext, problems};
use super::whole::{CHANGES, EXCLUSIVE, FILES, MERGED, OTHER, SHARED, checkpoint, describe};

#[test]
fn a_whole_checkpoint_is_said_to_be_whole_with_all_that_it_needs() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.seal(&fixture.engine(), "job/chk-5/00000000-0000-0000-0000-000000000099", b"of nobody");
    for options in [&[][..], &["--quick"]] {
        for uri in ["job/chk-5", "job/chk-5/_metadata", "job"] {
            let (code, report) = fixture.json(&[&["verify", uri], options].concat());
            assert_eq!((code, &report["whole"]), (Some(0), &json!(true)), "{report}");
            assert_eq!(report["checkpoints"][0]["files"], 6);
            assert_eq!(report["checkpoints"][0]["checkpoint"], 42);
            assert_eq!((&report["files"], report["unreferenced"].as_array().unwrap().len()), (&json!(6), 1));
        }
    }
    let (_, report) = fixture.json(&["verify", "job"]);
    let metadata = fixture.open(&fixture.engine(), "job/chk-5/_metadata").len();
    let bytes: usize = FILES.iter().map(|(_, length)| length).sum();
    assert_eq!(report["bytes"], json!(bytes + metadata));
}

#[test]
fn each_thing_that_can_be_wrong_is_called_by_its_name() {
    harmed(&Fixture::new);
}

pub fn harmed(fixture: &dyn Fn() -> Fixture) {
    type Harm = fn(&Fixture);
    let harms: [(&str, bool, Harm); 12] = [
        ("missing", true, |fixture| fs::remove_file(fixture.path(SHARED)).unwrap()),
        ("truncated", true, |fixture| {
            let bytes = fs::read(fixture.path(EXCLUSIVE)).unwrap();
            fixture.write(EXCLUSIVE, &bytes[..bytes.len() - 1]);
        }),
        ("truncated", true, |fixture| fixture.write(OTHER, b"")),
        ("damaged", false, |fixture| {
            let mut bytes = fs::read(fixture.path(SHARED)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fixture.write(SHARED, &bytes);
        }),
        ("damaged", true, |fixture| {
            let mut bytes = fs::read(fixture.path(CHANGES)).unwrap();
            bytes.push(0);
            fixture.write(CHANGES, &bytes);
        }),
        ("swapped", true, |fixture| fs::rename(fixture.path(OTHER), fixture.path(EXCLUSIVE)).unwrap()),
        ("swapped", true, |fixture| fixture.write(EXCLUSIVE, &fixture.engine().encrypt("", &[0; 100_000]).unwrap())),
        ("plaintext", true, |fixture| fixture.write(EXCLUSIVE, &plaintext(100_000, 0))),
        ("truncated", true, |fixture| fixture.seal(&fixture.engine(), SHARED, &plaintext(199_999, 2))),
        ("length", true, |fixture| fixture.seal(&fixture.engine(), SHARED, &plaintext(200_001, 2))),
        ("key", true, |fixture| {
            let stranger = Fixture::new();
            fixture.write(SHARED, &stranger.sealed(&stranger.engine(), SHARED, &plaintext(200_000, 2)));
        }),
        ("foreign", true, |fixture| {
            let mut bytes = fs::read(fixture.path(SHARED)).unwrap();
            bytes[8] = 9;
            fixture.write(SHARED, &bytes);
        }),
    ];
    for (name, seen_quickly, harm) in harms {
        let fixture = fixture();
        checkpoint(&fixture);
        harm(&fixture);
        let (code, report) = fixture.json(&["verify", "job/chk-5"]);
        assert_eq!((code, &report["whole"]), (Some(3), &json!(false)), "{name}: {report}");
        assert!(problems(&report).contains(&name.to_owned()), "{name}: {report}");
        let (code, report) = fixture.json(&["verify", "--quick", "job/chk-5"]);
        assert_eq!(code, Some(if seen_quickly { 3 } else { 0 }), "{name}: {report}");
    }
}

#[test]
fn every_problem_is_listed_and_the_files_that_have_none_are_not() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fs::remove_file(fixture.path(SHARED)).unwrap();
    fixture.write(OTHER, b"in the clear, where a sealed file was");
    let (code, out, _) = fixture.run(&["verify", "job/chk-5"]);
    assert_eq!(code, Some(3));
    assert!(out.contains("2 of 6 files"), "{out}");
    for (what, name) in [("missing", SHARED), ("plaintext", OTHER)] {
        assert!(out.lines().any(|line| line.contains(what) && line.contains(name)), "{what} {name} in\n{out}");
    }
    assert!(!out.contains(EXCLUSIVE), "{out}");
}

#[test]
fn a_file_that_is_still_merged_into_is_whole_as_far_as_the_checkpoint_needs() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let bytes = fs::read(fixture.path(MERGED)).unwrap();
    // Two whole frames of 16 KiB, and a piece of the third: 30 000 bytes are needed.
    let head = bytes.len() - 36 - 50_000 - 4 * 20;
    fixture.write(MERGED, &bytes[..head + 2 * (16_384 + 20) + 100]);
    for options in [&[][..], &["--quick"]] {
        let (code, report) = fixture.json(&[&["verify", "job/chk-5"], options].concat());
        assert_eq!((code, &report["checkpoints"][0]["open_ended"]), (Some(0), &json!(1)), "{report}");
    }
    fixture.write(MERGED, &bytes[..head + 16_384 + 20 + 100]);
    for options in [&[][..], &["--quick"]] {
        let (code, report) = fixture.json(&[&["verify", "job/chk-5"], options].concat());
        assert_eq!((code, problems(&report)), (Some(3), vec!["truncated".to_owned()]), "{report}");
    }
}

#[test]
fn each_checkpoint_of_a_job_is_verified_and_what_they_share_is_read_once() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let engine = fixture.engine();
    fixture.metadata(&engine, "job/chk-6", &[Handle::Absolute(fixture.uri(SHARED), 200_000)]);
    fixture.seal(&engine, "job/chk-7/00000000-0000-0000-0000-000000000077", b"begun");
    let (code, report) = fixture.json(&["verify", "job"]);
    assert_eq!((code, &report["files"]), (Some(0), &json!(7)), "{report}");
    let unfinished = report["unfinished"].as_array().unwrap();
    assert!(unfinished.len() == 1 && unfinished[0].as_str().unwrap().ends_with("job/chk-7"), "{report}");
    fs::remove_file(fixture.path(SHARED)).unwrap();
    let (code, report) = fixture.json(&["verify", "job"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["missing".to_owned(); 2]), "{report}");
}

#[test]
fn damaged_metadata_leave_the_other_checkpoints_of_a_job_verified() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("job/chk-6/_metadata", &fixture.sealed(&fixture.engine(), "_metadata", b"no metadata of Flink's"));
    let (code, report) = fixture.json(&["verify", "job"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["damaged".to_owned()]), "{report}");
    assert_eq!(report["checkpoints"][0]["problems"], json!([]));
}

#[test]
fn metadata_that_lead_elsewhere_are_not_followed() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let engine = fixture.engine();
    let handles = [Handle::Relative("../shared/x".into(), 1), Handle::Absolute("file:/etc/passwd".into(), 1)];
    fixture.metadata(&engine, "job/chk-5", &handles);
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["reference".to_owned(), "plaintext".to_owned()]), "{report}");
    describe(&fixture, &engine);
    assert_eq!(fixture.json(&["verify", "job/chk-5"]).0, Some(0));
}

#[test]
fn a_checkpoint_whose_old_version_is_disabled_is_whole_by_its_sidecars() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.keyring(&["rotate"]);
    let (code, out, err) = fixture.run(&["rewrap", "job", "dstl"]);
    assert_eq!(code, Some(0), "{out} {err}");
    fixture.keyring(&["disable", "1"]);
    for command in [&["verify", "job/chk-5"][..], &["preflight", "--savepoint", "job/chk-5"]] {
        let (code, report) = fixture.json(command);
        assert_eq!(code, Some(0), "{report}");
    }
    let (_, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!(report["sidecars"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new"]).0, Some(0));
    // What cannot be seen is nobody's fault yet.
    let (sidecar, aside) = (fixture.path("dstl/.sealpoint-keys"), fixture.path("aside"));
    fs::rename(&sidecar, aside).unwrap();
    fs::create_dir(&sidecar).unwrap();
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(1), vec!["unchecked".to_owned(); 2]), "{report}");
    assert_eq!(fixture.json(&["preflight", "--savepoint", "job/chk-5"]).0, Some(1));
    fs::remove_dir(&sidecar).unwrap();
    // The sidecar of another directory has the key, which helps only a process that came there first.
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["key".to_owned()]), "{report}");
    assert_eq!(fixture.json(&["preflight", "--savepoint", "job/chk-5"]).0, Some(3));
}

#[test]
fn a_broken_sidecar_is_named_though_every_file_opens() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("job/.sealpoint-keys", b"SEALKEY\n\x01\0\0\0\0\0\0\x09");
    let (code, report) = fixture.json(&["verify", "job/chk-5"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["damaged".to_owned()]), "{report}");
    assert!(report["sidecars"][0]["file"].as_str().unwrap().ends_with("job/.sealpoint-keys"), "{report}");
}

#[test]
fn what_cannot_be_verified_is_an_error_and_no_answer() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let (code, _, err) = fixture.run(&["verify", "dstl"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no _metadata"), "{err}");
    let (code, _, err) = fixture.run(&["verify", "s4://bucket/x"]);
    assert_eq!(code, Some(2), "{err}");
    fs::remove_file(fixture.path("keyring")).unwrap();
    let (code, _, err) = fixture.run(&["verify", "job/chk-5"]);
    assert!(matches!(code, Some(1 | 2)) && err.contains("keyring"), "{code:?} {err}");
}

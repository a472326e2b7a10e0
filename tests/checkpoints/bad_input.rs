//! What verify and re-encrypt make of a bad day: a clear error each, an exit status, and nothing lost.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::fixture::{CLI, Fixture, plaintext, problems};
use crate::mounts;
use crate::whole::{EXCLUSIVE, FILES, OTHER, checkpoint, describe};

/// What a report of a re-encryption says is wrong, each kind once.
fn kinds(report: &Value) -> Vec<&str> {
    let problems = report["problems"].as_array().unwrap().iter();
    let mut kinds: Vec<&str> = problems.map(|problem| problem["problem"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Nothing restores from the new place, and the old one is as it was.
fn nothing_is_lost(fixture: &Fixture, before: &[String]) {
    assert!(!fixture.path("new/chk-5/_metadata").exists());
    assert_eq!(fixture.files("job"), before);
}

#[test]
fn a_place_that_cannot_be_reached_is_told_before_anything_is_done() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let before = fixture.files("");
    let run = |command: &[&str], place: &str| {
        let arguments: Vec<&str> = command.iter().map(|word| if *word == "URI" { place } else { word }).collect();
        // Half of the credentials, so that nobody looks for them elsewhere.
        let mut sealpoint = fixture.command(&arguments);
        let output = sealpoint.env("AWS_REGION", "eu-central-1").env("AWS_ACCESS_KEY_ID", "id").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for command in [
        &["rewrap", "URI"][..],
        &["verify", "URI"],
        &["report", "URI"],
        &["report", "--needs", "sealpoint@1", "URI"],
        &["reencrypt", "URI", "new"],
        &["reencrypt", "job/chk-5", "URI"],
        &["recover", "--compromised", "sealpoint@1", "--dry-run", "URI"],
        &["preflight", "--savepoint", "URI"],
    ] {
        for (place, word) in
            [("s4://bucket/x", "did you mean s3?"), ("hdfs://name/x", "hdfs"), ("s3://b/x", "SecretAccessKey")]
        {
            let (code, err) = run(command, place);
            assert!(code == Some(2) && err.contains(word), "{command:?} {place}: {code:?} {err}");
        }
    }
    assert_eq!(fixture.files(""), before);
}

#[test]
fn a_version_that_is_disabled_or_gone_is_named_and_what_is_done_is_kept() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let keyring = fs::read(fixture.path("keyring")).unwrap();
    fixture.keyring(&["rotate"]);
    fixture.seal(&fixture.engine(), OTHER, &plaintext(100_000, 1));
    describe(&fixture, &fixture.engine());
    let before = fixture.files("job");
    let newer = fs::read(fixture.path("keyring")).unwrap();
    fixture.keyring(&["disable", "1"]);
    let disabled = fs::read(fixture.path("keyring")).unwrap();
    // The second keyring never had version 2, under which the metadata are: what the first run left is not known for what it is.
    for (keyring, version, unopened, ends) in
        [(disabled, "version 1", FILES.len() - 1, 3), (keyring, "version 2", 1, 1)]
    {
        fs::write(fixture.path("keyring"), keyring).unwrap();
        let (code, report) = fixture.json(&["verify", "job/chk-5"]);
        assert_eq!((code, problems(&report)), (Some(3), vec!["key".to_owned(); unopened]), "{report}");
        let (code, out, err) = fixture.run(&["reencrypt", "job/chk-5", "new/chk-5"]);
        assert_eq!(code, Some(ends), "{out}{err}");
        assert!((out + &err).contains(version), "{err}");
        nothing_is_lost(&fixture, &before);
    }
    fs::write(fixture.path("keyring"), newer).unwrap();
    let (code, report) = fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
    assert_eq!((code, &report["written"], &report["kept"]), (Some(0), &json!(FILES.len()), &json!(1)), "{report}");
    assert_eq!(fixture.json(&["verify", "new/chk-5"]).0, Some(0));
}

#[test]
fn a_place_that_is_not_sealed_is_said_to_be_one() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("plain/a", b"in clear");
    let (code, _, err) = fixture.run(&["verify", "plain"]);
    assert!(code == Some(1) && err.contains("no _metadata at or below it"), "{code:?} {err}");
    for place in ["plain", "plain/chk-1"] {
        let (code, report) = fixture.json(&["reencrypt", place, "new"]);
        assert_eq!((code, kinds(&report), &report["written"]), (Some(3), vec!["plaintext"], &json!(0)), "{report}");
        fixture.write("plain/chk-1/_metadata", b"in clear");
    }
    let (code, report) = fixture.json(&["verify", "plain"]);
    assert_eq!((code, problems(&report)), (Some(3), vec!["plaintext".to_owned()]), "{report}");
    assert!(fixture.files("new").is_empty());
}

#[test]
fn a_file_that_is_being_written_is_named_and_taken_once_it_is_whole() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let (before, whole) = (fixture.files("job"), fs::read(fixture.path(EXCLUSIVE)).unwrap());
    // In the middle of its head, before anything is in it, and without its end.
    for length in [30, 600, whole.len() - 1] {
        fixture.write(EXCLUSIVE, &whole[..length]);
        let (code, report) = fixture.json(&["verify", "job/chk-5"]);
        assert_eq!((code, problems(&report)), (Some(3), vec!["truncated".to_owned()]), "{length}: {report}");
        let (code, report) = fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]);
        assert_eq!((code, kinds(&report)), (Some(3), vec!["truncated"]), "{length}: {report}");
        assert!(report["problems"][0]["message"].as_str().unwrap().contains(EXCLUSIVE), "{report}");
        nothing_is_lost(&fixture, &before);
    }
    fixture.write(EXCLUSIVE, &whole);
    assert_eq!(fixture.json(&["reencrypt", "job/chk-5", "new/chk-5"]).0, Some(0));
}

/// Runs the tool where `place` is a file system of its own, which `mount` makes of it, and lists what is in it afterwards;
/// `None` where that is not allowed.
fn on_mount(fixture: &Fixture, place: &str, mount: &str, command: &str) -> Option<Output> {
    let folder = fixture.path("");
    let script = format!(
        "cd {} && mkdir -p {place} && {mount} && {CLI} {command} --config sealpoint.toml; code=$?; find {place} -type f; exit $code",
        folder.display()
    );
    mounts::run(&script)
}

#[test]
fn a_store_that_is_read_only_is_read_and_not_written_to() {
    let read_only = |place: &str| format!("mount --bind {place} {place} && mount -o remount,bind,ro {place}");
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let before = fixture.files("job");
    for (place, command, code, words) in [
        ("job", "verify job/chk-5", 0, ""),
        ("job", "report --needs sealpoint@1 job", 3, ""),
        ("job", "reencrypt job/chk-5 elsewhere", 0, ""),
        ("job", "verify --write-manifest job/chk-5", 1, "read-only"),
        ("new", "reencrypt job/chk-5 new/chk-5", 1, "read-only"),
    ] {
        let Some(output) = on_mount(&fixture, place, &read_only(place), command) else { return };
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && err.contains(words), "{command}: {output:?}");
        nothing_is_lost(&fixture, &before);
    }
    assert!(fixture.files("new").is_empty());
    assert_eq!(fixture.json(&["verify", "elsewhere"]).0, Some(0));
}

#[test]
fn a_full_disk_is_said_to_be_full_and_nothing_half_written_is_left_on_it() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let before = fixture.files("job");
    let full = "mount -t tmpfs -o size=128k tmpfs new";
    let Some(output) = on_mount(&fixture, "new", full, "reencrypt job/chk-5 new/chk-5 --threads 1") else { return };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("make room") && err.contains("run the same again"), "{err}");
    assert!(!out.contains("_metadata") && !out.contains(".sealpoint-"), "{out}");
    nothing_is_lost(&fixture, &before);
    let writes = "cp -r job copy && mount -t tmpfs -o size=1m tmpfs job && cp -r copy/. job && dd if=/dev/zero of=job/filler bs=4k 2>/dev/null; true";
    let Some(output) = on_mount(&fixture, "job", writes, "verify --write-manifest job/chk-5") else { return };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("make room") && !out.contains(".sealpoint-"), "{out}{err}");
}

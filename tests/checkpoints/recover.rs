//! `sealpoint recover` and `sealpoint preflight`, and the runbook that uses them.

use std::fs;
use std::path::Path;
use std::process::Command;

use sealpoint::lifecycle::reach::Reach;
use sealpoint::lifecycle::recover::exposure;
use sealpoint::store::{Location, StoreOptions};
use serde_json::json;

use super::fixture::{CLI, Fixture};
use super::whole::{FILES, SHARED, checkpoint};

#[test]
fn what_a_compromised_version_opens_is_counted_and_put_under_a_new_one() {
    compromised(&Fixture::new());
}

pub fn compromised(fixture: &Fixture) {
    checkpoint(fixture);
    fixture.write("ha/completedCheckpoint01", &fixture.engine().encrypt("", b"a record").unwrap());
    let arguments = ["recover", "--compromised", "sealpoint@1", "job", "ha"];
    let (code, report) = fixture.json(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!((code, &report["rotated"]), (Some(0), &json!([])), "{report}");
    let files: Vec<_> = report["exposed"].as_array().unwrap().iter().map(|place| &place["files"]).collect();
    assert_eq!(files, [&json!(FILES.len() + 1), &json!(1)], "{report}");
    // Also what a checkpoint needs from elsewhere: the files that its job shares.
    let (code, report) = fixture.json(&["recover", "--compromised", "sealpoint@1", "job/chk-5", "--dry-run"]);
    assert_eq!((code, &report["exposed"][0]["files"]), (Some(0), &json!(FILES.len() + 1)), "{report}");
    assert_eq!(fixture.data_key("job/chk-5/_metadata").1, ["1"]);

    let (code, report) = fixture.json(&[&arguments[..], &["--to", "new"]].concat());
    assert_eq!((code, &report["rotated"]), (Some(0), &json!([{"key": "sealpoint", "version": "2"}])), "{report}");
    for name in ["new/job/chk-5/_metadata", "new/ha/completedCheckpoint01"] {
        assert_eq!(fixture.data_key(name).1, ["2"]);
    }
    assert_eq!(fixture.json(&["verify", "new/job"]).0, Some(0));
    let (code, report) = fixture.json(&["recover", "--compromised", "sealpoint@1", "--dry-run", "new"]);
    assert_eq!((code, &report["exposed"][0]["files"]), (Some(0), &json!(0)), "{report}");

    // Again: what was rotated is not rotated again, and what was done is compared.
    let (code, report) = fixture.json(&[&arguments[..], &["--to", "new"]].concat());
    assert_eq!(
        (code, &report["rotated"], &report["renewed"][0]["written"]),
        (Some(0), &json!([]), &json!(0)),
        "{report}"
    );
}

#[test]
fn what_is_asked_wrongly_is_never_answered_by_nothing_is_exposed() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("plain/a", b"in clear");
    fs::create_dir(fixture.path("empty")).unwrap();
    let keyring = fs::read(fixture.path("keyring")).unwrap();
    for (name, place, words) in [
        ("sealpoint@1", "nowhere", &["nowhere: there is no file at or below it"][..]),
        ("sealpoint@1", "empty", &["empty: there is no file at or below it"]),
        ("sealpoint@1", "plain", &["plain: none of its 1 files is sealed"]),
        ("sealpoint@9", "job", &["key 'sealpoint' has no version '9'", "it has 1"]),
        ("other", "job", &["no file is under a key 'other'", "the files are under sealpoint"]),
        ("other@1", "job", &["no file is under a key 'other'", "the files are under sealpoint"]),
    ] {
        for more in [&["--dry-run"][..], &["--to", "new"], &["--dry-run", "job/chk-5"]] {
            let (code, out, err) = fixture.run(&[&["recover", "--compromised", name, place], more].concat());
            assert!(code == Some(1) && out.is_empty(), "{name} {place} {more:?}: {code:?} {out}");
            assert!(words.iter().all(|words| err.contains(words)), "{name} {place} {more:?}: {err}");
        }
    }
    // A file that could not be looked into may be under it.
    let head = fs::read(fixture.path(SHARED)).unwrap();
    fixture.write("ha/damaged", &[&head[..40], &[0xff; 600]].concat());
    let (code, _, err) = fixture.run(&["recover", "--compromised", "other", "--dry-run", "job", "ha"]);
    assert!(code == Some(1) && err.contains("'other'") && err.contains("ha/damaged"), "{code:?} {err}");
    assert!(fs::read(fixture.path("keyring")).unwrap() == keyring && !fixture.path("new").exists());
}

#[test]
fn a_compromised_key_need_not_be_configured_and_one_that_is_need_not_be_in_use() {
    let fixture = Fixture::new();
    let record = fixture.engine().encrypt("", b"a record").unwrap();
    fixture.write("ha/completedCheckpoint01", &record);
    fixture.keyring(&["rotate"]);
    let exposed = |name: &str| fixture.json(&["recover", "--compromised", name, "--dry-run", "ha"]);
    let (code, report) = exposed("sealpoint@2");
    assert_eq!((code, &report["exposed"][0]["files"]), (Some(0), &json!(0)), "{report}");
    fixture.keyring(&["add", "--key", "other"]);
    let config = fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    fs::write(fixture.path("sealpoint.toml"), config + "kms.local.key = 'other'\n").unwrap();
    for (name, files) in [("sealpoint", 1), ("sealpoint@1", 1), ("other", 0), ("other@1", 0)] {
        let (code, report) = exposed(name);
        assert_eq!((code, &report["exposed"][0]["files"]), (Some(0), &json!(files)), "{name}: {report}");
    }
    let (code, _, err) = fixture.run(&["recover", "--compromised", "sealpoint@2", "--dry-run", "ha"]);
    assert!(code == Some(1) && err.contains("no file is under version '2' of the key 'sealpoint'"), "{code:?} {err}");
}

#[test]
fn a_version_that_only_an_earlier_sidecar_had_counts_as_well() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    // Sealed under version 1, rewrapped by 2 and then by 3: nothing that is there now names version 2.
    for _ in 0..2 {
        fixture.keyring(&["rotate"]);
        assert_eq!(fixture.run(&["rewrap", "job"]).0, Some(0));
    }
    fixture.write("ha/completedCheckpoint01", &fixture.engine().encrypt("", b"a record").unwrap());
    let (code, report) = fixture.json(&["recover", "--compromised", "sealpoint@2", "job", "ha", "--dry-run"]);
    let files: Vec<_> = report["exposed"].as_array().unwrap().iter().map(|place| &place["files"]).collect();
    assert_eq!((code, files), (Some(0), vec![&json!(FILES.len() + 1), &json!(0)]), "{report}");
    // Also once the key is gone altogether; what the metadata name beyond the place cannot be read then.
    fixture.keyring(&["add", "--key", "other"]);
    let config = fs::read_to_string(fixture.path("sealpoint.toml")).unwrap();
    fs::write(fixture.path("sealpoint.toml"), config + "kms.local.key = 'other'\n").unwrap();
    let (code, report) = fixture.json(&["recover", "--compromised", "sealpoint@2", "job", "--dry-run"]);
    assert!(code == Some(3) && report["exposed"][0]["files"].as_u64() > Some(0), "{report}");
}

#[test]
fn what_cannot_be_put_under_a_new_key_is_named() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let mut bytes = fs::read(fixture.path(SHARED)).unwrap();
    bytes[100_000] ^= 1;
    fixture.write(SHARED, &bytes);
    let (code, report) = fixture.json(&["recover", "--compromised", "sealpoint@1", "job", "--to", "new"]);
    let problem = &report["renewed"][0]["problems"][0];
    assert_eq!((code, &problem["problem"]), (Some(3), &json!("damaged")), "{report}");
    assert!(!fixture.path("new/job/chk-5/_metadata").exists());
}

#[test]
fn a_whole_key_that_is_compromised_is_not_sealed_under_any_more() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let (code, _, err) = fixture.run(&["recover", "--compromised", "sealpoint", "job", "--to", "new"]);
    assert!(code == Some(2) && err.contains("configure another key"), "{code:?} {err}");
    assert!(!fixture.path("new").exists());
}

#[test]
fn a_restore_that_would_work_is_told_from_one_that_would_not() {
    restorable(&Fixture::new());
}

pub fn restorable(fixture: &Fixture) {
    checkpoint(fixture);
    let preflight = || fixture.json(&["preflight", "--savepoint", "job/chk-5"]);
    let (code, report) = preflight();
    assert_eq!((code, &report["clear"], &report["files"]), (Some(0), &json!(true), &json!(6)), "{report}");
    let keys = report["data_keys"].as_array().unwrap();
    let files: u64 = keys.iter().map(|key| key["files"].as_u64().unwrap()).sum();
    assert!(files == 6 && keys.iter().all(|key| key["opens"] == json!(true)), "{report}");
    assert_eq!(keys[0]["slots"], json!([{"provider": "local", "key": "sealpoint", "version": "1"}]));
    assert!(!report["permissions"].as_array().unwrap().is_empty(), "{report}");

    fixture.keyring(&["rotate"]);
    assert_eq!(preflight().0, Some(0), "an old version opens what it wrapped");
    fixture.keyring(&["disable", "1"]);
    let (code, report) = preflight();
    assert_eq!((code, &report["clear"]), (Some(3), &json!(false)), "{report}");
    assert!(report["problems"][0]["message"].as_str().unwrap().contains("version"), "{report}");
    fixture.keyring(&["enable", "1"]);

    fs::remove_file(fixture.path(SHARED)).unwrap();
    let (code, report) = preflight();
    assert_eq!((code, &report["problems"][0]["problem"]), (Some(3), &json!("missing")), "{report}");
    let (code, out, _) = fixture.run(&["preflight", "--savepoint", "job/chk-5"]);
    assert!(code == Some(3) && out.contains("the restore would not work"), "{out}");
}

#[test]
fn the_runbook_for_a_compromised_key_works() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md")).unwrap();
    let runbook = text.split("## A key is compromised").nth(1).unwrap().split("\n## ").next().unwrap();
    let block =
        |language: &str| runbook.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
    let fixture = Fixture::new();
    checkpoint(&fixture);
    let local = |text: &str| {
        let here = |name: &str| fixture.path(name).display().to_string();
        text.replace("/checkpoints/6f7c2f1e", &here("job"))
            .replace("/recovered/6f7c2f1e", &here("new/job"))
            .replace("/recovered", &here("new"))
            .replace("/etc/sealpoint/keyring", &here("keyring"))
            .replace("chk-42", "chk-5")
    };
    let path = format!("{}:/usr/bin:/bin", Path::new(CLI).parent().unwrap().display());
    let mut bash = Command::new("bash");
    bash.args(["-ec", &local(block("sh"))]).current_dir(fixture.path("")).env("PATH", path);
    let run = bash.env("SEALPOINT_CONFIG", fixture.path("sealpoint.toml")).output().unwrap();
    assert!(run.status.success(), "{run:?}");
    assert_eq!(fixture.json(&["verify", "--require-manifest", "new/job"]).0, Some(0));
}

#[test]
fn how_many_heads_there_are_to_read_is_known_before_the_first() {
    let fixture = Fixture::new();
    checkpoint(&fixture);
    fixture.write("job/chk-5/.sealpoint-tmp-1", b"half of it");
    // Those of the checkpoint itself, and those that its job shares.
    let reach = Reach::new(fixture.engine(), StoreOptions::default(), None);
    let root = Location::of_path(&fixture.path("job/chk-5")).unwrap();
    let exposed = exposure(&reach, &"sealpoint@1".parse().unwrap(), &root).unwrap();
    let step = reach.progress().step();
    assert_eq!(exposed.files, FILES.len() as u64 + 1);
    assert_eq!((step.doing, step.done, step.total), ("reading heads", exposed.files, exposed.files));
}

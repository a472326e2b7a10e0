//! `sealpoint rotate`: every key, one tenant's, one key service's; by hand and by age.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use sealpoint::kms::local::KeyringFile;
use serde_json::Value;
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// A keyring with keys of different ages, and a configuration that uses them all.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Fixture {
        let fixture = Fixture(TempDir::new().unwrap());
        let file = fixture.keyring();
        file.create("fresh").unwrap();
        for (key, days) in [("due", 31), ("old", 91)] {
            let made = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            file.update(|keyring| keyring.add(key, made).map(drop)).unwrap();
        }
        fixture
    }

    fn keyring(&self) -> KeyringFile {
        KeyringFile::new(&self.0.path().join("keyring"), None).unwrap()
    }

    /// The current version of each key.
    fn versions(&self) -> [u32; 3] {
        let (_, keyring) = self.keyring().load().unwrap();
        ["fresh", "due", "old"].map(|key| keyring.key(key).unwrap().current().unwrap().id())
    }

    fn run(&self, arguments: &[&str], more: &str) -> (Option<i32>, String, String) {
        let keyring = self.0.path().join("keyring");
        let text = format!(
            "kms.provider = 'local'\nkms.local.keyring = '{}'\nkms.local.key = 'fresh'\nkms.fallbacks = 'second'\n\
             kms.fallback.second.local.key = 'old'\ntenants.a.paths = '/a'\ntenants.a.key = 'due, old'\n{more}",
            keyring.display()
        );
        let config = self.0.path().join("sealpoint.toml");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(CLI);
        command.env_clear().arg("rotate").args(arguments).arg("--config").arg(config);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

#[test]
fn every_key_is_rotated_once() {
    let fixture = Fixture::new();
    let (code, out, err) = fixture.run(&[], "");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(fixture.versions(), [2, 2, 2], "{out}");
    assert_eq!(out.matches("rotated: version 2").count(), 3, "{out}");
}

#[test]
fn one_tenant_s_keys_or_those_of_one_key_service() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run(&["--tenant", "a", "--kms", "primary"], "").0, Some(0));
    assert_eq!(fixture.versions(), [1, 2, 1]);
    assert_eq!(fixture.run(&["--kms", "second"], "").0, Some(0));
    assert_eq!(fixture.versions(), [1, 2, 2]);
    for (arguments, said) in [(["--tenant", "b"], "tenant 'b'"), (["--kms", "third"], "'third'")] {
        let (code, _, err) = fixture.run(&arguments, "");
        assert!(code == Some(2) && err.contains(said), "{code:?} {err}");
    }
    assert_eq!(fixture.versions(), [1, 2, 2]);
}

#[test]
fn by_age_only_what_is_due_is_rotated_and_a_second_run_rotates_nothing() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        let (code, out, err) = fixture.run(&["--if-due"], "");
        assert_eq!((code, fixture.versions()), (Some(0), [1, 2, 2]), "{out}{err}");
    }
    let (_, out, _) = fixture.run(&["--if-due"], "key-rotation.interval-days = 7\nkey-rotation.max-age-days = 7\n");
    assert_eq!(out.matches(": not due").count(), 3, "{out}");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let fixture = Fixture::new();
    let (code, out, _) = fixture.run(&["--if-due", "--dry-run", "--json"], "");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["ok"], &report["dry_run"]), (Some(0), &true.into(), &true.into()));
    let keys = report["keys"].as_array().unwrap();
    let found = |name: &str| keys.iter().find(|key| key["key"] == name).unwrap();
    for (key, due, rotates) in [("fresh", "no", false), ("due", "yes", true), ("old", "too-old", true)] {
        assert_eq!((&found(key)["due"], &found(key)["rotates"]), (&due.into(), &rotates.into()), "{out}");
        assert!(found(key)["after"].is_null() && found(key)["before"]["version"] == "1", "{out}");
    }
    assert_eq!(fixture.versions(), [1, 1, 1]);
}

#[test]
fn where_the_policy_is_off_nothing_is_due_but_anything_can_be_rotated() {
    let fixture = Fixture::new();
    let off = "key-rotation.enabled = false\n";
    let (code, _, err) = fixture.run(&["--if-due"], off);
    assert!(code == Some(2) && err.contains("key-rotation.enabled"), "{code:?} {err}");
    assert_eq!(fixture.run(&["--tenant", "default", "--kms", "primary"], off).0, Some(0));
    assert_eq!(fixture.versions(), [2, 1, 1]);
}

#[test]
fn a_key_that_cannot_be_rotated_is_named_and_the_others_are() {
    let fixture = Fixture::new();
    let read_only = fixture.0.path().join("keyring.lock");
    fs::remove_file(&read_only).unwrap();
    fs::create_dir(&read_only).unwrap();
    let (code, out, err) = fixture.run(&["--json"], "");
    assert_eq!(code, Some(1));
    assert_eq!(err.lines().filter(|line| line.contains("keyring.lock")).count(), 3, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["ok"] == false && report["keys"][0]["error"].is_string(), "{out}");
}

//! What commands say to programs: one document on standard output, every name of which is in the command's help.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// What these hold is named by what they are about, not by us.
const FREE: [&str; 2] = ["context", "options"];

struct Fixture(TempDir);

impl Fixture {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(CLI);
        command.current_dir(&self.0).env("SEALPOINT_CONFIG", "sealpoint.toml").args(arguments).output().unwrap()
    }

    /// The document, and that its names are documented.
    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let commands: &[&str] =
            if ["keyring", "kms", "config"].contains(&arguments[0]) { &arguments[..2] } else { &arguments[..1] };
        let help = |of: &[&str]| String::from_utf8(self.run(&[of, &["--help"]].concat()).stdout).unwrap();
        // What `retire` prints besides is said there.
        let help = help(commands) + &if arguments[0] == "retire" { help(&["report"]) } else { String::new() };
        let said: String = help.split("\n\n").filter(|paragraph| paragraph.starts_with("JSON: ")).collect();
        let words: BTreeSet<&str> = said.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let mut names = BTreeSet::new();
        collect(&document, &mut names);
        for name in names {
            assert!(words.contains(name.as_str()), "{arguments:?}: '{name}' is not in: {said}");
        }
        document
    }
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                names.insert(name.clone());
                match value {
                    Value::Object(inner) if FREE.contains(&name.as_str()) => {
                        inner.values().for_each(|value| collect(value, names));
                    }
                    value => collect(value, names),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_command_that_reports_does_so_in_json() {
    let fixture = Fixture(TempDir::new().unwrap());
    let path = |name: &str| fixture.0.path().join(name);
    let created = fixture.json(0, &["keyring", "create", "--json", "keyring"]);
    assert_eq!((&created["version"], &created["state"]), (&1.into(), &"created".into()));
    let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", path("keyring").display());
    fs::write(path("sealpoint.toml"), text).unwrap();
    fs::write(path("plain"), [7; 50_000]).unwrap();
    fs::create_dir_all(path("in/chk-1")).unwrap();
    fixture.json(0, &["seal", "--json", "plain", "in/f"]);
    let vector = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/metadata/v3.json");
    let vector: Value = serde_json::from_slice(&fs::read(vector).unwrap()).unwrap();
    fs::write(path("metadata"), STANDARD.decode(vector["metadata"].as_str().unwrap()).unwrap()).unwrap();
    fixture.json(0, &["seal", "--json", "--bind-name", "metadata", "in/chk-1/_metadata"]);
    fixture.json(0, &["open", "--json", "--verify", "in/f"]);
    fixture.json(0, &["inspect", "--json", "in/f"]);
    fixture.json(0, &["keyring", "list", "--json", "keyring"]);
    fixture.json(0, &["keyring", "rotate", "--json", "keyring"]);
    fixture.json(0, &["keyring", "add", "--json", "--key", "other", "keyring"]);
    fixture.json(0, &["config", "check", "--json", "sealpoint.toml"]);
    fixture.json(0, &["kms", "test", "--json"]);
    fixture.json(0, &["kms", "bench", "--json", "--count", "1"]);
    fixture.json(0, &["doctor", "--json", "in"]);
    fixture.json(0, &["rotate", "--json", "--dry-run"]);
    fixture.json(0, &["report", "--json", "in"]);
    assert_eq!(fixture.json(3, &["report", "--json", "--needs", "sealpoint@1", "in"])["needs"]["needed"], true);
    fixture.json(3, &["retire", "--json", "--dry-run", "sealpoint@1", "in"]);
    // Its files are nowhere, or in a store that cannot be reached.
    assert_eq!(fixture.json(1, &["verify", "--json", "in"])["whole"], false);
    fixture.json(3, &["preflight", "--json", "--savepoint", "in/chk-1"]);
    fs::rename(path("in/chk-1"), path("chk-1")).unwrap();
    fixture.json(0, &["rewrap", "--json", "in"]);
    fixture.json(0, &["reencrypt", "--json", "in", "out"]);
    fixture.json(0, &["recover", "--json", "--dry-run", "--compromised", "sealpoint@1", "in"]);
    fixture.json(0, &["retire", "--json", "--settle", "0 s", "sealpoint@1", "in"]);
    fixture.json(0, &["retire", "--json", "--undo", "sealpoint@1"]);
    fixture.json(0, &["shred", "--json", "--dry-run", "--tenant", "default", "in"]);
    fixture.json(0, &["keyring", "disable", "--json", "keyring", "1"]);
    fixture.json(0, &["keyring", "enable", "--json", "keyring", "1"]);
    fixture.json(0, &["keyring", "passphrase", "--json", "--no-passphrase", "keyring"]);
    fixture.json(0, &["shred", "--json", "--confirm", "default", "--tenant", "default", "in"]);
}

/// The files that need a key come first, as they are found; what fails afterwards ends the document, and does not cut it.
#[test]
fn a_report_that_breaks_off_is_json_all_the_same() {
    let fixture = Fixture(TempDir::new().unwrap());
    let path = |name: &str| fixture.0.path().join(name);
    fixture.json(0, &["keyring", "create", "--json", "keyring"]);
    let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", path("keyring").display());
    fs::write(path("sealpoint.toml"), text).unwrap();
    fs::create_dir_all(path("in/empty")).unwrap();
    fs::write(path("plain"), "x").unwrap();
    for name in ["in/f", "in/g"] {
        fixture.json(0, &["seal", "--json", "plain", name]);
    }
    // The second place has no file, which is found out once the first was gone through.
    let broken = fixture.json(1, &["report", "--json", "--needs", "sealpoint@1", "in", "in/empty"]);
    assert_eq!(broken["needed_files"].as_array().unwrap().len(), 2, "{broken}");
    assert!(broken["failed"]["error"].as_str().unwrap().contains("no file"), "{broken}");
    // Nobody confirms it.
    fixture.json(0, &["keyring", "rotate", "--json", "keyring"]);
    let refused = fixture.json(2, &["retire", "--json", "--force", "sealpoint@1", "in"]);
    assert_eq!(refused["failed"]["kind"], "InvalidArgument", "{refused}");
}

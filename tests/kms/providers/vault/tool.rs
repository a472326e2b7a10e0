//! The command-line tool against the server: what it retires and shreds is so there.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::cases::{admin, case};
use crate::cases::Case;
use crate::fixture::{Fixture, ok};

pub const CASES: &[Case] = &[
    case(
        "retired_by_the_tool",
        "`sealpoint retire` disables a version once no file needs it, and enables it again",
        retired_by_the_tool,
    ),
    case("shredded_by_the_tool", "`sealpoint shred` deletes a tenant's key, and no one else's", shredded_by_the_tool),
];

struct Tool {
    folder: TempDir,
}

impl Tool {
    fn new(fixture: &Fixture, key: &str) -> Tool {
        let tool = Tool { folder: TempDir::new().expect("temporary files can be made") };
        let settings = fixture.complete(&fixture.settings(key), fixture.route());
        let lines = settings.iter().map(|(key, value)| format!("{key} = {}\n", Value::from(value.as_str())));
        tool.write("sealpoint.toml", &lines.collect::<String>());
        fs::create_dir(tool.folder.path().join("store")).expect("the folder is ours");
        tool.write("plain", "state");
        tool
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn seal(&self, name: &str) {
        self.run(0, &["seal", &self.path("plain"), &self.path(name)]);
    }

    /// Runs it; what it said. It ends with this status.
    fn run(&self, code: i32, arguments: &[&str]) -> String {
        let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        let output = sealpoint.env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).args(arguments).output();
        let Output { status, stdout, stderr } = output.expect("the tool was built with this test");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        said
    }
}

fn retired_by_the_tool(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let tool = Tool::new(fixture, &key);
    tool.seal("store/old");
    fixture.service().rotate(&key);
    tool.seal("store/new");
    let name = format!("{}@1", ok(client.kek()));
    let lowest = || admin(fixture).get(&format!("transit/keys/{key}"))["data"]["min_decryption_version"].clone();
    let store = tool.path("store");
    let said = tool.run(3, &["retire", "--settle", "0 s", &name, &store]);
    assert!(said.contains("store/old") && !said.contains("store/new") && lowest() == 1, "{said}");
    tool.run(3, &["report", "--needs", &name, &store]);
    fs::remove_file(tool.path("store/old")).expect("it is there");
    tool.run(0, &["report", "--needs", &name, &store]);
    assert!(tool.run(0, &["retire", "--settle", "1 h", "--dry-run", &name, &store]).contains("until "));
    tool.run(0, &["retire", "--settle", "0 s", &name, &store]);
    assert_eq!(lowest(), 2);
    tool.run(0, &["open", "--verify", &tool.path("store/new")]);
    tool.run(0, &["retire", "--undo", &name]);
    assert_eq!(lowest(), 1);
}

fn shredded_by_the_tool(fixture: &Fixture) {
    let (key, theirs) = (fixture.service().new_key(), fixture.service().new_key());
    let tool = Tool::new(fixture, &key);
    tool.seal("store/f");
    let store = tool.path("store");
    tool.run(2, &["shred", "--tenant", "default", &store]);
    assert!(tool.run(0, &["shred", "--tenant", "default", "--dry-run", &store]).contains("becomes unreadable"));
    tool.run(0, &["open", "--verify", &tool.path("store/f")]);
    assert!(tool.run(0, &["shred", "--tenant", "default", "--confirm", "default", &store]).contains("is destroyed"));
    tool.run(1, &["open", "--verify", &tool.path("store/f")]);
    let left = admin(fixture).list("transit/keys");
    assert!(!left.contains(&key) && left.contains(&theirs), "{left:?}");
}

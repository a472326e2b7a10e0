//! The command-line tool: what it retires and shreds is so in the key service.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::cases::{Case, Needs};
use crate::fixture::{Fixture, ok, tenant};
use crate::provider::{Pairs, pairs};

pub const CASES: &[Case] = &[
    Case {
        name: "retired_by_the_tool",
        what: "`sealpoint retire` disables a version once no file needs it, and enables it again",
        needs: Needs::Server,
        run: retired_by_the_tool,
    },
    Case {
        name: "shredded_by_the_tool",
        what: "`sealpoint shred` has a tenant's key destroyed, or scheduled to be, and no one else's",
        needs: Needs::Server,
        run: shredded_by_the_tool,
    },
    Case {
        name: "moves_between_providers",
        what: "`sealpoint rewrap --to` moves state from a keyring to this service, and on to another keyring: what it moved away from is no more needed",
        needs: Needs::Client,
        run: moves_between_providers,
    },
];

/// The tool, over a store in a folder of its own.
pub struct Tool {
    folder: TempDir,
}

impl Tool {
    pub fn new(fixture: &Fixture, key: &str) -> Tool {
        let tool = Tool { folder: TempDir::new().expect("temporary files can be made") };
        tool.take_settings(fixture, &fixture.settings(key));
        fs::create_dir(tool.folder.path().join("store")).expect("the folder is ours");
        tool.write("plain", "state");
        tool
    }

    /// Goes to the key service with these settings from now on.
    pub fn take_settings(&self, fixture: &Fixture, settings: &Pairs) {
        self.configured(&fixture.complete(settings, fixture.route()));
    }

    /// From now on this is the configuration.
    fn configured(&self, settings: &Pairs) {
        let lines = settings.iter().map(|(key, value)| format!("{key} = {}\n", Value::from(value.as_str())));
        self.write("sealpoint.toml", &lines.collect::<String>());
    }

    /// Adds lines to the configuration.
    pub fn configure(&self, more: &str) {
        let text = fs::read_to_string(self.path("sealpoint.toml")).expect("the folder is ours");
        self.write("sealpoint.toml", &(text + more));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn seal(&self, name: &str) {
        self.run(0, &["seal", &self.path("plain"), &self.path(name)]);
    }

    /// Seals the metadata of a checkpoint that consists of nothing else, as `MetadataV3Serializer` writes them.
    pub fn checkpoint(&self, name: &str) {
        fs::create_dir(self.folder.path().join(name)).expect("the folder is ours");
        self.write("metadata", "I`g-\0\0\0\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0");
        self.run(0, &["seal", "--bind-name", &self.path("metadata"), &self.path(&format!("{name}/_metadata"))]);
    }

    /// Runs it; what it said. It ends with this status.
    pub fn run(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.sealpoint().args(arguments).output();
        let Output { status, stdout, stderr } = output.expect("the tool was built with this test");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    pub fn sealpoint(&self) -> Command {
        let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        sealpoint.env("SEALPOINT_CONFIG", self.path("sealpoint.toml"));
        sealpoint
    }
}

fn retired_by_the_tool(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let tool = Tool::new(fixture, &key);
    let old = ok(client.wrap(&[7; 32], &tenant("a"))).version;
    tool.seal("store/old");
    fixture.service().rotate(&key);
    tool.seal("store/new");
    let is_enabled = || ok(client.versions()).iter().any(|version| version.id == old && version.enabled);
    let (name, store) = (format!("{}@{old}", ok(client.kek())), tool.path("store"));
    let said = tool.run(3, &["retire", "--settle", "0 s", &name, &store]);
    assert!(said.contains("store/old") && !said.contains("store/new") && is_enabled(), "{said}");
    tool.run(3, &["report", "--needs", &name, &store]);
    tool.run(0, &["rewrap", &store]);
    tool.run(0, &["report", "--needs", &name, &store]);
    assert!(tool.run(0, &["retire", "--settle", "1 h", "--dry-run", &name, &store]).contains("until "));
    assert!(is_enabled());
    tool.run(0, &["retire", "--settle", "0 s", &name, &store]);
    assert!(!is_enabled());
    for file in ["store/old", "store/new"] {
        tool.run(0, &["open", "--verify", &tool.path(file)]);
    }
    tool.run(0, &["retire", "--undo", &name]);
    assert!(is_enabled());
}

fn shredded_by_the_tool(fixture: &Fixture) {
    let ((key, _), (_, bystander)) = (fixture.fresh(), fixture.fresh());
    let theirs = ok(bystander.wrap(&[9; 32], &tenant("b")));
    let tool = Tool::new(fixture, &key);
    tool.seal("store/f");
    let store = tool.path("store");
    tool.run(2, &["shred", "--tenant", "default", &store]);
    assert!(tool.run(0, &["shred", "--tenant", "default", "--dry-run", &store]).contains("becomes unreadable"));
    tool.run(0, &["open", "--verify", &tool.path("store/f")]);
    let said = tool.run(0, &["shred", "--tenant", "default", "--confirm", "default", &store]);
    let (at_once, later) = (said.contains("' is destroyed\n"), said.contains("UTC; until then it can be kept: "));
    assert!(at_once != later, "{said}");
    tool.run(1, &["open", "--verify", &tool.path("store/f")]);
    assert_eq!(ok(bystander.unwrap(&theirs, &tenant("b"))), [9; 32]);
}

fn moves_between_providers(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let tool = Tool::new(fixture, &key);
    let keyring = |name: &str| {
        let path = tool.path(name);
        tool.run(0, &["keyring", "create", &path, "--key", name]);
        let settings = pairs([("kms.provider", "local"), ("kms.local.keyring", &path), ("kms.local.key", name)]);
        fixture.complete(&settings, None)
    };
    let [from, to] = ["from", "to"].map(keyring);
    let service = fixture.complete(&fixture.settings(&key), fixture.route());
    let (store, checkpoint) = (tool.path("store"), tool.path("store/chk-1"));
    let moved = |from: &Pairs, to: &Pairs, files: usize| {
        tool.configured(&[from.clone(), as_fallback("new", to)].concat());
        let said = tool.run(0, &["rewrap", "--to", "new", &store]);
        assert!(said.contains(&format!("{files} renewed, 0 current, 0 failed")), "{said}");
        tool.configured(to);
    };

    tool.configured(&from);
    tool.seal("store/f");
    tool.checkpoint("store/chk-1");
    moved(&from, &service, 2);
    fs::remove_file(tool.path("from")).expect("it is ours");
    tool.run(0, &["open", "--verify", &tool.path("store/f")]);
    tool.run(0, &["verify", &checkpoint]);
    tool.seal("store/g");
    moved(&service, &to, 3);
    for file in ["store/f", "store/g"] {
        tool.run(0, &["open", "--verify", &tool.path(file)]);
    }
    tool.run(0, &["verify", &checkpoint]);
}

/// What says of a fallback what this says of the only key service.
fn as_fallback(name: &str, settings: &Pairs) -> Pairs {
    let mut own = settings.clone();
    let provider = settings.iter().find(|(key, _)| key == "kms.provider").map_or("", |(_, provider)| provider);
    let of_it = format!("kms.{provider}.");
    own.retain(|(key, _)| key == "kms.provider" || key == "kms.ca-file" || key.starts_with(&of_it));
    own.iter_mut().for_each(|(key, _)| *key = key.replacen("kms.", &format!("kms.fallback.{name}."), 1));
    own.push(("kms.fallbacks".to_owned(), name.to_owned()));
    own
}

//! The keyring file, by its own command-line tool.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::child::Missing;
use crate::provider::{Pairs, Provider, Service, pairs};
use crate::proxy::Route;

pub struct Local;

impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn server(&self) -> &'static str {
        "none: a keyring file, managed by `sealpoint keyring`"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let folder = TempDir::new().expect("temporary files can be made");
        let keyring = Keyring { folder, keys: AtomicU32::new(0) };
        keyring.run("create", &["--key", "first"]);
        Ok(Box::new(keyring))
    }

    fn has_network(&self) -> bool {
        false
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("disabled_key", "the current version of a key cannot be disabled, only older ones"),
            ("pending_deletion", "keys of a keyring are not deleted"),
            ("destroyed_version", "versions of a keyring are not destroyed"),
            ("destroying_denied", "whoever may read the file may do everything"),
            ("automatic_rotation", "a keyring does nothing by itself"),
            ("expired_credentials", "a passphrase does not expire"),
            ("permissions", "whoever may read the file may do everything"),
        ]
    }
}

/// A keyring of many keys.
struct Keyring {
    folder: TempDir,
    keys: AtomicU32,
}

impl Keyring {
    fn path(&self) -> PathBuf {
        self.folder.path().join("keyring.json")
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        let output = sealpoint.args(["keyring", command]).arg(self.path()).args(arguments).output();
        let output = output.expect("the tool was built with this test");
        assert!(output.status.success(), "keyring {command} {arguments:?}: {output:?}");
    }
}

impl Service for Keyring {
    fn upstream(&self) -> Option<String> {
        None
    }

    fn new_key(&self) -> String {
        let key = format!("key-{}", self.keys.fetch_add(1, Ordering::Relaxed));
        self.run("add", &["--key", &key]);
        key
    }

    fn settings(&self, key: &str, _: Option<&Route>) -> Pairs {
        let path = self.path().display().to_string();
        pairs([("kms.provider", "local"), ("kms.local.keyring", &path), ("kms.local.key", key)])
    }

    fn rotate(&self, key: &str) {
        self.run("rotate", &["--key", key]);
    }

    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        self.run(if enabled { "enable" } else { "disable" }, &[version, "--key", key]);
    }
}

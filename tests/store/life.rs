//! The end of a key version in every store, by the tool itself: reported, rewrapped, retired, and what was under it sealed
//! anew by the keys that lie beside the files.

use std::fs;
use std::process::{Command, Output};

use bytes::Bytes;
use futures_util::StreamExt;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::store::Location;
use serde_json::Value;
use tempfile::TempDir;

use crate::servers::Fixture;

const FILES: [&str; 4] = ["job/chk-1/a", "job/chk-1/b", "job/shared/c", "savepoint/d e"];

pub fn key_version_ends(fixture: &Fixture) {
    let tool = Tool::new(fixture);
    tool.keyring("create");
    let sealing = tool.engine();
    fixture.runtime.block_on(async {
        for name in FILES {
            let at = fixture.root.join(name);
            let sealed = sealing.encrypt(&at.uri(), name.as_bytes()).unwrap();
            fixture.store().put(&at, Bytes::from(sealed)).await.unwrap();
        }
    });
    tool.keyring("rotate");
    let (root, new) = (fixture.root.to_string(), fixture.root.parent().unwrap().join("sealed-anew"));
    let needed = |code, place: &str| tool.run(code, &["report", "--json", "--needs", "sealpoint@1", place]);
    needed(3, &root);
    tool.run(3, &["retire", "--settle", "0 s", "sealpoint@1", &root]);

    let rewrapped = tool.json(&["rewrap", "--json", &root]);
    assert_eq!((&rewrapped["sidecars_written"], &rewrapped["files"]["sealed"]), (&2.into(), &4.into()), "{rewrapped}");
    let again = tool.json(&["rewrap", "--json", &root]);
    assert_eq!(again["sidecars_written"], 0, "{again}");
    let mut there = names(fixture);
    there.retain(|name| name.contains("/.sealpoint-"));
    assert_eq!(there, ["job/.sealpoint-keys", "savepoint/.sealpoint-keys"]);
    needed(0, &root);
    tool.run(0, &["retire", "--settle", "0 s", "sealpoint@1", &root]);

    // What names version 1 in its head opens by its sidecar alone.
    tool.run(0, &["reencrypt", &root, &new.to_string()]);
    needed(0, &new.to_string());
    let opening = tool.engine();
    fixture.runtime.block_on(async {
        for name in FILES {
            let sealed = fixture.store().read(&new.join(name), 0..1 << 20).await.unwrap();
            assert_eq!(opening.decrypt("", &sealed).unwrap(), name.as_bytes());
        }
    });
}

fn names(fixture: &Fixture) -> Vec<String> {
    let below = |location: &Location| location.below(&fixture.root).unwrap().to_owned();
    let listed = async { fixture.store().list(&fixture.root).await.collect::<Vec<_>>().await };
    let listed = fixture.runtime.block_on(listed);
    let mut names: Vec<_> = listed.into_iter().map(|object| below(&object.unwrap().location)).collect();
    names.sort();
    names
}

/// The tool with a keyring of its own, and the store's variables in its environment.
struct Tool {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Tool {
    fn new(fixture: &Fixture) -> Tool {
        let tool = Tool { folder: TempDir::new().unwrap(), environment: fixture.of_a_process() };
        let keyring = tool.keyring_file();
        fs::write(tool.config(), format!("kms.provider = 'local'\nkms.local.keyring = '{keyring}'\n")).unwrap();
        tool
    }

    fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("sealpoint.toml")
    }

    fn keyring_file(&self) -> String {
        self.folder.path().join("keyring").display().to_string()
    }

    fn keyring(&self, verb: &str) {
        self.run(0, &["keyring", verb, &self.keyring_file()]);
    }

    fn engine(&self) -> std::sync::Arc<EncryptionEngine> {
        EncryptionEngine::open(EncryptionConfig::load(&self.config()).unwrap()).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(0, arguments).stdout).unwrap()
    }

    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> Output {
        let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        sealpoint
            .env("SEALPOINT_CONFIG", self.config())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = sealpoint.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        output
    }
}

//! A keyring, a configuration over it, a folder for a store, or another store, and the tool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::envelope::{Head, Parsed, sidecar};
use sealpoint::keys::Target;
use serde_json::Value;
use tempfile::TempDir;

use super::elsewhere::Elsewhere;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

pub struct Fixture {
    folder: TempDir,
    elsewhere: Option<Elsewhere>,
}

/// What the tool did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It ended so, and said these words.
    #[track_caller]
    pub fn ended(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, code, "{self:#?}");
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "'{word}' in {self:#?}");
        }
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Fixture {
    /// With a key for each of these tenants, the first one being the default, in folders of their own.
    pub fn new(tenants: &[&str]) -> Fixture {
        Fixture::of(None, tenants)
    }

    /// The same where the store is another one.
    #[allow(dead_code, reason = "tests/store does that")]
    pub fn elsewhere(elsewhere: Elsewhere, tenants: &[&str]) -> Fixture {
        Fixture::of(Some(elsewhere), tenants)
    }

    fn of(elsewhere: Option<Elsewhere>, tenants: &[&str]) -> Fixture {
        let fixture = Fixture { folder: TempDir::new().unwrap(), elsewhere };
        fixture.keyring(&["create"], &["--key", &key_of(tenants[0])]);
        let mut config = format!(
            "kms.provider = 'local'\nkms.local.keyring = '{}'\nkms.local.key = '{}'\ntenant = '{}'\n",
            fixture.path("keyring").display(),
            key_of(tenants[0]),
            tenants[0]
        );
        for tenant in &tenants[1..] {
            fixture.keyring(&["add"], &["--key", &key_of(tenant)]);
            config += &format!("tenants.{tenant}.paths = '{}'\n", fixture.place(tenant));
            config += &format!("tenants.{tenant}.key = '{}'\n", key_of(tenant));
        }
        fs::write(fixture.path("sealpoint.toml"), config).unwrap();
        for tenant in tenants {
            fs::create_dir_all(fixture.store().join(tenant)).unwrap();
        }
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn place(&self, name: &str) -> String {
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere.at("store").join(name).uri();
        }
        self.store().join(name).display().to_string()
    }

    /// Adds lines to the configuration.
    pub fn configure(&self, more: &str) {
        let text = fs::read_to_string(self.path("sealpoint.toml")).unwrap();
        fs::write(self.path("sealpoint.toml"), text + more).unwrap();
    }

    pub fn engine(&self) -> Arc<EncryptionEngine> {
        EncryptionEngine::open(EncryptionConfig::from_toml_file(&self.path("sealpoint.toml")).unwrap()).unwrap()
    }

    pub fn rotate(&self, tenant: &str) {
        self.keyring(&["rotate"], &["--key", &key_of(tenant)]);
    }

    /// True if the keyring has the version and it is enabled.
    pub fn is_enabled(&self, tenant: &str, version: u64) -> bool {
        let shown: Value = serde_json::from_str(&self.keyring(&["show"], &["--json"])).unwrap();
        let keys = shown["keys"].as_array().unwrap().iter().filter(|key| key["name"] == key_of(tenant).as_str());
        let mut versions = keys.flat_map(|key| key["versions"].as_array().unwrap());
        versions.any(|known| known["version"] == version && known["enabled"] == true)
    }

    /// True if the keyring has the key at all.
    pub fn has_key(&self, tenant: &str) -> bool {
        let shown: Value = serde_json::from_str(&self.keyring(&["show"], &["--json"])).unwrap();
        shown["keys"].as_array().unwrap().iter().any(|key| key["name"] == key_of(tenant).as_str())
    }

    fn keyring(&self, verb: &[&str], more: &[&str]) -> String {
        let ran = Command::new(CLI).arg("keyring").args(verb).arg(self.path("keyring")).args(more).output();
        Ran::of(ran.unwrap()).ended(0, &[]).out
    }

    /// The tool, which finds nobody to ask.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CLI);
        command.env_clear().env("SEALPOINT_CONFIG", self.path("sealpoint.toml"));
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.sync(self.folder.path());
            command.envs(elsewhere.environment.clone());
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Seals a file below the store; its bytes.
    pub fn seal(&self, engine: &EncryptionEngine, name: &str, plaintext: &[u8]) -> Vec<u8> {
        let path = self.store().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let subject = path.file_name().and_then(|name| name.to_str());
        let mut sealing = engine.sealer(&self.place(name), subject).unwrap();
        let (head, layout) = (sealing.head().to_vec(), sealing.layout());
        let mut body = vec![0; layout.sealed_len(plaintext.len()) + layout.end_len];
        let at = sealing.seal(plaintext, &mut body).unwrap();
        let end = sealing.finish(&mut body[at..]).unwrap();
        body.truncate(at + end);
        let sealed = [head, body].concat();
        fs::write(&path, &sealed).unwrap();
        sealed
    }

    /// Puts the data keys of these files, wrapped under the current versions, into the sidecar of a folder.
    pub fn rewrap(&self, engine: &EncryptionEngine, folder: &Path, files: &[PathBuf]) {
        let renewal = engine.keys().renewal(Target::All, None).unwrap();
        let mut entries = Vec::new();
        for file in files {
            let head = head_of(&fs::read(file).unwrap());
            let (id, tenant) = (head.bound.data_key_id, head.bound.tenant.clone());
            let renewed = engine.wait(renewal.renew(id, &tenant, &head.slots, head.slots_section())).unwrap();
            entries.push(sidecar::Entry::new(id, renewed.section).unwrap());
        }
        entries.sort_by_key(|entry| entry.data_key_id);
        entries.dedup_by_key(|entry| entry.data_key_id);
        fs::write(folder.join(sidecar::FILE_NAME), sidecar::encode(&entries).unwrap()).unwrap();
    }
}

pub fn key_of(tenant: &str) -> String {
    format!("key-of-{tenant}")
}

pub fn head_of(sealed: &[u8]) -> Head {
    match Head::parse(sealed).unwrap() {
        Parsed::Complete(head) => head,
        Parsed::NeedMore(_) => panic!("the file ends in its head"),
    }
}

/// The metadata of a checkpoint that needs these files: each is the state of an operator's coordinator. Version 3 of the
/// format, as `MetadataV3Serializer` writes it.
pub fn metadata(files: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [0x4960_672d_u32, 3, 0, 7, 0, files.len() as u32] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for file in files {
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 128]);
        out.push(2); // a file, its length and its path
        out.extend_from_slice(&5_u64.to_be_bytes());
        out.extend_from_slice(&(file.len() as u16).to_be_bytes());
        out.extend_from_slice(file.as_bytes());
        out.extend_from_slice(&(-1_i32).to_be_bytes()); // the operator has finished
    }
    out
}

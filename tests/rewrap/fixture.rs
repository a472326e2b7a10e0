//! A keyring, a configuration, and a store of files sealed by processes that are gone: a folder, or another store.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use sealpoint::Result;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::envelope::{Head, Parsed, Slot, sidecar};
use sealpoint::kms::local::{Keyring, KeyringFile};
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::rewrap::{Options, Report, rewrap};
use sealpoint::store::{Location, Store};
use sealpoint::stream::{OpenStream, read_head, sidecars_beside};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::elsewhere::Elsewhere;

pub const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// A folder with a keyring, `sealpoint.toml`, and files under `store/`.
pub struct Site {
    folder: TempDir,
    elsewhere: Option<Elsewhere>,
}

impl Site {
    pub fn new() -> Site {
        Site::configured("")
    }

    /// With more lines of configuration; `other` is a second key of the keyring.
    pub fn configured(more: &str) -> Site {
        Site::of(None, more)
    }

    /// Whose `store/` lies in another store.
    #[allow(dead_code, reason = "tests/store does that")]
    pub fn elsewhere(elsewhere: Elsewhere) -> Site {
        Site::of(Some(elsewhere), "")
    }

    fn of(elsewhere: Option<Elsewhere>, more: &str) -> Site {
        let site = Site { folder: TempDir::new().unwrap(), elsewhere };
        site.keyring_file().create("sealpoint").unwrap();
        site.keyring(|keyring| keyring.add("other", SystemTime::now()).map(drop));
        fs::create_dir(site.path("store")).unwrap();
        site.configure(more);
        site
    }

    /// From now on with these lines beyond the primary key.
    pub fn configure(&self, more: &str) {
        let keyring = self.path("keyring");
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n{more}", keyring.display());
        fs::write(self.path("sealpoint.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn rotate(&self, key: &str) {
        self.keyring(|keyring| keyring.key_mut(key)?.rotate(SystemTime::now()).map(drop));
    }

    pub fn set_enabled(&self, key: &str, version: u32, enabled: bool) {
        self.keyring(|keyring| keyring.key_mut(key)?.set_enabled(version, enabled));
    }

    /// A process of its own: other data keys than those before it had.
    pub fn engine(&self) -> Arc<EncryptionEngine> {
        EncryptionEngine::open(EncryptionConfig::from_toml_file(&self.path("sealpoint.toml")).unwrap()).unwrap()
    }

    /// Files that one process seals under one data key, each holding its own name.
    pub fn seal(&self, names: &[&str]) {
        let engine = self.engine();
        for name in names {
            let path = self.path("store").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, engine.encrypt(path.to_str().unwrap(), name.as_bytes()).unwrap()).unwrap();
        }
    }

    /// The checkpoints, shared state and savepoint of a job whose every checkpoint has two processes.
    pub fn job(&self, job: &str, checkpoints: u32) {
        for number in 1..=checkpoints {
            for process in ["a", "b"] {
                let shared = format!("{job}/shared/{number}-{process}");
                let merged = format!("{job}/shared/merged/{number}-{process}");
                let own = format!("{job}/chk-{number}/{process}");
                self.seal(&[&shared, &merged, &own]);
            }
        }
        self.seal(&[&format!("{job}/savepoint-1/_metadata"), &format!("{job}/savepoint-1/state")]);
    }

    /// Every sealed file below the store.
    pub fn files(&self) -> Vec<PathBuf> {
        self.sync();
        let mut files: Vec<PathBuf> = walk(&self.path("store")).into_iter().filter(|path| !is_ours(path)).collect();
        files.sort();
        files
    }

    pub fn sidecars(&self) -> Vec<PathBuf> {
        self.sync();
        let named = |path: &PathBuf| path.file_name().unwrap() == sidecar::FILE_NAME;
        let mut files: Vec<PathBuf> = walk(&self.path("store")).into_iter().filter(named).collect();
        files.sort();
        files
    }

    /// What is opened by a reader that looks where readers look: `None` for a file that is.
    pub fn unopened(&self) -> Vec<String> {
        let engine = self.engine();
        let failed = |path: PathBuf| open(&engine, &path).err().map(|error| format!("{}: {error}", path.display()));
        self.files().into_iter().filter_map(failed).collect()
    }

    pub fn rewrap(&self, options: &Options) -> Report {
        self.rewrap_at(&["store"], options).unwrap()
    }

    pub fn rewrap_at(&self, names: &[&str], options: &Options) -> Result<Report> {
        self.sync();
        let roots: Vec<_> = names.iter().map(|name| self.place(name)).collect();
        let mut options = options.clone();
        if let Some(elsewhere) = &self.elsewhere {
            options.store = elsewhere.options.clone();
        }
        let report = rewrap(&self.engine(), &roots, &options, &Progress::default());
        self.sync();
        report
    }

    /// Of `store` and what lies in it.
    pub fn place(&self, name: &str) -> Location {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.at(name),
            None => Location::of_path(&self.path(name)).unwrap(),
        }
    }

    /// The tool over what the store holds now.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.sync();
        let mut command = Command::new(CLI);
        command.env_clear().env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).current_dir(self.folder.path());
        let Some(elsewhere) = &self.elsewhere else {
            command.args(arguments);
            return command;
        };
        command.envs(elsewhere.environment.clone());
        for argument in arguments {
            let is_place = *argument == "store" || argument.starts_with("store/");
            command.arg(if is_place { elsewhere.at(argument).uri() } else { (*argument).to_owned() });
        }
        command
    }

    /// Brings what was changed here to the other store, and what was changed there here.
    pub fn sync(&self) {
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.sync(self.folder.path());
        }
    }

    /// Exit status, standard output and standard error.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        self.sync();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    pub fn run_json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{err}")))
    }

    fn keyring_file(&self) -> KeyringFile {
        KeyringFile::new(&self.path("keyring"), None).unwrap()
    }

    fn keyring(&self, change: impl FnOnce(&mut Keyring) -> Result<()>) {
        self.keyring_file().update(change).unwrap();
    }
}

/// What a listing of the store tells of its sidecars, while others write them.
pub struct Seen {
    store: Store,
    root: Location,
    runtime: Runtime,
}

impl Seen {
    pub fn new(site: &Site) -> Seen {
        let root = site.place("store");
        let options = site.elsewhere.as_ref().map(|elsewhere| elsewhere.options.clone()).unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Seen { store: Store::open(&root, &options).unwrap(), root, runtime }
    }

    /// When each was written.
    pub fn sidecars(&self) -> BTreeMap<Location, SystemTime> {
        self.runtime.block_on(async {
            let mut found = BTreeMap::new();
            let mut listed = self.store.list(&self.root).await;
            while let Some(object) = listed.next().await {
                // A file that was just renamed may be missed, and seen the next time.
                if let Ok(object) = object
                    && object.location.name() == sidecar::FILE_NAME
                {
                    found.insert(object.location, object.modified);
                }
            }
            found
        })
    }
}

/// Versions by key, of each slot that a sidecar holds.
pub fn versions_in(sidecar: &Path) -> Vec<(String, String)> {
    let entries = sidecar::decode(&fs::read(sidecar).unwrap()).unwrap();
    let slots = entries.into_iter().flat_map(|entry| entry.slots);
    slots.map(|slot: Slot| (slot.kek, slot.version)).collect()
}

pub fn head_of(path: &Path) -> Head {
    match Head::parse(&fs::read(path).unwrap()).unwrap() {
        Parsed::Complete(head) => head,
        Parsed::NeedMore(_) => panic!("{} is cut", path.display()),
    }
}

/// As any reader does: by the file's own slots, or else by the sidecars beside it; to its verified end.
fn open(engine: &EncryptionEngine, path: &Path) -> Result<()> {
    let mut file = File::open(path).unwrap();
    let (_, head) = read_head(&mut file)?;
    let opening = engine.opener_beside(&head, path.to_str().unwrap(), None, &mut sidecars_beside(path))?;
    let mut stream = OpenStream::new(file, opening);
    let mut plain = [0; 100];
    assert!(stream.read(&mut plain)? > 0);
    assert_eq!(stream.read(&mut plain)?, 0);
    Ok(())
}

fn is_ours(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(".sealpoint-")
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

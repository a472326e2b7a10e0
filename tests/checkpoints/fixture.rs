//! Checkpoints as Flink lays them out, on disk or in another store, sealed under a keyring file, and the tool over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::stream::{OpenStream, SealStream, read_head};
use serde_json::Value;
use tempfile::TempDir;

use super::elsewhere::Elsewhere;

pub const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// What tests call the folders that hold sealed files.
const PLACES: [&str; 5] = ["job", "dstl", "ha", "new", "elsewhere"];

/// What `_metadata` says of a file.
pub enum Handle {
    /// Beside it, of this length.
    Relative(String, u64),
    /// At an absolute path, of this length.
    Absolute(String, u64),
    /// From an offset on, so many bytes of a file that others were merged into.
    Segment(String, u64, u64),
    /// Changes, whose recorded length says nothing.
    Changes(String),
    /// A directory of merged files.
    Directory(String),
}

pub struct Fixture {
    folder: TempDir,
    elsewhere: Option<Elsewhere>,
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::of(None)
    }

    /// Whose sealed files lie in another store.
    #[allow(dead_code, reason = "tests/store does that")]
    pub fn elsewhere(elsewhere: Elsewhere) -> Fixture {
        Fixture::of(Some(elsewhere))
    }

    fn of(elsewhere: Option<Elsewhere>) -> Fixture {
        let fixture = Fixture { folder: TempDir::new().unwrap(), elsewhere };
        fixture.keyring(&["create"]);
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", fixture.path("keyring").display());
        fs::write(fixture.path("sealpoint.toml"), text).unwrap();
        fixture
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn keyring(&self, arguments: &[&str]) {
        let (verb, rest) = arguments.split_first().unwrap();
        let output = Command::new(CLI).args(["keyring", verb]).arg(self.path("keyring")).args(rest).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub fn engine(&self) -> Arc<EncryptionEngine> {
        EncryptionEngine::open(EncryptionConfig::load(&self.path("sealpoint.toml")).unwrap()).unwrap()
    }

    /// How Flink writes the path of a file here.
    pub fn uri(&self, name: &str) -> String {
        if let Some(elsewhere) = &self.elsewhere {
            return format!("sealed+{}", elsewhere.at(name));
        }
        format!("sealed+file:{}", self.path(name).display())
    }

    /// A sealed file bound to its name.
    pub fn seal(&self, engine: &EncryptionEngine, name: &str, plaintext: &[u8]) {
        self.write(name, &self.sealed(engine, name, plaintext));
    }

    pub fn sealed(&self, engine: &EncryptionEngine, name: &str, plaintext: &[u8]) -> Vec<u8> {
        let subject = name.rsplit('/').next().unwrap();
        let sealing = engine.sealer(&format!("file://{}", self.path(name).display()), Some(subject)).unwrap();
        let (mut stream, mut sealed) = (SealStream::new(sealing), Vec::new());
        stream.update(plaintext, &mut sealed).unwrap();
        stream.finish(&mut sealed).unwrap();
        sealed
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn open(&self, engine: &EncryptionEngine, name: &str) -> Vec<u8> {
        let sealed = fs::read(self.path(name)).unwrap();
        let (_, head) = read_head(&mut &sealed[..]).unwrap();
        let mut stream = OpenStream::new(&sealed[..], engine.opener(&head, name, name.rsplit('/').next()).unwrap());
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut plain).unwrap();
        plain
    }

    /// The id of the data key that a file is sealed under, and the versions of the keys that wrap it.
    pub fn data_key(&self, name: &str) -> (String, Vec<String>) {
        let sealed = fs::read(self.path(name)).unwrap();
        let (_, head) = read_head(&mut &sealed[..]).unwrap();
        let versions = head.slots.iter().map(|slot| slot.version.clone()).collect();
        (head.bound.data_key_id.to_string(), versions)
    }

    /// A sealed `_metadata` in this directory.
    pub fn metadata(&self, engine: &EncryptionEngine, directory: &str, handles: &[Handle]) {
        self.seal(engine, &format!("{directory}/_metadata"), &metadata(handles));
    }

    /// The tool, its exit status and what it said.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.sync(self.folder.path());
        }
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CLI);
        command.env_clear().current_dir(self.folder.path());
        match &self.elsewhere {
            None => command.args(arguments),
            Some(elsewhere) => {
                elsewhere.sync(self.folder.path());
                let is_place = |argument: &str| PLACES.contains(&argument.split('/').next().unwrap());
                let there = |argument: &&str| {
                    if is_place(argument) { elsewhere.at(argument).uri() } else { (*argument).to_owned() }
                };
                command.envs(elsewhere.environment.clone()).args(arguments.iter().map(there))
            }
        };
        command.arg("--config").arg(self.path("sealpoint.toml"));
        command
    }

    /// The same with `--json`.
    pub fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat());
        let value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code:?} {out} {err}"));
        (code, value)
    }

    /// Every file below a directory, by its name there.
    pub fn files(&self, directory: &str) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.path(directory), &self.path(directory), &mut found);
        found.sort();
        found
    }
}

/// What is wrong, by the names of problems, over all checkpoints and sidecars of a report.
pub fn problems(report: &Value) -> Vec<String> {
    let parts = ["checkpoints", "sidecars"].iter().flat_map(|part| report[part].as_array().unwrap());
    let all = parts.flat_map(|part| part["problems"].as_array().unwrap());
    all.map(|problem| problem["problem"].as_str().unwrap().to_owned()).collect()
}

pub fn plaintext(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 253 + seed * 7) as u8).collect()
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// Metadata of version 4: one operator, and a subtask for each handle.
pub fn metadata(handles: &[Handle]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(0x4960_672d_u32.to_be_bytes());
    out.extend(4u32.to_be_bytes());
    out.extend(42u64.to_be_bytes());
    out.extend(0u32.to_be_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend([7; 16]);
    out.extend(1u32.to_be_bytes());
    out.extend(128u32.to_be_bytes());
    out.push(0);
    out.extend((handles.len() as u32).to_be_bytes());
    for (subtask, handle) in handles.iter().enumerate() {
        out.extend((subtask as u32).to_be_bytes());
        if let Handle::Directory(path) = handle {
            out.extend(1u32.to_be_bytes());
            out.push(17);
            out.extend(0u32.to_be_bytes());
            text(path, &mut out);
            text(path, &mut out);
            out.extend([1, 0]);
        } else {
            out.extend(0u32.to_be_bytes());
        }
        out.extend(0u32.to_be_bytes());
        keyed(handle, &mut out);
        out.push(0);
        out.extend([0; 8]);
    }
    out.extend([0xac, 0xed, 0, 5]);
    out.extend(b"properties");
    out
}

fn keyed(handle: &Handle, out: &mut Vec<u8>) {
    if let Handle::Changes(path) = handle {
        out.push(13);
        out.extend([0; 8]);
        out.extend(1u32.to_be_bytes());
        out.extend(0u64.to_be_bytes());
        out.push(2);
        out.extend(3u64.to_be_bytes());
        text(path, out);
        out.extend([0; 16]);
        text("changes", out);
        return text("filesystem", out);
    }
    if let Handle::Directory(_) = handle {
        return out.push(0);
    }
    out.push(12);
    out.extend([0; 8]);
    match handle {
        Handle::Relative(path, length) => {
            out.push(6);
            text(path, out);
            out.extend(length.to_be_bytes());
        }
        Handle::Absolute(path, length) => {
            out.push(2);
            out.extend(length.to_be_bytes());
            text(path, out);
        }
        Handle::Segment(path, start, length) => {
            out.push(15);
            out.extend(start.to_be_bytes());
            out.extend(length.to_be_bytes());
            out.extend(1u32.to_be_bytes());
            text(path, out);
            text("logical", out);
        }
        Handle::Changes(_) | Handle::Directory(_) => {}
    }
    text("handle", out);
}

fn text(text: &str, out: &mut Vec<u8>) {
    assert!(text.is_ascii());
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

//! `sealpoint keyring`: the local keyring file, made, shown and rotated.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use sealpoint::Result;
use sealpoint::clock::utc;
use sealpoint::kms::local::{Keyring, KeyringFile};
use serde_json::{Value, json};

const DEFAULT_KEY: &str = "sealpoint";

/// The subcommands of `sealpoint keyring`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a keyring with one fresh key; an existing file is never touched
    #[command(after_help = "Examples:
  sealpoint keyring create /etc/sealpoint/keyring
  sealpoint keyring create --key state --passphrase-file /run/secrets/passphrase --json keyring

JSON: {keyring, key, version, state}")]
    Create {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Add another key to a keyring
    #[command(
        after_help = "Example:\n  sealpoint keyring add --key payments /etc/sealpoint/keyring\n\nJSON: {keyring, key, version, state}"
    )]
    Add {
        #[command(flatten)]
        file: FileArguments,
        /// The new key's name
        #[arg(long, value_name = "NAME")]
        key: String,
    },
    /// Show keys and versions, never key material
    #[command(
        visible_alias = "list",
        after_help = "Examples:
  sealpoint keyring list /etc/sealpoint/keyring
  sealpoint keyring show --json /etc/sealpoint/keyring | jq '.keys[].current'

JSON: {passphrase, keys: [{name, current, versions: [{version, created_at_ms, enabled}]}]}"
    )]
    Show {
        #[command(flatten)]
        file: FileArguments,
    },
    /// Make a fresh version of a key the current one; the old ones still unwrap
    #[command(
        after_help = "Example:\n  sealpoint keyring rotate --key payments /etc/sealpoint/keyring\n\nJSON: {keyring, key, version, state}"
    )]
    Rotate {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Put the keys under a new passphrase, or under none; every process needs the new one from then on
    #[command(after_help = "Examples:
  sealpoint keyring passphrase --new-passphrase-file /run/secrets/new /etc/sealpoint/keyring
  sealpoint keyring passphrase --passphrase-file /run/secrets/new --no-passphrase /etc/sealpoint/keyring

JSON: {keyring, passphrase}")]
    Passphrase {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        new: NewPassphrase,
    },
    /// Disable an old version: what it wrapped cannot be opened any more
    #[command(
        after_help = "Example:\n  sealpoint keyring disable /etc/sealpoint/keyring 3\n\nJSON: {keyring, key, version, state}"
    )]
    Disable(VersionArguments),
    /// Enable a version again
    #[command(
        after_help = "Example:\n  sealpoint keyring enable --key payments /etc/sealpoint/keyring 3\n\nJSON: {keyring, key, version, state}"
    )]
    Enable(VersionArguments),
}

/// Which keyring.
#[derive(Debug, Args)]
pub struct FileArguments {
    /// The keyring file
    path: PathBuf,
    /// The file that holds its passphrase, if it has one
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which key of it.
#[derive(Debug, Args)]
pub struct KeyArguments {
    /// The key's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_KEY)]
    key: String,
}

/// What is to protect the keys.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct NewPassphrase {
    /// The file that holds the new passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// None: whoever reads the file has the keys
    #[arg(long)]
    no_passphrase: bool,
}

/// Which version of a key.
#[derive(Debug, Args)]
pub struct VersionArguments {
    #[command(flatten)]
    file: FileArguments,
    /// The version's number
    version: u32,
    #[command(flatten)]
    key: KeyArguments,
}

/// Runs one of them.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Create { file, key } => {
            file.open()?.create(&key.key)?;
            let words = format!("created {} with key '{}' version 1", file.path.display(), key.key);
            file.say(json!({"key": key.key, "version": 1, "state": "created"}), &words);
            if !file.json {
                say!("Keep a copy in a safe place: without it nothing sealed under it can be opened.");
            }
            Ok(())
        }
        Command::Add { file, key } => {
            file.open()?.update(|keyring| keyring.add(&key, SystemTime::now()).map(drop))?;
            let words = format!("added key '{key}' version 1 to {}", file.path.display());
            file.say(json!({"key": key, "version": 1, "state": "created"}), &words);
            Ok(())
        }
        Command::Show { file } => {
            let (_, keyring) = file.open()?.load()?;
            if file.json {
                show_json(&keyring)
            } else {
                show(&keyring)
            }
            Ok(())
        }
        Command::Rotate { file, key } => {
            let rotate = |keyring: &mut Keyring| Ok(keyring.key_mut(&key.key)?.rotate(SystemTime::now())?.id());
            let version = file.open()?.update(rotate)?;
            let words = format!("key '{}' of {} is at version {version}", key.key, file.path.display());
            file.say(json!({"key": key.key, "version": version, "state": "current"}), &words);
            Ok(())
        }
        Command::Passphrase { file, new } => {
            file.open()?.change_passphrase(new.new_passphrase_file.as_deref())?;
            let shown = file.path.display();
            let words = match &new.new_passphrase_file {
                Some(new) => {
                    format!("{shown} is under the passphrase in {}: set kms.local.passphrase-file", new.display())
                }
                None => format!("{shown} has no passphrase any more: take kms.local.passphrase-file out"),
            };
            file.say(json!({"passphrase": new.new_passphrase_file.is_some()}), &words);
            if !file.json {
                say!("Copies of the file as it was still open with what opened them before.");
            }
            Ok(())
        }
        Command::Disable(arguments) => arguments.set_enabled(false),
        Command::Enable(arguments) => arguments.set_enabled(true),
    }
}

impl FileArguments {
    fn open(&self) -> Result<KeyringFile> {
        KeyringFile::new(&self.path, self.passphrase_file.as_deref())
    }

    /// What was done: an object, which gets the file's name, or words.
    fn say(&self, mut done: Value, words: &str) {
        if self.json {
            done["keyring"] = self.path.to_string_lossy().into();
            say!("{done}");
        } else {
            say!("{words}");
        }
    }
}

impl VersionArguments {
    fn set_enabled(&self, enabled: bool) -> Result<()> {
        let (key, version) = (&self.key.key, self.version);
        self.file.open()?.update(|keyring| keyring.key_mut(key)?.set_enabled(version, enabled))?;
        let state = if enabled { "enabled" } else { "disabled" };
        let words = format!("key '{key}' version {version} of {} is {state}", self.file.path.display());
        self.file.say(json!({"key": key, "version": version, "state": state}), &words);
        Ok(())
    }
}

fn show(keyring: &Keyring) {
    let mark = if std::io::stdout().is_terminal() { "\u{1b}[1mcurrent\u{1b}[0m" } else { "current" };
    say!("passphrase: {}", if keyring.has_passphrase() { "yes" } else { "no" });
    for key in keyring.keys() {
        say!("key '{}'", key.name());
        for version in key.versions() {
            let last = key.versions().last().is_some_and(|last| last.id() == version.id());
            let state = if !version.is_enabled() {
                "disabled"
            } else if last {
                mark
            } else {
                "enabled"
            };
            say!("  version {:>4}  created {}  {state}", version.id(), utc(version.created_at_ms()));
        }
    }
}

fn show_json(keyring: &Keyring) {
    let versions = |key: &sealpoint::kms::local::Key| -> Vec<Value> {
        let each = key.versions().iter().map(|version| {
            json!({
                "version": version.id(), "created_at_ms": version.created_at_ms(), "enabled": version.is_enabled(),
            })
        });
        each.collect()
    };
    let keys: Vec<_> = keyring
        .keys()
        .iter()
        .map(|key| {
            let current = key.versions().last().map(|version| version.id());
            json!({"name": key.name(), "current": current, "versions": versions(key)})
        })
        .collect();
    say!("{}", json!({"passphrase": keyring.has_passphrase(), "keys": keys}));
}

//! The commands of the runbooks "Planned rotation" and "Moving to another key service" do what the text says.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::fixture::{CLI, Site};

const MARK: &str = "<!-- run by tests/rewrap -->";

/// The shell blocks behind the mark in a section of docs/OPERATIONS.md, and its TOML blocks.
fn blocks(section: &str) -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let text = text.split("\n## ").find(|part| part.starts_with(section)).expect("the section is there");
    let (mut shell, mut toml) = (Vec::new(), Vec::new());
    let (mut marked, mut block): (bool, Option<(bool, String)>) = (false, None);
    for line in text.lines().map(str::trim) {
        match (&mut block, line) {
            (None, MARK) => marked = true,
            (None, "```sh") => {
                assert!(std::mem::take(&mut marked), "a shell block of {section} is not run");
                block = Some((true, String::new()));
            }
            (None, "```toml") => block = Some((false, String::new())),
            (None, _) => {}
            (Some(_), "```") => {
                let (is_shell, text) = block.take().unwrap();
                if is_shell { shell.push(text) } else { toml.push(text) }
            }
            (Some((_, text)), line) => text.push_str(&format!("{line}\n")),
        }
    }
    (shell, toml)
}

impl Site {
    fn local(&self, text: &str) -> String {
        let text = text.replace("/etc/sealpoint/keyring", self.path("keyring").to_str().unwrap());
        text.replace("/flink", self.path("store").to_str().unwrap())
    }

    fn shell(&self, block: &str) -> String {
        let path = format!("{}:/usr/bin:/bin", Path::new(CLI).parent().unwrap().display());
        let mut bash = Command::new("bash");
        bash.args(["-ec", &self.local(block)]).current_dir(self.path("")).env_clear().env("PATH", path);
        let output = bash.env("SEALPOINT_CONFIG", self.path("sealpoint.toml")).output().unwrap();
        assert!(output.status.success(), "{block}{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn planned_rotation() {
    let site = Site::new();
    site.job("checkpoints/job", 2);
    site.seal(&["savepoints/savepoint-1/_metadata"]);
    let (shell, _) = blocks("Planned rotation");
    assert_eq!(shell.len(), 2);
    let out = site.shell(&shell[0]);
    assert!(out.contains("10 to renew") && out.contains("10 renewed, 0 current, 0 failed"), "{out}");
    let out = site.shell(&shell[1]);
    assert!(out.contains("0 renewed, 10 current, 0 failed") && out.contains("verified"), "{out}");
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn moving_to_another_key() {
    let site = Site::new();
    site.job("checkpoints/job", 2);
    site.seal(&["savepoints/savepoint-1/_metadata"]);
    site.shell("sealpoint keyring add /etc/sealpoint/keyring --key moved");
    let (shell, toml) = blocks("Moving to another key service");
    for (name, text) in ["sealpoint.toml", "moved.toml"].iter().zip(&toml) {
        fs::write(site.path(name), site.local(text)).unwrap();
    }
    assert_eq!((shell.len(), toml.len()), (2, 2));
    assert!(site.shell(&shell[0]).contains("10 renewed, 0 current, 0 failed"));
    site.set_enabled("sealpoint", 1, true);
    let out = site.shell(&shell[1]);
    assert!(out.contains("0 to renew, 10 current, 0 failed") && out.contains("verified"), "{out}");
}

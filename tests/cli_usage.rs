//! What holds for every subcommand of the command line.

use std::process::{Command, Output};

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

fn run(arguments: &[&str]) -> Output {
    Command::new(CLI).args(arguments).env_remove("SEALPOINT_CONFIG").output().unwrap()
}

/// Every subcommand, by its words, read from the help of the one above it.
fn subcommands(above: &[String]) -> Vec<Vec<String>> {
    let words: Vec<&str> = above.iter().map(String::as_str).chain(["--help"]).collect();
    let help = String::from_utf8(run(&words).stdout).unwrap();
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let mut found = Vec::new();
    for line in list.lines() {
        let name =
            line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')).and_then(|rest| rest.split(' ').next());
        let Some(name) = name.filter(|name| *name != "help") else { continue };
        let path: Vec<String> = above.iter().cloned().chain([name.to_owned()]).collect();
        let below = subcommands(&path);
        if below.is_empty() { found.push(path) } else { found.extend(below) }
    }
    found
}

#[test]
fn every_subcommand_ends_with_2_when_it_is_used_wrongly_and_helps_with_0() {
    let all = subcommands(&[]);
    assert!(all.len() > 15, "{all:?}");
    for path in all {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let wrong = run(&[&words[..], &["--no-such-option"]].concat());
        assert_eq!(wrong.status.code(), Some(2), "{words:?}");
        assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty(), "{words:?}: errors go to standard error");
        let help = run(&[&words[..], &["--help"]].concat());
        assert_eq!(help.status.code(), Some(0), "{words:?}");
    }
}

#[test]
fn the_exit_codes_are_in_the_help_and_in_the_manual() {
    for arguments in [&["--help"][..], &["man"]] {
        let text = String::from_utf8(run(arguments).stdout).unwrap();
        for said in ["the answer is no", "the usage or the configuration is wrong"] {
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
    }
}

#[test]
#[cfg(feature = "pkcs11")]
fn the_reference_of_the_command_line_is_what_is_committed() {
    let committed = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CLI.md")).unwrap();
    assert!(run(&["man", "--markdown"]).stdout == committed, "docs/CLI.md is stale: `make cli-doc`");
}

#[test]
fn shells_complete_every_subcommand() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(run(&["completions", shell]).stdout).unwrap();
        for name in ["seal", "keyring", "doctor", "completions"] {
            assert!(script.contains(name), "{shell} knows {name}");
        }
    }
}

#[test]
fn doctor_names_what_is_wrong_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(run(&["keyring", "create", &path("keyring")]).status.success());
    let text = format!("kms.provider = \"local\"\nkms.local.keyring = \"{}\"\n", path("keyring"));
    std::fs::write(path("sealpoint.toml"), text).unwrap();
    let doctor = |uri: &str| run(&["doctor", "--json", "--config", &path("sealpoint.toml"), uri]);
    let well = doctor(folder.path().to_str().unwrap());
    assert_eq!(well.status.code(), Some(0), "{well:?}");
    let found: serde_json::Value = serde_json::from_slice(&well.stdout).unwrap();
    assert_eq!(found["ok"], true);
    let ill = doctor("s4://bucket");
    assert_eq!(ill.status.code(), Some(1));
    assert!(String::from_utf8(ill.stdout).unwrap().contains("did you mean s3?"));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path("keyring"), open).unwrap();
    let ill = doctor(folder.path().to_str().unwrap());
    assert_eq!(ill.status.code(), Some(1), "{ill:?}");
    assert!(String::from_utf8(ill.stdout).unwrap().contains("chmod 600"));
    std::fs::write(path("sealpoint.toml"), "kms.provder = \"local\"\n").unwrap();
    assert_eq!(doctor("/").status.code(), Some(2));
}

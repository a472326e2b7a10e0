//! `sealpoint config`: 0 for a policy, 2 for a mistake in it, and the words that mend it. (`keyring`: tests/keyring.rs.)

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
    command.env_clear().envs(variables.iter().copied());
    command.arg("config").args(arguments).output().unwrap()
}

fn check(text: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sealpoint.toml");
    fs::write(&file, text).unwrap();
    let output = config(&["check", file.to_str().unwrap()], variables);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if !output.status.success() {
        let named = err.contains(file.to_str().unwrap()) || variables.iter().any(|(name, _)| err.contains(name));
        assert!(named, "'{err}' names the file, or the variable");
        assert_eq!(out, "");
    }
    (output.status.code(), out, err)
}

const GOOD: &str = "[kms]\nprovider = 'local'\nlocal.keyring = '/etc/keyring.json'\n";

#[test]
fn a_good_file_prints_the_policy_in_force() {
    let (code, out, _) = check(GOOD, &[("SEALPOINT_CACHE_TTL", "5 min")]);
    assert_eq!(code, Some(0));
    for line in
        ["kms.local.keyring = \"/etc/keyring.json\"", "cache.ttl = \"5 min\"", "chunk-size = \"16 kb\"   # default"]
    {
        assert!(out.lines().any(|found| found == line), "{line} in\n{out}");
    }
    assert!(!out.contains("kms.aws"), "only what is in use");
}

#[test]
fn what_is_printed_reads_back_as_the_same_policy() {
    let (_, printed, _) = check(GOOD, &[]);
    let (code, again, err) = check(&printed, &[]);
    assert_eq!(code, Some(0), "{err}");
    let values = |text: &str| text.lines().map(|line| line.replace("   # default", "")).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&printed));
}

#[test]
fn a_mistake_is_exit_code_2_and_one_line_that_says_what_to_do() {
    for (text, words) in [
        ("", "kms.provider is missing"),
        ("kms.provider = 'local'", "kms.local.keyring is missing"),
        ("kms.provider = 'locla'", "did you mean local?"),
        ("kms.provder = 'local'", "did you mean 'kms.provider'?"),
        ("[kms\n", "not TOML"),
        ("fips-mode = true\nkms.provider = 'local'\nkms.local.keyring = '/k'", "fips-mode is not in this version"),
    ] {
        let (code, _, err) = check(text, &[]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(words), "'{err}' says {words}");
    }
    let (code, _, err) = check(GOOD, &[("SEALPOINT_CHUNK_SIZE", "5kb")]);
    assert_eq!(code, Some(2));
    assert!(err.contains("power of two") && err.contains("SEALPOINT_CHUNK_SIZE"), "{err}");
    let missing = config(&["check", "/no/such/file.toml"], &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/no/such/file.toml"));
}

#[test]
fn the_references_are_what_is_committed() {
    for (command, file) in [("reference", "CONFIG.md"), ("metrics", "METRICS.md")] {
        let committed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)).unwrap();
        assert!(config(&[command], &[]).stdout == committed, "docs/{file} is stale");
    }
}

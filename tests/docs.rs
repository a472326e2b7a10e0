//! Prose is tested: the commands and configurations of the README work, links lead somewhere, named tests exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sealpoint::config::EncryptionConfig;
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// The blocks of one language in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line.trim()) {
            (None, fence) if fence == format!("```{language}") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(block), code) => block.push_str(&format!("{code}\n")),
            (None, _) => {}
        }
    }
    assert!(!blocks.is_empty(), "{document} has no {language} block");
    blocks
}

#[test]
fn the_configurations_for_flink_are_accepted() {
    let config = |block: &String| {
        let pairs = block.lines().filter_map(|line| line.strip_prefix("sealpoint.")?.split_once(": "));
        EncryptionConfig::from_pairs(pairs).unwrap_or_else(|error| panic!("{error}: {block}"))
    };
    let configs: Vec<EncryptionConfig> = blocks("README.md", "yaml").iter().map(config).collect();
    assert!(configs[0].require_sealed);
    let slots: Vec<_> = configs.iter().map(|config| config.kms_slots_of("default")).collect();
    let providers: Vec<&str> = slots.iter().map(|slots| slots[0].provider.name()).collect();
    assert_eq!(providers, ["local", "aws", "azure", "gcp", "vault", "pkcs11"], "a configuration for each key service");
}

#[test]
fn the_commands_by_hand_work() {
    let folder = TempDir::new().unwrap();
    let keyring = folder.path().join("keyring");
    let local = |text: &str| text.replace("/etc/sealpoint/keyring", keyring.to_str().unwrap());
    let toml = blocks("README.md", "toml").concat();
    fs::write(folder.path().join("sealpoint.toml"), local(&toml)).unwrap();
    fs::write(folder.path().join("plain.bin"), [7; 100_000]).unwrap();
    let script: Vec<String> = blocks("README.md", "sh")
        .iter()
        .filter(|block| block.contains("sealpoint "))
        .map(|block| local(&block.replace("target/native/sealpoint", "sealpoint")))
        .collect();
    assert_eq!(script.len(), 2, "creating a key, and the commands by hand");
    let path = format!("{}:/usr/bin:/bin", Path::new(CLI).parent().unwrap().display());
    let run = Command::new("bash").args(["-ec", &script.concat()]).current_dir(&folder).env("PATH", path).output();
    let run = run.unwrap();
    assert!(run.status.success(), "{run:?}");
    assert_eq!(fs::read(folder.path().join("opened.bin")).unwrap(), [7; 100_000]);
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("make ") {
            let quoted = text[..at].ends_with('`') || text[..at].ends_with('\n');
            let target: String = text[at + 5..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let known = makefile.contains(&format!("\n{target}:")) || target.is_empty();
            assert!(!quoted || known, "{} names `make {target}`", document.display());
        }
    }
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..].chars().take_while(|c| *c != ')' && *c != '#').collect();
            if !target.is_empty() && !target.contains("://") {
                let path = document.parent().unwrap().join(&target);
                assert!(path.exists(), "{} links to {target}", document.display());
            }
        }
    }
}

#[test]
fn every_test_that_holds_up_a_claim_exists() {
    let sources: Vec<String> =
        ["native", "tests", "java/src"].iter().flat_map(|folder| sources(Path::new(folder))).collect();
    let text = fs::read_to_string("docs/SECURITY.md").unwrap();
    let mut named = 0;
    for row in text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| Threat"))
    {
        let proofs = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = proofs.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test holds up: {row}");
        for name in names {
            let defined =
                [format!("fn {name}("), format!("void {name}("), format!("class {name} "), format!("name: \"{name}\"")];
            let exists = sources.iter().any(|source| defined.iter().any(|form| source.contains(form.as_str())));
            assert!(exists, "docs/SECURITY.md names {name}, which does not exist");
            named += 1;
        }
    }
    assert!(named > 20);
}

fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents
}

fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                texts.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "java") {
            texts.extend(fs::read_to_string(&path));
        }
    }
    texts
}

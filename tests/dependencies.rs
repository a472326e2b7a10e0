//! What Sealpoint brings along: one TLS library on one crypto library, no other, under licences that users accept.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Two TLS libraries would be two sets of bugs, and only one of them obeys `kms.ca-file` and FIPS mode.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "boring", "boring-sys"];
const ONCE: &[&str] = &["rustls", "aws-lc-rs", "aws-lc-sys", "hyper", "tokio", "reqwest"];
const PROVIDERS: &[&str] = &["aws", "azure", "gcp", "pkcs11", "vault"];
const STORES: &[&str] = &["s3", "abfs", "gs"];

/// Any of these is enough where a package offers a choice.
const LICENCES: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Zlib"];

#[test]
fn one_tls_library_on_one_crypto_library_and_no_other() {
    let tree = tree(&all());
    for banned in BANNED {
        assert!(!tree.contains_key(*banned), "{banned} is among the dependencies: cargo tree -e no-dev -i {banned}");
    }
    for once in ONCE {
        let versions: Vec<_> = tree.get(*once).into_iter().flatten().map(|package| &package.version).collect();
        assert_eq!(versions.len(), 1, "{once}: {versions:?}; cargo tree -e no-dev -d");
    }
}

#[test]
fn a_key_service_brings_only_what_it_needs() {
    let bare = tree(&[]);
    for none in ["object_store", "rustls", "reqwest", "hyper", "aws-sdk-kms", "google-cloud-auth", "cryptoki"] {
        assert!(!bare.contains_key(none), "without features there is no {none}");
    }
    for (feature, own) in [
        ("aws", "aws-sdk-kms"),
        ("azure", "reqwest"),
        ("gcp", "google-cloud-auth"),
        ("pkcs11", "cryptoki"),
        ("vault", "reqwest"),
    ] {
        let tree = tree(&[feature]);
        assert!(tree.contains_key(own), "{feature} brings {own}");
        for banned in BANNED {
            assert!(!tree.contains_key(*banned), "{feature} alone brings {banned}");
        }
        for (other, theirs) in [("aws", "aws-sdk-kms"), ("gcp", "google-cloud-auth"), ("pkcs11", "cryptoki")] {
            assert_eq!(tree.contains_key(theirs), other == feature, "{feature}: {theirs}");
        }
    }
    assert!(!tree(&["pkcs11"]).contains_key("rustls"), "a module on this machine needs no TLS");
}

#[test]
fn a_store_brings_no_second_crypto_library() {
    for store in STORES {
        let tree = tree(&[store]);
        assert!(tree.contains_key("object_store"), "{store}");
        for banned in BANNED {
            assert!(!tree.contains_key(*banned), "{store} alone brings {banned}");
        }
    }
}

#[test]
fn every_licence_is_one_that_users_accept() {
    let tree = tree(&all());
    assert!(tree.len() > 100, "the whole tree is looked at");
    let refused: Vec<String> = tree
        .values()
        .flatten()
        .filter(|package| !accepted(&package.licence))
        .map(|package| format!("{} {}: {}", package.name, package.version, package.licence))
        .collect();
    assert!(refused.is_empty(), "\n{}", refused.join("\n"));
}

#[test]
fn a_choice_of_licences_needs_one_and_a_sum_all() {
    for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "ISC AND (Apache-2.0 OR ISC)", "(MIT OR GPL-2.0) AND ISC"] {
        assert!(accepted(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "ISC AND (GPL-2.0 OR LGPL-2.1)", "MITX"] {
        assert!(!accepted(bad), "{bad}");
    }
}

fn all() -> Vec<&'static str> {
    [PROVIDERS, STORES].concat()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// What is built for users on this platform with these features, dev-dependencies left out, by name.
fn tree(features: &[&str]) -> BTreeMap<String, BTreeSet<Package>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--edges=normal,build", "--prefix=none", "--format={p}|{l}", "--locked", "--offline"]);
    cargo.arg("--no-default-features").arg(format!("--features={}", features.join(",")));
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut tree: BTreeMap<String, BTreeSet<Package>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("cargo speaks UTF-8").lines() {
        // `rustls v0.23.45 (proc-macro)|MIT OR ISC (*)`
        let (package, licence) = line.split_once('|').expect("as the format says");
        let mut words = package.split(' ').map(str::to_owned);
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        let licence = licence.trim_end_matches(" (*)").to_owned();
        tree.entry(name.clone()).or_default().insert(Package { name, version, licence });
    }
    tree
}

/// An SPDX expression: AND binds closer than OR; `/` is an old way to write OR.
fn accepted(expression: &str) -> bool {
    let expression = expression.trim();
    let parts = |separator: &str| split(expression, separator);
    if let [first, rest @ ..] = &parts(" OR ")[..]
        && !rest.is_empty()
    {
        return accepted(first) || rest.iter().any(|part| accepted(part));
    }
    if let [first, rest @ ..] = &parts(" AND ")[..]
        && !rest.is_empty()
    {
        return accepted(first) && rest.iter().all(|part| accepted(part));
    }
    if let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return accepted(inner);
    }
    LICENCES.contains(&expression) || expression.split('/').any(|part| LICENCES.contains(&part.trim()))
}

/// Splits where no parenthesis is open.
fn split<'e>(expression: &'e str, separator: &str) -> Vec<&'e str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, character) in expression.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && at >= start && expression[at..].starts_with(separator) => {
                parts.push(&expression[start..at]);
                start = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

//! The modules of `native/` point one way. Each may name only the modules listed for it here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("clock", &[]),
    ("secret", &["error"]),
    ("context", &["error"]),
    ("config", &["context", "error"]),
    ("envelope", &["config", "context", "secret", "error"]),
    ("net", &["error"]),
    ("kms", &["metrics", "config", "context", "secret", "clock", "net", "error"]),
    ("metrics", &["config", "error"]),
    ("keys", &["envelope", "kms", "metrics", "config", "context", "secret", "clock", "error"]),
    ("engine", &["keys", "envelope", "kms", "metrics", "config", "context", "secret", "clock", "error"]),
    ("flink", &["error"]),
    ("store", &["secret", "config", "clock", "net", "error"]),
    ("stream", &["engine", "envelope", "error"]),
    (
        "lifecycle",
        &[
            "store", "flink", "stream", "engine", "keys", "kms", "envelope", "metrics", "config", "context", "secret",
            "clock", "error",
        ],
    ),
    ("ffi", &["lifecycle", "flink", "stream", "engine", "envelope", "config", "error"]),
    (
        "cli",
        &[
            "ffi",
            "lifecycle",
            "store",
            "stream",
            "engine",
            "keys",
            "kms",
            "envelope",
            "metrics",
            "config",
            "context",
            "secret",
            "clock",
            "error",
        ],
    ),
];

/// Names that may be used inside one module only.
const ONLY_IN: &[(&str, &str)] = &[("jni::", "ffi"), ("c_char", "ffi"), ("unsafe {", "ffi secret")];

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(module, uses)| (*module, uses.iter().copied().collect())).collect();
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(Path::new("native")) {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let uses = allowed.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no rule in tests/layering.rs"));
        seen.insert(module.clone());
        let text = code(&fs::read_to_string(&file).unwrap());
        for used in crate_paths(&text) {
            let known = allowed.contains_key(used.as_str());
            if known && used != module && !uses.contains(used.as_str()) {
                broken.push(format!("{} uses {used}; {module} may use only {uses:?}", file.display()));
            }
        }
        for (name, places) in ONLY_IN {
            if text.contains(name) && !places.split(' ').any(|place| place == module) {
                broken.push(format!("{} names `{name}`, which belongs into {places}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    let missing: Vec<_> = allowed.keys().filter(|module| !seen.contains(**module)).collect();
    assert!(missing.is_empty(), "rules for modules that do not exist: {missing:?}");
}

#[test]
fn the_scan_sees_every_form_of_import() {
    let text = "use crate::keys::KeyRing;\nuse crate::{error::Error, kms};\nlet x = crate::engine::open();\nuse sealpoint::ffi;";
    let found: BTreeSet<String> = crate_paths(text).into_iter().collect();
    let expected: BTreeSet<String> = ["keys", "error", "kms", "engine", "ffi"].map(String::from).into();
    assert_eq!(found, expected);
}

/// The lines that are not comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segments of all paths that begin at the crate's root, braces included.
fn crate_paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "sealpoint::"] {
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let (mut depth, mut at_start) = (1, true);
                for (index, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => at_start = true,
                        _ if at_start && letter.is_alphabetic() => {
                            found.push(identifier(&group[index..]));
                            at_start = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            } else {
                found.push(identifier(rest));
            }
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix("native").unwrap();
    relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

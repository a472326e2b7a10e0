//! The committed test vectors: they are what their generator makes, and both implementations make of each what the
//! manifest says. `cargo test --test format_vectors -- --ignored write_the_vectors` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod sealed_files;
mod second_decoder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use sealpoint::envelope::sidecar;
use sealpoint::error::{Kind, Result};

use sealed_files::{Buffers, Reader, head, secret};
use second_decoder::decoder::{self, Facts, Refusal};
use second_decoder::vectors::{self, Sidecar, Vector};
use second_decoder::{encoder::Plan, hkdf_sha512, sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

#[test]
#[ignore = "writes the vectors; run it after a change of the format or of the list"]
fn write_the_vectors() {
    for part in ["good", "bad", "sidecar/good", "sidecar/bad"] {
        let folder = folder().join(part);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
    }
    for (file, bytes) in files() {
        fs::write(folder().join(file), bytes).unwrap();
    }
}

#[test]
fn the_vectors_are_what_their_generator_makes() {
    let files = files();
    for (file, bytes) in &files {
        let path = folder().join(file);
        let committed = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(committed == *bytes, "{file} differs");
    }
    for part in ["good", "bad", "sidecar/good", "sidecar/bad"] {
        for entry in fs::read_dir(folder().join(part)).unwrap() {
            let name = format!("{part}/{}", entry.unwrap().file_name().to_string_lossy());
            assert!(files.contains_key(&name), "{name} is in no list");
        }
    }
}

/// Through the manifest alone, as another implementation would use it.
#[test]
fn the_library_makes_of_each_vector_what_the_manifest_says() {
    for (entry, file) in manifest_entries("files") {
        let key = secret(hex(&entry["data_key"]).try_into().unwrap());
        for buffers in [Buffers::OutOfPlace, Buffers::InPlace] {
            let mut released = Vec::new();
            let result = read_all(&file, &key, entry["opened_as"].as_str(), buffers, &mut released);
            let name = &entry["file"];
            assert_eq!(entry["error"].as_str(), result.err().map(kind_name), "{name}");
            assert_eq!(hex(&entry["released_sha256"]), sha256(&released), "{name}");
            assert_eq!(entry["released_len"], released.len(), "{name}");
        }
        if entry["error"].is_null() {
            let bound = head(&file).unwrap().bound;
            assert_eq!(entry["tenant"], bound.tenant);
            assert_eq!(entry["subject"].as_str(), bound.subject.as_deref());
            let context: BTreeMap<_, _> = bound.context.pairs().collect();
            assert_eq!(entry["context"], json!(context));
            assert_eq!(entry["chunk_size"], bound.chunk_size);
            assert_eq!(entry["data_key_id"], bound.data_key_id.to_string());
        }
    }
}

#[test]
fn the_second_decoder_makes_of_each_vector_what_the_manifest_says() {
    for (entry, file) in manifest_entries("files") {
        let open = decoder::open(&file, &hex(&entry["data_key"]).try_into().unwrap(), entry["opened_as"].as_str());
        let name = &entry["file"];
        assert_eq!(entry["error"].as_str(), open.result.as_ref().err().map(|refusal| refusal_name(*refusal)), "{name}");
        assert_eq!(hex(&entry["released_sha256"]), sha256(&open.released), "{name}");
        if let Ok(facts) = open.result {
            assert_eq!(
                facts_json(&facts),
                select(&entry, &["tenant", "subject", "context", "chunk_size", "data_key_id"])
            );
        }
    }
}

#[test]
fn both_implementations_read_the_sidecars_alike() {
    for (entry, file) in manifest_entries("sidecars") {
        let (name, ids) = (&entry["file"], |ids: Vec<String>| json!(ids));
        let ours = sidecar::decode(&file);
        let theirs = second_decoder::sidecar::read(&file);
        assert_eq!(entry["error"].as_str(), ours.as_ref().err().map(|error| kind_name(error.clone())), "{name}");
        assert_eq!(entry["error"].as_str(), theirs.as_ref().err().map(|refusal| refusal_name(*refusal)), "{name}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_eq!(entry["ids"], ids(ours.iter().map(|entry| entry.data_key_id.to_string()).collect()));
            assert_eq!(entry["ids"], ids(theirs.iter().map(|(id, _)| to_hex(id)).collect()));
            assert!(ours.iter().map(|entry| &entry.section).eq(theirs.iter().map(|(_, section)| section)));
            assert_eq!(sidecar::encode(&ours).unwrap(), file);
        }
    }
}

/// The bytes and values printed in docs/FORMAT.md are real.
#[test]
fn the_worked_example_of_the_text_is_right() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/FORMAT.md")).unwrap();
    let section = text.split("## Worked example").nth(1).unwrap().split("\n## ").next().unwrap();
    let expected = worked_example();
    let block = section.split("```\n").nth(1).expect("the section has a block");
    assert_eq!(block.trim_end(), expected.trim_end(), "docs/FORMAT.md must print:\n\n{expected}");
    // And what it prints opens.
    let printed = block.split("derived\n").next().unwrap().split("file\n").nth(1).unwrap();
    let bytes: String = printed.lines().map(|line| &line[4..line.len().min(54)]).collect();
    let bytes: Vec<u8> = unhex(&bytes.split_whitespace().collect::<String>());
    assert_eq!(bytes, vectors::worked_example().1);
    let key = secret(vectors::worked_example().0.data_key);
    assert_eq!(sealed_files::open_whole(&bytes, &key).unwrap(), b"checkpoint 42");
    let open = decoder::open(&bytes, &vectors::worked_example().0.data_key, Some("_metadata"));
    assert_eq!((open.released.as_slice(), open.result.is_ok()), (&b"checkpoint 42"[..], true));
}

fn worked_example() -> String {
    let (plan, file) = vectors::worked_example();
    let (bound, slots) = (plan.bound(), plan.slots_section());
    let mut out = String::from("inputs\n");
    let value = |out: &mut String, name: &str, bytes: &[u8]| {
        for (i, line) in bytes.chunks(16).enumerate() {
            let label = if i == 0 { name } else { "" };
            *out += format!("    {:<50}{label}", spaced(line)).trim_end();
            out.push('\n');
        }
    };
    value(&mut out, "data key", &plan.data_key);
    value(&mut out, "plaintext: \"checkpoint 42\"", b"checkpoint 42");
    out += "file\n";
    let mut at = 0;
    let mut part = |out: &mut String, name: &str, length: usize| {
        value(out, name, &file[at..at + length]);
        at += length;
    };
    for (name, length) in [
        ("magic", 8),
        ("version 1, suite 01", 2),
        ("flags", 2),
        ("bound_len", 4),
        ("slots_len", 4),
        ("01, 16 bytes: data-key id", 19),
        ("02, 8 bytes: created at 2025-11-24T16:00:00Z", 11),
        ("03, 1 byte: chunks of 2^14 bytes", 4),
        ("04, 7 bytes: tenant \"default\"", 10),
        ("05, 9 bytes: subject \"_metadata\"", 12),
        ("count of slots", 1),
        ("provider \"local\"", 6),
        ("KEK \"sealpoint\"", 11),
        ("version \"1\"", 3),
        ("wrapped data key", 20),
        ("mac of the slots", 32),
        ("salt", 24),
        ("commitment", 32),
        ("prefix of frame 0: 13 bytes", 4),
        ("ciphertext", 13),
        ("tag", 16),
        ("prefix of the end: regular", 4),
        ("plaintext length 13", 8),
        ("frame count 1", 8),
        ("tag", 16),
    ] {
        part(&mut out, name, length);
    }
    assert_eq!((at, bound.len(), slots.len()), (file.len(), 56, 73));
    out += "derived\n";
    value(&mut out, "slots MAC key", &hkdf_sha512(&plan.data_key, &[], b"sealpoint/v1 slots", 32));
    let info = [b"sealpoint/v1 file", &file[..12], &bound].concat();
    value(&mut out, "info of the file keys", &info);
    let okm = hkdf_sha512(&plan.data_key, &plan.salt, &info, 76);
    value(&mut out, "cipher key", &okm[..32]);
    value(&mut out, "base nonce", &okm[32..44]);
    value(&mut out, "nonce of frame 0", &okm[32..44]);
    value(&mut out, "aad of frame 0", &[0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut nonce = okm[32..44].to_vec();
    nonce[11] ^= 1;
    value(&mut out, "nonce of the end", &nonce);
    out
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let (vectors, sidecars) = (vectors::all(), vectors::sidecars());
    let manifest = json!({
        "format": "sealpoint sealed file, version 1: docs/FORMAT.md",
        "files": vectors.iter().map(entry).collect::<Vec<_>>(),
        "sidecars": sidecars.iter().map(sidecar_entry).collect::<Vec<_>>(),
    });
    let mut files = BTreeMap::new();
    files.insert("manifest.json".to_owned(), (serde_json::to_string_pretty(&manifest).unwrap() + "\n").into_bytes());
    files.extend(vectors.into_iter().map(|vector| (vector.file, vector.bytes)));
    files.extend(sidecars.into_iter().map(|sidecar| (format!("sidecar/{}", sidecar.file), sidecar.bytes)));
    files
}

fn entry(vector: &Vector) -> Value {
    let mut entry = json!({
        "file": vector.file,
        "reason": vector.reason,
        "data_key": to_hex(&vector.data_key),
        "released_len": vector.released.len(),
        "released_sha256": to_hex(&sha256(&vector.released)),
    });
    if let Some(name) = &vector.opened_as {
        entry["opened_as"] = json!(name);
    }
    match vector.refused {
        Some(refusal) => entry["error"] = json!(refusal_name(refusal)),
        None => {
            // As the second decoder reads them; the library is then held to the same.
            let facts = decoder::open(&vector.bytes, &vector.data_key, None).result.unwrap();
            for (key, value) in facts_json(&facts).as_object().unwrap() {
                entry[key] = value.clone();
            }
        }
    }
    entry
}

fn sidecar_entry(sidecar: &Sidecar) -> Value {
    let mut entry = json!({ "file": format!("sidecar/{}", sidecar.file), "reason": sidecar.reason });
    match &sidecar.ids {
        Ok(ids) => entry["ids"] = json!(ids.iter().map(|id| to_hex(id)).collect::<Vec<_>>()),
        Err(refusal) => entry["error"] = json!(refusal_name(*refusal)),
    }
    entry
}

fn facts_json(facts: &Facts) -> Value {
    json!({
        "tenant": facts.tenant,
        "subject": facts.subject,
        "context": facts.context.iter().cloned().collect::<BTreeMap<_, _>>(),
        "chunk_size": facts.chunk,
        "data_key_id": to_hex(&facts.id),
    })
}

fn select(entry: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), entry[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn manifest_entries(list: &str) -> Vec<(Value, Vec<u8>)> {
    let manifest: Value = serde_json::from_slice(&fs::read(folder().join("manifest.json")).unwrap()).unwrap();
    let entries = manifest[list].as_array().unwrap().clone();
    assert!(!entries.is_empty());
    entries
        .into_iter()
        .map(|entry| {
            let file = fs::read(folder().join(entry["file"].as_str().unwrap())).unwrap();
            (entry, file)
        })
        .collect()
}

fn read_all(
    file: &[u8],
    key: &sealpoint::secret::Secret,
    name: Option<&str>,
    buffers: Buffers,
    released: &mut Vec<u8>,
) -> Result<()> {
    let mut reader = Reader::new(file, key, 0)?;
    reader.buffers = buffers;
    name.map_or(Ok(()), |name| head(file)?.bound.check_subject(name))?;
    while let Some(bytes) = reader.read(usize::MAX)? {
        released.extend_from_slice(&bytes);
    }
    Ok(())
}

fn kind_name(error: sealpoint::Error) -> &'static str {
    match error.kind() {
        Kind::NotSealed => "not-sealed",
        Kind::UnsupportedVersion => "unsupported-version",
        Kind::Malformed => "malformed",
        Kind::Integrity => "integrity",
        Kind::Truncated => "truncated",
        other => panic!("{other:?} is no refusal of a file: {error}"),
    }
}

fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotSealed => "not-sealed",
        Refusal::UnsupportedVersion => "unsupported-version",
        Refusal::Malformed => "malformed",
        Refusal::Integrity => "integrity",
        Refusal::Truncated => "truncated",
    }
}

fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_vectors_stay_small() {
    let total: usize = files().values().map(Vec::len).sum();
    assert!(total < 300_000, "{total} bytes");
    assert!(Plan::new(second_decoder::GCM, 12).head().len() < 300);
}

//! Flink's `_metadata` as Flink itself writes it: every reference is found, a path can be replaced, and nothing that
//! can be done to the bytes does any harm. The vectors are written and read by `MetadataVectorsTest` in `java/`.

use std::fs;
use std::path::Path;

use base64::Engine;
use proptest::prelude::*;
use sealpoint::error::Kind;
use sealpoint::flink::{self, Extent, Reference, Summary};
use serde_json::{Value, json};

/// One vector for each version of the format that Flink 1.20 and 2.3 read.
const VERSIONS: [u32; 5] = [2, 3, 4, 5, 6];

fn vector(version: u32) -> (Vec<u8>, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/metadata/v{version}.json"));
    let vector: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let metadata = base64::engine::general_purpose::STANDARD.decode(vector["metadata"].as_str().unwrap()).unwrap();
    (metadata, vector)
}

fn references(metadata: &[u8]) -> sealpoint::Result<(Summary, Vec<Reference>)> {
    let mut found = Vec::new();
    let summary = flink::read(metadata, |reference| {
        found.push(reference.clone());
        Ok(())
    })?;
    Ok((summary, found))
}

fn described(reference: &Reference) -> Value {
    let (extent, start, length) = match reference.extent {
        Extent::Whole(length) => ("whole", 0, length),
        Extent::Unsized => ("unsized", 0, 0),
        Extent::Segment { start, length } => ("segment", start, length),
        Extent::Directory => ("directory", 0, 0),
    };
    json!({
        "role": reference.role.name(), "path": reference.path, "relative": reference.relative,
        "extent": extent, "start": start, "length": length,
    })
}

#[test]
fn every_reference_that_flink_reads_is_found_in_every_version() {
    for version in VERSIONS {
        let (metadata, vector) = vector(version);
        let (summary, found) = references(&metadata).unwrap();
        let found: Vec<Value> = found.iter().map(described).collect();
        assert_eq!(Value::Array(found), vector["references"], "version {version}");
        let expected = vector["references"].as_array().unwrap().len() as u64;
        assert_eq!((u64::from(summary.version), summary.references), (version.into(), expected));
        assert_eq!(Value::from(summary.checkpoint_id), vector["checkpoint"]);
        assert_eq!(Value::from(summary.operators), vector["operators"]);
    }
}

#[test]
fn metadata_without_a_new_path_are_copied_to_the_byte() {
    for version in VERSIONS {
        let (metadata, _) = vector(version);
        let mut copy = Vec::new();
        flink::relocate(&metadata[..], &mut copy, |_| Ok(None)).unwrap();
        assert_eq!(copy, metadata, "version {version}");
    }
}

#[test]
fn each_absolute_path_is_replaced_where_it_stands_and_nothing_else_changes() {
    for version in VERSIONS {
        let (metadata, _) = vector(version);
        let (_, before) = references(&metadata).unwrap();
        let other = |path: &str| path.replace("sealed+s3://bucket/", "sealed+file:/elsewhere and longer \u{1f511}/");
        let mut moved = Vec::new();
        let relocation = |reference: &Reference| Ok((!reference.relative).then(|| other(&reference.path)));
        flink::relocate(&metadata[..], &mut moved, relocation).unwrap();
        let (_, after) = references(&moved).unwrap();
        let (mut at, mut at_moved) = (0, 0);
        for (old, new) in before.iter().zip(&after) {
            let expected = if old.relative { old.path.clone() } else { other(&old.path) };
            assert_eq!((&new.path, new.extent, new.role), (&expected, old.extent, old.role));
            let (start, start_moved) = (old.span.start as usize, new.span.start as usize);
            assert_eq!(metadata[at..start], moved[at_moved..start_moved]);
            (at, at_moved) = (old.span.end as usize, new.span.end as usize);
        }
        assert_eq!(metadata[at..], moved[at_moved..]);
        assert_eq!(before.len(), after.len());
    }
}

#[test]
fn a_file_beside_its_metadata_is_given_no_other_path() {
    let (metadata, _) = vector(6);
    let error = flink::relocate(&metadata[..], std::io::sink(), |_| Ok(Some("x".to_owned()))).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn a_path_that_java_could_not_write_is_refused() {
    let (metadata, _) = vector(6);
    let long = |reference: &Reference| Ok((!reference.relative).then(|| "\u{fc}".repeat(32_768)));
    let error = flink::relocate(&metadata[..], std::io::sink(), long).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn metadata_cut_at_any_byte_are_refused() {
    for version in VERSIONS {
        let (metadata, _) = vector(version);
        // What follows the references is a Java object that only Java can read to its end; version 2 and 3 have none.
        let end =
            metadata.windows(4).rposition(|window| window == [0xac, 0xed, 0, 5]).unwrap_or(metadata.len() - 4) + 4;
        for cut in 0..end {
            let error = references(&metadata[..cut]).unwrap_err();
            assert_eq!(error.kind(), Kind::Truncated, "version {version} cut at {cut}: {error}");
        }
        assert!(references(&metadata[..end]).is_ok());
    }
}

#[test]
fn an_unknown_version_is_named_with_what_to_do() {
    let (mut metadata, _) = vector(6);
    for (version, words) in [(7, "newer release"), (0, "newer release"), (1, "Flink 1.1"), (-1, "newer release")] {
        metadata[4..8].copy_from_slice(&i32::to_be_bytes(version));
        let error = references(&metadata).unwrap_err();
        assert_eq!(error.kind(), Kind::UnsupportedVersion);
        assert!(error.message().contains(words), "{error}");
    }
    metadata[0] = 0;
    assert_eq!(references(&metadata).unwrap_err().kind(), Kind::Malformed);
}

#[test]
fn an_unknown_tag_is_named_with_its_place() {
    // The tag of the coordinator's state, behind the names and numbers of the first operator.
    let (metadata, _) = vector(4);
    let at = metadata.windows(13).position(|window| window == &b"\x01\x00\x0bcoordinator"[..13]).unwrap();
    let mut metadata = metadata;
    metadata[at] = 99;
    let error = references(&metadata).unwrap_err();
    assert_eq!(error.kind(), Kind::Malformed);
    assert!(error.message().contains(&format!("byte {at}")) && error.message().contains(" 99 "), "{error}");
}

#[test]
fn no_claimed_length_is_allocated_and_no_nesting_overflows_the_stack() {
    let (metadata, _) = vector(6);
    let before = peak();
    for at in 0..metadata.len() - 4 {
        for value in [i32::MAX, i32::MIN] {
            let mut bad = metadata.clone();
            bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
            drop(references(&bad));
        }
    }
    // Somewhere among them is each count and each length, as 2 GiB.
    assert!(peak() - before < 1 << 30, "{} bytes more", peak() - before);

    // Key groups over key groups over key groups, as the stream handle of tag 3 allows.
    let mut deep = metadata[..16].to_vec();
    deep.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    deep.extend_from_slice(&[0; 24]);
    for _ in 0..100_000 {
        deep.extend_from_slice(&[3, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
    let error = references(&deep).unwrap_err();
    assert!(error.message().contains("too deep"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_makes_the_reader_panic(
        version in proptest::sample::select(&VERSIONS[..]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (mut metadata, _) = vector(version);
        for (at, value) in damage {
            let at = at.index(metadata.len());
            metadata[at] = value;
        }
        if let Ok((_, found)) = references(&metadata) {
            for reference in found {
                prop_assert!(reference.span.end <= metadata.len() as u64);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        version in 2u32..=6,
        rest in proptest::collection::vec(prop_oneof![4 => Just(0u8), 4 => 0u8..20, 1 => any::<u8>()], 0..600),
    ) {
        let head = [&0x4960_672d_u32.to_be_bytes()[..], &version.to_be_bytes()].concat();
        let _ = references(&[head, rest].concat());
    }
}

/// The most address space that this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

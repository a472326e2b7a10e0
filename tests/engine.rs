//! The engine over a real keyring: what it seals it opens, and what it must not open it does not.

mod cases;

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::envelope::sidecar::{self, Entry};
use sealpoint::error::{Error, Kind};
use sealpoint::keys::Target;
use sealpoint::store::{Location, Store, StoreOptions};
use sealpoint::stream::{OpenStream, ReadAt, SealStream, read_head};
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

/// A keyring, and engines over it.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = TempDir::new().unwrap();
        let fixture = Fixture { folder };
        let made = Command::new(CLI).args(["keyring", "create"]).arg(fixture.path("keyring")).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pairs(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("kms.provider".to_owned(), "local".to_owned()),
            ("kms.local.keyring".to_owned(), self.path("keyring").to_str().unwrap().to_owned()),
        ];
        pairs.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        pairs
    }

    fn try_engine(&self, more: &[(&str, &str)]) -> Result<Arc<EncryptionEngine>, Error> {
        EncryptionEngine::open(EncryptionConfig::from_pairs(self.pairs(more))?)
    }

    fn engine(&self, more: &[(&str, &str)]) -> Arc<EncryptionEngine> {
        self.try_engine(more).unwrap()
    }

    fn toml(&self, more: &[(&str, &str)]) -> PathBuf {
        let text: String = self.pairs(more).iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        let path = self.path("sealpoint.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn plaintext(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + i / 253) as u8).collect()
}

fn open_as(engine: &EncryptionEngine, sealed: &[u8], path: &str, name: Option<&str>) -> Result<Vec<u8>, Error> {
    let mut source = sealed;
    let (_, head) = read_head(&mut source)?;
    let mut stream = OpenStream::new(sealed, engine.opener(&head, path, name)?);
    let mut plain = Vec::new();
    let mut block = [0; 10_000];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(plain),
            read => plain.extend_from_slice(&block[..read]),
        }
    }
}

#[test]
fn both_suites_round_trip_at_every_size_that_matters() {
    let fixture = Fixture::new();
    for algorithm in ["aes-256-gcm", "aes-256-cbc-hmac"] {
        let engine = fixture.engine(&[("algorithm", algorithm), ("chunk-size", "4kb")]);
        for length in [0, 1, 15, 16, 17, 4095, 4096, 4097, 8192, 100_000] {
            let plain = plaintext(length);
            let sealed = engine.encrypt("", &plain).unwrap();
            assert_eq!(engine.decrypt("", &sealed).unwrap(), plain, "{algorithm} {length}");
            assert_eq!(open_as(&engine, &sealed, "", None).unwrap(), plain, "{algorithm} {length}");
        }
    }
}

#[test]
fn equal_plaintexts_seal_to_different_bytes() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[]);
    let (first, second) = (engine.encrypt("", b"the same").unwrap(), engine.encrypt("", b"the same").unwrap());
    assert_ne!(first[first.len() - 60..], second[second.len() - 60..]);
}

#[test]
fn another_process_with_the_keyring_opens_it_and_one_without_does_not() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let sealed = fixture.engine(&[]).encrypt("chk-1/state", b"secret").unwrap();
    assert_eq!(fixture.engine(&[]).decrypt("chk-1/state", &sealed).unwrap(), b"secret");
    let error = other.engine(&[]).decrypt("chk-1/state", &sealed).unwrap_err();
    assert!(error.message().starts_with("chk-1/state: "), "{error}");
    assert!(matches!(error.kind(), Kind::WrappedKey | Kind::KeyVersionNotFound | Kind::KeyNotFound), "{error:?}");
}

#[test]
fn a_file_opens_under_the_name_it_was_sealed_with_and_under_no_other() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[]);
    let seal = |name: &str| {
        let mut stream = SealStream::new(engine.sealer("", Some(name)).unwrap());
        let mut sealed = Vec::new();
        stream.update(name.as_bytes(), &mut sealed).unwrap();
        stream.finish(&mut sealed).unwrap();
        sealed
    };
    let (first, second) = (seal("first"), seal("second"));
    assert_eq!(open_as(&engine, &first, "", Some("first")).unwrap(), b"first");
    assert_eq!(open_as(&engine, &second, "dir/first", Some("first")).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(open_as(&engine, &second, "", None).unwrap(), b"second");
    let unbound = engine.encrypt("", b"of no name").unwrap();
    assert_eq!(open_as(&engine, &unbound, "dir/first", Some("first")).unwrap_err().kind(), Kind::Integrity);
}

#[test]
fn a_file_of_another_tenant_is_refused_whatever_its_head_says() {
    let fixture = Fixture::new();
    let both = &[("tenants.a.paths", "/data/a"), ("tenants.b.paths", "/data/b")];
    let engine = fixture.engine(both);
    let of_b = engine.encrypt("/data/b/x", b"b's").unwrap();
    assert_eq!(engine.decrypt("/data/b/x", &of_b).unwrap(), b"b's");
    let swapped = engine.decrypt("/data/a/x", &of_b).unwrap_err();
    assert_eq!(swapped.kind(), Kind::TenantNotAllowed, "{swapped}");
    let only_a = fixture.engine(&[("tenants.a.paths", "/data/a")]);
    let foreign = only_a.decrypt("/data/b/x", &of_b).unwrap_err();
    assert_eq!(foreign.kind(), Kind::TenantNotAllowed, "{foreign}");
    assert!(foreign.message().contains("'b'"), "{foreign}");
}

#[test]
fn a_suite_that_is_not_allowed_is_refused() {
    let fixture = Fixture::new();
    let sealed = fixture.engine(&[("algorithm", "aes-256-cbc-hmac")]).encrypt("", b"x").unwrap();
    let gcm_only = fixture.engine(&[("algorithm", "aes-256-gcm")]);
    assert_eq!(gcm_only.decrypt("", &sealed).unwrap_err().kind(), Kind::SuiteNotAllowed);
    let both = fixture.engine(&[("allowed-algorithms", "aes-256-gcm, aes-256-cbc-hmac")]);
    assert_eq!(both.decrypt("", &sealed).unwrap(), b"x");
}

#[test]
fn plaintext_is_not_taken_for_a_sealed_file() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[]);
    assert_eq!(engine.decrypt("state", &plaintext(500)).unwrap_err().kind(), Kind::NotSealed);
    let error = engine.decrypt("state", b"").unwrap_err();
    assert!(matches!(error.kind(), Kind::NotSealed | Kind::Truncated), "{error}");
}

#[test]
fn what_this_build_does_not_have_is_refused_when_the_engine_opens() {
    let fixture = Fixture::new();
    for key in ["audit.enabled", "fips-mode"] {
        let error = fixture.try_engine(&[(key, "true")]).err().unwrap_or_else(|| panic!("{key} was taken"));
        assert!(error.message().contains(key), "{error}");
    }
    let off = fixture.engine(&[("enabled", "false")]);
    assert_eq!(off.encrypt("", b"x").unwrap_err().kind(), Kind::Config);
}

#[test]
fn threads_seal_and_open_at_once_while_epochs_turn() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[]);
    let threads: Vec<_> = (0..8)
        .map(|worker| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                for round in 0..50 {
                    engine.begin_epoch("job", round);
                    let plain = plaintext(1_000 * worker + round as usize);
                    let sealed = engine.encrypt("", &plain).unwrap();
                    assert_eq!(engine.decrypt("", &sealed).unwrap(), plain);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(engine.metrics().text().contains("heliosdb_checkpoint_encryption_total 400"));
    assert!(engine.metrics().text().contains("heliosdb_checkpoint_decryption_total 400"));
}

#[test]
fn a_stream_cut_anywhere_reads_up_to_its_last_whole_chunk_and_then_says_truncated() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[("chunk-size", "4kb")]);
    let plain = plaintext(20_000);
    let sealed = engine.encrypt("", &plain).unwrap();
    let (_, head) = read_head(&mut &sealed[..]).unwrap();
    for cut in [head.len(), head.len() + 1, sealed.len() - 1, sealed.len() - 36, sealed.len() - 5_000] {
        let mut stream = OpenStream::new(&sealed[..cut], engine.opener(&head, "", None).unwrap());
        let (mut read, mut block) = (0, [0; 700]);
        let error = loop {
            match stream.read(&mut block) {
                Ok(0) => panic!("cut at {cut} was taken for whole"),
                Ok(more) => {
                    assert_eq!(block[..more], plain[read..read + more]);
                    read += more;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::Truncated, "{error}");
        let body = cut - head.len();
        let whole = if body >= plain.len() + 5 * 20 { plain.len() } else { body / (4096 + 20) * 4096 };
        assert_eq!(read, whole, "cut at {cut}");
    }
}

/// Four chunks and the end fill the reader's buffer exactly, so that what follows is met only once the end has verified.
#[test]
fn a_stream_that_failed_behind_its_end_never_ends_well_afterwards() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[("chunk-size", "4kb")]);
    let plain = plaintext(4 * 4096);
    let sealed = [engine.encrypt("", &plain).unwrap(), b"x".to_vec()].concat();
    let (_, head) = read_head(&mut &sealed[..]).unwrap();
    let mut stream = OpenStream::new(&sealed[..], engine.opener(&head, "", None).unwrap());
    let mut block = vec![0; plain.len()];
    assert_eq!(stream.read(&mut block).unwrap(), plain.len());
    assert_eq!(block, plain);
    for _ in 0..3 {
        assert_eq!(stream.read(&mut block).unwrap_err().kind(), Kind::Integrity);
    }
}

/// A file in memory that counts what is read of it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: &'a AtomicUsize,
}

impl ReadAt for Counted<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.bytes.read_at(offset, buf)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

/// A merged file as Flink makes and restores it: each segment ends in a sync, and is read by an opener of its own.
#[test]
fn restoring_the_segments_of_a_merged_file_reads_it_a_few_times_and_not_once_a_segment() {
    const SEGMENTS: usize = 100;
    let fixture = Fixture::new();
    let sealing = fixture.engine(&[]);
    let lengths: Vec<usize> = (0..SEGMENTS).map(|segment| 64 * 1024 - 2_500 + segment * 7_919 % 5_000).collect();
    let plain = plaintext(lengths.iter().sum());
    let mut stream = SealStream::new(sealing.sealer("", None).unwrap());
    let (mut sealed, mut segments, mut at) = (Vec::new(), Vec::new(), 0);
    for length in lengths {
        stream.update(&plain[at..at + length], &mut sealed).unwrap();
        stream.sync(&mut sealed).unwrap();
        segments.push(at..at + length);
        at += length;
    }
    stream.finish(&mut sealed).unwrap();

    let in_order: Vec<usize> = (0..SEGMENTS).collect();
    let backwards: Vec<usize> = (0..SEGMENTS).rev().collect();
    let all_over: Vec<usize> = (0..SEGMENTS).map(|turn| turn * 37 % SEGMENTS).collect();
    for order in [in_order, backwards, all_over] {
        let engine = fixture.engine(&[]);
        let read = AtomicUsize::new(0);
        for segment in order {
            let mut source = Counted { bytes: &sealed, read: &read };
            let (_, head) = read_head(&mut source).unwrap();
            let mut opened = OpenStream::new(source, engine.opener(&head, "", None).unwrap());
            let range = segments[segment].clone();
            opened.seek(range.start as u64);
            let mut got = Vec::new();
            opened.take(range.len() as u64).read_to_end(&mut got).unwrap();
            assert!(got == plain[range], "segment {segment}");
        }
        let times = read.into_inner() / sealed.len();
        assert!(times < 10, "the file was read {times} times over");
    }
}

#[test]
fn the_tool_seals_opens_verifies_and_inspects() {
    let fixture = Fixture::new();
    let config = fixture.toml(&[]);
    let run = |arguments: &[&str]| {
        Command::new(CLI)
            .current_dir(fixture.folder.path())
            .env("SEALPOINT_CONFIG", &config)
            .args(arguments)
            .output()
            .unwrap()
    };
    let plain = plaintext(3_000_000);
    std::fs::write(fixture.path("plain"), &plain).unwrap();
    assert!(run(&["seal", "--bind-name", "plain", "sealed"]).status.success());
    assert!(run(&["open", "sealed", "opened"]).status.success());
    assert_eq!(std::fs::read(fixture.path("opened")).unwrap(), plain);
    let verified = run(&["open", "--verify", "sealed"]);
    assert!(String::from_utf8_lossy(&verified.stdout).contains("verified, 3000000 bytes"), "{verified:?}");
    assert_eq!(run(&["open", "sealed", "-"]).stdout, plain);
    let inspected: serde_json::Value = serde_json::from_slice(&run(&["inspect", "--json", "sealed"]).stdout).unwrap();
    assert_eq!(inspected[0]["subject"], "sealed");

    let again = run(&["seal", "plain", "sealed"]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    std::fs::rename(fixture.path("sealed"), fixture.path("moved")).unwrap();
    let renamed = run(&["open", "moved", "x"]);
    assert_eq!(renamed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&renamed.stderr).contains("moved"), "{renamed:?}");
    let left: Vec<_> =
        std::fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "x" && !name.to_string_lossy().contains(".part")), "half-written: {left:?}");
}

#[test]
fn a_disk_that_is_full_is_an_error_and_leaves_nothing() {
    let fixture = Fixture::new();
    let config = fixture.toml(&[]);
    std::fs::write(fixture.path("plain"), plaintext(100_000)).unwrap();
    // A limit on the size of files stands in for the end of a disk: the same write fails at the same place.
    let script = format!(
        "trap '' XFSZ; ulimit -f 16; exec {CLI} seal --config {} {} {}",
        config.display(),
        fixture.path("plain").display(),
        fixture.path("sealed").display()
    );
    let full = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("cannot write"), "{full:?}");
    let left: Vec<_> =
        std::fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("sealed")), "half-written: {left:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Sync,
}

proptest! {
    #![proptest_config(cases::cases(64))]

    /// Any sequence of writes and syncs, then of seeks and reads, equals the plain bytes.
    #[test]
    fn streams_equal_the_plain_bytes(
        steps in proptest::collection::vec(prop_oneof![4 => (0..9_000usize).prop_map(Step::Write), 1 => Just(Step::Sync)], 0..20),
        reads in proptest::collection::vec((0..100_000u64, 0..9_000usize), 1..20),
        cbc in any::<bool>(),
    ) {
        let fixture = Fixture::new();
        let algorithm = if cbc { "aes-256-cbc-hmac" } else { "aes-256-gcm" };
        let engine = fixture.engine(&[("algorithm", algorithm), ("chunk-size", "4kb")]);
        let total = steps.iter().map(|step| if let Step::Write(length) = step { *length } else { 0 }).sum();
        let plain = plaintext(total);
        let mut stream = SealStream::new(engine.sealer("", None).unwrap());
        let (mut sealed, mut given) = (Vec::new(), 0);
        for step in &steps {
            match step {
                Step::Write(length) => {
                    let bound = stream.bound(*length);
                    let before = sealed.len();
                    stream.update(&plain[given..given + length], &mut sealed).unwrap();
                    prop_assert!(sealed.len() - before <= bound);
                    given += length;
                }
                Step::Sync => stream.sync(&mut sealed).unwrap(),
            }
        }
        stream.finish(&mut sealed).unwrap();

        let (_, head) = read_head(&mut &sealed[..]).unwrap();
        let mut opened = OpenStream::new(&sealed[..], engine.opener(&head, "", None).unwrap());
        for (offset, length) in reads {
            opened.seek(offset);
            let from = usize::try_from(offset).unwrap().min(plain.len());
            let expected = &plain[from..(from + length).min(plain.len())];
            let mut got = Vec::new();
            (&mut opened).take(expected.len() as u64).read_to_end(&mut got).unwrap();
            prop_assert_eq!(&got[..], expected);
        }
        prop_assert_eq!(opened.length(sealed.len() as u64).unwrap(), plain.len() as u64);
    }
}

#[test]
fn store_calls_run_on_the_engine_s_own_thread_of_io() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[]);
    let at = Location::of_path(&fixture.path("file")).unwrap();
    let store = Store::open(&at, &StoreOptions::default()).unwrap();
    engine.wait(store.put(&at, vec![7; 10].into())).unwrap();
    let read = engine.wait(async {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        store.read(&at, 0..100).await
    });
    assert_eq!(read.unwrap(), vec![7; 10]);
}

#[test]
fn the_tool_opens_a_file_by_the_keys_that_were_renewed_beside_it() {
    let fixture = Fixture::new();
    let (toml, sealed) = (fixture.toml(&[]), fixture.path("checkpoints/chk-1/state"));
    let run = |arguments: &[&str]| Command::new(CLI).args(arguments).env("SEALPOINT_CONFIG", &toml).output().unwrap();
    std::fs::create_dir_all(sealed.parent().unwrap()).unwrap();
    std::fs::write(&sealed, fixture.engine(&[]).encrypt("", b"secret").unwrap()).unwrap();
    let keyring = fixture.path("keyring");
    assert!(run(&["keyring", "rotate", keyring.to_str().unwrap()]).status.success());
    let engine = fixture.engine(&[]);
    let (_, head) = read_head(&mut std::fs::File::open(&sealed).unwrap()).unwrap();
    let renewal = engine.keys().renewal(Target::All, None).unwrap();
    let renewed = renewal.renew(head.bound.data_key_id, &head.bound.tenant, &head.slots, head.slots_section());
    let entry = Entry::new(head.bound.data_key_id, engine.wait(renewed).unwrap().section).unwrap();
    let disabled = run(&["keyring", "disable", keyring.to_str().unwrap(), "1"]);
    assert!(disabled.status.success(), "{disabled:?}");

    let refused = run(&["open", sealed.to_str().unwrap(), "-"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(["version 1", "enable", "sealpoint rewrap"].iter().all(|part| said.contains(part)), "{said}");
    for folder in ["checkpoints/chk-1", "checkpoints"] {
        let keys = fixture.path(folder).join(".sealpoint-keys");
        std::fs::write(&keys, sidecar::encode(std::slice::from_ref(&entry)).unwrap()).unwrap();
        assert_eq!(run(&["open", sealed.to_str().unwrap(), "-"]).stdout, b"secret");
        std::fs::remove_file(keys).unwrap();
    }
}

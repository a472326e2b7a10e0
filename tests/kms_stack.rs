//! An engine whose key services are dead or dumb: it starts, says what is missing, and goes on with what it has.
#![cfg(feature = "vault")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::error::Kind;
use sealpoint::kms::local::KeyringFile;
use tempfile::TempDir;

/// A keyring that can be taken away, and addresses where no Vault answers.
struct Fixture {
    folder: TempDir,
    /// Accepts, and never answers.
    dumb: TcpListener,
    /// Its own end is a port where nobody listens, and that nobody is given meanwhile.
    held: TcpStream,
}

impl Fixture {
    fn new() -> Fixture {
        let dumb = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = TcpStream::connect(dumb.local_addr().unwrap()).unwrap();
        let fixture = Fixture { folder: TempDir::new().unwrap(), dumb, held };
        KeyringFile::new(&fixture.path("keyring"), None).unwrap().create("sealpoint").unwrap();
        let mut options = fs::OpenOptions::new();
        let mut token = options.write(true).create_new(true).mode(0o600).open(fixture.path("token")).unwrap();
        std::io::Write::write_all(&mut token, b"root").unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dumb(&self) -> String {
        format!("http://{}", self.dumb.local_addr().unwrap())
    }

    fn dead(&self) -> String {
        format!("http://{}", self.held.local_addr().unwrap())
    }

    fn local(&self) -> Vec<(String, String)> {
        self.pairs(&[("kms.provider", "local"), ("kms.local.keyring", self.path("keyring").to_str().unwrap())])
    }

    /// The keys of a Vault at this address; `kms.` or `kms.fallback.<name>.` leads them.
    fn vault(&self, lead: &str, address: &str) -> Vec<(String, String)> {
        let token = self.path("token");
        let keys = [
            ("provider", "vault"),
            ("vault.address", address),
            ("vault.key-name", "k"),
            ("vault.token-file", token.to_str().unwrap()),
        ];
        keys.iter().map(|(key, value)| (format!("{lead}{key}"), (*value).to_owned())).collect()
    }

    fn pairs(&self, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn engine(&self, parts: &[Vec<(String, String)>]) -> Arc<EncryptionEngine> {
        EncryptionEngine::open(EncryptionConfig::from_pairs(parts.concat()).unwrap()).unwrap()
    }
}

fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(120), "it never happens");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_engine_starts_with_every_key_service_dead_and_then_says_so() {
    let fixture = Fixture::new();
    let sealed = fixture.engine(&[fixture.local()]).encrypt("", b"state").unwrap();
    for (address, kind) in [(fixture.dead(), Kind::KmsUnavailable), (fixture.dumb(), Kind::KmsTimeout)] {
        let limits = fixture.pairs(&[
            ("kms.timeout", "300 ms"),
            ("kms.attempt-timeout", "200 ms"),
            ("kms.connect-timeout", "200 ms"),
            ("kms.fallbacks", "other"),
        ]);
        let settings = [fixture.vault("kms.", &address), fixture.vault("kms.fallback.other.", &fixture.dead()), limits];
        let open = |_| {
            let start = Instant::now();
            (fixture.engine(&settings), start.elapsed())
        };
        let (engine, took) = (0..5).map(open).min_by_key(|(_, took)| *took).unwrap();
        // The one limit on time that is promised, ten times what it takes; a machine may stand still, but not always.
        assert!(took < Duration::from_secs(1), "{took:?}");
        let error = engine.encrypt("chk-1/f", b"state").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        for word in [
            "chk-1/f: there is no data key for tenant 'default' yet",
            "again in the background",
            "vault 'transit/keys/k'",
        ] {
            assert!(error.message().contains(word), "'{error}' says {word}");
        }
        assert_eq!(engine.decrypt("chk-1/f", &sealed).unwrap_err().kind(), Kind::KeyNotAllowed, "another provider's");
    }
}

#[test]
fn a_job_fails_over_in_place_after_its_key_service_died() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[fixture.local()]);
    let sealed: Vec<Vec<u8>> = (0..3)
        .map(|checkpoint| {
            engine.begin_epoch("job", checkpoint);
            let sealed = engine.encrypt("", b"state").unwrap();
            // The next data key lies ready, as it does between two checkpoints.
            until(|| engine.metrics().data_keys_drawn.get() >= checkpoint as u64 + 2);
            sealed
        })
        .collect();
    fs::rename(fixture.path("keyring"), fixture.path("gone")).unwrap();
    engine.begin_epoch("job", 3);
    let late = engine.encrypt("", b"state").unwrap();
    until(|| engine.metrics().data_key_failures.get() >= 1);
    let later = engine.encrypt("", b"state").unwrap();
    for sealed in sealed.iter().chain([&late, &later]) {
        assert_eq!(engine.decrypt("", sealed).unwrap(), b"state");
    }
    let other = Fixture::new();
    fs::copy(fixture.path("gone"), other.path("keyring")).unwrap();
    let restarted = other.engine(&[other.local()]);
    fs::remove_file(other.path("keyring")).unwrap();
    let error = restarted.decrypt("chk-3/f", &late).unwrap_err();
    assert!(error.message().starts_with("chk-3/f: ") && error.message().contains("keyring"), "{error}");
}

#[test]
fn a_fallback_that_never_answers_holds_up_nothing() {
    let fixture = Fixture::new();
    let engine = fixture.engine(&[
        fixture.local(),
        fixture.pairs(&[("kms.fallbacks", "dumb"), ("kms.hedge-after", "20 ms")]),
        fixture.vault("kms.fallback.dumb.", &fixture.dumb()),
    ]);
    let sealed = engine.encrypt("", b"state").unwrap();
    assert_eq!(engine.decrypt("", &sealed).unwrap(), b"state");
    until(|| engine.metrics().data_keys_incomplete.get() >= 1);
}

#[test]
fn a_first_key_service_that_never_answers_is_overtaken_by_the_fallback() {
    let fixture = Fixture::new();
    let keyring = fixture.path("keyring");
    let fallback = [
        ("kms.fallbacks", "local"),
        ("kms.hedge-after", "20 ms"),
        ("kms.fallback.local.provider", "local"),
        ("kms.fallback.local.local.keyring", keyring.to_str().unwrap()),
    ];
    let parts = [fixture.vault("kms.", &fixture.dumb()), fixture.pairs(&fallback)];
    let engine = fixture.engine(&parts);
    let sealed = engine.encrypt("", b"state").unwrap();
    assert!(engine.metrics().kms_hedges.get() >= 1);
    assert_eq!(fixture.engine(&parts).decrypt("", &sealed).unwrap(), b"state");
}

//! PINs, modules and tokens, and what goes wrong with them.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::object::Attribute;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::error::Kind;
use tempfile::TempDir;

use super::softhsm::{self, Device, Mechanism};
use crate::cases::{Case, Needs};
use crate::client::Client;
use crate::fixture::{Fixture, fails, ok, tenant};
use crate::provider::{Pairs, pairs};

pub const CASES: &[Case] = &[
    case("never_extractable", "a key that we make is sensitive and cannot be taken out", never_extractable),
    case("mechanisms", "`auto` takes AES-GCM here, and opens what either mechanism has wrapped", mechanisms),
    case("wrong_pin", "a wrong PIN is told as such, is not tried again, and the right one then works", wrong_pin),
    case("no_module", "a module that is missing, or is none, is the configuration's fault", no_module),
    case("no_token", "a token that is in no slot may come back", no_token),
    case("hangs", "a token that hangs holds up 4 calls and no more, and nobody who seals", hangs),
    case("made_by_our_tool", "a key that `sealpoint pkcs11 create-key` has made works", made_by_our_tool),
    case("wrong_size", "a key of 128 bits, and one for the other mechanism, are refused", wrong_size),
    case("current_version_stays", "the current version is not disabled by us", current_version_stays),
];

const fn case(name: &'static str, what: &'static str, run: fn(&Fixture)) -> Case {
    Case { name, what, needs: Needs::Server, run }
}

fn device() -> &'static Device {
    Device::start().unwrap_or_else(|missing| panic!("{missing}"))
}

fn with(settings: &Pairs, option: &str, value: &str) -> Pairs {
    let change = |(key, old): &(String, String)| {
        let new = if key == option { value.to_owned() } else { old.clone() };
        (key.clone(), new)
    };
    settings.iter().map(change).collect()
}

fn round_trip(client: &Client) {
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn never_extractable(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let expected = [Attribute::Sensitive(true), Attribute::Extractable(false), Attribute::NeverExtractable(true)];
    assert_eq!(device().secrecy(&key), expected);
    ok(client.rotate());
    assert_eq!(device().secrecy(&key), expected);
}

fn mechanisms(fixture: &Fixture) {
    let (gcm, kwp) = (softhsm::unique("both"), softhsm::unique("both"));
    device().generate(softhsm::TOKEN, &gcm, Mechanism::AesGcm, 32);
    device().generate(softhsm::TOKEN, &kwp, Mechanism::AesKwp, 32);
    let settings = |key: &str, mechanism| device().settings(softhsm::TOKEN, key, mechanism, device().pin_file());
    let auto = |key: &str| fixture.client(&with(&settings(key, Mechanism::AesGcm), "kms.pkcs11.mechanism", "auto"));
    let wrapped = ok(auto(&gcm).wrap(&[7; 32], &tenant("a")));
    assert_eq!((wrapped.bytes[0], wrapped.bytes.len()), (1, 61));
    let wrapped = ok(fixture.client(&settings(&kwp, Mechanism::AesKwp)).wrap(&[7; 32], &tenant("a")));
    assert_eq!((wrapped.bytes[0], wrapped.bytes.len()), (2, 73));
    assert_eq!(ok(auto(&kwp).unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn wrong_pin(fixture: &Fixture) {
    let folder = TempDir::new().expect("temporary files can be made");
    let (file, key) = (folder.path().join("pin"), softhsm::unique("key"));
    device().generate(softhsm::PIN_TOKEN, &key, Mechanism::AesGcm, 32);
    fs::write(&file, "11112222").expect("it is ours");
    let settings = device().settings(softhsm::PIN_TOKEN, &key, Mechanism::AesGcm, file.clone());
    let client = fixture.client(&settings);
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    assert!(error.message().contains(&file.display().to_string()) && !error.message().contains("11112222"), "{error}");
    // Another client is another one only to itself: the token counts them together.
    for client in [client, fixture.client(&settings)] {
        let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Credentials);
        assert!(error.message().contains("has refused before"), "{error}");
        fails(client.test_connection(), Kind::Credentials);
    }
    let client = fixture.client(&settings);
    fs::copy(device().pin_file(), &file).expect("it is ours");
    round_trip(&client);
}

fn no_module(fixture: &Fixture) {
    let settings = fixture.settings(&fixture.service().new_key());
    let missing = with(&settings, "kms.pkcs11.module", "/nonexistent/module.so");
    let error = fails(Client::connect(&missing).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.pkcs11.module"), "{error}");
    let none = with(&settings, "kms.pkcs11.module", "/etc/passwd");
    let error = fails(fixture.client(&none).test_connection(), Kind::Config);
    assert!(error.message().contains("kms.pkcs11.module"), "{error}");
    let no_pin = with(&settings, "kms.pkcs11.pin-file", "/nonexistent/pin");
    let error = fails(Client::connect(&no_pin).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.pkcs11.pin-file"), "{error}");
}

fn no_token(fixture: &Fixture) {
    let settings = fixture.settings("k");
    let client = fixture.client(&with(&settings, "kms.pkcs11.token-label", "no-such-token"));
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::KmsUnavailable);
    assert!(error.message().contains("no-such-token"), "{error}");
    fails(client.test_connection(), Kind::KmsUnavailable);
}

fn hangs(fixture: &Fixture) {
    let limits = pairs([("kms.attempt-timeout", "3 s"), ("kms.timeout", "3 s"), ("kms.attempts", "1")]);
    let settings = |key: &str| fixture.complete(&[fixture.settings(key), limits.clone()].concat(), None);
    let (opened, sealed) = (fixture.service().new_key(), fixture.service().new_key());
    let wrapped = ok(fixture.client(&fixture.settings(&opened)).wrap(&[7; 32], &tenant("a")));
    let client = fixture.client(&settings(&opened));
    let open =
        |settings: &Pairs| ok(EncryptionEngine::open(ok(EncryptionConfig::from_pairs(settings.iter().cloned()))));
    let foreign = ok(open(&fixture.complete(&fixture.settings(&sealed), None)).encrypt("file", b"state"));
    let engine = open(&settings(&sealed));
    until(|| engine.encrypt("file", b"state").is_ok());

    [&opened, &sealed].into_iter().for_each(|key| device().afflict(key, Some("hang")));
    let (outcomes, refused) = thread::scope(|scope| {
        let refused = scope.spawn(|| engine.decrypt("file", &foreign));
        let outcomes = client.run(|kms| async move {
            let mut calls = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let (kms, wrapped) = (Arc::clone(&kms), wrapped.clone());
                calls.spawn(async move { kms.decrypt(&wrapped, &tenant("a")).await });
            }
            calls.join_all().await
        });
        (outcomes, refused.join().expect("it does not panic"))
    });
    for outcome in outcomes {
        fails(outcome, Kind::KmsTimeout);
    }
    let error = refused.expect_err("its data key is wrapped under a key that hangs");
    assert!(error.may_pass(), "{error}");
    for checkpoint in 0..3 {
        engine.begin_epoch("job", checkpoint);
        ok(engine.encrypt("file", b"state"));
    }
    // Fewer than 4 where another test makes a key meanwhile: whoever comes later waits for that.
    let held_up = device().held_up(&opened);
    assert!(held_up <= 4, "{held_up} calls, where the others should wait for their turn in vain");

    [&opened, &sealed].into_iter().for_each(|key| device().afflict(key, None));
    until(|| engine.decrypt("file", &foreign).is_ok_and(|opened| opened == b"state"));
}

fn until(happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(120), "it never happens");
        thread::sleep(Duration::from_millis(20));
    }
}

fn made_by_our_tool(fixture: &Fixture) {
    let settings = device().settings(softhsm::TOOL_TOKEN, softhsm::TOOL_KEY, Mechanism::AesGcm, device().pin_file());
    let client = fixture.client(&settings);
    round_trip(&client);
    assert_eq!(ok(client.versions()).len(), 1, "the second call of the tool was refused");
}

fn wrong_size(fixture: &Fixture) {
    let settings = |key: &str| device().settings(softhsm::TOKEN, key, Mechanism::AesGcm, device().pin_file());
    let (small, other) = (softhsm::unique("small"), softhsm::unique("other"));
    device().generate(softhsm::TOKEN, &small, Mechanism::AesGcm, 16);
    device().generate(softhsm::TOKEN, &other, Mechanism::AesKwp, 32);
    for (key, said) in [(small, "128 bits"), (other, "kms.pkcs11.mechanism")] {
        let client = fixture.client(&settings(&key));
        for error in
            [fails(client.wrap(&[7; 32], &tenant("a")), Kind::Config), fails(client.test_connection(), Kind::Config)]
        {
            assert!(error.message().contains(said), "{error}");
        }
    }
}

fn current_version_stays(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let current = ok(client.current_version()).id;
    fails(client.set_version_enabled(&current, false), Kind::Unsupported);
    fails(client.set_version_enabled("00", false), Kind::KeyVersionNotFound);
    round_trip(&client);
}

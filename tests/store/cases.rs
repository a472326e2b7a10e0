//! What every store must do.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::StreamExt;
use sealpoint::error::Kind;
use sealpoint::store::{Location, Replaced, Store, StoreOptions};
use serde_json::json;

use crate::checkpoints::{
    compromised_key, preflight_of_a_restore, replaced_file, what_is_wrong_with_a_checkpoint, written_and_not_given_back,
};
use crate::life::key_version_ends;
use crate::proxy::Tls;
use crate::refused::{nowhere_and_nobody, reader_only, refused_tool, throttled_tool};
use crate::requests::one_read_of_each_head;
use crate::retirement::shredded_tenant;
use crate::rewrap::{
    checkpoints_come_and_go, rewrap_killed, several_rewraps_at_once, sidecar_rolled_back, sidecar_swapped,
    sidecar_truncated,
};
use crate::servers::Fixture;

/// A statement about a store.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Fixture),
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub const ALL: &[Case] = &[$(Case { name: stringify!($name), run: $name }),*];
    };
}

cases![
    whole_files,
    ranges,
    names,
    list_of_several_pages,
    list_of_one,
    put_new_race,
    replace_race,
    vanished,
    written_in_parts,
    given_up,
    small_and_empty_files,
    unknown_bucket,
    access_denied,
    wrong_credentials,
    throttled,
    throttled_for_longer_than_it_is_waited,
    cut_connections,
    lost_answers,
    http_not_allowed,
    unknown_issuer,
    nobody_there,
    key_version_ends,
    rewrap_killed,
    several_rewraps_at_once,
    checkpoints_come_and_go,
    sidecar_truncated,
    sidecar_swapped,
    sidecar_rolled_back,
    what_is_wrong_with_a_checkpoint,
    replaced_file,
    preflight_of_a_restore,
    compromised_key,
    shredded_tenant,
    refused_tool,
    nowhere_and_nobody,
    reader_only,
    throttled_tool,
    one_read_of_each_head,
    written_and_not_given_back,
];

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn names_below(store: &Store, root: &Location) -> BTreeSet<String> {
    let found: Vec<_> = store.list(root).await.collect().await;
    found.into_iter().map(|object| object.unwrap().location.below(root).unwrap().to_owned()).collect()
}

fn whole_files(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("a/b"));
    fixture.runtime.block_on(async {
        assert_eq!(store.stat(&at).await.unwrap(), None);
        store.put(&at, bytes("first")).await.unwrap();
        store.put(&at, bytes("second one")).await.unwrap();
        let found = store.stat(&at).await.unwrap().unwrap();
        assert_eq!((found.size, &found.location), (10, &at));
        let (read, version) = store.read_versioned(&at).await.unwrap().unwrap();
        assert_eq!(read, "second one");
        assert!(matches!(store.replace(&at, Some(version.clone()), bytes("third")).await.unwrap(), Replaced::Done(_)));
        assert_eq!(store.replace(&at, Some(version), bytes("late")).await.unwrap(), Replaced::Changed);
        assert_eq!(store.replace(&at, None, bytes("late")).await.unwrap(), Replaced::Changed);
        assert_eq!(store.read(&at, 0..100).await.unwrap(), "third");
        store.delete(&at).await.unwrap();
        store.delete(&at).await.unwrap();
        assert_eq!(store.read_versioned(&at).await.unwrap(), None);
    });
}

fn ranges(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("file"));
    fixture.runtime.block_on(async {
        store.put(&at, bytes("0123456789")).await.unwrap();
        for (range, expected) in
            [(0..4, "0123"), (8..4096, "89"), (10..20, ""), (500..600, ""), (3..3, ""), (0..10, "0123456789")]
        {
            assert_eq!(store.read(&at, range.clone()).await.unwrap(), expected, "{range:?}");
        }
    });
}

fn names(fixture: &Fixture) {
    let store = fixture.store();
    let names =
        ["_metadata", ".hidden/.sealpoint-keys", "two words", "100%", "a%20b", "ä/ö", "a+b&c=d", "x#y?z", "(1)"];
    fixture.runtime.block_on(async {
        for name in names {
            store.put(&fixture.root.join(name), bytes(name)).await.unwrap();
        }
        assert_eq!(names_below(&store, &fixture.root).await, names.map(String::from).into());
        for name in names {
            let at = fixture.root.join(name);
            assert_eq!(store.read(&at, 0..100).await.unwrap(), name);
            assert_eq!(store.stat(&at).await.unwrap().unwrap().size, name.len() as u64);
            store.delete(&at).await.unwrap();
        }
        assert!(names_below(&store, &fixture.root).await.is_empty());
    });
}

/// The servers give a thousand a page, Azure five.
fn list_of_several_pages(fixture: &Fixture) {
    let store = fixture.store();
    fixture.runtime.block_on(async {
        let expected: BTreeSet<String> = (0..2_100).map(|number| format!("{}/{number}", number % 7)).collect();
        let put = futures_util::stream::iter(expected.clone()).for_each_concurrent(16, async |name| {
            store.put(&fixture.root.join(&name), bytes("x")).await.unwrap();
        });
        put.await;
        // Beside it, with the same beginning.
        store.put(&fixture.root.parent().unwrap().join("list_of_several_pages_too/x"), bytes("x")).await.unwrap();
        assert_eq!(names_below(&store, &fixture.root).await, expected);
        let mut some = store.list(&fixture.root).await;
        assert!(some.next().await.unwrap().is_ok(), "a listing may be left in the middle");
    });
}

fn list_of_one(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("only"));
    fixture.runtime.block_on(async {
        assert!(names_below(&store, &fixture.root).await.is_empty(), "what is not there lists as nothing");
        store.put(&at, bytes("x")).await.unwrap();
        assert_eq!(names_below(&store, &at).await, BTreeSet::from([String::new()]), "a file lists itself");
    });
}

fn put_new_race(fixture: &Fixture) {
    let store = fixture.store();
    fixture.runtime.block_on(async {
        for round in 0..5 {
            let at = fixture.root.join(&round.to_string());
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..16 {
                let (store, at) = (store.clone(), at.clone());
                writers.spawn(async move { (store.put_new(&at, bytes(&writer.to_string())).await.unwrap(), writer) });
            }
            let outcomes = writers.join_all().await;
            let winners: Vec<_> = outcomes.iter().filter(|(won, _)| *won).collect();
            let [(_, winner)] = winners[..] else { panic!("{winners:?}") };
            assert_eq!(store.read(&at, 0..100).await.unwrap(), winner.to_string());
        }
    });
}

fn replace_race(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("keys"));
    fixture.runtime.block_on(async {
        let mut present = None;
        for round in 0..5 {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..16 {
                let (store, at, present) = (store.clone(), at.clone(), present.clone());
                let text = format!("{round}/{writer}");
                writers.spawn(async move { (store.replace(&at, present, bytes(&text)).await.unwrap(), text) });
            }
            let mut outcomes = writers.join_all().await;
            outcomes.retain(|(replaced, _)| *replaced != Replaced::Changed);
            let [(Replaced::Done(_), text)] = &outcomes[..] else { panic!("{outcomes:?}") };
            let (found, version) = store.read_versioned(&at).await.unwrap().unwrap();
            assert_eq!(found, text.as_str());
            present = Some(version);
        }
    });
}

fn vanished(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("gone"));
    fixture.runtime.block_on(async {
        store.put(&at, bytes("x")).await.unwrap();
        let (_, version) = store.read_versioned(&at).await.unwrap().unwrap();
        store.delete(&at).await.unwrap();
        let error = store.read(&at, 0..10).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.message().contains("vanished/gone"), "{error}");
        assert_eq!(store.replace(&at, Some(version), bytes("y")).await.unwrap(), Replaced::Changed);
        assert_eq!(store.stat(&at).await.unwrap(), None);
    });
}

const MANY: usize = 40 * 1024 * 1024 + 7;

fn many() -> Bytes {
    (0..MANY).map(|index| (index / 1000 % 251) as u8).collect::<Vec<u8>>().into()
}

fn written_in_parts(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("large"));
    let whole = many();
    fixture.runtime.block_on(async {
        let mut writer = store.writer(&at).await.unwrap();
        for piece in whole.chunks(3_000_001) {
            writer.write(whole.slice_ref(piece)).await.unwrap();
        }
        assert!(names_below(&store, &fixture.root).await.iter().all(|name| name.starts_with(".sealpoint-")));
        assert_eq!(store.stat(&at).await.unwrap(), None, "nothing is visible before the end");
        writer.finish().await.unwrap();
        assert_eq!(store.stat(&at).await.unwrap().unwrap().size, MANY as u64);
        let read = store.read(&at, 0..MANY as u64).await.unwrap();
        assert!(read == whole);
        assert_eq!(names_below(&store, &fixture.root).await, BTreeSet::from(["large".to_owned()]));
    });
}

fn given_up(fixture: &Fixture) {
    let (store, at) = (fixture.store(), fixture.root.join("large"));
    let whole = many();
    fixture.runtime.block_on(async {
        let mut writer = store.writer(&at).await.unwrap();
        writer.write(whole.clone()).await.unwrap();
        writer.abort().await.unwrap();
        assert!(names_below(&store, &fixture.root).await.is_empty());
        let mut writer = store.writer(&at).await.unwrap();
        writer.write(whole).await.unwrap();
        drop(writer);
        assert_eq!(store.stat(&at).await.unwrap(), None);
        assert!(names_below(&store, &fixture.root).await.is_empty());
    });
}

fn small_and_empty_files(fixture: &Fixture) {
    let store = fixture.store();
    fixture.runtime.block_on(async {
        for (name, text) in [("empty", ""), ("small", "small")] {
            let at = fixture.root.join(name);
            let mut writer = store.writer(&at).await.unwrap();
            writer.write(bytes(text)).await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(store.stat(&at).await.unwrap().unwrap().size, text.len() as u64);
            assert_eq!(store.read(&at, 0..4096).await.unwrap(), text);
        }
    });
}

fn unknown_bucket(fixture: &Fixture) {
    let uri = fixture.root.uri().replace("://checkpoints", "://no-such-bucket");
    let at = Location::parse(&uri).unwrap();
    let store = Store::open(&at, &fixture.options()).unwrap();
    fixture.runtime.block_on(async {
        let listed = store.list(&at).await.next().await.unwrap().unwrap_err();
        let read = store.read(&at, 0..10).await.unwrap_err();
        let put = store.put(&at, bytes("x")).await.unwrap_err();
        let written = store.replace(&at, None, bytes("x")).await.unwrap_err();
        for error in [listed, read, put, written] {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            assert!(error.message().contains("no-such-bucket"), "{error}");
        }
    });
}

/// With the credentials of a reader.
fn access_denied(fixture: &Fixture) {
    let store = Store::open(&fixture.root, &fixture.with(&fixture.reader())).unwrap();
    let error = fixture.runtime.block_on(store.put(&fixture.root.join("x"), bytes("x"))).unwrap_err();
    assert_eq!(error.kind(), Kind::StoreDenied, "{error}");
    assert!(error.message().contains(&fixture.root.uri()) && error.message().contains("what is needed is"), "{error}");
}

fn wrong_credentials(fixture: &Fixture) {
    let store = Store::open(&fixture.root, &fixture.with(&fixture.wrong_credentials())).unwrap();
    let error = fixture.runtime.block_on(store.put(&fixture.root.join("x"), bytes("x"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials, "{error}");
    assert!(!error.message().contains("hunter2") && !error.message().contains("aHVudGVy"), "{error}");
}

fn throttled(fixture: &Fixture) {
    let (route, options) = fixture.through(Tls::Good);
    let (store, at) = (Store::open(&fixture.root, &options).unwrap(), fixture.root.join("x"));
    fixture.runtime.block_on(async {
        store.put(&at, bytes("x")).await.unwrap();
        let slow_down = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
        route.inject_into("", 3, json!({"status": 503, "body": slow_down}));
        route.inject_into("", 2, json!({"status": 429, "headers": {"Retry-After": "1"}}));
        assert_eq!(store.read(&at, 0..10).await.unwrap(), "x");
        route.inject_into("", 2, json!({"status": 500}));
        store.put(&at, bytes("y")).await.unwrap();
        route.inject_into("", 1, json!({"status": 503, "body": slow_down}));
        assert_eq!(names_below(&store, &fixture.root).await.len(), 1);
        assert_eq!(store.read(&at, 0..10).await.unwrap(), "y");
    });
}

/// Time is the runtime's, which leaps where nobody works.
fn throttled_for_longer_than_it_is_waited(fixture: &Fixture) {
    let (route, options) = fixture.through(Tls::Good);
    let (store, at) = (Store::open(&fixture.root, &options).unwrap(), fixture.root.join("x"));
    fixture.runtime.block_on(async {
        store.put(&at, bytes("x")).await.unwrap();
        // It says that it is to be left alone for longer than anybody waits.
        route.inject(json!({"status": 503, "headers": {"Retry-After": "3600"}}));
        let error = store.read(&at, 0..10).await.unwrap_err();
        assert_eq!(error.kind(), Kind::StoreThrottled, "{error}");
        assert!(error.message().contains("slow down"), "{error}");
    });
}

fn cut_connections(fixture: &Fixture) {
    let (route, options) = fixture.through(Tls::Good);
    let (store, at) = (Store::open(&fixture.root, &options).unwrap(), fixture.root.join("x"));
    fixture.runtime.block_on(async {
        store.put(&at, bytes("0123456789")).await.unwrap();
        route.inject_into("GET", 2, json!({"drop": true}));
        route.inject_into("GET", 2, json!({"cut": true}));
        assert_eq!(store.read(&at, 0..10).await.unwrap(), "0123456789");
        route.inject_into("PUT", 2, json!({"drop": true}));
        store.put(&at, bytes("y")).await.unwrap();
        assert_eq!(store.read(&at, 0..10).await.unwrap(), "y");
    });
}

/// The write is done and its answer is lost: it must not look as if somebody else had written.
fn lost_answers(fixture: &Fixture) {
    let (route, options) = fixture.through(Tls::Good);
    let (store, at) = (Store::open(&fixture.root, &options).unwrap(), fixture.root.join("x"));
    fixture.runtime.block_on(async {
        route.inject_into("PUT", 1, json!({"cut": true}));
        assert!(store.put_new(&at, bytes("mine")).await.unwrap());
        assert!(!store.put_new(&at, bytes("mine")).await.unwrap(), "without a loss the first one stands");
        let (_, version) = store.read_versioned(&at).await.unwrap().unwrap();
        route.inject_into("PUT", 1, json!({"cut": true}));
        let replaced = store.replace(&at, Some(version), bytes("newer")).await.unwrap();
        let (read, version) = store.read_versioned(&at).await.unwrap().unwrap();
        assert_eq!((replaced, read), (Replaced::Done(version), bytes("newer")));
    });
}

fn http_not_allowed(fixture: &Fixture) {
    let error = Store::open(&fixture.root, &StoreOptions { allow_http: false, ..fixture.options() }).unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(error.message().contains(fixture.service.address_names[1]), "{error}");
}

fn unknown_issuer(fixture: &Fixture) {
    let (_route, options) = fixture.through(Tls::UnknownIssuer);
    let store = Store::open(&fixture.root, &options).unwrap();
    let error = fixture.runtime.block_on(store.put(&fixture.root.join("x"), bytes("x"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(error.message().contains("store.ca-file"), "{error}");
}

fn nobody_there(fixture: &Fixture) {
    let (route, options) = fixture.through(Tls::Good);
    route.close();
    let store = Store::open(&fixture.root, &options).unwrap();
    let error = fixture.runtime.block_on(store.read(&fixture.root.join("x"), 0..10)).unwrap_err();
    assert_eq!(error.kind(), Kind::StoreUnavailable, "{error}");
    assert!(error.message().contains("cannot be reached"), "{error}");
}

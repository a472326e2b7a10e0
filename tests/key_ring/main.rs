//! Sealing never waits for the key service but where it must; opening asks it once; and neither is fooled.

mod fallback;
mod fixture;
mod outage;
mod renewal;
mod rotation;
mod sidecars;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use sealpoint::envelope::{Head, Slot, encode_slots};
use sealpoint::error::Kind;

use fixture::{Line, Process, Site, head_of, until};

#[test]
fn a_new_checkpoint_takes_the_prefetched_key_and_announcing_it_again_changes_nothing() {
    let site = Site::new();
    let process = site.process(&[]);
    let first = process.key();
    process.settled(2);
    assert_eq!(process.key().id(), first.id(), "one key for an epoch");

    process.ring.begin_epoch("/chk", 1);
    let second = process.key();
    assert_ne!(second.id(), first.id());
    process.settled(3);
    for _subtask in 0..100 {
        process.ring.begin_epoch("/chk", 1);
    }
    assert_eq!(process.key().id(), second.id());
    process.ring.begin_epoch("/chk", 2);
    process.settled(4);
    process.ring.begin_epoch("/chk", 1);
    assert_ne!(process.key().id(), second.id());
    assert_eq!(process.metrics.data_keys_drawn.get(), 4);
    assert_eq!(process.metrics.epochs_late.get(), 0);
}

#[test]
fn an_epoch_in_which_nothing_was_sealed_costs_no_call() {
    let site = Site::new();
    let process = site.process(&[("tenants.a.paths", "/a")]);
    let first = process.key();
    process.ring.for_sealing("a").unwrap();
    process.settled(4);
    for checkpoint in 1..=100 {
        process.ring.begin_epoch("job", checkpoint);
    }
    process.settled(6);
    assert_ne!(process.key().id(), first.id());
    assert_eq!(process.metrics.data_keys_drawn.get(), 6, "one epoch that both tenants had sealed in");
}

#[test]
fn sealing_goes_on_with_the_current_key_while_the_next_one_is_slow() {
    let site = Site::new();
    let process = site.process(&[]);
    let first = process.key();
    process.settled(2);
    process.line.hold.store(true, SeqCst);
    process.ring.begin_epoch("/chk", 1);
    let second = process.key();
    until(|| process.line.drawn.load(SeqCst) >= 3);
    process.ring.begin_epoch("/chk", 2);
    assert_eq!(process.key().id(), second.id(), "late, and not waiting");
    assert_eq!(process.metrics.epochs_late.get(), 1);
    process.line.hold.store(false, SeqCst);
    process.settled(3);
    let third = process.key();
    assert!(third.id() != second.id() && third.id() != first.id(), "taken as soon as it is there");
}

#[test]
fn soft_bounds_roll_early_by_age_files_and_bytes() {
    let site = Site::new();
    let process = site.process(&[("data-key.max-files", "100"), ("data-key.max-bytes", "100 mb")]);
    let first = process.key();
    process.settled(2);
    first.count(74, 0);
    assert_eq!(process.key().id(), first.id());
    first.count(1, 0);
    let second = process.key();
    assert_ne!(second.id(), first.id());
    process.settled(3);
    second.count(0, 75 << 20);
    let third = process.key();
    assert_ne!(third.id(), second.id());
    process.settled(4);
    process.clock.pass(23 * 3600 - 1);
    assert_eq!(process.key().id(), third.id());
    process.clock.pass(1);
    assert_ne!(process.key().id(), third.id());
}

#[test]
fn by_interval_only_time_rolls() {
    let site = Site::new();
    let process = site.process(&[("data-key.scope", "interval"), ("data-key.interval", "10 min")]);
    let first = process.key();
    process.settled(2);
    process.ring.begin_epoch("/chk", 1);
    process.clock.pass(599);
    assert_eq!(process.key().id(), first.id());
    process.clock.pass(1);
    assert_ne!(process.key().id(), first.id());
}

#[test]
fn a_hard_bound_waits_for_a_fresh_key_and_is_never_passed() {
    let site = Site::new();
    let process = site.process(&[("data-key.max-files", "1")]);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let key = process.key();
        assert!(key.files() == 0 && seen.insert(key.id()));
        key.count(1, 0);
    }
    process.line.cut(Kind::KmsTimeout);
    let error = (0..3).find_map(|_| process.ring.for_sealing("default").map(|key| key.count(1, 0)).err()).unwrap();
    assert_eq!(error.kind(), Kind::Outage);
    assert!(error.message().contains("data-key.max-files"), "{error}");
}

#[test]
fn a_key_service_that_never_answers_is_left_after_the_time_out() {
    let site = Site::new();
    let hold = |line: &Line| line.hold.store(true, SeqCst);
    let process = site.process_under_decorators(&[("kms.timeout", "100 ms")], hold);
    let error = process.ring.for_sealing("default").unwrap_err();
    assert_eq!(error.kind(), Kind::KmsTimeout);
}

#[test]
fn a_key_of_the_wrong_length_is_refused_both_ways() {
    let site = Site::new();
    for length in [31, 33, 16, 64] {
        let writer = site.process(&[]);
        let head = writer.head("default");
        let reader = site.process_with(&[], |line| line.wrong_length.store(length, SeqCst));
        for error in [reader.ring.for_sealing("default").unwrap_err(), reader.ring.unwrap(&head).unwrap_err()] {
            assert_eq!(error.kind(), Kind::WrappedKey);
            assert!(error.message().contains(&format!("{length} bytes")), "{error}");
        }
    }
}

#[test]
fn a_rotation_by_another_process_is_taken_up_and_old_files_still_open() {
    let site = Site::new();
    let process = site.process(&[]);
    let old = process.head("default");
    process.settled(2);
    site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(std::time::SystemTime::now()).map(drop)).unwrap();
    for checkpoint in 1..=2 {
        process.ring.begin_epoch("/chk", checkpoint);
        process.key();
        process.settled(2 + checkpoint as u64);
    }
    let new = process.head("default");
    assert_eq!((old.slots[0].version.as_str(), new.slots[0].version.as_str()), ("1", "2"));
    assert_eq!(process.metrics.key_rotations.get(), 1);
    let reader = site.process(&[]);
    for head in [old, new] {
        reader.ring.unwrap(&head).unwrap();
    }
}

#[test]
fn a_thousand_streams_make_one_call() {
    const STREAMS: usize = 1000;
    let site = Site::new();
    let head = site.process(&[]).head("default");
    let reader = site.process_with(&[], |line| line.hold.store(true, SeqCst));
    thread::scope(|scope| {
        let openers: Vec<_> = (0..STREAMS).map(|_| scope.spawn(|| reader.ring.unwrap(&head))).collect();
        until(|| reader.metrics.cache_joins.get() + reader.metrics.cache_misses.get() >= STREAMS as u64);
        reader.line.hold.store(false, SeqCst);
        for opener in openers {
            assert_eq!(opener.join().unwrap().unwrap().id(), head.bound.data_key_id);
        }
    });
    assert_eq!(reader.line.unwrapped.load(SeqCst), 1);
    assert_eq!((reader.metrics.cache_misses.get(), reader.metrics.cache_joins.get()), (1, STREAMS as u64 - 1));
    reader.ring.unwrap(&head).unwrap();
    assert_eq!((reader.metrics.cache_hits.get(), reader.line.unwrapped.load(SeqCst)), (1, 1));
}

#[test]
fn a_call_that_fails_or_panics_strands_no_one_and_is_not_remembered() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    for panics in [false, true] {
        let reader = site.process_with(&[], |line| {
            line.hold.store(true, SeqCst);
            line.panics.store(panics, SeqCst);
            line.cut(Kind::KmsThrottled);
        });
        thread::scope(|scope| {
            let openers: Vec<_> = (0..50).map(|_| scope.spawn(|| reader.ring.unwrap(&head))).collect();
            until(|| reader.metrics.cache_joins.get() >= 49);
            reader.line.hold.store(false, SeqCst);
            for opener in openers {
                let kind = opener.join().unwrap().unwrap_err().kind();
                assert_eq!(kind, if panics { Kind::Internal } else { Kind::KmsThrottled });
            }
        });
        reader.line.panics.store(false, SeqCst);
        reader.line.mend();
        reader.ring.unwrap(&head).unwrap();
    }
}

#[test]
fn a_refusal_is_remembered_for_a_short_time_only() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    let reader = site.process(&[("cache.negative-ttl", "5 s")]);
    reader.line.cut(Kind::KeyDisabled);
    for _ in 0..10 {
        assert_eq!(reader.ring.unwrap(&head).unwrap_err().kind(), Kind::KeyDisabled);
    }
    assert_eq!((reader.line.unwrapped.load(SeqCst), reader.metrics.cache_negative_hits.get()), (1, 9));
    reader.line.mend();
    reader.clock.pass(4);
    assert!(reader.ring.unwrap(&head).is_err());
    reader.clock.pass(1);
    reader.ring.unwrap(&head).unwrap();
}

/// Four files, each under a data key of its own.
fn heads_of_four_epochs(writer: &Process) -> Vec<Head> {
    (0..4)
        .map(|checkpoint| {
            let head = writer.head("default");
            writer.settled(2 + checkpoint);
            writer.ring.begin_epoch("/chk", checkpoint as i64);
            head
        })
        .collect()
}

#[test]
fn refusals_push_no_good_key_out() {
    let site = Site::new();
    let writer = site.process(&[]);
    let heads = heads_of_four_epochs(&writer);
    let reader = site.process(&[("cache.max-keys", "2"), ("enabled", "false")]);
    reader.ring.unwrap(&heads[0]).unwrap();
    reader.line.cut(Kind::KeyDisabled);
    for head in &heads[1..] {
        assert_eq!(reader.ring.unwrap(head).unwrap_err().kind(), Kind::KeyDisabled);
    }
    reader.ring.unwrap(&heads[0]).unwrap();
    assert_eq!(reader.ring.cached("default"), 2);
}

#[test]
fn the_cache_is_bounded_by_number_and_by_time() {
    let site = Site::new();
    let writer = site.process(&[]);
    let heads = heads_of_four_epochs(&writer);
    let reader = site.process(&[("cache.max-keys", "3"), ("cache.ttl", "1 min"), ("enabled", "false")]);
    let unwrap = |index: usize| reader.ring.unwrap(&heads[index]).map(drop).unwrap();
    (0..3).for_each(unwrap);
    unwrap(0);
    unwrap(3);
    assert_eq!((reader.ring.cached("default"), reader.metrics.cache_evictions.get()), (3, 1));
    let calls = || reader.line.unwrapped.load(SeqCst);
    assert_eq!(calls(), 4);
    unwrap(0);
    assert_eq!(calls(), 4, "used lately, kept");
    unwrap(1);
    assert_eq!(calls(), 5, "used longest ago, dropped");
    reader.clock.pass(60);
    unwrap(1);
    assert_eq!(calls(), 6, "too old");
}

#[test]
fn a_forged_head_neither_hits_the_cache_nor_spoils_it() {
    let site = Site::new();
    let writer = site.process(&[]);
    let key = writer.key();
    let good = writer.head("default");
    let reader = site.process(&[]);
    reader.ring.unwrap(&good).unwrap();
    let mut section = key.slots().to_vec();
    let last = section.len() - 33;
    section[last] ^= 1;
    let forged = head_of(&writer.config, "default", key.secret(), key.id(), &section);
    assert_eq!(reader.ring.unwrap(&forged).unwrap_err().kind(), Kind::WrappedKey);
    let mut section = key.slots().to_vec();
    *section.last_mut().unwrap() ^= 1;
    let forged = head_of(&writer.config, "default", key.secret(), key.id(), &section);
    assert_eq!(reader.ring.unwrap(&forged).unwrap_err().kind(), Kind::Integrity);
    reader.ring.unwrap(&good).unwrap();
}

#[test]
fn policy_decides_and_not_the_file() {
    let site = Site::new();
    site.file().update(|keyring| keyring.add("kek-a", std::time::SystemTime::now()).map(drop)).unwrap();
    let tenant = &[("tenants.a.key", "kek-a"), ("tenants.a.paths", "/a")];
    let writer = site.process(tenant);
    let (common, own) = (writer.head("default"), writer.head("a"));
    assert_eq!((common.slots[0].kek.as_str(), own.slots[0].kek.as_str()), ("sealpoint", "kek-a"));

    let refused = |pairs: &[(&str, &str)], head: &Head, kind: Kind, word: &str| {
        let error = site.process(pairs).ring.unwrap(head).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(word), "'{error}' says {word}");
    };
    refused(&[], &own, Kind::TenantNotAllowed, "'a'");
    refused(&[("open-tenants", "default, a")], &own, Kind::KeyNotAllowed, "local:kek-a");
    refused(&[("algorithm", "aes-256-cbc-hmac")], &common, Kind::SuiteNotAllowed, "allowed-algorithms");
    refused(&[("encryption-context.env", "prod")], &common, Kind::WrappedKey, "encryption-context");
    assert_eq!(writer.ring.for_sealing("b").unwrap_err().kind(), Kind::TenantNotAllowed);

    let key = writer.key();
    let slots = vec![Slot { kek: "k\n".repeat(30_000), ..common.slots[0].clone() }];
    let section = encode_slots(&slots, key.id(), key.secret()).unwrap();
    let hostile = head_of(&writer.config, "default", key.secret(), key.id(), &section);
    let error = writer.ring.unwrap(&hostile).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyNotAllowed);
    assert!(error.message().len() < 1000 && !error.message().contains('\n'), "a file does not write our log: {error}");

    let reader = site.process(tenant);
    for head in [common, own] {
        reader.ring.unwrap(&head).unwrap();
    }
}

#[test]
fn one_tenants_key_is_refused_under_the_name_of_another_cached_or_not() {
    let site = Site::new();
    let tenants = &[("open-tenants", "default, b")];
    let writer = site.process(tenants);
    let key = writer.key();
    let stolen = head_of(&writer.config, "b", key.secret(), key.id(), key.slots());
    let honest = writer.head("default");
    let reader = site.process(tenants);
    reader.ring.unwrap(&honest).unwrap();
    assert_eq!(reader.ring.unwrap(&stolen).unwrap_err().kind(), Kind::WrappedKey);
}

#[test]
fn an_unknown_version_of_the_key_is_refused_by_name() {
    let (site, other) = (Site::new(), Site::new());
    other
        .file()
        .update(|keyring| keyring.key_mut("sealpoint")?.rotate(std::time::SystemTime::now()).map(drop))
        .unwrap();
    let head = other.process(&[]).head("default");
    let error = site.process(&[]).ring.unwrap(&head).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyVersionNotFound);
    assert!(error.message().contains("version '2'"), "{error}");
}

#[test]
fn threads_that_seal_while_epochs_roll_never_see_an_error() {
    let site = Site::new();
    let process = site.process(&[("data-key.max-files", "50")]);
    let start = Barrier::new(5);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..2000 {
                    process.key().count(1, 1);
                }
            });
        }
        start.wait();
        for checkpoint in 0..200 {
            process.ring.begin_epoch("/chk", checkpoint);
        }
    });
    assert!(process.metrics.data_keys_drawn.get() >= 8000 / 60);
}

#[test]
fn a_ring_without_its_runtime_says_that_the_engine_is_closed() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    let mut process = site.process(&[("enabled", "false")]);
    process.runtime.stop();
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let sealing = process.ring.for_sealing("default").unwrap_err();
        send.send((sealing, process.ring.unwrap(&head).unwrap_err())).unwrap();
    });
    let (sealing, opening) = receive.recv_timeout(Duration::from_secs(60)).expect("neither hangs");
    for error in [sealing, opening] {
        assert_eq!(error.kind(), Kind::State, "{error}");
        assert!(error.message().contains("the engine is closed"), "{error}");
    }
}

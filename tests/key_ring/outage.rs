//! The key service is away: what goes on, for how long, what is said, and how its return is noticed.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use sealpoint::clock::Clock;
use sealpoint::error::Kind;

use crate::fixture::{Site, until};

#[test]
fn an_outage_is_survived_for_as_long_as_configured_and_then_declined_with_the_reason() {
    let site = Site::new();
    let process = site.process(&[("outage.seal-for", "1 h")]);
    process.key();
    process.settled(2);
    process.line.cut(Kind::KmsUnavailable);
    process.ring.begin_epoch("/chk", 1);
    let current = process.key();
    process.failed(1);
    process.clock.pass(3600);
    assert_eq!(process.key().id(), current.id(), "still allowed");
    assert!(process.metrics.outage_seconds_left.get() <= 3600);

    process.clock.pass(60);
    let error = process.ring.for_sealing("default").unwrap_err();
    assert_eq!(error.kind(), Kind::Outage);
    for word in ["'default'", "since 2027-01-15", "outage.seal-for", "the line is cut"] {
        assert!(error.message().contains(word), "'{error}' says {word}");
    }
    assert_eq!(process.metrics.outage_seconds_left.get(), 0);

    process.line.mend();
    process.clock.pass(60);
    process.key();
    assert_eq!(process.metrics.outage_seconds_left.get(), 3600);
}

#[test]
fn a_draw_that_failed_is_not_repeated_at_once_by_every_caller() {
    let site = Site::new();
    let process = site.process(&[]);
    process.key();
    process.settled(2);
    process.line.cut(Kind::KmsThrottled);
    process.ring.begin_epoch("/chk", 1);
    process.failed(1);
    for checkpoint in 2..1000 {
        process.ring.begin_epoch("/chk", checkpoint);
        process.key();
    }
    assert_eq!(process.line.drawn.load(SeqCst), 3);
}

#[test]
fn without_any_key_the_failure_of_the_key_service_is_the_error_and_a_later_call_succeeds() {
    let site = Site::new();
    let process = site.process_with(&[], |line| line.cut(Kind::AccessDenied));
    let error = process.ring.for_sealing("default").unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert!(error.message().contains("tenant 'default'"), "{error}");
    process.line.mend();
    process.clock.pass(60);
    process.key();
}

#[test]
fn what_a_process_sealed_it_opens_without_the_key_service() {
    let site = Site::new();
    let process = site.process(&[]);
    let head = process.head("default");
    process.line.cut(Kind::KmsUnavailable);
    assert_eq!(process.ring.unwrap(&head).unwrap().id(), head.bound.data_key_id);
    assert_eq!(process.line.unwrapped.load(SeqCst), 0);
}

#[test]
fn the_return_of_the_key_service_is_noticed_although_nobody_asks() {
    let site = Site::new();
    let process = site.process(&[("outage.seal-for", "1 h")]);
    process.key();
    process.settled(2);
    process.line.cut(Kind::KmsUnavailable);
    process.ring.begin_epoch("/chk", 1);
    process.failed(1);
    let left = || process.metrics.outage_seconds_left.get();
    for _ in 0..5 {
        let before = left();
        process.in_time(|| left() < before);
    }
    process.line.mend();
    process.in_time(|| process.metrics.data_keys_drawn.get() == 3);
    until(|| left() == 3600);
    process.in_time(|| process.clock.elapsed() > Duration::from_secs(600));
    assert_eq!(process.metrics.data_keys_drawn.get(), 3, "and nothing is drawn that nobody needs");
}

#[test]
fn a_process_that_starts_in_an_outage_seals_as_soon_as_it_is_over() {
    let site = Site::new();
    let process = site.process_with(&[], |line| line.cut(Kind::KmsTimeout));
    process.failed(1);
    process.line.mend();
    process.in_time(|| process.metrics.data_keys_drawn.get() > 0);
    process.key();
    assert_eq!(process.metrics.data_keys_waited.get(), 0);
}

#[test]
fn what_is_still_sealed_with_opens_without_the_key_service_even_if_the_cache_dropped_it() {
    let site = Site::new();
    let process = site.process(&[("cache.ttl", "1 min"), ("data-key.scope", "interval"), ("data-key.interval", "1 h")]);
    let head = process.head("default");
    process.settled(2);
    process.line.cut(Kind::KmsUnavailable);
    process.clock.pass(600);
    process.ring.unwrap(&head).unwrap();
    assert_eq!((process.metrics.cache_misses.get(), process.line.unwrapped.load(SeqCst)), (1, 0));
}

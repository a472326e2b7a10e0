//! Two key services: a data key is wrapped by both, and either opens it.

use std::sync::atomic::Ordering::SeqCst;

use sealpoint::envelope::Head;
use sealpoint::error::Kind;

use crate::fixture::{Line, Process, Site, until};

fn fallback(process: &Process) -> &Line {
    process.fallback.as_deref().unwrap()
}

fn keks(head: &Head) -> Vec<&str> {
    head.slots.iter().map(|slot| slot.kek.as_str()).collect()
}

#[test]
fn a_data_key_is_wrapped_by_both_and_opened_by_the_first_alone() {
    let site = Site::with_fallback();
    let writer = site.process_with_fallback(&[], |_, _| {});
    let head = writer.head("default");
    writer.settled(2);
    assert_eq!(keks(&head), ["sealpoint", "fallback"]);
    assert_eq!((writer.line.drawn.load(SeqCst), fallback(&writer).drawn.load(SeqCst)), (2, 0));
    assert_eq!(fallback(&writer).wrapped.load(SeqCst), 2);
    assert_eq!(writer.metrics.data_keys_incomplete.get(), 0);

    let reader = site.process_with_fallback(&[], |_, _| {});
    reader.ring.unwrap(&head).unwrap();
    assert_eq!((reader.line.unwrapped.load(SeqCst), fallback(&reader).unwrapped.load(SeqCst)), (1, 0));
}

#[test]
fn whatever_the_first_fails_with_the_second_opens() {
    let site = Site::with_fallback();
    let head = site.process_with_fallback(&[], |_, _| {}).head("default");
    for kind in [Kind::KmsUnavailable, Kind::KmsThrottled, Kind::AccessDenied, Kind::KeyDisabled, Kind::Credentials] {
        let reader = site.process_with_fallback(&[], |first, _| first.cut(kind));
        assert_eq!(reader.ring.unwrap(&head).unwrap().id(), head.bound.data_key_id);
    }
}

#[test]
fn a_slow_one_is_hedged_by_the_next() {
    let site = Site::with_fallback();
    let head = site.process_with_fallback(&[], |_, _| {}).head("default");
    let hold = |first: &Line, _: &Line| first.hold.store(true, SeqCst);
    let reader = site.process_with_fallback(&[("kms.hedge-after", "10 ms")], hold);
    reader.ring.unwrap(&head).unwrap();
    assert_eq!(fallback(&reader).unwrapped.load(SeqCst), 1);
    assert!(reader.metrics.kms_hedges.get() >= 1);
}

#[test]
fn if_none_opens_each_failure_is_named_and_the_one_that_may_pass_is_reported() {
    let site = Site::with_fallback();
    let head = site.process_with_fallback(&[], |_, _| {}).head("default");
    let reader = site.process_with_fallback(&[], |first, second| {
        first.cut(Kind::AccessDenied);
        second.cut(Kind::KmsThrottled);
    });
    let error = reader.ring.unwrap(&head).unwrap_err();
    assert_eq!(error.kind(), Kind::KmsThrottled);
    for word in ["local 'sealpoint': the line is cut", "local 'fallback': the line is cut"] {
        assert!(error.message().contains(word), "'{error}' says {word}");
    }
}

#[test]
fn with_one_required_sealing_goes_on_without_the_fallback_and_it_is_made_up_for() {
    let site = Site::with_fallback();
    let writer = site.process_with_fallback(&[], |_, second| second.cut(Kind::KmsUnavailable));
    let early = writer.head("default");
    writer.settled(2);
    assert_eq!(keks(&early), ["sealpoint"]);
    assert_eq!(writer.metrics.data_keys_incomplete.get(), 2, "the current one and the next");

    fallback(&writer).mend();
    writer.in_time(|| writer.metrics.data_keys_completed.get() == 2);
    until(|| writer.metrics.data_keys_incomplete.get() == 0);
    let late = writer.head("default");
    assert_eq!((keks(&late), late.bound.data_key_id), (vec!["sealpoint", "fallback"], early.bound.data_key_id));
    for head in [&early, &late] {
        writer.ring.unwrap(head).unwrap();
    }
    assert_eq!(writer.line.unwrapped.load(SeqCst), 0, "the process opens both by its cache");

    let reader = site.process_with_fallback(&[], |first, _| first.cut(Kind::KmsUnavailable));
    assert_eq!(reader.ring.unwrap(&late).unwrap().id(), late.bound.data_key_id, "by the second slot");
    assert_eq!(reader.ring.unwrap(&early).unwrap_err().kind(), Kind::KmsUnavailable, "it has the first only");

    writer.ring.begin_epoch("/chk", 1);
    assert_eq!(keks(&writer.head("default")).len(), 2, "the next one was completed too");
    assert_eq!(writer.metrics.key_rotations.get(), 0);
}

#[test]
fn what_was_sealed_under_a_key_counts_on_when_it_is_completed() {
    let site = Site::with_fallback();
    let writer = site.process_with_fallback(&[], |_, second| second.cut(Kind::KmsUnavailable));
    let early = writer.key();
    early.count(3, 100);
    writer.settled(2);
    fallback(&writer).mend();
    writer.in_time(|| writer.metrics.data_keys_completed.get() == 2);
    let late = writer.key();
    early.count(1, 1);
    assert_eq!((late.id(), late.files(), late.bytes()), (early.id(), 4, 101));
}

#[test]
fn a_key_that_is_not_used_any_more_is_not_completed() {
    let site = Site::with_fallback();
    let writer = site.process_with_fallback(&[], |_, second| second.cut(Kind::KmsUnavailable));
    writer.key();
    writer.settled(2);
    for checkpoint in 1..=3 {
        writer.ring.begin_epoch("/chk", checkpoint);
        writer.key();
        writer.settled(2 + checkpoint as u64);
    }
    writer.in_time(|| writer.metrics.data_keys_incomplete.get() == 2);
    assert_eq!(writer.metrics.data_keys_completed.get(), 0);
}

#[test]
fn the_fallback_draws_where_the_first_cannot() {
    let site = Site::with_fallback();
    let writer = site.process_with_fallback(&[], |first, _| first.cut(Kind::KmsTimeout));
    let early = writer.head("default");
    assert_eq!(keks(&early), ["fallback"]);
    assert_eq!(writer.metrics.outage_seconds_left.get(), 3600, "that is no outage");
    writer.settled(2);
    writer.line.mend();
    writer.in_time(|| writer.metrics.data_keys_completed.get() == 2);
    let late = writer.head("default");
    assert_eq!(keks(&late), ["sealpoint", "fallback"], "in the configured order");
    assert_eq!(late.bound.data_key_id, early.bound.data_key_id);
}

#[test]
fn with_all_required_a_missing_fallback_fails_the_draw_by_name() {
    let site = Site::with_fallback();
    let pairs = [("kms.require", "all")];
    let writer = site.process_with_fallback(&pairs, |_, second| second.cut(Kind::KmsUnavailable));
    let error = writer.ring.for_sealing("default").unwrap_err();
    assert_eq!(error.kind(), Kind::KmsUnavailable);
    for word in ["kms.require = all", "local 'fallback': the line is cut"] {
        assert!(error.message().contains(word), "'{error}' says {word}");
    }
    fallback(&writer).mend();
    writer.in_time(|| writer.metrics.data_keys_drawn.get() > 0);
    assert_eq!(keks(&writer.head("default")), ["sealpoint", "fallback"]);
    assert_eq!(writer.metrics.data_keys_incomplete.get(), 0);
}

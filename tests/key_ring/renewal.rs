//! A data key that files are sealed under gets new wraps: proven, under the current versions, and at no needless call.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::SystemTime;

use sealpoint::Result;
use sealpoint::envelope::{Head, Slot, encode_slots, slots};
use sealpoint::error::Kind;
use sealpoint::keys::{Renewal, Renewed, Target};
use sealpoint::kms::over::Budget;

use crate::fixture::{Line, Process, Site};

impl Site {
    fn rotate(&self, key: &str) {
        self.file().update(|keyring| keyring.key_mut(key)?.rotate(SystemTime::now()).map(drop)).unwrap();
    }

    fn set_enabled(&self, key: &str, version: u32, enabled: bool) {
        self.file().update(|keyring| keyring.key_mut(key)?.set_enabled(version, enabled)).unwrap();
    }
}

impl Process {
    fn renewal(&self, target: Target) -> Renewal {
        self.ring.renewal(target, None).unwrap()
    }

    fn renew(&self, head: &Head) -> Result<Renewed> {
        self.renew_for(Target::All, head)
    }

    fn renew_for(&self, target: Target, head: &Head) -> Result<Renewed> {
        let (renewal, tenant) = (self.renewal(target), &head.bound.tenant);
        self.run(renewal.renew(head.bound.data_key_id, tenant, &head.slots, head.slots_section()))
    }

    fn renew_from(&self, head: &Head, section: &[u8]) -> Result<Renewed> {
        let (renewal, slots) = (self.renewal(Target::All), slots::parse(section).unwrap());
        self.run(renewal.renew(head.bound.data_key_id, "default", &slots, section))
    }

    fn is_current(&self, target: Target, slots: &[Slot]) -> bool {
        self.run(self.renewal(target).is_current("default", slots)).unwrap()
    }

    fn run<R>(&self, work: impl Future<Output = R>) -> R {
        self.runtime.handle.block_on(work)
    }

    fn opens(&self, head: &Head, section: &[u8]) -> bool {
        let key = self.ring.unwrap_from(head, &slots::parse(section).unwrap(), section);
        key.is_ok_and(|key| key.id() == head.bound.data_key_id)
    }
}

fn versions(section: &[u8]) -> Vec<(String, String)> {
    slots::parse(section).unwrap().into_iter().map(|slot| (slot.kek, slot.version)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kek, version)| ((*kek).to_owned(), (*version).to_owned())).collect()
}

fn calls(line: &Line) -> [usize; 3] {
    [&line.rewrapped, &line.wrapped, &line.unwrapped].map(|count: &AtomicUsize| count.load(SeqCst))
}

#[test]
fn a_data_key_is_rewrapped_by_its_own_service_under_the_current_version_and_still_opens_when_the_old_one_is_disabled() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    site.rotate("sealpoint");
    let process = site.process(&[]);
    let renewed = process.renew(&head).unwrap();
    assert_eq!(versions(&renewed.section), pairs(&[("sealpoint", "2")]));
    assert_eq!(renewed.versions[0].to_string(), "local 'sealpoint' version 2");
    assert_eq!(calls(&process.line), [1, 0, 2], "one rewrap, and an unwrap before and after");

    site.set_enabled("sealpoint", 1, false);
    let reader = site.process(&[]);
    assert_eq!(reader.ring.unwrap(&head).unwrap_err().kind(), Kind::KeyDisabled);
    assert!(reader.opens(&head, &renewed.section));
}

#[test]
fn what_is_under_the_current_versions_needs_no_renewal_and_the_version_is_asked_for_once() {
    let site = Site::with_fallback();
    let head = site.process(&[]).head("default");
    let process = site.process_with_fallback(&[], |_, _| {});
    let primary = Target::Client("primary".to_owned());
    assert!(process.is_current(primary.clone(), &head.slots));
    assert!(!process.is_current(Target::All, &head.slots), "the fallback has not wrapped it");
    site.rotate("sealpoint");
    assert!(!process.is_current(primary, &head.slots));

    let renewal = process.renewal(Target::All);
    let asked = process.line.asked.load(SeqCst);
    for _ in 0..100 {
        assert!(!process.run(renewal.is_current("default", &head.slots)).unwrap());
    }
    assert_eq!(process.line.asked.load(SeqCst), asked + 1);
    assert_eq!(calls(&process.line)[2], 0, "nothing was unwrapped for it");
}

#[test]
fn a_key_service_that_has_not_wrapped_it_gets_a_slot_and_the_others_stay() {
    let site = Site::with_fallback();
    let head = site.process(&[]).head("default");
    site.rotate("sealpoint");
    let process = site.process_with_fallback(&[], |_, _| {});
    let second = process.renew_for(Target::Client("second".to_owned()), &head).unwrap();
    assert_eq!(versions(&second.section), pairs(&[("fallback", "1"), ("sealpoint", "1")]));
    let all = process.renew(&head).unwrap();
    assert_eq!(versions(&all.section), pairs(&[("sealpoint", "2"), ("fallback", "1")]));

    site.set_enabled("sealpoint", 1, false);
    let reader = site.process_with_fallback(&[], |_, _| {});
    assert!(reader.opens(&head, &second.section), "by the other key service");
    let healed = process.renew_from(&head, &second.section).unwrap();
    assert_eq!(
        versions(&healed.section),
        pairs(&[("sealpoint", "2"), ("fallback", "1")]),
        "by what the other one gave"
    );
}

#[test]
fn a_ninth_wrap_is_refused_by_name() {
    let site = Site::with_fallback();
    let writer = site.process(&[]);
    let (key, head) = (writer.key(), writer.head("default"));
    let foreign = |number: usize| Slot { kek: format!("elsewhere-{number}"), ..head.slots[0].clone() };
    let slots: Vec<Slot> = head.slots.iter().cloned().chain((0..7).map(foreign)).collect();
    let section = encode_slots(&slots, key.id(), key.secret()).unwrap();
    let process = site.process_with_fallback(&[], |_, _| {});
    let error = process.renew_from(&head, &section).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    for word in ["at most 8", "elsewhere-6", "'fallback'", "re-encrypt"] {
        assert!(error.message().contains(word), "'{error}' says {word}");
    }
    let primary = process.renewal(Target::Client("primary".to_owned()));
    process.run(primary.renew(key.id(), "default", &slots, &section)).unwrap();
}

#[test]
fn a_service_that_gives_back_another_key_is_caught() {
    let site = Site::with_fallback();
    let head = site.process(&[]).head("default");
    let process = site.process(&[]);
    process.line.confuses.store(true, SeqCst);
    let other = site.process_with_fallback(&[], |_, second| second.confuses.store(true, SeqCst));
    for process in [&process, &other] {
        let error = process.renew(&head).unwrap_err();
        assert_eq!(error.kind(), Kind::WrappedKey);
        assert!(error.message().contains("another data key"), "{error}");
    }
}

#[test]
fn slots_that_no_holder_of_the_data_key_wrote_are_refused() {
    let site = Site::new();
    let process = site.process(&[]);
    let head = process.head("default");
    let mut forged = head.slots_section().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(process.renew_from(&head, &forged).unwrap_err().kind(), Kind::Integrity);
}

#[test]
fn a_version_that_is_disabled_is_named_and_so_is_a_service_that_is_away() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    site.rotate("sealpoint");
    site.set_enabled("sealpoint", 1, false);
    let process = site.process(&[]);
    let error = process.renew(&head).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyDisabled);
    assert!(error.message().contains("version 1"), "{error}");
    process.line.cut(Kind::KmsThrottled);
    assert_eq!(process.renew(&head).unwrap_err().kind(), Kind::KmsThrottled);
}

/// `--kms-rate`, on a clock that stands still but for what is slept.
#[test]
fn each_call_to_a_key_service_waits_for_its_turn_also_where_a_renewal_takes_more_than_usual() {
    let site = Site::with_fallback();
    let head = site.process(&[]).head("default");
    let process = site.process_with_fallback(&[], |_, _| {});
    let before = process.renew(&head).unwrap().section;
    site.rotate("sealpoint");
    for (enabled, calls) in [(true, 5), (false, 7)] {
        // Of a disabled version two calls fail: its unwrap, and its rewrap.
        site.set_enabled("sealpoint", 1, enabled);
        let process = site.process_with_fallback(&[], |_, _| {});
        let renewal = process.ring.renewal(Target::All, Some(Budget::new(1))).unwrap();
        let slots = slots::parse(&before).unwrap();
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let start = clock.block_on(async {
            let start = tokio::time::Instant::now();
            let renew = || renewal.renew(head.bound.data_key_id, "default", &slots, &before);
            let renewed = futures_util::future::join_all([renew(), renew(), renew()]).await;
            assert!(renewed.iter().all(Result::is_ok), "{renewed:?}");
            start
        });
        let lines = [&process.line, process.fallback.as_ref().unwrap()];
        // The key ring draws data keys for itself meanwhile, on its own thread.
        let all = lines.iter().flat_map(|line| line.times.lock().clone());
        let here = all.filter(|(thread, _)| *thread == std::thread::current().id());
        let mut came: Vec<u64> = here.map(|(_, time)| (time - start).as_secs()).collect();
        came.sort_unstable();
        assert_eq!(came, (0..3 * calls).collect::<Vec<_>>(), "one call a second");
    }
}

#[test]
fn a_name_that_is_not_configured_and_a_tenant_that_may_not_be_opened_are_refused() {
    let site = Site::with_fallback();
    let process = site.process_with_fallback(&[], |_, _| {});
    let error = process.ring.renewal(Target::Client("third".to_owned()), None).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.message().contains("primary, second"), "{error}");
    let error = process.run(process.renewal(Target::All).is_current("stranger", &[])).unwrap_err();
    assert_eq!(error.kind(), Kind::TenantNotAllowed);
}

#[test]
fn what_somebody_else_renewed_meanwhile_is_joined_if_it_is_genuine() {
    let site = Site::with_fallback();
    let head = site.process(&[]).head("default");
    site.rotate("sealpoint");
    let process = site.process_with_fallback(&[], |_, _| {});
    let ours = process.renew_for(Target::Client("primary".to_owned()), &head).unwrap();
    let theirs = process.renew_for(Target::Client("second".to_owned()), &head).unwrap();
    for joined in [ours.joined(&theirs.section), theirs.joined(&ours.section)].map(Result::unwrap) {
        let mut found = versions(&joined);
        found.sort();
        assert_eq!(found, pairs(&[("fallback", "1"), ("sealpoint", "2")]), "what only stayed gives way");
        assert!(process.opens(&head, &joined));
    }
    assert_eq!(ours.joined(head.slots_section()).unwrap(), ours.section, "an older version adds nothing");

    let mut forged = theirs.section.clone();
    *forged.last_mut().unwrap() ^= 1;
    for other in [&forged[..], b"", b"nonsense"] {
        assert_eq!(ours.joined(other).unwrap(), ours.section);
    }
}

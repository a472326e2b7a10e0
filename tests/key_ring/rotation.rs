//! Rotation by age: by the key service's dates, against a clock that the test turns through months.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use sealpoint::Result;
use sealpoint::clock::Clock;
use sealpoint::config::KeyringConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::Head;
use sealpoint::error::{Error, Kind};
use sealpoint::keys::{DataKey, Verdict};
use sealpoint::kms::local::LocalHsmClient;
use sealpoint::kms::{Clients, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use sealpoint::secret::Secret;

use crate::fixture::{Line, Process, Site, TestClock, head_of, until};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 3600;

/// What the key service knows of one key, whichever process asks.
#[derive(Debug)]
struct Calendar {
    clock: Arc<TestClock>,
    /// Seconds that the key service's clock is ahead.
    ahead: i64,
    made: Mutex<HashMap<String, SystemTime>>,
    /// When it was rotated, by the test's clock, in seconds.
    rotations: Mutex<Vec<u64>>,
    automatic: Mutex<Option<u64>>,
    left: Mutex<Option<usize>>,
}

impl Calendar {
    /// Whose first version was made so many days ago.
    fn new(clock: &Arc<TestClock>, days_ago: u64, ahead: i64) -> Arc<Calendar> {
        let calendar = Calendar {
            clock: Arc::clone(clock),
            ahead,
            made: Mutex::default(),
            rotations: Mutex::default(),
            automatic: Mutex::default(),
            left: Mutex::default(),
        };
        let first = calendar.now() - Duration::from_secs(days_ago * DAY);
        calendar.made.lock().insert("1".to_owned(), first);
        Arc::new(calendar)
    }

    fn now(&self) -> SystemTime {
        let seconds = 1_800_000_000 + self.clock.elapsed().as_secs();
        UNIX_EPOCH + Duration::from_secs(seconds.strict_add_signed(self.ahead))
    }

    fn date(&self, version: KeyVersion) -> KeyVersion {
        let created_at = *self.made.lock().entry(version.id.clone()).or_insert_with(|| {
            self.rotations.lock().push(self.clock.elapsed().as_secs());
            self.now()
        });
        KeyVersion { created_at, ..version }
    }

    fn rotations(&self) -> Vec<u64> {
        self.rotations.lock().clone()
    }
}

/// A key service whose versions bear the calendar's dates; the work is a real keyring's.
#[derive(Debug)]
struct Dated {
    line: Arc<Line>,
    calendar: Arc<Calendar>,
    looks: Mutex<Vec<u64>>,
    attempts: AtomicUsize,
    /// Rotations wait.
    hold: AtomicBool,
    /// Data keys that were drawn wait.
    hold_answers: AtomicBool,
    looking_fails: Mutex<Option<Error>>,
    rotating_fails: Mutex<Option<Error>>,
}

impl Dated {
    fn looks(&self) -> usize {
        self.looks.lock().len()
    }
}

#[async_trait]
impl KmsClient for Dated {
    fn provider(&self) -> &str {
        self.line.provider()
    }

    fn key_id(&self) -> &str {
        self.line.key_id()
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.line.encrypt(plaintext, context).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.line.decrypt(wrapped, context).await
    }

    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        let answer = self.line.generate_data_key(spec, context).await;
        while self.hold_answers.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.looks.lock().push(self.calendar.clock.elapsed().as_secs());
        let failure = self.looking_fails.lock().clone();
        match failure {
            Some(error) => Err(error),
            None => Ok(self.calendar.date(self.line.current_key_version().await?)),
        }
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.line.key_versions().await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.attempts.fetch_add(1, SeqCst);
        while self.hold.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let failure = self.rotating_fails.lock().clone();
        match failure {
            Some(error) => Err(error),
            None => Ok(self.calendar.date(self.line.rotate().await?)),
        }
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        Ok(self.calendar.automatic.lock().map(|days| Duration::from_secs(days * DAY)))
    }

    async fn rotations_left(&self) -> Result<Option<usize>> {
        Ok(*self.calendar.left.lock())
    }

    async fn probe(&self) -> Vec<Probe> {
        self.line.probe().await
    }
}

/// A process and its key service.
struct Watched {
    process: Process,
    service: Arc<Dated>,
}

impl Watched {
    fn new(site: &Site, calendar: &Arc<Calendar>, pairs: &[(&str, &str)]) -> Watched {
        let config = site.config(pairs);
        let keyring = KeyringConfig {
            keyring: site.file().path().to_owned(),
            key: "sealpoint".to_owned(),
            passphrase_file: None,
        };
        let line = Line::new(LocalHsmClient::open(&keyring).unwrap());
        let service = Arc::new(Dated {
            line: Arc::clone(&line),
            calendar: Arc::clone(calendar),
            looks: Mutex::default(),
            attempts: AtomicUsize::new(0),
            hold: AtomicBool::new(false),
            hold_answers: AtomicBool::new(false),
            looking_fails: Mutex::default(),
            rotating_fails: Mutex::default(),
        });
        let client = |tenant: &String| (tenant.clone(), vec![Arc::clone(&service) as Arc<dyn KmsClient>]);
        let clients: Clients = config.tenants.open().iter().map(client).collect();
        let process = Process::new(config, clients, Arc::clone(&calendar.clock), line, None);
        Watched { process, service }
    }

    /// Lets so many days pass, a wake-up after the other, with everything sealed that is wanted.
    fn days(&self, days: u64) {
        let end = self.process.clock.elapsed() + Duration::from_secs(days * DAY);
        while self.process.clock.elapsed() < end {
            self.process.clock.wake_next(1);
        }
    }

    /// Until the last wake-up has had its effect.
    fn settle(&self) {
        let clock = &self.process.clock;
        clock.wake_next(1);
    }

    fn seal(&self) -> Result<Arc<DataKey>> {
        self.process.ring.for_sealing("default")
    }

    /// Where a rotation may be under way.
    fn seal_in_time(&self) -> Result<Arc<DataKey>> {
        thread::scope(|scope| {
            let sealed = scope.spawn(|| self.seal());
            while !sealed.is_finished() {
                self.process.clock.wake_next(1);
            }
            sealed.join().unwrap()
        })
    }

    fn version(&self) -> String {
        version_of(&self.head())
    }

    fn head(&self) -> Head {
        let key = self.process.key();
        head_of(&self.process.config, "default", key.secret(), key.id(), key.slots())
    }
}

fn version_of(head: &Head) -> String {
    head.slots[0].version.clone()
}

/// A coordinator whose key was made so many days ago.
fn coordinator(days_ago: u64, ahead: i64, pairs: &[(&str, &str)]) -> (Site, Watched) {
    let (site, clock) = (Site::new(), Arc::default());
    let watched = Watched::new(&site, &Calendar::new(&clock, days_ago, ahead), pairs);
    watched.process.ring.coordinate();
    (site, watched)
}

/// Each within a check and its delay after the interval.
fn assert_every(rotations: &[u64], interval: u64, first_made: i64) {
    let mut made = first_made;
    for rotation in rotations {
        let age = *rotation as i64 - made;
        let (least, most) = (interval as i64, (interval + 75 * MINUTE + MINUTE + 1) as i64);
        assert!((least..=most).contains(&age), "{age} s in {rotations:?}");
        made = *rotation as i64;
    }
}

#[test]
fn a_key_is_rotated_each_time_it_reaches_its_interval() {
    let (_site, watched) = coordinator(0, 0, &[]);
    assert_eq!(watched.version(), "1");
    watched.days(92);
    assert_eq!(watched.service.calendar.rotations().len(), 3);
    assert_every(&watched.service.calendar.rotations(), 30 * DAY, 0);
    assert_eq!(watched.process.metrics.key_rotations_made.get(), 3);
    assert_eq!((watched.service.attempts.load(SeqCst), watched.process.metrics.key_rotation_failures.get()), (3, 0));
    until(|| watched.version() == "4");
    assert_eq!(watched.process.metrics.key_rotations.get(), 3);
}

#[test]
fn the_age_is_the_key_service_s_and_not_the_process_s() {
    let (_site, watched) = coordinator(29, 0, &[]);
    watched.days(2);
    assert_every(&watched.service.calendar.rotations(), 30 * DAY, -29 * DAY as i64);
    assert_eq!(watched.service.calendar.rotations().len(), 1);
}

#[test]
fn checks_are_about_an_hour_apart_and_never_in_step() {
    let (_site, watched) = coordinator(0, 0, &[]);
    watched.days(10);
    let looks = watched.service.looks.lock().clone();
    let apart: Vec<u64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(apart.len() > 150 && apart.iter().all(|apart| (45 * MINUTE..=75 * MINUTE).contains(apart)), "{apart:?}");
    let (least, most) = (apart.iter().min().unwrap(), apart.iter().max().unwrap());
    assert!(most - least > 10 * MINUTE, "{apart:?}");
}

#[test]
fn who_does_not_coordinate_never_looks_and_never_rotates() {
    let (site, clock) = (Site::new(), Arc::<TestClock>::default());
    let watched = Watched::new(&site, &Calendar::new(&clock, 80, 0), &[]);
    for _ in 0..100 {
        clock.pass(DAY);
        watched.seal().unwrap();
    }
    assert_eq!((watched.service.looks(), watched.service.attempts.load(SeqCst)), (0, 0));
    let off = Watched::new(&site, &Calendar::new(&clock, 80, 0), &[("key-rotation.enabled", "false")]);
    off.process.ring.coordinate();
    off.process.settled(1);
    assert_eq!(off.service.looks(), 0, "nor where it is switched off");
}

#[test]
fn coordinating_twice_is_coordinating_once() {
    let (_site, watched) = coordinator(0, 0, &[]);
    watched.process.ring.coordinate();
    watched.days(1);
    assert!(watched.service.looks() <= 33, "{}", watched.service.looks());
}

#[test]
fn of_two_coordinators_one_rotates_and_both_take_it_up() {
    let (site, clock) = (Site::new(), Arc::default());
    let calendar = Calendar::new(&clock, 0, 0);
    let both = [Watched::new(&site, &calendar, &[]), Watched::new(&site, &calendar, &[])];
    both.iter().for_each(|watched| watched.process.ring.coordinate());
    both.iter().for_each(|watched| drop(watched.seal().unwrap()));
    while clock.elapsed() < Duration::from_secs(92 * DAY) {
        clock.wake_next(2);
    }
    assert_eq!(calendar.rotations().len(), 3);
    assert_every(&calendar.rotations(), 30 * DAY, 0);
    for watched in both {
        until(|| watched.version() == "4");
    }
}

#[test]
fn rotating_twice_is_harmless() {
    let (site, clock) = (Site::new(), Arc::default());
    let calendar = Calendar::new(&clock, 40, 0);
    let both = [Watched::new(&site, &calendar, &[]), Watched::new(&site, &calendar, &[])];
    let heads: Vec<Head> = both.iter().map(Watched::head).collect();
    for watched in &both {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rotation = watched.process.ring.rotation();
        runtime.block_on(async {
            let key = &rotation.keys()[0];
            let before = watched.service.line.current_key_version().await.unwrap();
            rotation.rotate_key(key, &before).await.unwrap();
        });
    }
    until(|| both[1].version() == "3");
    assert_eq!(calendar.rotations().len(), 2);
    for watched in &both {
        heads.iter().for_each(|head| drop(watched.process.ring.unwrap(head).unwrap()));
    }
}

#[test]
fn a_clock_that_is_set_on_for_a_while_rotates_nothing() {
    let (_site, watched) = coordinator(0, 0, &[]);
    watched.days(1);
    for off in [40, 100, 400] {
        watched.process.clock.set_off(off * DAY as i64);
        watched.settle();
        watched.process.clock.set_off(-off * DAY as i64);
        watched.days(1);
    }
    assert!(watched.service.calendar.rotations().is_empty());
    watched.seal().unwrap();
}

#[test]
fn a_clock_that_stays_wrong_rotates_once_and_then_no_more_by_age() {
    for off in [40, 100, 400] {
        let (_site, watched) = coordinator(0, 0, &[]);
        watched.days(1);
        watched.process.clock.set_off(off * DAY as i64);
        watched.days(60);
        assert_eq!(watched.service.calendar.rotations().len(), 1, "{off} days");
        watched.seal().unwrap();
        watched.process.clock.set_off(-off * DAY as i64);
        watched.days(1);
        watched.seal().unwrap();
    }
}

#[test]
fn a_clock_that_is_set_back_rotates_nothing_and_seals_on() {
    let (_site, watched) = coordinator(0, 0, &[]);
    watched.days(1);
    watched.process.clock.set_off(-60 * DAY as i64);
    watched.days(20);
    assert!(watched.service.calendar.rotations().is_empty());
    watched.seal().unwrap();
    watched.process.clock.set_off(60 * DAY as i64);
    watched.days(10);
    assert_every(&watched.service.calendar.rotations(), 30 * DAY, 0);
    assert_eq!(watched.service.calendar.rotations().len(), 1, "it is due as soon as the clock is right");
}

#[test]
fn a_key_service_whose_clock_is_off_is_not_rotated_again_and_again() {
    for ahead in [-400, -100, -40, 40, 400] {
        let (_site, watched) = coordinator(0, ahead * DAY as i64, &[]);
        watched.days(80);
        assert!(watched.service.calendar.rotations().len() <= 1, "{ahead} days: {:?}", watched.service.calendar);
        watched.seal().unwrap();
    }
}

#[test]
fn without_auto_rotate_it_is_only_said_and_past_the_maximum_age_sealing_is_refused() {
    let (site, watched) = coordinator(28, 0, &[("key-rotation.auto-rotate", "false")]);
    watched.days(1);
    assert_eq!(watched.process.metrics.key_rotations_due.get(), 0);
    watched.days(60);
    let due = watched.process.metrics.key_rotations_due.get();
    assert!(due > 1000, "each check counts: {due}");
    watched.seal().unwrap();
    watched.days(2);
    let error = watched.seal().unwrap_err();
    assert_eq!(error.kind(), Kind::KeyTooOld);
    for said in ["'sealpoint'", "max-age-days (90)", "version 1 is 9", "auto-rotate is false", "sealpoint rotate"] {
        assert!(error.message().contains(said), "{said} in {error}");
    }
    assert_eq!(watched.service.attempts.load(SeqCst), 0);
    site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(SystemTime::now()).map(drop)).unwrap();
    let asked = watched.process.clock.elapsed();
    watched.settle();
    until(|| watched.seal().is_ok());
    assert!(watched.process.clock.elapsed() - asked <= Duration::from_secs(2 * MINUTE), "it looks often while shut");
    assert_eq!(watched.version(), "2", "and nothing more is sealed under the old version");
}

#[test]
fn past_its_maximum_age_a_key_is_rotated_before_the_next_seal() {
    let (site, clock) = (Site::new(), Arc::<TestClock>::default());
    let watched = Watched::new(&site, &Calendar::new(&clock, 91, 0), &[]);
    assert_eq!(watched.version(), "1", "before it coordinates");
    watched.service.hold.store(true, SeqCst);
    watched.process.ring.coordinate();
    clock.wake_next(1);
    until(|| watched.service.attempts.load(SeqCst) == 1);
    assert!(clock.elapsed() <= Duration::from_secs(1), "where sealing waits the random delay is short");
    thread::scope(|scope| {
        let sealed: Vec<_> = (0..4).map(|_| scope.spawn(|| watched.version())).collect();
        watched.service.hold.store(false, SeqCst);
        sealed.into_iter().for_each(|version| assert_eq!(version.join().unwrap(), "2"));
    });
}

#[test]
fn a_rotation_that_is_not_allowed_is_tried_seldom_and_sealing_is_refused_at_the_maximum_age() {
    let (_site, watched) = coordinator(25, 0, &[]);
    let denied = Kind::AccessDenied.error("kms:RotateKeyOnDemand is missing");
    *watched.service.rotating_fails.lock() = Some(denied);
    watched.days(64);
    watched.seal().unwrap();
    let attempts = watched.service.attempts.load(SeqCst);
    assert!((30..=75).contains(&attempts), "at most daily in the end: {attempts}");
    assert_eq!(watched.process.metrics.key_rotation_failures.get(), attempts as u64);
    watched.days(3);
    let error = watched.seal_in_time().unwrap_err();
    assert_eq!(error.kind(), Kind::KeyTooOld);
    assert!(error.message().contains("kms:RotateKeyOnDemand is missing"), "{error}");
    *watched.service.rotating_fails.lock() = None;
    watched.days(2);
    assert_eq!(watched.version(), "2", "once it is allowed it is done");
}

#[test]
fn an_answer_that_was_lost_is_looked_for_before_anything_is_done_again() {
    let (site, watched) = coordinator(29, 0, &[]);
    *watched.service.rotating_fails.lock() = Some(Kind::KmsTimeout.error("the answer is lost"));
    watched.service.hold.store(true, SeqCst);
    let clock = &watched.process.clock;
    let attempted = || watched.service.attempts.load(SeqCst) > 0;
    while !attempted() {
        clock.wake_next(1);
        // It sleeps again, or the key service has it.
        until(|| attempted() || clock.sleepers() == 1);
    }
    site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(SystemTime::now()).map(drop)).unwrap();
    watched.service.hold.store(false, SeqCst);
    watched.days(20);
    assert_eq!(watched.service.calendar.rotations().len(), 1);
    assert_eq!(watched.process.metrics.key_rotations_made.get(), 1);
    assert_eq!(watched.process.metrics.key_rotation_failures.get(), 0);
}

#[test]
fn a_key_service_that_is_away_at_the_check_is_asked_again_at_the_next() {
    let (_site, watched) = coordinator(29, 0, &[]);
    *watched.service.looking_fails.lock() = Some(Kind::KmsUnavailable.error("away"));
    watched.days(3);
    assert!(watched.process.metrics.key_rotation_failures.get() > 50);
    assert_eq!(watched.service.attempts.load(SeqCst), 0);
    watched.seal().unwrap();
    *watched.service.looking_fails.lock() = None;
    watched.days(1);
    assert_eq!(watched.service.calendar.rotations().len(), 1);
}

#[test]
fn what_the_key_service_rotates_by_itself_is_left_to_it() {
    for (period, days) in [(90, 95), (365, 300)] {
        let (_site, watched) = coordinator(0, 0, &[]);
        *watched.service.calendar.automatic.lock() = Some(period);
        watched.days(days);
        assert_eq!(watched.service.attempts.load(SeqCst), 0);
        assert_eq!(watched.process.metrics.key_rotations_due.get(), 0);
        watched.seal().unwrap();
    }
    let (_site, watched) = coordinator(0, 0, &[]);
    *watched.service.calendar.automatic.lock() = Some(90);
    watched.days(99);
    assert_eq!(watched.service.calendar.rotations().len(), 1, "unless it is a week late");
}

#[test]
fn the_last_rotations_that_a_key_service_allows_are_kept_until_the_maximum_age() {
    let (_site, watched) = coordinator(0, 0, &[]);
    *watched.service.calendar.left.lock() = Some(5);
    watched.days(89);
    assert_eq!(watched.service.attempts.load(SeqCst), 0);
    assert!(watched.process.metrics.key_rotations_due.get() > 1000);
    watched.days(2);
    assert_every(&watched.service.calendar.rotations(), 90 * DAY, 0);
    assert_eq!(watched.service.calendar.rotations().len(), 1);
}

#[test]
fn tenants_that_share_a_key_rotate_it_once_and_all_take_it_up() {
    let (_site, watched) = coordinator(29, 0, &[("tenants.a.paths", "/a"), ("tenants.b.paths", "/b")]);
    let tenants = ["default", "a", "b"];
    let version = |tenant: &str| watched.process.head(tenant).slots[0].version.clone();
    assert_eq!(tenants.map(version), ["1", "1", "1"]);
    watched.days(2);
    assert_eq!(watched.service.calendar.rotations().len(), 1);
    until(|| tenants.map(version) == ["2", "2", "2"]);
}

#[test]
fn each_key_of_each_key_service_is_looked_after() {
    let site = Site::with_fallback();
    site.file().update(|keyring| keyring.add("own", SystemTime::now()).map(drop)).unwrap();
    let process = site.process_with_fallback(&[("tenants.a.paths", "/a"), ("tenants.a.key", "own")], |_, _| {});
    let keys = process.ring.rotation().keys();
    let mut named: Vec<_> =
        keys.iter().map(|key| (key.slot(), key.client().key_id(), key.tenants().join(","))).collect();
    named.sort();
    let expected = [("primary", "own", "a"), ("primary", "sealpoint", "default"), ("second", "fallback", "default,a")];
    let names = |tenants: &str| {
        let mut tenants: Vec<&str> = tenants.split(',').collect();
        tenants.sort_unstable();
        tenants.join(",")
    };
    let named: Vec<_> = named.iter().map(|(slot, key, tenants)| (*slot, *key, names(tenants))).collect();
    assert_eq!(named, expected.map(|(slot, key, tenants)| (slot, key, names(tenants))));
}

#[test]
fn what_was_being_drawn_when_the_key_was_rotated_is_not_taken() {
    let (_site, watched) = coordinator(0, 0, &[]);
    let first = watched.head();
    watched.process.settled(2);
    watched.service.hold_answers.store(true, SeqCst);
    watched.process.ring.begin_epoch("/chk", 1);
    assert_eq!(watched.version(), "1", "the one that was drawn ahead");
    until(|| watched.process.line.drawn.load(SeqCst) == 3);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rotation = watched.process.ring.rotation();
    let standing = runtime.block_on(rotation.should_rotate(&rotation.keys()[0])).unwrap();
    assert_eq!(standing.verdict, Verdict::Young);
    runtime.block_on(rotation.rotate_key(&rotation.keys()[0], &standing.version)).unwrap();
    watched.service.hold_answers.store(false, SeqCst);
    until(|| watched.version() == "2");
    assert_eq!(watched.process.metrics.key_rotations.get(), 1);
    let (drawn, metrics) = (&watched.process.line.drawn, &watched.process.metrics);
    until(|| drawn.load(SeqCst) as u64 - metrics.data_keys_drawn.get() == 1);
    watched.process.ring.unwrap(&first).unwrap();
}

#[test]
fn rotating_costs_one_call_and_holds_up_nobody_who_seals() {
    let (_site, watched) = coordinator(0, 0, &[]);
    watched.seal().unwrap();
    watched.process.settled(2);
    let rotation = watched.process.ring.rotation();
    let before = watched.service.line.current_key_version();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let before = runtime.block_on(before).unwrap();
    until(|| watched.service.looks() == 1);
    runtime.block_on(rotation.rotate_key(&rotation.keys()[0], &before)).unwrap();
    assert_eq!((watched.service.attempts.load(SeqCst), watched.service.looks()), (1, 1));
    let waited = watched.process.metrics.data_keys_waited.get();
    watched.seal().unwrap();
    assert_eq!(watched.process.metrics.data_keys_waited.get(), waited);
}

/// A data key's life goes from being drawn, ahead of its use, to its end: two intervals, or two checkpoints.
#[test]
fn elsewhere_a_rotation_shows_within_one_data_key_s_life() {
    let by_interval = [("data-key.scope", "interval"), ("data-key.interval", "10 min")];
    for (scope, interval) in [(&by_interval[..], 600), (&[], 10)] {
        let site = Site::new();
        let process = site.process(scope);
        let turn = |at: u64| {
            process.clock.pass(interval);
            process.ring.begin_epoch("/chk", at as i64);
            let version = version_of(&process.head("default"));
            process.settled(at + 2);
            version
        };
        let _first = process.head("default");
        process.settled(2);
        assert_eq!(turn(1), "1");
        site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(SystemTime::now()).map(drop)).unwrap();
        assert_eq!((turn(2), turn(3)), ("1".to_owned(), "2".to_owned()), "{scope:?}");
        assert_eq!(process.metrics.key_rotations.get(), 1);
    }
}

/// A data key that lay ready is taken until it is `data-key.max-age` old, and sealed with for as long again.
#[test]
fn elsewhere_nothing_is_sealed_under_the_old_version_twice_max_age_after_a_rotation() {
    const MAX_AGE: u64 = 2 * 3600;
    let rotated = |site: &Site| {
        let process = site.process(&[("data-key.max-age", "2 h")]);
        let _first = process.head("default");
        process.settled(2);
        site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(SystemTime::now()).map(drop)).unwrap();
        process
    };
    let site = Site::new();
    let process = rotated(&site);
    process.line.hold.store(true, SeqCst);
    let version_after = |seconds| {
        process.clock.pass(seconds);
        version_of(&process.head("default"))
    };
    assert_eq!((version_after(MAX_AGE - 1), version_after(MAX_AGE - 1)), ("1".to_owned(), "1".to_owned()));
    process.line.hold.store(false, SeqCst);
    assert_eq!(version_after(1), "2");

    let site = Site::new();
    let process = rotated(&site);
    process.clock.pass(MAX_AGE);
    assert_eq!(version_of(&process.head("default")), "2", "what has lain there for so long is not taken");
}

#[test]
fn the_gauges_show_version_and_age() {
    let (_site, watched) = coordinator(29, 0, &[]);
    watched.seal().unwrap();
    until(|| watched.service.looks() == 1);
    let metrics = &watched.process.metrics;
    until(|| !metrics.key_age_seconds.get().is_empty());
    let text = metrics.text();
    for line in [
        r#"heliosdb_key_version_in_use{tenant="default",provider="local",key="sealpoint",version="1"} 1"#,
        r#"heliosdb_key_age_seconds{kms="primary",provider="local",key="sealpoint",version="1"} 2505600"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    watched.days(2);
    until(|| watched.version() == "2");
    let text = watched.process.metrics.text();
    assert!(
        text.contains(
            r#"heliosdb_key_version_in_use{tenant="default",provider="local",key="sealpoint",version="2"} 1"#
        )
    );
    assert!(!text.contains(r#"version="1""#), "{text}");
}

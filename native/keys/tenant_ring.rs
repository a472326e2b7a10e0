//! The sealing keys of one tenant: the current one, and the next one, drawn ahead of need.
//!
//! A roll (a new epoch, or a soft bound) takes the next key if it is there, and otherwise goes on with the current one
//! until it is. Only where the current key must not be used any more (a hard bound, the end of the outage allowance, or
//! there is none yet) does a caller wait for a draw. A draw that failed is tried again in the background, whether or not
//! anyone asks for a key, so that the end of an outage is noticed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::utc;
use crate::config::{DataKeyPolicy, DataKeyScope, EncryptionConfig, OutagePolicy};
use crate::envelope::DataKeyId;
use crate::error::{Error, Kind, Result};
use crate::keys::completion::{self, Incomplete};
use crate::keys::data_key::{DataKey, Kek};
use crate::keys::outage::Failure;
use crate::keys::service::{Drawn, KeyService, abandoned};

/// Called with each key that becomes the current one.
pub type Adopted = Box<dyn Fn(&Arc<DataKey>) + Send + Sync>;

/// The keys that one tenant's files are sealed under.
pub struct TenantRing {
    tenant: String,
    service: Arc<KeyService>,
    policy: DataKeyPolicy,
    outage: OutagePolicy,
    adopted: Adopted,
    state: Mutex<State>,
    /// Told whenever a draw ends.
    drawn: Condvar,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    next: Option<Arc<DataKey>>,
    /// The next key is to be taken as soon as it is there.
    roll: bool,
    drawing: bool,
    /// How many draws have ended.
    draws: u64,
    /// How often the key-encryption key has changed: what was drawn before the last time is not taken.
    changes: u64,
    failure: Option<Failure>,
}

struct Current {
    key: Arc<DataKey>,
    /// By the clock, when it became the current one.
    since: Duration,
    /// True once it was handed out: until then an epoch has no reason to replace it.
    used: bool,
    /// True if nothing more may be sealed under it.
    retired: bool,
}

impl State {
    fn keys(&self) -> impl Iterator<Item = &Arc<DataKey>> {
        self.current.iter().map(|current| &current.key).chain(&self.next)
    }
}

impl TenantRing {
    pub fn new(tenant: &str, config: &EncryptionConfig, service: Arc<KeyService>, adopted: Adopted) -> Arc<TenantRing> {
        Arc::new(TenantRing {
            tenant: tenant.to_owned(),
            service,
            policy: config.data_key.clone(),
            outage: config.outage.clone(),
            adopted,
            state: Mutex::default(),
            drawn: Condvar::new(),
        })
    }

    /// The key to seal with; see [`KeyRing::for_sealing`](crate::keys::KeyRing::for_sealing).
    pub fn for_sealing(self: &Arc<Self>) -> Result<Arc<DataKey>> {
        let mut state = self.state.lock();
        let mut waited = false;
        loop {
            self.roll_if_due(&mut state);
            if let Some(key) = self.usable(&mut state) {
                return Ok(key);
            }
            let may_draw = state.failure.as_ref().is_none_or(|failure| failure.again_at <= self.now());
            // Without a failure the draw went well, but others used the key up: draw again.
            if waited && state.failure.is_some() || !(state.drawing || may_draw) {
                return Err(self.why_not(&state));
            }
            self.begin_draw(&mut state);
            waited = self.wait_for_draw(&mut state)?;
        }
    }

    /// Takes the next key, now or as soon as it is there.
    pub fn roll(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.current.as_ref().is_some_and(|current| current.used) {
            self.want_roll(&mut state);
        }
    }

    /// Draws the first key before it is needed.
    pub fn prepare(self: &Arc<Self>) {
        self.begin_draw(&mut self.state.lock());
    }

    /// The key-encryption key has another version: the next key is drawn under it now, and taken as soon as it is there.
    /// With `at_once` sealing waits for it.
    pub fn renew(self: &Arc<Self>, at_once: bool) {
        let mut state = self.state.lock();
        state.changes += 1;
        state.next = None;
        if let Some(current) = state.current.as_mut() {
            current.retired |= at_once;
            state.roll = true;
            self.begin_draw(&mut state);
        }
    }

    /// The key of this identity in these slots, if it is sealed with, or is the next to be.
    pub fn holding(&self, id: DataKeyId, section: &[u8]) -> Option<Arc<DataKey>> {
        let state = self.state.lock();
        state.keys().find(|key| key.id() == id && key.slots() == section).map(Arc::clone)
    }

    /// True for the key that is sealed with, and the next one.
    pub fn seals_with(&self, id: DataKeyId) -> bool {
        self.state.lock().keys().any(|key| key.id() == id)
    }

    /// From now on new files take their slots from this one, where they are sealed under the same key.
    pub fn replace(&self, key: &Arc<DataKey>) {
        let mut state = self.state.lock();
        if let Some(current) = state.current.as_mut().filter(|current| current.key.id() == key.id()) {
            current.key = Arc::clone(key);
            (self.adopted)(key);
        }
        if let Some(next) = state.next.as_mut().filter(|next| next.id() == key.id()) {
            *next = Arc::clone(key);
        }
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    pub fn service(&self) -> &KeyService {
        &self.service
    }

    fn roll_if_due(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        let due = state.current.as_ref().is_some_and(|current| self.past(current, &self.soft_bounds()));
        if due {
            self.want_roll(state);
        } else if state.roll || state.current.is_none() {
            self.adopt(state);
        }
        if state.next.is_none() && state.current.is_some() {
            self.begin_draw(state);
        }
    }

    fn want_roll(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        let first = !std::mem::replace(&mut state.roll, true);
        self.adopt(state);
        if state.roll && first {
            self.service.metrics.epochs_late.add(1);
        }
        self.begin_draw(state);
    }

    /// Makes the next key the current one, if there is one that has not lain about for too long.
    fn adopt(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        let now = self.now();
        let Some(key) = state.next.take().filter(|key| now.saturating_sub(key.drawn()) < self.policy.max_age) else {
            return;
        };
        let rotated = state.current.as_ref().is_some_and(|current| key.rotated_since(&current.key));
        if rotated {
            self.service.metrics.key_rotations.add(1);
        }
        (self.adopted)(&key);
        key.wrapped_by().iter().for_each(|kek| self.show(kek));
        state.current = Some(Current { key, since: now, used: false, retired: false });
        state.roll = false;
        self.begin_draw(state);
    }

    /// Starts a draw of the next key on the runtime thread, unless there is one, or a pause is on.
    fn begin_draw(self: &Arc<Self>, state: &mut MutexGuard<'_, State>) {
        let paused = state.failure.as_ref().is_some_and(|failure| self.now() < failure.again_at);
        if state.drawing || state.next.is_some() || paused {
            return;
        }
        state.drawing = true;
        let draw = Draw { ring: Arc::clone(self), changes: state.changes, ended: false };
        let work = async move {
            let outcome = draw.ring.service.draw(&draw.ring.tenant).await;
            draw.end(outcome);
        };
        // A runtime that is shutting down drops the work right here, and that takes the lock.
        MutexGuard::unlocked(state, || self.service.spawn(work));
    }

    fn end_draw(self: &Arc<Self>, outcome: Result<Drawn>, changes: u64) {
        let mut state = self.state.lock();
        state.drawing = false;
        state.draws += 1;
        match outcome {
            // It may be wrapped under the version before.
            Ok(_) if changes != state.changes => self.begin_draw(&mut state),
            Ok(drawn) => self.succeeded(&mut state, drawn),
            Err(error) => self.failed(&mut state, error),
        }
        self.drawn.notify_all();
    }

    fn succeeded(self: &Arc<Self>, state: &mut MutexGuard<'_, State>, drawn: Drawn) {
        self.service.metrics.data_keys_drawn.add(1);
        self.service.outages.ended(&self.tenant);
        if let Some(failure) = state.failure.take() {
            log::info!(
                "the key service of tenant '{}' answers again; it had not since {}",
                self.tenant,
                utc(failure.since_wall_ms)
            );
        }
        state.next = Some(Arc::clone(&drawn.key));
        if !drawn.is_complete() {
            let counted = Incomplete::new(&self.service.metrics);
            self.service.spawn(completion::complete(Arc::downgrade(self), drawn, counted));
        }
        if state.roll || state.current.is_none() {
            self.adopt(state);
        }
    }

    fn failed(self: &Arc<Self>, state: &mut State, error: Error) {
        self.service.metrics.data_key_failures.add(1);
        let now = self.now();
        let failure = Failure::after(state.failure.as_ref(), error, now, self.service.clock.wall_ms());
        let lasted = now.saturating_sub(failure.since);
        self.service.outages.lasts(&self.tenant, lasted);
        // An engine that is closed draws nothing more, and nobody misses it.
        if state.failure.is_none() && failure.last.kind() != Kind::State {
            log::warn!(
                "no data key could be drawn for tenant '{}' (sealing may go on for {:?}): {}",
                self.tenant,
                self.outage.seal_for.saturating_sub(lasted),
                failure.last
            );
        }
        self.try_again_after(failure.again_at.saturating_sub(now), state.draws);
        state.failure = Some(failure);
    }

    /// Draws again after a pause, unless another draw has ended by then: if that one failed, it has its own pause.
    fn try_again_after(self: &Arc<Self>, pause: Duration, draws: u64) {
        let (ring, sleep) = (Arc::downgrade(self), self.service.clock.sleep(pause));
        self.service.spawn(async move {
            sleep.await;
            let Some(ring) = ring.upgrade() else { return };
            let mut state = ring.state.lock();
            if state.draws == draws {
                ring.begin_draw(&mut state);
            }
        });
    }

    /// Returns once a draw has ended.
    fn wait_for_draw(&self, state: &mut MutexGuard<'_, State>) -> Result<bool> {
        self.service.metrics.data_keys_waited.add(1);
        let draws = state.draws;
        let patience = self.service.patience(&self.tenant);
        let mut on_time = true;
        while state.drawing && state.draws == draws && on_time {
            on_time = !self.drawn.wait_for(state, patience).timed_out();
        }
        if on_time { Ok(true) } else { Err(Kind::KmsTimeout.error("the key service did not give a data key in time")) }
    }

    /// The current key, unless it must not be used any more.
    fn usable(&self, state: &mut State) -> Option<Arc<DataKey>> {
        let allowed = |current: &Current| {
            !current.retired && !self.past(current, &self.hard_bounds()) && !self.outage_is_over(state)
        };
        if !state.current.as_ref().is_some_and(allowed) {
            return None;
        }
        let current = state.current.as_mut()?;
        current.used = true;
        Some(Arc::clone(&current.key))
    }

    fn show(&self, kek: &Kek) {
        let labels = [("tenant", &*self.tenant), ("provider", &*kek.provider), ("key", &*kek.name)];
        self.service.metrics.key_versions_in_use.set(&labels, &[("version", &kek.version)], 1);
    }

    fn outage_is_over(&self, state: &State) -> bool {
        let lasted = |failure: &Failure| self.now().saturating_sub(failure.since);
        state.failure.as_ref().is_some_and(|failure| lasted(failure) > self.outage.seal_for)
    }

    fn why_not(&self, state: &State) -> Error {
        let tenant = &self.tenant;
        let Some(failure) = &state.failure else {
            return Kind::Internal
                .error(format_args!("there is no data key for tenant '{tenant}', and no reason for it"));
        };
        let since = utc(failure.since_wall_ms);
        if state.current.is_none() {
            return failure.last.clone().at(format_args!(
                "there is no data key for tenant '{tenant}' yet (its key service was first asked at {since}, and is asked again in the background)"
            ));
        }
        let reason = if state.current.as_ref().is_some_and(|current| current.retired) {
            "the current data key is wrapped under a version of the key-encryption key that was too old".to_owned()
        } else if self.outage_is_over(state) {
            format!("that is longer than outage.seal-for ({:?}) allows", self.outage.seal_for)
        } else {
            "the current data key has reached data-key.max-age, data-key.max-files or data-key.max-bytes".to_owned()
        };
        Kind::Outage.error(format_args!(
            "nothing is sealed for tenant '{tenant}' any more: its key service has given no data key since {since}, and {reason}; make it answer (its last failure: {})",
            failure.last
        ))
    }

    fn past(&self, current: &Current, bounds: &Bounds) -> bool {
        self.now().saturating_sub(current.since) >= bounds.age
            || current.key.files() >= bounds.files
            || current.key.bytes() >= bounds.bytes
    }

    fn hard_bounds(&self) -> Bounds {
        Bounds { age: self.policy.max_age, files: self.policy.max_files, bytes: self.policy.max_bytes }
    }

    /// Early enough that an outage which begins now is over before the hard bounds are met.
    fn soft_bounds(&self) -> Bounds {
        let age = self.policy.max_age.saturating_sub(self.outage.seal_for);
        let age = match self.policy.scope {
            DataKeyScope::Checkpoint => age,
            DataKeyScope::Interval(interval) => age.min(interval),
        };
        let most = |bound: u64| bound - bound / 4;
        Bounds { age, files: most(self.policy.max_files), bytes: most(self.policy.max_bytes) }
    }

    fn now(&self) -> Duration {
        self.service.clock.elapsed()
    }
}

struct Bounds {
    age: Duration,
    files: u64,
    bytes: u64,
}

/// The duty to end a draw, even if its runtime goes away or it panics.
struct Draw {
    ring: Arc<TenantRing>,
    /// As of its beginning.
    changes: u64,
    ended: bool,
}

impl Draw {
    fn end(mut self, outcome: Result<Drawn>) {
        self.ended = true;
        self.ring.end_draw(outcome, self.changes);
    }
}

impl Drop for Draw {
    fn drop(&mut self) {
        if !self.ended {
            self.ring.end_draw(Err(abandoned()), self.changes);
        }
    }
}

//! What the tests of the decorators share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Jitter, deadline};
use crate::clock::Clock;
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::{Destruction, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::secret::Secret;

/// Runs on a runtime whose time stands still, but for what is slept.
pub fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Always the same chance.
#[derive(Debug)]
pub struct Fixed(pub f64);

impl Jitter for Fixed {
    fn fraction(&self) -> f64 {
        self.0
    }
}

/// Always the same moment.
#[derive(Debug)]
pub struct Still;

impl Clock for Still {
    fn wall_ms(&self) -> u64 {
        1_800_000_000_000
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// The lowest layer: a client whose calls end as written, one after the other, and then well.
#[derive(Debug, Default)]
pub struct Scripted {
    outcomes: Mutex<VecDeque<Result<()>>>,
    takes: Mutex<Duration>,
    seen: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Scripted {
    pub fn new(outcomes: impl IntoIterator<Item = Result<(), Kind>>) -> Arc<Scripted> {
        let outcomes = outcomes.into_iter().map(|outcome| outcome.map_err(|kind| kind.error("scripted"))).collect();
        Arc::new(Scripted { outcomes: Mutex::new(outcomes), ..Scripted::default() })
    }

    pub fn errors(errors: impl IntoIterator<Item = Error>) -> Arc<Scripted> {
        let outcomes = errors.into_iter().map(Err).collect();
        Arc::new(Scripted { outcomes: Mutex::new(outcomes), ..Scripted::default() })
    }

    /// From now on, how long each call takes.
    pub fn takes(&self, time: Duration) {
        *self.takes.lock() = time;
    }

    /// When each call began.
    pub fn times(&self) -> Vec<Instant> {
        self.seen.lock().iter().map(|(at, _)| *at).collect()
    }

    /// The deadline that each call knew of.
    pub fn deadlines(&self) -> Vec<Option<Instant>> {
        self.seen.lock().iter().map(|(_, deadline)| *deadline).collect()
    }

    async fn call<T>(&self, value: impl FnOnce() -> Result<T>) -> Result<T> {
        self.seen.lock().push((Instant::now(), deadline::current()));
        let outcome = self.outcomes.lock().pop_front().unwrap_or(Ok(()));
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        outcome.and_then(|()| value())
    }
}

fn version() -> KeyVersion {
    KeyVersion { id: "1".into(), created_at: SystemTime::UNIX_EPOCH, enabled: true }
}

fn wrapped() -> WrappedKey {
    WrappedKey { kek: "k".into(), version: "1".into(), bytes: vec![1] }
}

#[async_trait]
impl KmsClient for Scripted {
    fn provider(&self) -> &str {
        "scripted"
    }

    fn key_id(&self) -> &str {
        "k"
    }

    async fn encrypt(&self, _: &Secret, _: &EncryptionContext) -> Result<WrappedKey> {
        self.call(|| Ok(wrapped())).await
    }

    async fn decrypt(&self, _: &WrappedKey, _: &EncryptionContext) -> Result<Secret> {
        self.call(|| Secret::take(&mut [7; 32])).await
    }

    async fn generate_data_key(&self, _: KeySpec, _: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        self.call(|| Ok((Secret::take(&mut [7; 32])?, wrapped()))).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.call(|| Ok(version())).await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.call(|| Ok(vec![version()])).await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.call(|| Ok(version())).await
    }

    async fn schedule_destruction(&self, _: Duration) -> Result<Destruction> {
        self.call(|| Ok(Destruction::Done)).await
    }

    async fn probe(&self) -> Vec<Probe> {
        vec![Probe::new("scripted", self.call(|| Ok(())).await)]
    }
}

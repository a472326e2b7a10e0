//! How far a long operation has come, for somebody who watches it from another thread, and who may end it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};

/// How soon it is noticed that an operation is to end.
const PACE: Duration = Duration::from_millis(50);

/// The step that is being done, how much of it is, and whether it is to go on.
#[derive(Debug)]
pub struct Progress {
    step: Mutex<Step>,
    stopped: Arc<AtomicBool>,
}

/// One step of an operation.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is being done, such as `reading heads`.
    pub doing: &'static str,
    /// What is counted, such as `files`.
    pub unit: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are; 0 while nobody knows.
    pub total: u64,
    /// The bytes that are done, where they are counted.
    pub bytes: u64,
    /// How many bytes there are, as far as they are known.
    pub of_bytes: u64,
    /// When it began.
    pub since: Instant,
}

impl Progress {
    /// The next step begins; `total` is 0 where it is not known.
    pub fn begin(&self, doing: &'static str, unit: &'static str, total: u64) {
        self.begin_bytes(doing, unit, total, 0);
    }

    /// The next step begins, in which bytes are counted too.
    pub fn begin_bytes(&self, doing: &'static str, unit: &'static str, total: u64, of_bytes: u64) {
        *self.step.lock() = Step { doing, unit, done: 0, total, bytes: 0, of_bytes, since: Instant::now() };
    }

    /// So many more are done.
    pub fn add(&self, count: u64) {
        self.step.lock().done += count;
    }

    /// So many more bytes are done.
    pub fn add_bytes(&self, count: u64) {
        self.step.lock().bytes += count;
    }

    /// Where it stands.
    pub fn step(&self) -> Step {
        self.step.lock().clone()
    }

    /// Set to true, it ends the operation: that fails, and leaves nothing half-written.
    pub fn stopped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopped)
    }

    /// True once the operation is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Fails once the operation is to end.
    pub fn check(&self) -> Result<()> {
        if self.is_stopped() { Err(interrupted()) } else { Ok(()) }
    }

    /// Waits for what can be given up at any moment, which reading can and writing cannot.
    pub async fn unless_stopped<R>(&self, reading: impl Future<Output = R>) -> Result<R> {
        let stopped = async {
            while !self.is_stopped() {
                tokio::time::sleep(PACE).await;
            }
        };
        match select(pin!(reading), pin!(stopped)).await {
            Either::Left((read, _)) => Ok(read),
            Either::Right(_) => Err(interrupted()),
        }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        let step =
            Step { doing: "starting", unit: "", done: 0, total: 0, bytes: 0, of_bytes: 0, since: Instant::now() };
        Progress { step: Mutex::new(step), stopped: Arc::default() }
    }
}

fn interrupted() -> Error {
    Kind::State.error("interrupted, and nothing is half-written: run the same again")
}

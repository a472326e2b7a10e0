//! How far a long operation has come, for somebody who watches it from another thread.

use std::time::Instant;

use parking_lot::Mutex;

/// The step that is being done, and how much of it is.
#[derive(Debug)]
pub struct Progress(Mutex<Step>);

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
    /// When it began.
    pub since: Instant,
}

impl Progress {
    /// The next step begins; `total` is 0 where it is not known.
    pub fn begin(&self, doing: &'static str, unit: &'static str, total: u64) {
        *self.0.lock() = Step { doing, unit, done: 0, total, since: Instant::now() };
    }

    /// So many more are done.
    pub fn add(&self, count: u64) {
        self.0.lock().done += count;
    }

    /// Where it stands.
    pub fn step(&self) -> Step {
        self.0.lock().clone()
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress(Mutex::new(Step { doing: "starting", unit: "", done: 0, total: 0, since: Instant::now() }))
    }
}

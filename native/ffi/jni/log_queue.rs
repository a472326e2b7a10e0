//! What the library logs inside a JVM: a bounded queue that the Java side drains into its own logger.

use std::collections::VecDeque;

use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

/// More lines than this are not kept; the oldest go first, and the next drain says how many.
const MAX_LINES: usize = 1_000;

struct LogQueue(Mutex<(VecDeque<String>, u64)>);

static QUEUE: LogQueue = LogQueue(Mutex::new((VecDeque::new(), 0)));

impl Log for LogQueue {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if !record.target().starts_with(env!("CARGO_CRATE_NAME")) {
            return;
        }
        let (lines, lost) = &mut *self.0.lock();
        if lines.len() == MAX_LINES {
            lines.pop_front();
            *lost += 1;
        }
        lines.push_back(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

/// Makes the queue the process's logger, unless the host program set one.
pub fn install() {
    if log::set_logger(&QUEUE).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Takes the lines out, each `LEVEL message`.
pub fn drain() -> Vec<String> {
    let (lines, lost) = &mut *QUEUE.0.lock();
    let mut taken: Vec<String> = lines.drain(..).collect();
    if std::mem::take(lost) > 0 {
        taken.insert(0, format!("WARN older log lines were dropped, more than {MAX_LINES} waited"));
    }
    taken
}

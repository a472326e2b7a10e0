//! What the library logs, on standard error, as the tool's own words look.

use std::collections::BTreeSet;

use ::log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

/// Whoever uses the tool has chosen the keyring file in the configuration at hand: what a cluster's log must say of it,
/// each command need not.
const CHOSEN: &str = "sealpoint::kms::local";

struct Logger {
    detail: LevelFilter,
    /// What was said already: many files can have one fault.
    said: Mutex<BTreeSet<String>>,
}

/// So many lines are remembered; when there are more, none of them.
const REMEMBERED: usize = 10_000;

/// Shows what the library says at this level, or one more for each `-v`; that of other crates where all is asked for.
pub fn install(least: LevelFilter, verbose: u8) {
    let detail = LevelFilter::iter().nth(least as usize + usize::from(verbose)).unwrap_or(LevelFilter::Trace);
    let logger = Box::leak(Box::new(Logger { detail, said: Mutex::default() }));
    if ::log::set_logger(logger).is_ok() {
        ::log::set_max_level(detail);
    }
}

impl Logger {
    fn is_news(&self, line: &str) -> bool {
        let mut said = self.said.lock();
        if said.len() == REMEMBERED {
            said.clear();
        }
        said.insert(line.to_owned())
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("sealpoint");
        let level = if metadata.target() == CHOSEN { Level::Info.max(metadata.level()) } else { metadata.level() };
        level <= self.detail && (ours || self.detail >= LevelFilter::Debug)
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error | Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let line = format!("sealpoint: {level}: {}", record.args());
        if self.enabled(record.metadata()) && self.is_news(&line) {
            aside!("{line}");
        }
    }

    fn flush(&self) {}
}

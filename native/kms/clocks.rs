//! How far the clocks of key services are from this machine's, as their answers say.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// By the server's address, what its last answer said.
static SEEN: Mutex<BTreeMap<String, Clock>> = Mutex::new(BTreeMap::new());

/// A server's clock, to a second or so: its answer took a while to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// By how much it differs from this machine's.
    pub off: Duration,
    /// True if it is behind.
    pub behind: bool,
}

/// What every server that answered this process said of its time.
pub fn clocks() -> Vec<(String, Clock)> {
    SEEN.lock().iter().map(|(server, clock)| (server.clone(), *clock)).collect()
}

/// An answer has come, with this `Date`.
#[cfg(feature = "http")]
pub(super) fn heard(server: String, date: Option<&str>, now: SystemTime) {
    if let Some(date) = date.and_then(super::timestamp::http_date) {
        SEEN.lock().insert(server, Clock::of(date, now));
    }
}

impl Clock {
    /// Theirs, by ours.
    pub fn of(theirs: SystemTime, ours: SystemTime) -> Clock {
        match ours.duration_since(theirs) {
            Ok(off) => Clock { off, behind: true },
            Err(ahead) => Clock { off: ahead.duration(), behind: false },
        }
    }
}

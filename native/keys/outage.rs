//! How long the key services have given no data key, and how long sealing may go on without.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Error;
use crate::kms::over::{Jitter, Random};
use crate::metrics::EncryptionMetrics;

/// After a failure, how long the key service is not asked again: doubled with each further one up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The key service of one tenant has given no data key since. Times are those of the ring's clock.
#[derive(Debug, Clone)]
pub struct Failure {
    pub since: Duration,
    pub since_wall_ms: u64,
    pub last: Error,
    /// It is asked again then.
    pub again_at: Duration,
    pause: Duration,
}

impl Failure {
    /// The first one, or the one after `before`.
    pub fn after(before: Option<&Failure>, last: Error, now: Duration, now_wall_ms: u64) -> Failure {
        let (since, since_wall_ms) = before.map_or((now, now_wall_ms), |known| (known.since, known.since_wall_ms));
        let pause = pause_after(before.map(|known| known.pause));
        // Longer where the service asks for it, but not for as long as it likes.
        let asked = last.retry_after().unwrap_or_default().min(LONGEST_PAUSE);
        Failure { since, since_wall_ms, again_at: now + spread(pause).max(asked), last, pause }
    }
}

/// The pause after this one.
pub fn pause_after(before: Option<Duration>) -> Duration {
    before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE))
}

/// From half of it on, so that processes which lost their key service together do not all come back together.
pub fn spread(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + Random.fraction() / 2.0)
}

/// The gauge of all tenants: it shows how long the one may still seal that is worst off.
#[derive(Debug)]
pub struct OutageGauge {
    allowed: Duration,
    left: Mutex<HashMap<String, Duration>>,
    metrics: Arc<EncryptionMetrics>,
}

impl OutageGauge {
    /// No tenant is in an outage; each may seal through one for as long as `allowed`.
    pub fn new(allowed: Duration, metrics: Arc<EncryptionMetrics>) -> OutageGauge {
        metrics.outage_seconds_left.set(allowed.as_secs());
        OutageGauge { allowed, left: Mutex::default(), metrics }
    }

    /// A tenant's outage has lasted for so long.
    pub fn lasts(&self, tenant: &str, lasted: Duration) {
        let mut left = self.left.lock();
        left.insert(tenant.to_owned(), self.allowed.saturating_sub(lasted));
        self.show(&left);
    }

    /// A tenant's outage is over.
    pub fn ended(&self, tenant: &str) {
        let mut left = self.left.lock();
        left.remove(tenant);
        self.show(&left);
    }

    fn show(&self, left: &HashMap<String, Duration>) {
        self.metrics.outage_seconds_left.set(left.values().min().unwrap_or(&self.allowed).as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_gauge_shows_the_tenant_that_is_worst_off() {
        let metrics = Arc::new(EncryptionMetrics::default());
        let gauge = OutageGauge::new(Duration::from_secs(100), Arc::clone(&metrics));
        let shown = || metrics.outage_seconds_left.get();
        assert_eq!(shown(), 100);
        gauge.lasts("a", Duration::from_secs(70));
        gauge.lasts("b", Duration::from_secs(10));
        assert_eq!(shown(), 30);
        gauge.ended("c");
        assert_eq!(shown(), 30, "another tenant's success changes nothing");
        gauge.ended("a");
        assert_eq!(shown(), 90);
        gauge.lasts("b", Duration::from_secs(101));
        assert_eq!(shown(), 0);
        gauge.ended("b");
        assert_eq!(shown(), 100);
    }

    #[test]
    fn the_pauses_grow_to_their_longest_and_a_service_is_not_asked_before_it_wants() {
        let mut failure: Option<Failure> = None;
        let mut now = Duration::ZERO;
        for bound in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            let next = Failure::after(failure.as_ref(), Kind::KmsTimeout.error("x"), now, 7);
            assert!(next.again_at - now >= bound / 2 && next.again_at - now <= bound, "{next:?}");
            assert_eq!((next.since, next.since_wall_ms), (Duration::ZERO, 7));
            now = next.again_at;
            failure = Some(next);
        }
        for (asked, waited) in [(5, 5), (3600, 30)] {
            let error = Kind::KmsThrottled.error("x").after(Some(Duration::from_secs(asked)));
            let again_at = Failure::after(None, error, Duration::ZERO, 0).again_at;
            assert_eq!(again_at, Duration::from_secs(waited));
        }
    }
}

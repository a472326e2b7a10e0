//! What the age of a key-encryption key calls for. The age is the key service's word on when it made the version, against
//! the clock of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::KeyRotationPolicy;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Clocks that are further apart are not believed. Time stamps of key services are made within seconds of the call.
pub const LARGEST_SKEW: Duration = Duration::from_secs(3600);

/// A service that rotates by itself takes its time: some do so within days of the period.
const AUTOMATIC_IS_LATE_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is to be done about a key-encryption key, by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Young,
    /// Past `key-rotation.interval-days`.
    Due,
    /// Past `key-rotation.max-age-days`: nothing must be sealed under it.
    TooOld,
    /// The key service makes a new version by itself, after this time.
    Automatic(Duration),
    /// The clocks of the key service and of this machine contradict each other: the age is not known.
    Skewed,
}

/// How far the clock of whoever wrote `created_at` is ahead, or behind, as of `now`.
pub fn skew(created_at: SystemTime, now: SystemTime) -> Duration {
    created_at.duration_since(now).unwrap_or_else(|before| before.duration())
}

/// The age at `now`; nothing if the version is made in the future.
pub fn age(created_at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(created_at).unwrap_or_default()
}

/// What a version of this creation calls for, whoever rotates it.
pub fn judge(policy: &KeyRotationPolicy, created_at: SystemTime, now: SystemTime) -> Verdict {
    if created_at.duration_since(now).is_ok_and(|ahead| ahead > LARGEST_SKEW) {
        return Verdict::Skewed;
    }
    let age = age(created_at, now);
    if age >= interval(policy.max_age_days) {
        Verdict::TooOld
    } else if age >= interval(policy.interval_days) {
        Verdict::Due
    } else {
        Verdict::Young
    }
}

/// The same, where the service is set to rotate after `period`: that is left to it, unless it plainly does not.
pub fn leave_to(period: Option<Duration>, verdict: Verdict, age: Duration) -> Verdict {
    match (verdict, period) {
        (Verdict::Due | Verdict::TooOld, Some(period)) if age < period.saturating_add(AUTOMATIC_IS_LATE_AFTER) => {
            Verdict::Automatic(period)
        }
        _ => verdict,
    }
}

/// Whole days as time.
pub fn interval(days: u32) -> Duration {
    DAY.saturating_mul(days)
}

/// A moment of a [`Clock`](crate::clock::Clock), to be held against a key service's.
pub fn wall(wall_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(wall_ms)
}

/// Milliseconds since 1970; nothing for what was before.
pub fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: f64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(2_000_000_000) + DAY.mul_f64(days)
    }

    #[test]
    fn the_age_decides_to_the_second() {
        let policy = KeyRotationPolicy::default();
        let second = 1.0 / 86_400.0;
        for (days, verdict) in [
            (0.0, Verdict::Young),
            (30.0 - second, Verdict::Young),
            (30.0, Verdict::Due),
            (90.0 - second, Verdict::Due),
            (90.0, Verdict::TooOld),
            (36_500.0, Verdict::TooOld),
        ] {
            assert_eq!(judge(&policy, at(0.0), at(days)), verdict, "{days}");
        }
    }

    #[test]
    fn a_version_from_the_future_has_no_age() {
        let policy = KeyRotationPolicy::default();
        assert_eq!(judge(&policy, at(0.04), at(0.0)), Verdict::Young, "within an hour");
        assert_eq!(judge(&policy, at(0.05), at(0.0)), Verdict::Skewed);
        assert_eq!(judge(&policy, UNIX_EPOCH, at(0.0)), Verdict::TooOld, "a service that does not know counts as old");
        assert_eq!((skew(at(2.0), at(1.0)), skew(at(1.0), at(2.0))), (DAY, DAY));
    }

    #[test]
    fn a_service_that_rotates_by_itself_is_left_to_it_until_it_plainly_does_not() {
        let days = |days| DAY * days;
        let verdict = |age, period| leave_to(Some(days(period)), Verdict::TooOld, days(age));
        assert_eq!(verdict(95, 90), Verdict::Automatic(days(90)));
        assert_eq!(verdict(97, 90), Verdict::TooOld, "a week late");
        assert_eq!(verdict(300, 365), Verdict::Automatic(days(365)));
        assert_eq!(leave_to(None, Verdict::Due, days(40)), Verdict::Due);
        assert_eq!(leave_to(Some(days(90)), Verdict::Young, days(3)), Verdict::Young);
        assert_eq!(leave_to(Some(days(90)), Verdict::Skewed, days(3)), Verdict::Skewed);
    }
}

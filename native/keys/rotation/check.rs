//! The hourly look at every key, and what becomes of it.

use std::fmt;
use std::time::Duration;

use crate::clock::utc;
use crate::error::Kind;
use crate::keys::rotation::age::{self, Verdict};
use crate::keys::rotation::gate::Shut;
use crate::keys::rotation::key::{Identity, RotatedKey};
use crate::keys::rotation::{KeyRotationManager, Standing};
use crate::kms::KeyVersion;
use crate::kms::over::{Jitter, Random};

const HOUR: Duration = Duration::from_secs(3600);
/// How often the ages are looked at while nothing may be sealed because of one: somebody is about to mend that.
const WHILE_SHUT: Duration = Duration::from_secs(60);
/// Before it acts, a coordinator waits for up to so long and looks again: another one may have rotated.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The same where sealing waits for it.
const LONGEST_DELAY_WHILE_SHUT: Duration = Duration::from_secs(1);
/// The longest that a rotation which failed is not tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Where a key can be rotated so many times only, as many are kept for emergencies, and for keys past their maximum age.
const RESERVE: usize = 5;

impl KeyRotationManager {
    /// Looks at every key, and does what its age calls for.
    pub(super) async fn check(&self) {
        if self.clock_was_moved() {
            return;
        }
        let mut rotating = Vec::new();
        for key in &self.keys {
            match self.should_rotate(key).await {
                Ok(standing) => {
                    self.notice(key, &standing.version);
                    if self.is_to_rotate(key, &standing).await {
                        rotating.push((key, standing.verdict));
                    }
                }
                Err(error) => {
                    self.metrics.key_rotation_failures.add(1);
                    log::warn!("{key}: whether it is due to be rotated could not be found out: {error}");
                }
            }
        }
        if rotating.is_empty() {
            return;
        }
        let shut = rotating.iter().any(|(_, verdict)| *verdict == Verdict::TooOld);
        let longest = if shut { LONGEST_DELAY_WHILE_SHUT } else { LONGEST_DELAY };
        self.clock.sleep(longest.mul_f64(Random.fraction())).await;
        for (key, verdict) in rotating {
            self.rotate_if_still_due(key, verdict).await;
        }
    }

    async fn rotate_if_still_due(&self, key: &RotatedKey, verdict: Verdict) {
        let rotated = match self.should_rotate(key).await {
            Ok(Standing { version, verdict: Verdict::Due | Verdict::TooOld, .. }) => {
                self.rotate_key(key, &version).await.map(drop)
            }
            Ok(Standing { version, .. }) => {
                self.notice(key, &version);
                self.gate.open(key.number);
                Ok(())
            }
            Err(error) => Err(error),
        };
        let Err(error) = rotated else { return };
        self.metrics.key_rotation_failures.add(1);
        let pause = {
            let mut memory = key.memory.lock();
            memory.failures = memory.failures.saturating_add(1);
            let pause = (HOUR / 2).saturating_mul(1 << (memory.failures - 1).min(16)).min(LONGEST_PAUSE);
            memory.again_at = self.clock.elapsed() + pause;
            pause
        };
        log::error!("{key}: it is due to be rotated, and that failed (tried again after {pause:?}): {error}");
        if verdict == Verdict::TooOld {
            self.refuse(key, format_args!("rotating it failed: {error}"));
        }
    }

    /// True if this process is to rotate the key now; otherwise what its age calls for is done or said.
    async fn is_to_rotate(&self, key: &RotatedKey, standing: &Standing) -> bool {
        let Standing { version, age, verdict } = standing;
        match verdict {
            Verdict::Young => {}
            Verdict::Automatic(period) => {
                if *period > age::interval(self.policy.max_age_days) {
                    log::warn!(
                        "{key}: the key service rotates it by itself, but only after {} days, which is more than key-rotation.max-age-days ({}): change one of the two",
                        period.as_secs() / 86_400,
                        self.policy.max_age_days
                    );
                }
            }
            Verdict::Skewed => {
                log::warn!(
                    "{key}: the key service dates its version {} {}, which cannot be by the clock of this machine ({}): its age is not known",
                    version.id,
                    utc(age::millis(version.created_at)),
                    utc(self.clock.wall_ms())
                );
            }
            Verdict::Due | Verdict::TooOld => return self.is_to_rotate_for_its_age(key, version, *age, *verdict).await,
        }
        self.gate.open(key.number);
        false
    }

    async fn is_to_rotate_for_its_age(
        &self,
        key: &RotatedKey,
        version: &KeyVersion,
        age: Duration,
        verdict: Verdict,
    ) -> bool {
        let too_old = verdict == Verdict::TooOld;
        let in_vain = {
            let memory = key.memory.lock();
            memory.failures > 0 && self.clock.elapsed() < memory.again_at
        };
        let hindrance = if !self.policy.auto_rotate {
            Some("key-rotation.auto-rotate is false".to_owned())
        } else if in_vain {
            // A refusal stands as it is.
            self.metrics.key_rotations_due.add(1);
            return false;
        } else if !too_old {
            self.must_save(key).await
        } else {
            None
        };
        let Some(hindrance) = hindrance else {
            if too_old {
                self.gate.shut(key.number, &key.tenants, Shut::Rotating);
            } else {
                self.gate.open(key.number);
            }
            return true;
        };
        self.metrics.key_rotations_due.add(1);
        let days = age.as_secs() / 86_400;
        log::warn!("{key}: version {} is {days} days old and due to be rotated, but {hindrance}", version.id);
        if too_old {
            self.refuse(key, format_args!("version {} is {days} days old, and {hindrance}", version.id));
        } else {
            self.gate.open(key.number);
        }
        false
    }

    /// Why the key is not to be rotated at its interval, where it cannot be rotated for ever.
    async fn must_save(&self, key: &RotatedKey) -> Option<String> {
        match key.client.rotations_left().await {
            Ok(Some(left)) if left <= RESERVE => Some(format!(
                "the key service lets it be rotated on demand only {left} more times, which are kept for emergencies: turn on its automatic rotation"
            )),
            Ok(_) => None,
            Err(error) => Some(format!("how often it may still be could not be found out: {error}")),
        }
    }

    fn refuse(&self, key: &RotatedKey, why: fmt::Arguments<'_>) {
        let error = Kind::KeyTooOld.error(format_args!(
            "nothing is sealed any more under {key}, which is older than key-rotation.max-age-days ({}) allows: {why}; rotate it in the key service, or run `sealpoint rotate`",
            self.policy.max_age_days
        ));
        self.gate.shut(key.number, &key.tenants, Shut::Refused(error));
    }

    /// A version that another made is taken up at once too.
    fn notice(&self, key: &RotatedKey, version: &KeyVersion) {
        let mut memory = key.memory.lock();
        let known = memory.version.replace(Identity::of(version));
        if known == memory.version {
            return;
        }
        (memory.skewed, memory.failures) = (false, 0);
        drop(memory);
        if known.is_some() {
            self.take_up(key);
        }
    }

    /// A clock that jumped is not believed before the next check.
    fn clock_was_moved(&self) -> bool {
        let now = (self.clock.wall_ms(), self.clock.elapsed());
        let Some((wall, elapsed)) = self.last.lock().replace(now) else { return false };
        let expected =
            wall.saturating_add(u64::try_from((now.1.saturating_sub(elapsed)).as_millis()).unwrap_or(u64::MAX));
        let moved = Duration::from_millis(now.0.abs_diff(expected)) > age::LARGEST_SKEW;
        if moved {
            log::warn!(
                "the clock of this machine was moved, from about {} to {}: the ages of key-encryption keys are looked at again at the next check",
                utc(expected),
                utc(now.0)
            );
        }
        moved
    }

    /// From three quarters of an hour to five, so that coordinators which started together do not stay together.
    pub(super) fn next_check(&self, fraction: f64) -> Duration {
        let about = if self.gate.is_shut() { WHILE_SHUT } else { HOUR };
        about.mul_f64(0.75 + fraction / 2.0)
    }
}

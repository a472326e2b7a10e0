//! Rotation of key-encryption keys by their age.
//!
//! Only the coordinator rotates; other processes take a new version up with their next data key. The age comes from the
//! key service, so that it outlives every process. A clock that is off must not rotate again and again: what this process
//! rotated it leaves alone for an interval by its monotonic clock, and a version that the key service dates far from now
//! is not judged by its age at all.

mod age;
mod check;
mod gate;
mod key;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::clock::{Clock, utc};
use crate::config::{EncryptionConfig, KeyRotationPolicy};
use crate::error::Result;
use crate::keys::tenant_ring::TenantRing;
use crate::kms::over::{Jitter, Random};
use crate::kms::{Clients, KeyVersion};
use crate::metrics::EncryptionMetrics;

pub use age::Verdict;
pub use key::RotatedKey;

use gate::Gate;
use key::{Identity, Memory};

/// Looks after the key-encryption keys of all tenants.
pub struct KeyRotationManager {
    policy: KeyRotationPolicy,
    keys: Vec<RotatedKey>,
    rings: HashMap<String, Arc<TenantRing>>,
    gate: Gate,
    clock: Arc<dyn Clock>,
    metrics: Arc<EncryptionMetrics>,
    /// Both clocks at the last check.
    last: Mutex<Option<(u64, Duration)>>,
    started: AtomicBool,
}

/// A key as it is now.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The version that wraps.
    pub version: KeyVersion,
    /// How old that is; nothing where it is dated into the future.
    pub age: Duration,
    /// What that calls for.
    pub verdict: Verdict,
}

impl KeyRotationManager {
    /// A manager of every key that wraps a tenant's data keys.
    pub fn new(
        config: &EncryptionConfig,
        clients: &Clients,
        clock: Arc<dyn Clock>,
        metrics: Arc<EncryptionMetrics>,
    ) -> KeyRotationManager {
        KeyRotationManager {
            policy: config.key_rotation.clone(),
            keys: key::all(config, clients),
            rings: HashMap::new(),
            gate: Gate::default(),
            clock,
            metrics,
            last: Mutex::default(),
            started: AtomicBool::new(false),
        }
    }

    /// With these, in which a new version holds at once.
    pub(super) fn with_rings(self, rings: HashMap<String, Arc<TenantRing>>) -> KeyRotationManager {
        KeyRotationManager { rings, ..self }
    }

    /// Every key, each once, however many tenants share it.
    pub fn keys(&self) -> &[RotatedKey] {
        &self.keys
    }

    /// Returns when the tenant may seal. A key past its maximum age is rotated first, or the error says why it is not.
    pub(super) fn pass(&self, tenant: &str, patience: Duration) -> Result<()> {
        self.gate.pass(tenant, patience)
    }

    /// Checks on `runtime` about every hour from now on. Does so once, however often it is called.
    pub fn start_auto_rotation(self: &Arc<Self>, runtime: &Handle) {
        if !self.policy.enabled || self.started.swap(true, Ordering::Relaxed) {
            return;
        }
        let (manager, clock) = (Arc::downgrade(self), Arc::clone(&self.clock));
        runtime.spawn(async move {
            while let Some(manager) = manager.upgrade() {
                manager.check().await;
                let pause = manager.next_check(Random.fraction());
                drop(manager);
                clock.sleep(pause).await;
            }
        });
    }

    /// How old the key is, by its key service, and what that calls for.
    pub async fn should_rotate(&self, key: &RotatedKey) -> Result<Standing> {
        let version = key.client.current_key_version().await?;
        let now = age::wall(self.clock.wall_ms());
        let age = age::age(version.created_at, now);
        self.metrics.key_age_seconds.set(&key.labels(), &[("version", &version.id)], age.as_secs());
        let mut verdict = age::judge(&self.policy, version.created_at, now);
        if matches!(verdict, Verdict::Due | Verdict::TooOld) {
            if self.is_dated_wrongly(key, &version) {
                verdict = Verdict::Skewed;
            } else {
                let automatic = match key.client.automatic_rotation().await {
                    Err(error) if verdict == Verdict::Due => return Err(error),
                    // Rotated once too often is better than not sealed.
                    Err(_) => None,
                    Ok(period) => period,
                };
                verdict = age::leave_to(automatic, verdict, age);
            }
        }
        Ok(Standing { version, age, verdict })
    }

    /// Makes a new version, `before` being the present one. In this process the next data keys are drawn under it.
    pub async fn rotate_key(&self, key: &RotatedKey, before: &KeyVersion) -> Result<KeyVersion> {
        let version = match key.client.rotate().await {
            Ok(version) => version,
            // It may have happened all the same.
            Err(error) => match key.client.current_key_version().await {
                Ok(now) if Identity::of(&now) != Identity::of(before) => now,
                Ok(_) | Err(_) => return Err(error),
            },
        };
        let now = self.clock.wall_ms();
        let skewed = age::skew(version.created_at, age::wall(now)) > age::LARGEST_SKEW;
        if skewed {
            log::warn!(
                "{key}: the key service dates version {}, made just now, {}, but here it is {}: this version is not rotated by its age; set the clocks right",
                version.id,
                utc(age::millis(version.created_at)),
                utc(now)
            );
        }
        let rotated_at = Some(self.clock.elapsed());
        *key.memory.lock() = Memory { version: Some(Identity::of(&version)), rotated_at, skewed, ..Memory::default() };
        self.metrics.key_rotations_made.add(1);
        log::info!("{key}: rotated from version {} to {}", before.id, version.id);
        self.take_up(key);
        Ok(version)
    }

    /// True if the key service dates the version in a way that contradicts what this process did.
    fn is_dated_wrongly(&self, key: &RotatedKey, version: &KeyVersion) -> bool {
        let memory = key.memory.lock();
        let since = memory.rotated_at.map(|at| self.clock.elapsed().saturating_sub(at));
        let lately = since
            .is_some_and(|since| since.saturating_add(age::LARGEST_SKEW) < age::interval(self.policy.interval_days));
        lately || memory.skewed && memory.version == Some(Identity::of(version))
    }

    /// From now on data keys of its tenants are drawn under the current version. Where the one before was too old, nothing
    /// more is sealed under the present ones.
    fn take_up(&self, key: &RotatedKey) {
        let at_once = self.gate.is_shut_by(key.number);
        let rings = key.tenants.iter().filter_map(|tenant| self.rings.get(tenant));
        rings.for_each(|ring| ring.renew(at_once));
        self.gate.open(key.number);
    }
}

impl fmt::Debug for KeyRotationManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRotationManager")
            .field("policy", &self.policy)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

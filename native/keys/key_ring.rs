//! The data keys of one engine.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::{DataKeyScope, EncryptionAlgorithm, EncryptionConfig};
use crate::envelope::{Head, Slot};
use crate::error::{Kind, Result};
use crate::keys::data_key::DataKey;
use crate::keys::epochs::Epochs;
use crate::keys::key_cache::{CacheKey, KeyCache};
use crate::keys::renewal::{Renewal, Target};
use crate::keys::rotation::KeyRotationManager;
use crate::keys::service::KeyService;
use crate::keys::tenant_ring::{Adopted, TenantRing};
use crate::kms::Clients;
use crate::kms::over::Budget;
use crate::metrics::EncryptionMetrics;

/// Draws, hands out and unwraps data keys. Any number of threads may use it; calls to the key service run on `runtime`,
/// which needs its timer, and must not be the thread that calls.
pub struct KeyRing {
    service: Arc<KeyService>,
    cache: Arc<KeyCache>,
    rings: HashMap<String, Arc<TenantRing>>,
    scope: DataKeyScope,
    epochs: Mutex<Epochs>,
    rotation: Arc<KeyRotationManager>,
}

impl KeyRing {
    /// The key ring of this configuration. The default tenant's first data key is asked for at once, in the background,
    /// if anything is to be sealed; a key service that is away does not fail this.
    pub fn new(
        config: &EncryptionConfig,
        clients: Clients,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        metrics: Arc<EncryptionMetrics>,
    ) -> Result<KeyRing> {
        if let Some(tenant) = config.tenants.open().iter().find(|tenant| !clients.contains_key(*tenant)) {
            return Err(Kind::InvalidArgument.error(format_args!("tenant '{tenant}' has no key service")));
        }
        let cache =
            KeyCache::new(config.tenants.open(), config.cache.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let cache = Arc::new(cache);
        let rotation = KeyRotationManager::new(config, &clients, Arc::clone(&clock), Arc::clone(&metrics));
        let service = KeyService::new(config, clients, runtime, clock, metrics);
        let ring = |tenant: &String| {
            let adopted = remember_drawn(tenant, config.algorithm, Arc::clone(&cache));
            (tenant.clone(), TenantRing::new(tenant, config, Arc::clone(&service), adopted))
        };
        let rings: HashMap<_, _> = config.tenants.sealing().map(ring).collect();
        if config.enabled
            && let Some(ring) = rings.get(config.tenants.default_tenant())
        {
            ring.prepare();
        }
        let rotation = Arc::new(rotation.with_rings(rings.clone()));
        Ok(KeyRing { service, cache, rings, scope: config.data_key.scope, epochs: Mutex::default(), rotation })
    }

    /// From now on this process looks after the key-encryption keys: it rotates them by their age, and refuses to seal
    /// under one that is past `key-rotation.max-age-days` and that it may not rotate. May be called any number of times.
    pub fn coordinate(&self) {
        self.service.start(&self.rotation);
    }

    /// The data key that new files of this tenant are sealed under. Makes no call to the key service on this thread, and
    /// waits for one only where there is no key yet, or the current one must not be used any more: past a hard bound
    /// (`data-key.max-*`), or in an outage longer than `outage.seal-for`.
    pub fn for_sealing(&self, tenant: &str) -> Result<Arc<DataKey>> {
        let ring = self.rings.get(tenant).ok_or_else(|| {
            Kind::TenantNotAllowed
                .error(format_args!("this process does not seal for tenant '{}'", tenant.escape_debug()))
        })?;
        // Long enough for a look, a rotation, and another look.
        self.rotation.pass(tenant, self.service.patience(tenant).saturating_mul(3))?;
        ring.for_sealing()
    }

    /// A checkpoint of `scope`, a job, has begun: with `data-key.scope: checkpoint` every tenant that sealed since the
    /// last epoch gets a fresh data key. May be called any number of times for one checkpoint, by each subtask; never
    /// waits.
    pub fn begin_epoch(&self, scope: &str, checkpoint: i64) {
        if self.scope != DataKeyScope::Checkpoint {
            return;
        }
        let new = self.epochs.lock().is_new(scope, checkpoint);
        if new {
            self.rings.values().for_each(TenantRing::roll);
        }
    }

    /// The data key of a file, from the cache or by one call to the key service, however many ask at once. Refuses what
    /// the configuration does not allow, cached or not. The head counts as proven only once an
    /// [`Opener`](crate::envelope::Opener) took the key.
    pub fn unwrap(&self, head: &Head) -> Result<Arc<DataKey>> {
        self.unwrap_from(head, &head.slots, head.slots_section())
    }

    /// As [`unwrap`](Self::unwrap), from other slots than the file's own, of which `section` is the encoding.
    pub fn unwrap_from(&self, head: &Head, slots: &[Slot], section: &[u8]) -> Result<Arc<DataKey>> {
        self.service.policy.check(head)?;
        let (id, tenant) = (head.bound.data_key_id, head.bound.tenant.as_str());
        self.cache.get(tenant, cache_key(head, section), || {
            // What the cache has came from slots that were allowed, and no configuration changes under its ring.
            self.service.policy.check_slots(tenant, slots)?;
            // The cache may have dropped what is still sealed with.
            let held = self.rings.get(tenant).and_then(|ring| ring.holding(id, section));
            held.map_or_else(|| self.service.unwrap(id, tenant, slots, section), Ok)
        })
    }

    /// As [`unwrap_from`](Self::unwrap_from), but asks the key services whatever is remembered, and remembers nothing.
    pub fn unwrap_again(&self, head: &Head, slots: &[Slot], section: &[u8]) -> Result<Arc<DataKey>> {
        self.service.policy.check(head)?;
        self.service.unwrap(head.bound.data_key_id, &head.bound.tenant, slots, section)
    }

    /// The key services of each tenant, with everything that stands over them; to be asked as
    /// [`EncryptionEngine::wait`](crate::engine::EncryptionEngine::wait) does it.
    pub fn clients(&self) -> &Clients {
        self.service.clients()
    }

    /// Wraps data keys anew, under the configured keys that `target` says; refuses a name that the configuration lacks.
    /// With a budget, each call to a key service waits for its turn in it.
    pub fn renewal(&self, target: Target, budget: Option<Arc<Budget>>) -> Result<Renewal> {
        Renewal::new(Arc::clone(&self.service), target, budget)
    }

    /// Remembers a key under a file's own slots, which did not give it.
    pub(super) fn remember(&self, head: &Head, key: &Arc<DataKey>) -> Result<()> {
        self.cache.put(&head.bound.tenant, &cache_key(head, head.slots_section()), key)
    }

    /// Who looks after the key-encryption keys, if this process does.
    pub fn rotation(&self) -> &KeyRotationManager {
        &self.rotation
    }

    /// How many data keys, and refusals, are cached for a tenant.
    pub fn cached(&self, tenant: &str) -> usize {
        self.cache.len(tenant)
    }
}

fn cache_key(head: &Head, section: &[u8]) -> CacheKey {
    CacheKey { id: head.bound.data_key_id, algorithm: head.algorithm, slots: section.into() }
}

/// What a process sealed itself it can open without asking: a job that fails over in place needs no key service.
fn remember_drawn(tenant: &str, algorithm: EncryptionAlgorithm, cache: Arc<KeyCache>) -> Adopted {
    let tenant = tenant.to_owned();
    Box::new(move |data_key| {
        let key = CacheKey { id: data_key.id(), algorithm, slots: data_key.slots().into() };
        // Every tenant that is sealed for has its partition: `Tenants` sees to it.
        let _ = cache.put(&tenant, &key, data_key);
    })
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("tenants", &self.rings.keys()).finish_non_exhaustive()
    }
}

//! Unwrapped data keys: bounded, for a time, apart by tenant, and with one call for all who want the same key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::{CacheConfig, EncryptionAlgorithm};
use crate::envelope::DataKeyId;
use crate::error::{Error, Kind, Result};
use crate::keys::data_key::DataKey;
use crate::keys::flight::{Flight, Landing};
use crate::metrics::EncryptionMetrics;

/// What a cached key stands for: never the identity alone, which a forged head may borrow, but with it the exact bytes
/// of the slots, and through them provider, key-encryption key, version and wrapped key. The encryption context is the
/// configured one for all, and tenants are apart anyway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// Which data key.
    pub id: DataKeyId,
    /// The suite of the file that wants it.
    pub algorithm: EncryptionAlgorithm,
    /// The slots section that it is, or would be, unwrapped from.
    pub slots: Box<[u8]>,
}

/// The cache of one engine.
#[derive(Debug)]
pub struct KeyCache {
    tenants: HashMap<String, Mutex<Partition>>,
    config: CacheConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<EncryptionMetrics>,
}

/// What one tenant has.
#[derive(Debug, Default)]
struct Partition {
    entries: HashMap<Arc<CacheKey>, Entry>,
    /// The same keys by their last use.
    order: BTreeMap<u64, Arc<CacheKey>>,
    uses: u64,
    flights: HashMap<CacheKey, Arc<Flight<Arc<DataKey>>>>,
}

#[derive(Debug)]
struct Entry {
    outcome: Result<Arc<DataKey>>,
    expires: Duration,
    used: u64,
}

/// How a caller gets its key.
enum Way {
    Known(Result<Arc<DataKey>>),
    Wait(Arc<Flight<Arc<DataKey>>>),
    Lead(Landing<Arc<DataKey>>),
}

impl KeyCache {
    /// An empty cache for these tenants, who are all there will be.
    pub fn new(
        tenants: &[String],
        config: CacheConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<EncryptionMetrics>,
    ) -> Self {
        let tenants = tenants.iter().map(|tenant| (tenant.clone(), Mutex::default())).collect();
        KeyCache { tenants, config, clock, metrics }
    }

    /// The tenant's key, from memory, from a call that is under way, or from `unwrap`, which runs on this thread.
    /// A refusal of the key service is remembered for a short time; a failure that may pass by itself never is.
    pub fn get(
        &self,
        tenant: &str,
        key: CacheKey,
        unwrap: impl FnOnce() -> Result<Arc<DataKey>>,
    ) -> Result<Arc<DataKey>> {
        let partition = self.partition(tenant)?;
        let way = self.way(&mut partition.lock(), &key);
        match way {
            Way::Known(outcome) => outcome,
            Way::Wait(flight) => flight.wait(),
            Way::Lead(landing) => {
                // If `unwrap` panics, the guard takes the flight off, and the landing tells those who wait.
                let departure = Departure { partition, key: &key };
                let outcome = unwrap();
                self.keep(&mut partition.lock(), &key, &outcome);
                drop(departure);
                landing.land(outcome.clone());
                outcome
            }
        }
    }

    /// Remembers a key that this process drew itself.
    pub fn put(&self, tenant: &str, key: &CacheKey, data_key: &Arc<DataKey>) -> Result<()> {
        self.keep(&mut self.partition(tenant)?.lock(), key, &Ok(Arc::clone(data_key)));
        Ok(())
    }

    /// How many outcomes are remembered for a tenant.
    pub fn len(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, |partition| partition.lock().entries.len())
    }

    /// True if nothing is remembered for a tenant.
    pub fn is_empty(&self, tenant: &str) -> bool {
        self.len(tenant) == 0
    }

    fn partition(&self, tenant: &str) -> Result<&Mutex<Partition>> {
        self.tenants.get(tenant).ok_or_else(|| {
            Kind::TenantNotAllowed
                .error(format_args!("this process does not open files of tenant '{}'", tenant.escape_debug()))
        })
    }

    fn way(&self, partition: &mut Partition, key: &CacheKey) -> Way {
        if let Some(outcome) = partition.recall(key, self.clock.elapsed()) {
            match &outcome {
                Ok(_) => self.metrics.cache_hits.add(1),
                Err(_) => self.metrics.cache_negative_hits.add(1),
            }
            return Way::Known(outcome);
        }
        if let Some(flight) = partition.flights.get(key) {
            self.metrics.cache_joins.add(1);
            return Way::Wait(Arc::clone(flight));
        }
        self.metrics.cache_misses.add(1);
        let (flight, landing) = Flight::start();
        partition.flights.insert(key.clone(), flight);
        Way::Lead(landing)
    }

    fn keep(&self, partition: &mut Partition, key: &CacheKey, outcome: &Result<Arc<DataKey>>) {
        let ttl = match outcome {
            Ok(_) => self.config.ttl,
            Err(error) if is_refusal(error) && !self.config.negative_ttl.is_zero() => self.config.negative_ttl,
            Err(_) => return,
        };
        let evicted = partition.remember(key, outcome.clone(), self.clock.elapsed() + ttl, self.config.max_keys);
        self.metrics.cache_evictions.add(evicted);
    }
}

impl Partition {
    fn recall(&mut self, key: &CacheKey, now: Duration) -> Option<Result<Arc<DataKey>>> {
        let entry = self.entries.get_mut(key)?;
        if entry.expires <= now {
            self.forget(key);
            return None;
        }
        self.uses += 1;
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(self.uses, key);
        }
        entry.used = self.uses;
        Some(entry.outcome.clone())
    }

    /// The number of those that had to go.
    fn remember(&mut self, key: &CacheKey, outcome: Result<Arc<DataKey>>, expires: Duration, max_keys: usize) -> u64 {
        self.forget(key);
        let key = Arc::new(key.clone());
        self.uses += 1;
        let used = self.uses;
        self.order.insert(used, Arc::clone(&key));
        self.entries.insert(key, Entry { outcome, expires, used });
        let mut evicted = 0;
        while self.entries.len() > max_keys
            && let Some(key) = self.least_wanted()
        {
            self.forget(&key);
            evicted += 1;
        }
        evicted
    }

    /// The oldest refusal, so that heads forged without end push no good key out; else the key used longest ago.
    fn least_wanted(&self) -> Option<Arc<CacheKey>> {
        let refused = |key: &&Arc<CacheKey>| self.entries.get(*key).is_some_and(|entry| entry.outcome.is_err());
        self.order.values().find(refused).or_else(|| self.order.values().next()).cloned()
    }

    fn forget(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
        }
    }
}

/// Takes a flight off, whichever way its leader leaves.
struct Departure<'c> {
    partition: &'c Mutex<Partition>,
    key: &'c CacheKey,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        self.partition.lock().flights.remove(self.key);
    }
}

/// True for what will be no different in a second.
fn is_refusal(error: &Error) -> bool {
    match error.kind() {
        Kind::Integrity
        | Kind::KeyNotFound
        | Kind::KeyVersionNotFound
        | Kind::KeyDisabled
        | Kind::KeyPendingDeletion
        | Kind::AccessDenied
        | Kind::WrappedKey => true,
        Kind::InvalidArgument
        | Kind::Config
        | Kind::Io
        | Kind::State
        | Kind::Internal
        | Kind::Unsupported
        | Kind::Truncated
        | Kind::NotSealed
        | Kind::Malformed
        | Kind::UnsupportedVersion
        | Kind::SuiteNotAllowed
        | Kind::TenantNotAllowed
        | Kind::KeyNotAllowed
        | Kind::Credentials
        | Kind::KmsUnavailable
        | Kind::KmsThrottled
        | Kind::KmsTimeout
        | Kind::Keyring
        | Kind::Outage
        | Kind::KeyTooOld
        | Kind::NotFound
        | Kind::StoreDenied
        | Kind::StoreUnavailable
        | Kind::StoreThrottled
        | Kind::StoreFull => false,
    }
}

//! A key-encryption key that is looked after.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::config::EncryptionConfig;
use crate::kms::{Clients, KeyVersion, KmsClient};

/// One key-encryption key, and whose data keys it wraps.
pub struct RotatedKey {
    pub(super) number: usize,
    slot: String,
    pub(super) tenants: Vec<String>,
    pub(super) client: Arc<dyn KmsClient>,
    pub(super) memory: Mutex<Memory>,
}

/// What a process remembers of a key.
#[derive(Debug, Default)]
pub struct Memory {
    pub version: Option<Identity>,
    /// By the monotonic clock, when this process rotated it.
    pub rotated_at: Option<Duration>,
    /// The key service dated this version, which it had made for us just then, far from then.
    pub skewed: bool,
    /// Rotations that failed since one succeeded, and when the next may be tried.
    pub failures: u32,
    pub again_at: Duration,
}

/// Which version it is. Emulators give all the same name.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity(String, SystemTime);

impl Identity {
    pub fn of(version: &KeyVersion) -> Identity {
        Identity(version.id.clone(), version.created_at)
    }
}

/// Each key of each slot once, in the order of the configuration, the primary ones first.
pub fn all(config: &EncryptionConfig, clients: &Clients) -> Vec<RotatedKey> {
    let mut keys: Vec<RotatedKey> = Vec::new();
    for tenant in config.tenants.sealing() {
        let slots = config.kms_slots_of(tenant).into_iter().zip(clients.get(tenant).into_iter().flatten());
        for (slot, client) in slots {
            let same = |key: &&mut RotatedKey| {
                (&*key.slot, key.client.provider(), key.client.key_id())
                    == (&*slot.name, client.provider(), client.key_id())
            };
            match keys.iter_mut().find(same) {
                Some(key) => key.tenants.push(tenant.clone()),
                None => keys.push(RotatedKey {
                    number: keys.len(),
                    slot: slot.name,
                    tenants: vec![tenant.clone()],
                    client: Arc::clone(client),
                    memory: Mutex::default(),
                }),
            }
        }
    }
    keys
}

impl RotatedKey {
    /// The name of the key service among the tenants': `primary`, or that of a fallback.
    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// Whose data keys it wraps.
    pub fn tenants(&self) -> &[String] {
        &self.tenants
    }

    /// Its key service.
    pub fn client(&self) -> &dyn KmsClient {
        &*self.client
    }

    pub(super) fn labels(&self) -> [(&str, &str); 3] {
        [("kms", &self.slot), ("provider", self.client.provider()), ("key", self.client.key_id())]
    }
}

impl fmt::Display for RotatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key-encryption key {} '{}'", self.client.provider(), self.client.key_id())
    }
}

impl fmt::Debug for RotatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RotatedKey({}, {})", self.slot, self.client.key_id())
    }
}

//! Data keys: drawn and unwrapped. One key a process for now.
#![allow(missing_docs)]
use crate::config::EncryptionConfig;
use crate::context::EncryptionContext;
use crate::envelope::{DataKeyId, Head, Slot, encode_slots};
use crate::error::{Kind, Result};
use crate::kms::{KeySpec, KmsClient, WrappedKey};
use crate::metrics::EncryptionMetrics;
use crate::secret::Secret;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
pub struct SystemClock;
pub struct DataKey {
    id: DataKeyId,
    secret: Secret,
    slots: Vec<u8>,
}
impl DataKey {
    pub fn id(&self) -> DataKeyId {
        self.id
    }
    pub fn secret(&self) -> &Secret {
        &self.secret
    }
    pub fn slots(&self) -> &[u8] {
        &self.slots
    }
    pub fn count(&self, _files: u64, _bytes: u64) {}
}
pub struct KeyRing {
    client: Arc<dyn KmsClient>,
    handle: tokio::runtime::Handle,
    cur: Mutex<Option<Arc<DataKey>>>,
    cache: Mutex<HashMap<DataKeyId, Arc<DataKey>>>,
}
impl KeyRing {
    pub fn new(
        config: &EncryptionConfig,
        clients: crate::kms::Clients,
        handle: tokio::runtime::Handle,
        _c: Arc<SystemClock>,
        _m: Arc<EncryptionMetrics>,
    ) -> Result<KeyRing> {
        Ok(KeyRing {
            client: clients[config.tenants.default_tenant()][0].clone(),
            handle,
            cur: Mutex::default(),
            cache: Mutex::default(),
        })
    }
    pub fn for_sealing(&self, _t: &str) -> Result<Arc<DataKey>> {
        let mut cur = self.cur.lock();
        if let Some(k) = &*cur {
            return Ok(k.clone());
        }
        let c = self.client.clone();
        let (tx, rx) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            let _ = tx.send(c.generate_data_key(KeySpec::Aes256, &EncryptionContext::default()).await);
        });
        let (secret, w) = rx.recv().map_err(|_| Kind::Internal.error("x"))??;
        let id = DataKeyId::random()?;
        let slots = encode_slots(
            &[Slot {
                provider: "local".into(),
                kek: self.client.key_id().into(),
                version: w.version,
                wrapped: w.bytes,
            }],
            id,
            &secret,
        )?;
        let k = Arc::new(DataKey { id, secret, slots });
        *cur = Some(k.clone());
        Ok(k)
    }
    pub fn begin_epoch(&self, _s: &str, _c: i64) {}
    pub fn unwrap(&self, head: &Head) -> Result<Arc<DataKey>> {
        if let Some(k) = self.cache.lock().get(&head.bound.data_key_id) {
            return Ok(k.clone());
        }
        let c = self.client.clone();
        let s = &head.slots[0];
        let w = WrappedKey { version: s.version.clone(), bytes: s.wrapped.clone() };
        let (tx, rx) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            let _ = tx.send(c.decrypt(&w, &EncryptionContext::default()).await);
        });
        let secret = rx.recv().map_err(|_| Kind::Internal.error("x"))??;
        head.verify_slots(&secret)?;
        let k = Arc::new(DataKey { id: head.bound.data_key_id, secret, slots: head.slots_section().to_vec() });
        self.cache.lock().insert(k.id, k.clone());
        Ok(k)
    }
}

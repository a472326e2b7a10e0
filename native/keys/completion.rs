//! A data key that not every key service could wrap when it was drawn: the missing ones are asked again until they do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::keys::outage::{pause_after, spread};
use crate::keys::service::Drawn;
use crate::keys::tenant_ring::TenantRing;
use crate::metrics::EncryptionMetrics;

/// Runs until the key is complete, or not used for sealing any more.
pub async fn complete(ring: Weak<TenantRing>, mut drawn: Drawn, counted: Incomplete) {
    let mut pause: Option<Duration> = None;
    while let Some(waiting) = ring.upgrade() {
        let next = pause_after(pause);
        pause = Some(next);
        let sleep = waiting.service().clock.sleep(spread(next));
        drop(waiting);
        sleep.await;
        let Some(ring) = ring.upgrade().filter(|ring| ring.seals_with(drawn.key.id())) else { return };
        match ring.service().complete(ring.tenant(), &mut drawn).await {
            Ok(true) => ring.replace(&drawn.key),
            Ok(false) => {}
            Err(error) => {
                log::error!("a data key of tenant '{}' stays wrapped by fewer key services: {error}", ring.tenant());
                return;
            }
        }
        if drawn.is_complete() {
            counted.completed();
            return;
        }
    }
}

/// Counts as incomplete until it is dropped.
pub struct Incomplete(Arc<EncryptionMetrics>);

impl Incomplete {
    pub fn new(metrics: &Arc<EncryptionMetrics>) -> Incomplete {
        metrics.data_keys_incomplete.add(1);
        Incomplete(Arc::clone(metrics))
    }

    fn completed(self) {
        self.0.data_keys_completed.add(1);
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        self.0.data_keys_incomplete.sub(1);
    }
}

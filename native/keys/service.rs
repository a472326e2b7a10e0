//! Calls to the key services: on the runtime thread, each within the time-out, each measured.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::config::EncryptionConfig;
use crate::envelope::{DataKeyId, Slot, encode_slots, slots};
use crate::error::{Error, Kind, Result};
use crate::keys::data_key::{self, Born, DataKey};
use crate::keys::policy::Policy;
use crate::kms::{Clients, KeySpec, KmsClient, WrappedKey};
use crate::metrics::EncryptionMetrics;
use crate::secret::Secret;

/// How much longer than the time-out a caller waits, for a call that blocks the runtime thread itself.
const GRACE: Duration = Duration::from_secs(5);

/// The key services of all tenants.
#[derive(Debug)]
pub struct KeyService {
    clients: Clients,
    pub policy: Policy,
    runtime: Handle,
    timeout: Duration,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<EncryptionMetrics>,
}

impl KeyService {
    pub fn new(
        config: &EncryptionConfig,
        clients: Clients,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        metrics: Arc<EncryptionMetrics>,
    ) -> Arc<KeyService> {
        let policy = Policy::new(config, &clients);
        Arc::new(KeyService { clients, policy, runtime, timeout: config.kms_config.timeout, clock, metrics })
    }

    /// Starts work on the runtime thread.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// The longest that [`draw`](Self::draw) takes.
    pub fn patience(&self, tenant: &str) -> Duration {
        self.timeout.saturating_mul(u32::try_from(self.clients_of(tenant).len()).unwrap_or(u32::MAX)) + GRACE
    }

    /// A fresh data key, wrapped under every key of the tenant.
    pub async fn draw(&self, tenant: &str) -> Result<DataKey> {
        let id = DataKeyId::random()?;
        let context = self.policy.wrapping_context(id, tenant)?;
        let born = self.now();
        let (first, others) =
            self.clients_of(tenant).split_first().ok_or_else(|| Kind::Internal.error("a tenant has no key service"))?;
        let (secret, wrapped) = self.call(first, first.generate_data_key(KeySpec::Aes256, &context)).await?;
        check_length(&secret, first)?;
        let mut slots = vec![slot(first, wrapped)];
        for client in others {
            slots.push(slot(client, self.call(client, client.encrypt(&secret, &context)).await?));
        }
        let section = encode_slots(&slots, id, &secret)?;
        Ok(DataKey::new(id, secret, &slots, section, born))
    }

    /// The data key in one of these slots, whose encoding is `section`; waits for the key service.
    pub fn unwrap(
        self: &Arc<Self>,
        id: DataKeyId,
        tenant: &str,
        slots: &[Slot],
        section: &[u8],
    ) -> Result<Arc<DataKey>> {
        let (send, receive) = mpsc::sync_channel(1);
        let answer = Answer(Some(send));
        let (service, tenant, slots, section) = (Arc::clone(self), tenant.to_owned(), slots.to_vec(), section.to_vec());
        let patience = self.timeout.saturating_mul(u32::try_from(slots.len()).unwrap_or(u32::MAX)) + GRACE;
        self.spawn(async move {
            let outcome = service.unwrap_any(id, &tenant, &slots, section).await;
            answer.give(outcome.map(Arc::new));
        });
        receive.recv_timeout(patience).unwrap_or_else(|_| {
            Err(Kind::KmsTimeout.error(format_args!("the key service did not answer within {} s", patience.as_secs())))
        })
    }

    /// Tries the tenant's clients in their configured order, with the slots that are theirs.
    async fn unwrap_any(&self, id: DataKeyId, tenant: &str, slots: &[Slot], section: Vec<u8>) -> Result<DataKey> {
        let context = self.policy.wrapping_context(id, tenant)?;
        let mut failure: Option<Error> = None;
        for client in self.clients_of(tenant) {
            let own = |slot: &&Slot| slot.provider == client.provider() && client.opens(&slot.kek);
            for slot in slots.iter().filter(own) {
                match self.unwrap_one(client, slot, &context).await {
                    Ok(secret) => {
                        slots::verify(&section, id, &secret)?;
                        return Ok(DataKey::new(id, secret, slots, section, self.now()));
                    }
                    // A failure that may pass is the one to report: it says that trying again may help.
                    Err(error) if failure.as_ref().is_none_or(|known| !known.may_pass()) => failure = Some(error),
                    Err(_) => {}
                }
            }
        }
        Err(failure.unwrap_or_else(|| Kind::KeyNotAllowed.error("no slot of the file is under a configured key")))
    }

    async fn unwrap_one(
        &self,
        client: &Arc<dyn KmsClient>,
        slot: &Slot,
        context: &crate::context::EncryptionContext,
    ) -> Result<Secret> {
        let wrapped = WrappedKey { kek: slot.kek.clone(), version: slot.version.clone(), bytes: slot.wrapped.clone() };
        let secret = self.call(client, client.decrypt(&wrapped, context)).await?;
        check_length(&secret, client)?;
        Ok(secret)
    }

    async fn call<T>(&self, client: &Arc<dyn KmsClient>, call: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| {
            Err(Kind::KmsTimeout.error(format_args!(
                "key service '{}' did not answer within kms.timeout ({:?})",
                client.provider(),
                self.timeout
            )))
        });
        self.metrics.kms_call_duration.observe(start.elapsed());
        outcome.inspect_err(|_| self.metrics.kms_errors.add(1))
    }

    fn clients_of(&self, tenant: &str) -> &[Arc<dyn KmsClient>] {
        self.clients.get(tenant).map_or(&[], Vec::as_slice)
    }

    fn now(&self) -> Born {
        Born { wall_ms: self.clock.wall_ms(), elapsed: self.clock.elapsed() }
    }
}

/// What work reports that is dropped before its end: by its own panic, or with its runtime.
pub fn abandoned() -> Error {
    if std::thread::panicking() {
        Kind::Internal.error("the client of the key service panicked: see the log, and report it")
    } else {
        Kind::State.error("the engine is closed")
    }
}

/// The duty to answer a caller who waits.
struct Answer(Option<mpsc::SyncSender<Result<Arc<DataKey>>>>);

impl Answer {
    fn give(mut self, outcome: Result<Arc<DataKey>>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<Arc<DataKey>>) {
        if let Some(send) = self.0.take() {
            // The caller may have lost patience.
            let _ = send.send(outcome);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Err(abandoned()));
    }
}

fn slot(client: &Arc<dyn KmsClient>, wrapped: WrappedKey) -> Slot {
    Slot { provider: client.provider().to_owned(), kek: wrapped.kek, version: wrapped.version, wrapped: wrapped.bytes }
}

/// A managed HSM was once seen to return 33 bytes.
fn check_length(secret: &Secret, client: &Arc<dyn KmsClient>) -> Result<()> {
    if secret.expose().len() == data_key::LEN {
        return Ok(());
    }
    Err(Kind::WrappedKey.error(format_args!(
        "key service '{}' gave a data key of {} bytes, not {}",
        client.provider(),
        secret.expose().len(),
        data_key::LEN
    )))
}

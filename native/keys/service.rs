//! Calls to the key services: on the runtime thread, to several of them where several are configured.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::{EncryptionConfig, KmsSlot, Require};
use crate::context::EncryptionContext;
use crate::envelope::{DataKeyId, Slot, encode_slots, slots};
use crate::error::{Error, Kind, Result};
use crate::keys::data_key::{self, Born, DataKey};
use crate::keys::hedge::{self, Ask};
use crate::keys::outage::OutageGauge;
use crate::keys::policy::Policy;
use crate::keys::rotation::KeyRotationManager;
use crate::kms::over::Budget;
use crate::kms::{Clients, KeySpec, KmsClient, WrappedKey};
use crate::metrics::EncryptionMetrics;
use crate::secret::Secret;

/// How much longer than the time-out a caller waits, for a call that blocks the runtime thread itself.
const GRACE: Duration = Duration::from_secs(5);

/// The key services of all tenants.
#[derive(Debug)]
pub struct KeyService {
    clients: Clients,
    /// How the configuration calls each tenant's clients, in their order.
    names: Vec<String>,
    pub policy: Policy,
    runtime: Handle,
    timeout: Duration,
    hedge_after: Duration,
    require: Require,
    pub outages: OutageGauge,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<EncryptionMetrics>,
}

/// A data key that was drawn just now.
#[derive(Debug)]
pub struct Drawn {
    pub key: Arc<DataKey>,
    context: Arc<EncryptionContext>,
    /// One for each client of the tenant: how it wraps the key, or none while it has not.
    wraps: Vec<Option<Slot>>,
}

impl Drawn {
    /// True once every key service wraps it.
    pub fn is_complete(&self) -> bool {
        self.wraps.iter().all(Option::is_some)
    }
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
        let (timeout, hedge_after) = (config.kms_config.timeout, config.kms_config.hedge_after);
        let require = config.kms_config.require;
        let outages = OutageGauge::new(config.outage.seal_for, Arc::clone(&metrics));
        let fallbacks = config.kms_fallbacks.iter().map(|slot| slot.name.clone());
        let names = std::iter::once(KmsSlot::PRIMARY.to_owned()).chain(fallbacks).collect();
        Arc::new(KeyService { clients, names, policy, runtime, timeout, hedge_after, require, outages, clock, metrics })
    }

    /// Those of each tenant.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Starts work on the runtime thread.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Has the manager check on the runtime thread.
    pub fn start(&self, rotation: &Arc<KeyRotationManager>) {
        rotation.start_auto_rotation(&self.runtime);
    }

    /// The longest that [`draw`](Self::draw) takes.
    pub fn patience(&self, tenant: &str) -> Duration {
        self.patience_for(self.clients_of(tenant).len() + 1)
    }

    /// A fresh data key: drawn by the first key service that can, wrapped by the others as far as they can, or by all of
    /// them where `kms.require` says so.
    pub async fn draw(&self, tenant: &str) -> Result<Drawn> {
        let id = DataKeyId::random()?;
        let context = Arc::new(self.policy.wrapping_context(id, tenant)?);
        let born = self.now();
        let clients = self.clients_of(tenant);
        let asks = clients.iter().map(|client| generate(Arc::clone(client), Arc::clone(&context))).collect();
        let drawn = self.first_success(asks).await;
        let (first, (secret, wrapped)) =
            drawn.map_err(|failures| failed("no key service draws a data key", clients, failures))?;
        let secret = Arc::new(secret);
        let mut wraps = vec![None; clients.len()];
        wraps[first] = Some(slot(&clients[first], wrapped));
        let failures = self.wrap_missing(clients, &secret, &context, &mut wraps).await;
        if self.require == Require::All && wraps.iter().any(Option::is_none) {
            return Err(failed(
                "not every key service wraps a data key, as kms.require = all wants",
                clients,
                failures,
            ));
        }
        for (at, error) in failures {
            log::warn!("{}: a data key is wrapped later: {error}", name(clients.get(at)));
        }
        let slots: Vec<Slot> = wraps.iter().flatten().cloned().collect();
        let section = encode_slots(&slots, id, &secret)?;
        Ok(Drawn { key: Arc::new(DataKey::new(id, secret, &slots, section, born)), context, wraps })
    }

    /// Lets those key services wrap the key that have not yet; true if there are more of them now, and `drawn.key` is
    /// another one with the same identity.
    pub async fn complete(&self, tenant: &str, drawn: &mut Drawn) -> Result<bool> {
        let missing = |drawn: &Drawn| drawn.wraps.iter().filter(|wrap| wrap.is_none()).count();
        let before = missing(drawn);
        let secret = drawn.key.shared_secret();
        self.wrap_missing(self.clients_of(tenant), &secret, &drawn.context, &mut drawn.wraps).await;
        if missing(drawn) == before {
            return Ok(false);
        }
        let slots: Vec<Slot> = drawn.wraps.iter().flatten().cloned().collect();
        let section = encode_slots(&slots, drawn.key.id(), &secret)?;
        drawn.key = Arc::new(drawn.key.in_slots(&slots, section));
        Ok(true)
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
        let patience = self.patience_for(slots.len());
        self.spawn(async move {
            let outcome = service.unwrap_any(id, &tenant, &slots, section, None).await;
            answer.give(outcome.map(Arc::new));
        });
        receive.recv_timeout(patience).unwrap_or_else(|_| {
            Err(Kind::KmsTimeout.error(format_args!("the key service did not answer within {} s", patience.as_secs())))
        })
    }

    /// Asks the tenant's clients in their configured order, each for the slots that are its own, and each once its turn in
    /// the budget has come. Runs on the runtime thread.
    pub async fn unwrap_any(
        &self,
        id: DataKeyId,
        tenant: &str,
        slots: &[Slot],
        section: Vec<u8>,
        budget: Option<&Arc<Budget>>,
    ) -> Result<DataKey> {
        let context = Arc::new(self.policy.wrapping_context(id, tenant)?);
        let pairs = self.clients_of(tenant).iter().flat_map(|client| {
            let own = move |slot: &&Slot| slot.provider == client.provider() && client.opens(&slot.kek);
            slots.iter().filter(own).map(move |slot| (client, slot))
        });
        let (clients, asks): (Vec<_>, Vec<_>) = pairs
            .enumerate()
            .map(|(at, (client, slot))| {
                let ask = decrypt(Arc::clone(client), slot, Arc::clone(&context));
                // The first one's turn is waited for before, so that nobody is asked because of that wait.
                (Arc::clone(client), in_turn(ask, budget.filter(|_| at > 0)))
            })
            .unzip();
        if clients.is_empty() {
            return Err(Kind::KeyNotAllowed.error("no slot of the file is under a configured key"));
        }
        if let Some(budget) = budget {
            budget.turn().await;
        }
        let opened = self.first_success(asks).await;
        let (_, secret) =
            opened.map_err(|failures| failed("no key service unwraps the file's data key", &clients, failures))?;
        // The section as a whole is genuine or it is not, whichever slot gave the key.
        slots::verify(&section, id, &secret)?;
        Ok(DataKey::new(id, Arc::new(secret), slots, section, self.now()))
    }

    async fn first_success<T: Send + 'static>(&self, asks: Vec<Ask<T>>) -> Result<(usize, T), Vec<(usize, Error)>> {
        hedge::first_success(asks, self.hedge_after, || self.metrics.kms_hedges.add(1)).await
    }

    /// Fills in how the key is wrapped by those of `clients` that have not wrapped it yet, in parallel; what failed. Where
    /// one wrap is enough, a slow one is not waited for.
    async fn wrap_missing(
        &self,
        clients: &[Arc<dyn KmsClient>],
        secret: &Arc<Secret>,
        context: &Arc<EncryptionContext>,
        wraps: &mut [Option<Slot>],
    ) -> Vec<(usize, Error)> {
        let mut asked = JoinSet::new();
        for (at, client) in clients.iter().enumerate().filter(|(at, _)| wraps[*at].is_none()) {
            let (client, secret, context) = (Arc::clone(client), Arc::clone(secret), Arc::clone(context));
            asked.spawn(async move { (at, client.encrypt(&secret, &context).await) });
        }
        let mut failures = Vec::new();
        let patience = match self.require {
            Require::All => Duration::MAX,
            Require::One => self.hedge_after,
        };
        loop {
            match timeout(patience, asked.join_next()).await {
                Ok(Some(Ok((at, Ok(wrapped))))) => wraps[at] = Some(slot(&clients[at], wrapped)),
                Ok(Some(Ok((at, Err(error))))) => failures.push((at, error)),
                Ok(Some(Err(error))) => failures.push((clients.len(), hedge::died(&error))),
                Ok(None) => break,
                Err(_) => {
                    // They go on unheard, so that their circuit breakers learn the outcome.
                    asked.detach_all();
                    break;
                }
            }
        }
        failures.sort_by_key(|(at, _)| *at);
        failures
    }

    fn patience_for(&self, calls: usize) -> Duration {
        self.timeout.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)) + GRACE
    }

    /// How the configuration calls the clients of every tenant, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The key services of a tenant, in their configured order.
    pub fn clients_of(&self, tenant: &str) -> &[Arc<dyn KmsClient>] {
        self.clients.get(tenant).map_or(&[], Vec::as_slice)
    }

    fn now(&self) -> Born {
        Born { wall_ms: self.clock.wall_ms(), elapsed: self.clock.elapsed() }
    }
}

fn generate(client: Arc<dyn KmsClient>, context: Arc<EncryptionContext>) -> Ask<(Secret, WrappedKey)> {
    Box::pin(async move {
        let (secret, wrapped) = client.generate_data_key(KeySpec::Aes256, &context).await?;
        check_length(&secret, &*client)?;
        Ok((secret, wrapped))
    })
}

fn decrypt(client: Arc<dyn KmsClient>, slot: &Slot, context: Arc<EncryptionContext>) -> Ask<Secret> {
    let wrapped = WrappedKey { kek: slot.kek.clone(), version: slot.version.clone(), bytes: slot.wrapped.clone() };
    Box::pin(async move {
        let secret = client.decrypt(&wrapped, &context).await?;
        check_length(&secret, &*client)?;
        Ok(secret)
    })
}

fn in_turn<T: 'static>(ask: Ask<T>, budget: Option<&Arc<Budget>>) -> Ask<T> {
    let Some(budget) = budget.cloned() else { return ask };
    Box::pin(async move {
        budget.turn().await;
        ask.await
    })
}

/// One error for what every key service failed at: of the kind that may pass, if any of them may, because then trying
/// again may help.
fn failed(what: &str, clients: &[Arc<dyn KmsClient>], mut failures: Vec<(usize, Error)>) -> Error {
    let passing = failures.iter().position(|(_, error)| error.may_pass());
    if failures.len() == 1 && clients.len() == 1 {
        return failures.remove(0).1;
    }
    let Some((_, reported)) = failures.get(passing.unwrap_or(0)) else {
        return Kind::Internal.error("a tenant has no key service");
    };
    let each = failures.iter().map(|(at, error)| format!("{}: {error}", name(clients.get(*at))));
    let text = format!("{what}: {}", each.collect::<Vec<_>>().join("; "));
    reported.kind().error(text).after(reported.retry_after())
}

/// A client, as errors name it.
pub fn name(client: Option<&Arc<dyn KmsClient>>) -> String {
    client.map_or("a key service".to_owned(), |client| format!("{} '{}'", client.provider(), client.key_id()))
}

/// What a client wrapped, as files hold it.
pub fn slot(client: &Arc<dyn KmsClient>, wrapped: WrappedKey) -> Slot {
    Slot { provider: client.provider().to_owned(), kek: wrapped.kek, version: wrapped.version, wrapped: wrapped.bytes }
}

/// A managed HSM was once seen to return 33 bytes.
pub fn check_length(secret: &Secret, client: &dyn KmsClient) -> Result<()> {
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

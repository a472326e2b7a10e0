//! What stands over every client of a key service, whichever it is: small decorators, each with one concern.
//!
//! From the outside in: measured, deadline, single flight, breaker, retry, budget, and the limit of one attempt. An
//! operation (`decrypt`, ...) passes the outer ones once; each of its attempts passes the budget. Time is tokio's, so that
//! tests can turn it. `order` tests what the order is for.

mod attempt;
mod breaker;
mod budget;
mod deadline;
mod jitter;
mod measured;
mod retry;
mod single_flight;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::config::{EncryptionConfig, KmsConfig};
use crate::context::EncryptionContext;
use crate::error::Result;
use crate::kms::{self, Clients, Connection, Destruction, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::metrics::EncryptionMetrics;
use crate::secret::Secret;

pub use budget::Budget;
pub use jitter::{Jitter, Random, full_jitter};

/// What the decorators of all clients of one engine share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Tells since when a service has not answered.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub metrics: Arc<EncryptionMetrics>,
    /// Keeps processes that failed together from trying again together.
    pub jitter: Arc<dyn Jitter>,
}

impl Surroundings {
    /// These, with real chance.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<EncryptionMetrics>) -> Surroundings {
        Surroundings { clock, metrics, jitter: Arc::new(Random) }
    }
}

/// Every tenant's key services as they are configured, each with everything that stands over it.
pub fn connect(config: &EncryptionConfig, around: &Surroundings) -> Result<Clients> {
    let mut clients = Clients::new();
    for Connection { tenant, client, .. } in connect_each(config, around) {
        clients.entry(tenant).or_default().push(client?);
    }
    Ok(clients)
}

/// The same, where one that cannot be connected does not keep from the others.
pub fn connect_each(config: &EncryptionConfig, around: &Surroundings) -> Vec<Connection> {
    let limits = &config.kms_config;
    // One for the primary key service and one for each fallback, whichever tenant's key is asked for.
    let budgets: Vec<_> = (0..=config.kms_fallbacks.len()).map(|_| Budget::new(limits.calls_per_second)).collect();
    let mut connections = kms::connect_each(config);
    for Connection { number, client, .. } in &mut connections {
        if let (Ok(client), Some(budget)) = (client, budgets.get(*number)) {
            *client = stack(Arc::clone(client), limits, Arc::clone(budget), around);
        }
    }
    connections
}

/// `client` with everything that stands over it.
pub fn stack(
    client: Arc<dyn KmsClient>,
    limits: &KmsConfig,
    budget: Arc<Budget>,
    around: &Surroundings,
) -> Arc<dyn KmsClient> {
    let Surroundings { clock, metrics, jitter } = around.clone();
    let client = over(client, attempt::Attempt::new(limits.transport.attempt_timeout));
    let client = over(client, budget::Budgeted::new(budget, Arc::clone(&metrics)));
    let client = over(client, retry::Retry::new(limits.attempts, Arc::clone(&jitter), Arc::clone(&metrics)));
    let client = over(client, breaker::Breaker::new(clock, jitter, Arc::clone(&metrics)));
    let client = Arc::new(single_flight::SingleFlight::new(client));
    let client = over(client, deadline::Deadline::new(limits.timeout));
    over(client, measured::Measured::new(metrics))
}

/// What is asked of a key service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Encrypt,
    Decrypt,
    GenerateDataKey,
    CurrentKeyVersion,
    KeyVersions,
    Rotate,
    AutomaticRotation,
    RotationsLeft,
    Rewrap,
    SetVersionEnabled,
    Kek,
    ScheduleDestruction,
    Probe,
}

type Answer<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// One call, which can be made any number of times.
struct Call<'c, T> {
    operation: Operation,
    client: &'c dyn KmsClient,
    make: &'c (dyn Fn() -> Answer<'c, T> + Send + Sync),
}

impl<'c, T> Call<'c, T> {
    fn make(&self) -> Answer<'c, T> {
        (self.make)()
    }

    /// The service and its key, as errors name them.
    fn service(&self) -> impl fmt::Display + use<'c, T> {
        let client = self.client;
        fmt::from_fn(move |f| write!(f, "key service '{}' (key '{}')", client.provider(), client.key_id()))
    }
}

/// What is done around every call of a client, whatever it asks for.
trait Around: Send + Sync + fmt::Debug + 'static {
    /// A probe is a diagnosis and shows the service as it is: most decorators let it through untouched.
    const AROUND_PROBES: bool = false;

    fn around<T: Send>(&self, call: Call<'_, T>) -> impl Future<Output = Result<T>> + Send;
}

/// A client with something done around every call.
#[derive(Debug)]
struct Over<A> {
    inner: Arc<dyn KmsClient>,
    around: A,
}

fn over(inner: Arc<dyn KmsClient>, around: impl Around) -> Arc<dyn KmsClient> {
    Arc::new(Over { inner, around })
}

impl<A: Around> Over<A> {
    async fn call<'c, T: Send>(
        &'c self,
        operation: Operation,
        make: &'c (dyn Fn() -> Answer<'c, T> + Send + Sync),
    ) -> Result<T> {
        self.around.around(Call { operation, client: &*self.inner, make }).await
    }
}

#[async_trait]
impl<A: Around> KmsClient for Over<A> {
    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn key_id(&self) -> &str {
        self.inner.key_id()
    }

    fn opens(&self, kek: &str) -> bool {
        self.inner.opens(kek)
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.call(Operation::Encrypt, &|| self.inner.encrypt(plaintext, context)).await
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.call(Operation::Decrypt, &|| self.inner.decrypt(wrapped, context)).await
    }

    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        self.call(Operation::GenerateDataKey, &|| self.inner.generate_data_key(spec, context)).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.call(Operation::CurrentKeyVersion, &|| self.inner.current_key_version()).await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.call(Operation::KeyVersions, &|| self.inner.key_versions()).await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.call(Operation::Rotate, &|| self.inner.rotate()).await
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.call(Operation::AutomaticRotation, &|| self.inner.automatic_rotation()).await
    }

    async fn rotations_left(&self) -> Result<Option<usize>> {
        self.call(Operation::RotationsLeft, &|| self.inner.rotations_left()).await
    }

    async fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        self.call(Operation::Rewrap, &|| self.inner.rewrap(wrapped, context)).await
    }

    fn rewraps_inside(&self) -> bool {
        self.inner.rewraps_inside()
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        self.call(Operation::SetVersionEnabled, &|| self.inner.set_version_enabled(version, enabled)).await
    }

    async fn kek(&self) -> Result<String> {
        self.call(Operation::Kek, &|| self.inner.kek()).await
    }

    async fn schedule_destruction(&self, after: Duration) -> Result<Destruction> {
        self.call(Operation::ScheduleDestruction, &|| self.inner.schedule_destruction(after)).await
    }

    async fn probe(&self) -> Vec<Probe> {
        if !A::AROUND_PROBES {
            return self.inner.probe().await;
        }
        let probes = self.call(Operation::Probe, &|| Box::pin(async { Ok(self.inner.probe().await) })).await;
        probes.unwrap_or_else(|error| vec![Probe::new("any call at all", Err(error))])
    }
}

#[cfg(test)]
mod order;
#[cfg(test)]
mod testing;

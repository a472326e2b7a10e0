//! One call for all who want the same key unwrapped at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::context::EncryptionContext;
use crate::error::Result;
use crate::kms::{Destruction, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::secret::Secret;

/// Joins unwraps of the same bytes in the same context. The one who came first makes the call; if that one gives up, the
/// next one makes its own.
#[derive(Debug)]
pub struct SingleFlight {
    inner: Arc<dyn KmsClient>,
    flights: Flights,
}

type Flights = Mutex<HashMap<Wanted, Flight>>;
type Flight = Arc<OnceCell<Result<Secret>>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    wrapped: WrappedKey,
    context: Vec<u8>,
}

impl SingleFlight {
    pub fn new(inner: Arc<dyn KmsClient>) -> SingleFlight {
        SingleFlight { inner, flights: Mutex::default() }
    }
}

#[async_trait]
impl KmsClient for SingleFlight {
    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn key_id(&self) -> &str {
        self.inner.key_id()
    }

    fn opens(&self, kek: &str) -> bool {
        self.inner.opens(kek)
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        let seat = Seat::take(&self.flights, Wanted { wrapped: wrapped.clone(), context: context.encode() });
        let outcome = seat.flight.get_or_init(|| self.inner.decrypt(wrapped, context)).await;
        outcome.as_ref().map_err(Clone::clone).and_then(Secret::copy)
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.inner.encrypt(plaintext, context).await
    }

    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        self.inner.generate_data_key(spec, context).await
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.inner.current_key_version().await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.inner.key_versions().await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.inner.rotate().await
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.inner.automatic_rotation().await
    }

    async fn rotations_left(&self) -> Result<Option<usize>> {
        self.inner.rotations_left().await
    }

    async fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        self.inner.rewrap(wrapped, context).await
    }

    fn rewraps_inside(&self) -> bool {
        self.inner.rewraps_inside()
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        self.inner.set_version_enabled(version, enabled).await
    }

    async fn kek(&self) -> Result<String> {
        self.inner.kek().await
    }

    async fn schedule_destruction(&self, after: Duration) -> Result<Destruction> {
        self.inner.schedule_destruction(after).await
    }

    async fn probe(&self) -> Vec<Probe> {
        self.inner.probe().await
    }
}

/// A place on a flight. Whoever leaves one that has landed, or is the last to leave, takes it off the list.
struct Seat<'f> {
    flights: &'f Flights,
    wanted: Wanted,
    flight: Flight,
}

impl Seat<'_> {
    fn take(flights: &Flights, wanted: Wanted) -> Seat<'_> {
        let flight = Arc::clone(flights.lock().entry(wanted.clone()).or_default());
        Seat { flights, wanted, flight }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        let listed = flights.get(&self.wanted).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        // Seats are taken and left under the lock, so two references are the list's and this one's.
        if listed && (self.flight.initialized() || Arc::strong_count(&self.flight) == 2) {
            flights.remove(&self.wanted);
        }
        drop(flights);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::kms::over::testing::{Scripted, paused};

    fn fixture(script: Arc<Scripted>) -> (Arc<SingleFlight>, Arc<Scripted>) {
        script.takes(Duration::from_secs(1));
        (Arc::new(SingleFlight::new(Arc::clone(&script) as Arc<dyn KmsClient>)), script)
    }

    fn wrapped(byte: u8) -> WrappedKey {
        WrappedKey { kek: "k".into(), version: "1".into(), bytes: vec![byte] }
    }

    fn context(value: &str) -> EncryptionContext {
        EncryptionContext::new([("k", value)]).unwrap()
    }

    #[test]
    fn those_who_want_the_same_share_one_call_and_others_do_not() {
        for outcome in [Ok(()), Err(Kind::KmsThrottled)] {
            let (client, script) = fixture(Scripted::new([outcome; 3]));
            paused(async move {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..50 {
                    for (byte, value) in [(1, "a"), (1, "b"), (2, "a")] {
                        let client = Arc::clone(&client);
                        tasks.spawn(async move {
                            client.decrypt(&wrapped(byte), &context(value)).await.map(|secret| secret.expose().to_vec())
                        });
                    }
                }
                for got in tasks.join_all().await {
                    assert_eq!(got.map_err(|error| error.kind()), outcome.map(|()| vec![7; 32]));
                }
                assert_eq!(script.times().len(), 3);
                assert!(client.flights.lock().is_empty(), "nothing is left behind");
                let _ = client.decrypt(&wrapped(1), &context("a")).await;
                assert_eq!(script.times().len(), 4, "it is no cache");
            });
        }
    }

    #[test]
    fn if_the_one_who_calls_gives_up_the_next_one_calls() {
        let (client, script) = fixture(Scripted::new([]));
        paused(async move {
            let first = Arc::clone(&client);
            let first = tokio::spawn(async move { first.decrypt(&wrapped(1), &context("a")).await });
            tokio::time::sleep(Duration::from_millis(500)).await;
            let second = Arc::clone(&client);
            let second = tokio::spawn(async move { second.decrypt(&wrapped(1), &context("a")).await });
            tokio::task::yield_now().await;
            first.abort();
            assert!(second.await.unwrap().is_ok());
            assert_eq!(script.times().len(), 2);
            assert!(client.flights.lock().is_empty());
            let third = Arc::clone(&client);
            let third = tokio::spawn(async move { third.decrypt(&wrapped(1), &context("a")).await });
            tokio::task::yield_now().await;
            third.abort();
            assert!(third.await.is_err());
            assert!(client.flights.lock().is_empty(), "nor by those who all gave up");
        });
    }
}

//! A client of ours as the engine drives it: made on any thread, its futures on one runtime thread that keeps running.

use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use sealpoint::clock::SystemClock;
use sealpoint::config::EncryptionConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::error::Result;
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::kms::{self, Clients, Destruction, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use sealpoint::secret::Secret;

use crate::provider::Pairs;

/// No call of the suite takes so long; one that does hangs.
const HANGS: Duration = Duration::from_secs(120);

/// A client and the thread that drives it.
pub struct Client {
    kms: Arc<dyn KmsClient>,
    driver: Driver,
}

impl Client {
    /// The bare client of these settings.
    pub fn connect(settings: &Pairs) -> Result<Client> {
        Client::first(kms::connect(&EncryptionConfig::from_pairs(settings.iter().cloned())?)?)
    }

    /// The same with everything that the engine puts over it.
    pub fn stacked(settings: &Pairs) -> Result<Client> {
        let around = Surroundings::new(Arc::new(SystemClock), Arc::default());
        Client::first(over::connect(&EncryptionConfig::from_pairs(settings.iter().cloned())?, &around)?)
    }

    fn first(mut clients: Clients) -> Result<Client> {
        let kms = clients.remove("default").and_then(|mut slots| slots.pop()).expect("one tenant with one key service");
        Ok(Client { kms, driver: Driver::start() })
    }

    /// Runs a call on the driver's thread and waits for it.
    pub fn run<T, F>(&self, call: impl FnOnce(Arc<dyn KmsClient>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.driver.run(call(Arc::clone(&self.kms)))
    }

    pub fn kms(&self) -> &dyn KmsClient {
        &*self.kms
    }

    pub fn wrap(&self, plaintext: &[u8], context: &EncryptionContext) -> Result<WrappedKey> {
        let (secret, context) = (Secret::take(&mut plaintext.to_vec())?, context.clone());
        self.run(|kms| async move { kms.encrypt(&secret, &context).await })
    }

    pub fn unwrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Vec<u8>> {
        let (wrapped, context) = (wrapped.clone(), context.clone());
        self.run(|kms| async move { kms.decrypt(&wrapped, &context).await.map(|secret| secret.expose().to_vec()) })
    }

    pub fn data_key(&self, context: &EncryptionContext) -> Result<(Vec<u8>, WrappedKey)> {
        let context = context.clone();
        self.run(|kms| async move {
            let (secret, wrapped) = kms.generate_data_key(KeySpec::Aes256, &context).await?;
            Ok((secret.expose().to_vec(), wrapped))
        })
    }

    pub fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        let (wrapped, context) = (wrapped.clone(), context.clone());
        self.run(|kms| async move { kms.rewrap(&wrapped, &context).await })
    }

    pub fn current_version(&self) -> Result<KeyVersion> {
        self.run(|kms| async move { kms.current_key_version().await })
    }

    pub fn versions(&self) -> Result<Vec<KeyVersion>> {
        self.run(|kms| async move { kms.key_versions().await })
    }

    pub fn rotate(&self) -> Result<KeyVersion> {
        self.run(|kms| async move { kms.rotate().await })
    }

    pub fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.run(|kms| async move { kms.automatic_rotation().await })
    }

    pub fn rotations_left(&self) -> Result<Option<usize>> {
        self.run(|kms| async move { kms.rotations_left().await })
    }

    pub fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let version = version.to_owned();
        self.run(|kms| async move { kms.set_version_enabled(&version, enabled).await })
    }

    pub fn kek(&self) -> Result<String> {
        self.run(|kms| async move { kms.kek().await })
    }

    pub fn schedule_destruction(&self, after: Duration) -> Result<Destruction> {
        self.run(move |kms| async move { kms.schedule_destruction(after).await })
    }

    pub fn probe(&self) -> Vec<Probe> {
        self.run(|kms| async move { kms.probe().await })
    }

    pub fn test_connection(&self) -> Result<()> {
        self.run(|kms| async move { kms.test_connection().await })
    }
}

/// A runtime on a thread of its own.
struct Driver {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    fn start() -> Driver {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let drive = move || {
            let _ = runtime.block_on(stopped);
        };
        let thread = thread::Builder::new().name("sealpoint-rt".to_owned()).spawn(drive).expect("a thread starts");
        Driver { runtime: handle, stop: Some(stop), thread: Some(thread) }
    }

    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (send, receive) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = send.send(future.await);
        });
        match receive.recv_timeout(HANGS) {
            Ok(outcome) => outcome,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the call still hangs after {HANGS:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the call panicked"),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

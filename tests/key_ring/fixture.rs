//! Processes over real keyrings, with a clock that the test turns and lines that it cuts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use sealpoint::Result;
use sealpoint::clock::{Clock, SystemClock};
use sealpoint::config::{EncryptionConfig, KeyringConfig};
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::{Head, Parsed, SealOptions, Sealer};
use sealpoint::error::{Error, Kind};
use sealpoint::keys::{DataKey, KeyRing};
use sealpoint::kms::local::{KeyringFile, LocalHsmClient};
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::kms::{Clients, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use sealpoint::metrics::EncryptionMetrics;
use sealpoint::secret::Secret;
use tempfile::TempDir;
use tokio::sync::watch;

/// Waits for what is bound to happen; the limit only keeps a broken build from hanging.
pub fn until(happened: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(120), "it never happens");
        thread::sleep(Duration::from_micros(100));
    }
}

/// A clock that the test turns.
#[derive(Debug, Default)]
pub struct TestClock {
    now: watch::Sender<Duration>,
    /// Milliseconds that the wall clock is set off by.
    moved: AtomicI64,
    sleepers: Arc<Mutex<BTreeMap<u64, Duration>>>,
    sleeps: AtomicU64,
}

impl TestClock {
    pub fn pass(&self, seconds: u64) {
        self.now.send_modify(|now| *now += Duration::from_secs(seconds));
    }

    /// Sets the wall clock on, or back.
    pub fn set_off(&self, by: i64) {
        self.moved.fetch_add(by * 1000, SeqCst);
    }

    /// How many sleep.
    pub fn sleepers(&self) -> usize {
        self.sleepers.lock().len()
    }

    /// Once so many sleep, lets time pass until the first of them wakes.
    pub fn wake_next(&self, sleepers: usize) {
        until(|| self.sleepers() == sleepers);
        let next = self.sleepers.lock().iter().map(|(id, end)| (*end, *id)).min();
        let (end, id) = next.expect("someone sleeps");
        self.now.send_modify(|now| *now = end.max(*now));
        until(|| !self.sleepers.lock().contains_key(&id));
    }
}

/// On the list of sleepers until it is dropped.
struct Asleep(Arc<Mutex<BTreeMap<u64, Duration>>>, u64);

impl Drop for Asleep {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        (1_800_000_000_000 + self.elapsed().as_millis() as u64).strict_add_signed(self.moved.load(SeqCst))
    }

    fn elapsed(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (mut now, end) = (self.now.subscribe(), self.elapsed() + time);
        let id = self.sleeps.fetch_add(1, SeqCst);
        self.sleepers.lock().insert(id, end);
        let asleep = Asleep(Arc::clone(&self.sleepers), id);
        Box::pin(async move {
            let _asleep = asleep;
            // An error means that the clock is gone, and the test with it.
            let _ = now.wait_for(|now| *now >= end).await;
        })
    }
}

/// A runtime on a thread of its own, as the engine has one.
pub struct Runtime {
    pub handle: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub fn start() -> Runtime {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || {
            let _ = runtime.block_on(stopped);
        });
        Runtime { handle, stop: Some(stop), thread: Some(thread) }
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The real local key service behind a line that the test cuts, holds and counts.
#[derive(Debug)]
pub struct Line {
    pub client: LocalHsmClient,
    fault: Mutex<Option<Error>>,
    /// When each call came, and on which thread.
    pub times: Mutex<Vec<(ThreadId, tokio::time::Instant)>>,
    pub hold: AtomicBool,
    pub wrong_length: AtomicUsize,
    pub panics: AtomicBool,
    pub drawn: AtomicUsize,
    pub wrapped: AtomicUsize,
    pub unwrapped: AtomicUsize,
    pub rewrapped: AtomicUsize,
    /// For its current version.
    pub asked: AtomicUsize,
    /// What it wraps is another data key than the one it was given.
    pub confuses: AtomicBool,
}

impl Line {
    pub fn new(client: LocalHsmClient) -> Arc<Line> {
        Arc::new(Line {
            client,
            fault: Mutex::default(),
            times: Mutex::default(),
            hold: AtomicBool::new(false),
            wrong_length: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            drawn: AtomicUsize::new(0),
            wrapped: AtomicUsize::new(0),
            unwrapped: AtomicUsize::new(0),
            rewrapped: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            confuses: AtomicBool::new(false),
        })
    }

    pub fn cut(&self, kind: Kind) {
        *self.fault.lock() = Some(kind.error("the line is cut"));
    }

    pub fn mend(&self) {
        *self.fault.lock() = None;
    }

    /// A call answers only once it is let go; the runtime goes on.
    async fn pass(&self, calls: &AtomicUsize) -> Result<()> {
        calls.fetch_add(1, SeqCst);
        self.times.lock().push((thread::current().id(), tokio::time::Instant::now()));
        while self.hold.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!self.panics.load(SeqCst), "the client panics as the test wants");
        self.fault.lock().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl KmsClient for Line {
    fn provider(&self) -> &str {
        self.client.provider()
    }

    fn key_id(&self) -> &str {
        self.client.key_id()
    }

    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        self.pass(&self.wrapped).await?;
        match self.confuses.load(SeqCst) {
            false => self.client.encrypt(plaintext, context).await,
            true => self.client.encrypt(&Secret::random(32)?, context).await,
        }
    }

    async fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        self.pass(&self.rewrapped).await?;
        match self.confuses.load(SeqCst) {
            false => self.client.rewrap(wrapped, context).await,
            true => self.client.encrypt(&Secret::random(32)?, context).await,
        }
    }

    fn rewraps_inside(&self) -> bool {
        true
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.pass(&self.unwrapped).await?;
        match self.wrong_length.load(SeqCst) {
            0 => self.client.decrypt(wrapped, context).await,
            length => Secret::random(length),
        }
    }

    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        self.pass(&self.drawn).await?;
        let (secret, wrapped) = self.client.generate_data_key(spec, context).await?;
        match self.wrong_length.load(SeqCst) {
            0 => Ok((secret, wrapped)),
            length => Ok((Secret::random(length)?, wrapped)),
        }
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.pass(&self.asked).await?;
        self.client.current_key_version().await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.client.key_versions().await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.client.rotate().await
    }

    async fn probe(&self) -> Vec<Probe> {
        self.client.probe().await
    }
}

/// A process: configuration, clock, runtime, key services each on its line, key ring.
pub struct Process {
    pub ring: KeyRing,
    pub line: Arc<Line>,
    /// The line of the fallback, if one is configured.
    pub fallback: Option<Arc<Line>>,
    pub clock: Arc<TestClock>,
    pub metrics: Arc<EncryptionMetrics>,
    pub config: EncryptionConfig,
    pub runtime: Runtime,
}

/// A keyring on disk that several processes share.
pub struct Site(TempDir);

impl Site {
    pub fn new() -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        site.file().create("sealpoint").unwrap();
        site
    }

    /// With a second key, for the fallback.
    pub fn with_fallback() -> Site {
        let site = Site::new();
        site.file().update(|keyring| keyring.add("fallback", SystemTime::now()).map(drop)).unwrap();
        site
    }

    pub fn file(&self) -> KeyringFile {
        KeyringFile::new(&self.0.path().join("keyring.json"), None).unwrap()
    }

    pub fn config(&self, pairs: &[(&str, &str)]) -> EncryptionConfig {
        let keyring = self.0.path().join("keyring.json");
        let base = [("kms.provider", "local"), ("kms.local.keyring", keyring.to_str().unwrap())];
        EncryptionConfig::from_pairs(base.iter().chain(pairs).copied()).unwrap()
    }

    pub fn process(&self, pairs: &[(&str, &str)]) -> Process {
        self.process_with(pairs, |_| {})
    }

    pub fn process_with(&self, pairs: &[(&str, &str)], prepare: impl FnOnce(&Line)) -> Process {
        self.processes(pairs, |line, _| prepare(line), |line, _| line)
    }

    /// Whose data keys are wrapped by a fallback too; `prepare` gets both lines.
    pub fn process_with_fallback(&self, pairs: &[(&str, &str)], prepare: impl FnOnce(&Line, &Line)) -> Process {
        let fallback = [("kms.fallbacks", "second"), ("kms.fallback.second.local.key", "fallback")];
        let pairs: Vec<_> = fallback.iter().chain(pairs).copied().collect();
        let prepare = |line: &Line, fallback: Option<&Line>| prepare(line, fallback.unwrap());
        self.processes(&pairs, prepare, |line, _| line)
    }

    /// As the engine has it, with the decorators over its client.
    pub fn process_under_decorators(&self, pairs: &[(&str, &str)], prepare: impl FnOnce(&Line)) -> Process {
        self.processes(
            pairs,
            |line, _| prepare(line),
            |line, config| {
                let around = Surroundings::new(Arc::new(SystemClock), Arc::default());
                over::stack(line, &config.kms_config, over::Budget::new(1000), &around)
            },
        )
    }

    fn processes(
        &self,
        pairs: &[(&str, &str)],
        prepare: impl FnOnce(&Line, Option<&Line>),
        over: impl Fn(Arc<dyn KmsClient>, &EncryptionConfig) -> Arc<dyn KmsClient>,
    ) -> Process {
        let config = self.config(pairs);
        let client = LocalHsmClient::open(&KeyringConfig {
            keyring: self.file().path().to_owned(),
            key: "sealpoint".to_owned(),
            passphrase_file: None,
        });
        let client = client.unwrap();
        let line = Line::new(client.clone());
        let fallback = (!config.kms_fallbacks.is_empty()).then(|| Line::new(client.with_key("fallback").unwrap()));
        prepare(&line, fallback.as_deref());
        let clients: Clients = config
            .tenants
            .open()
            .iter()
            .map(|tenant| {
                let first: Arc<dyn KmsClient> = match config.tenants.keys_of(tenant).first() {
                    Some(key) => Arc::new(client.with_key(key).unwrap()),
                    None => over(Arc::clone(&line) as Arc<dyn KmsClient>, &config),
                };
                let second = fallback.clone().map(|line| line as Arc<dyn KmsClient>);
                (tenant.clone(), std::iter::once(first).chain(second).collect())
            })
            .collect();
        Process::new(config, clients, Arc::default(), line, fallback)
    }
}

impl Process {
    pub fn new(
        config: EncryptionConfig,
        clients: Clients,
        clock: Arc<TestClock>,
        line: Arc<Line>,
        fallback: Option<Arc<Line>>,
    ) -> Process {
        let (metrics, runtime) = (Arc::default(), Runtime::start());
        let ring_clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let ring = KeyRing::new(&config, clients, runtime.handle.clone(), ring_clock, Arc::clone(&metrics)).unwrap();
        Process { ring, line, fallback, clock, metrics, config, runtime }
    }

    pub fn key(&self) -> Arc<DataKey> {
        self.ring.for_sealing("default").unwrap()
    }

    /// Until as many keys were drawn in full.
    pub fn settled(&self, drawn: u64) {
        until(|| self.metrics.data_keys_drawn.get() >= drawn);
    }

    /// Lets time pass until what is bound to happen in time does.
    pub fn in_time(&self, happened: impl Fn() -> bool) {
        until(|| {
            self.clock.pass(1);
            thread::sleep(Duration::from_millis(1));
            happened()
        });
    }

    /// Until as many draws failed.
    pub fn failed(&self, draws: u64) {
        until(|| self.metrics.data_key_failures.get() >= draws);
    }

    pub fn head(&self, tenant: &str) -> Head {
        let key = self.ring.for_sealing(tenant).unwrap();
        head_of(&self.config, tenant, key.secret(), key.id(), key.slots())
    }
}

pub fn head_of(
    config: &EncryptionConfig,
    tenant: &str,
    secret: &Secret,
    id: sealpoint::envelope::DataKeyId,
    slots: &[u8],
) -> Head {
    let options = SealOptions {
        algorithm: config.algorithm,
        chunk_size: config.chunk_size,
        tenant: tenant.into(),
        subject: None,
        context: config.encryption_context.clone(),
        created_at_ms: 1,
    };
    let sealer = Sealer::new(secret, id, slots, &options).unwrap();
    let Parsed::Complete(head) = Head::parse(sealer.head()).unwrap() else { panic!("the head is whole") };
    head
}

//! What a cluster asks of its key service, and what that costs: counted on real key rings under a clock that the test
//! turns, and written down in docs/OPERATIONS.md.
//!
//! A process counts for itself, so the table is the calls of one TaskManager times their number; that they add up is
//! shown with real rings. `WRITE_DOCS=1 cargo test --test kms_budget` writes the table.

use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use sealpoint::Result;
use sealpoint::clock::Clock;
use sealpoint::config::EncryptionConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::{Head, Parsed, SealOptions, Sealer};
use sealpoint::keys::KeyRing;
use sealpoint::kms::{Clients, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use sealpoint::metrics::EncryptionMetrics;
use sealpoint::secret::Secret;

/// List prices in US dollars for 10 000 calls, as of November 2026, in the providers' cheapest regions, without what is
/// free: AWS KMS symmetric keys; Azure Key Vault RSA 2048 software keys; Cloud KMS software keys.
const PRICES: [(&str, f64); 3] = [("AWS", 0.03), ("Azure", 0.03), ("GCP", 0.03)];
/// What the providers allow by default, in calls a second: AWS 10 000 for an account in most regions (more in the large
/// ones), Azure 4 000 in 10 s for a vault with RSA 2048 software keys, GCP 60 000 a minute for a project (since February
/// 2026 six million tokens of which a software key takes 100 a call: the same).
const QUOTAS: [(&str, f64); 3] = [("AWS", 10_000.0), ("Azure", 400.0), ("GCP", 1_000.0)];
const MONTH: f64 = 30.0 * 86_400.0;
const TASK_MANAGERS: [u64; 4] = [10, 100, 1_000, 10_000];
const SCOPES: [(&str, &[(&str, &str)]); 2] =
    [("checkpoint", &[]), ("interval, 10 min", &[("data-key.scope", "interval"), ("data-key.interval", "10 min")])];
const INTERVALS: [(&str, u64); 3] = [("10 s", 10), ("1 min", 60), ("10 min", 600)];
/// How many data keys a process meets when a job is restored: a few after a checkpoint in full, many where incremental
/// ones kept files of 25 checkpoints by four writers. (`cache.max-keys` is 100.)
const KEYS_A_PROCESS_READS: [usize; 2] = [4, 100];

/// The lowest layer that can count: it wraps by turning the bytes around, and keeps no key.
#[derive(Debug, Default)]
struct Counting {
    calls: AtomicU64,
}

impl Counting {
    fn wrap(secret: &Secret) -> WrappedKey {
        let bytes = secret.expose().iter().map(|byte| !byte).collect();
        WrappedKey { kek: "counting".into(), version: "1".into(), bytes }
    }
}

#[async_trait]
impl KmsClient for Counting {
    fn provider(&self) -> &str {
        "counting"
    }

    fn key_id(&self) -> &str {
        "counting"
    }

    async fn encrypt(&self, plaintext: &Secret, _: &EncryptionContext) -> Result<WrappedKey> {
        self.calls.fetch_add(1, SeqCst);
        Ok(Counting::wrap(plaintext))
    }

    async fn decrypt(&self, wrapped: &WrappedKey, _: &EncryptionContext) -> Result<Secret> {
        self.calls.fetch_add(1, SeqCst);
        Secret::take(&mut wrapped.bytes.iter().map(|byte| !byte).collect::<Vec<_>>())
    }

    async fn generate_data_key(&self, _: KeySpec, _: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        self.calls.fetch_add(1, SeqCst);
        let secret = Secret::random(32)?;
        let wrapped = Counting::wrap(&secret);
        Ok((secret, wrapped))
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.calls.fetch_add(1, SeqCst);
        Ok(KeyVersion { id: "1".into(), created_at: SystemTime::UNIX_EPOCH, enabled: true })
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        Ok(vec![self.current_key_version().await?])
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.current_key_version().await
    }

    async fn probe(&self) -> Vec<Probe> {
        Vec::new()
    }
}

#[derive(Debug, Default)]
struct TestClock(Mutex<Duration>);

impl Clock for TestClock {
    fn wall_ms(&self) -> u64 {
        1_800_000_000_000 + self.elapsed().as_millis() as u64
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock()
    }
}

/// TaskManagers that share a key service, a clock and, to keep the test small, a runtime thread.
struct Cluster {
    kms: Arc<Counting>,
    clock: Arc<TestClock>,
    config: EncryptionConfig,
    runtime: tokio::runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct TaskManager {
    ring: KeyRing,
    metrics: Arc<EncryptionMetrics>,
}

impl Cluster {
    fn new(pairs: &[(&str, &str)]) -> Cluster {
        // The configured provider is never connected: the rings get the counting client.
        let base = [("kms.provider", "local"), ("kms.local.keyring", "/none")];
        let config = EncryptionConfig::from_pairs(base.iter().chain(pairs).copied()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = thread::spawn(move || _ = runtime.block_on(stopped));
        let (kms, clock) = (Arc::default(), Arc::default());
        Cluster { kms, clock, config, runtime: handle, stop: Some(stop), thread: Some(thread) }
    }

    fn task_manager(&self) -> TaskManager {
        let clients: Clients =
            [("default".to_owned(), vec![Arc::clone(&self.kms) as Arc<dyn KmsClient>])].into_iter().collect();
        let metrics: Arc<EncryptionMetrics> = Arc::default();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let ring = KeyRing::new(&self.config, clients, self.runtime.clone(), clock, Arc::clone(&metrics)).unwrap();
        TaskManager { ring, metrics }
    }

    fn calls(&self) -> u64 {
        self.kms.calls.load(SeqCst)
    }

    fn pass(&self, seconds: u64) {
        *self.clock.0.lock() += Duration::from_secs(seconds);
    }

    /// Until no ring has a draw under way: every one that had its first key holds a next one.
    fn settle(&self, task_managers: &[TaskManager], drawn: impl Fn(&TaskManager) -> u64) {
        let start = std::time::Instant::now();
        while task_managers.iter().any(|each| each.metrics.data_keys_drawn.get() < drawn(each)) {
            assert!(start.elapsed() < Duration::from_secs(120), "a draw never ends");
            thread::yield_now();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl TaskManager {
    /// A file of the current epoch; returns its head.
    fn seal(&self, config: &EncryptionConfig) -> Head {
        let key = self.ring.for_sealing("default").unwrap();
        let options = SealOptions {
            algorithm: config.algorithm,
            chunk_size: config.chunk_size,
            tenant: "default".into(),
            subject: None,
            context: config.encryption_context.clone(),
            created_at_ms: 1,
        };
        let sealer = Sealer::new(key.secret(), key.id(), key.slots(), &options).unwrap();
        key.count(1, 1 << 20);
        let Parsed::Complete(head) = Head::parse(sealer.head()).unwrap() else { panic!("the head is whole") };
        head
    }
}

/// Calls of so many TaskManagers in so many hours of checkpoints, after the start.
fn calls_of(task_managers: u64, pairs: &[(&str, &str)], interval: u64, hours: u64) -> u64 {
    let cluster = Cluster::new(pairs);
    let all: Vec<TaskManager> = (0..task_managers).map(|_| cluster.task_manager()).collect();
    all.iter().for_each(|each| _ = each.seal(&cluster.config));
    // The first key, and the next one ahead of need.
    cluster.settle(&all, |_| 2);
    let before = cluster.calls();
    let mut ids: Vec<_> = all.iter().map(|each| each.ring.for_sealing("default").unwrap().id()).collect();
    let mut drawn = vec![2; all.len()];
    for checkpoint in 1..=hours * 3600 / interval {
        cluster.pass(interval);
        for (at, each) in all.iter().enumerate() {
            each.ring.begin_epoch("job", checkpoint as i64);
            for _file in 0..3 {
                each.seal(&cluster.config);
            }
            // A key that was taken up is replaced by the next draw.
            let id = each.ring.for_sealing("default").unwrap().id();
            if std::mem::replace(&mut ids[at], id) != id {
                drawn[at] += 1;
            }
        }
        for (at, each) in all.iter().enumerate() {
            cluster.settle(std::slice::from_ref(each), |_| drawn[at]);
        }
    }
    assert!(all.iter().all(|each| each.metrics.data_keys_waited.get() <= 1), "sealing waits for the first key only");
    cluster.calls() - before
}

/// Calls of one process that restores files of so many writers, four streams a file and all at once.
fn calls_of_a_restore(writers: usize) -> u64 {
    let cluster = Cluster::new(&[]);
    let heads: Vec<Head> = (0..writers).map(|_| cluster.task_manager().seal(&cluster.config)).collect();
    let reading = Cluster::new(&[("enabled", "false")]);
    let reader = reading.task_manager();
    thread::scope(|scope| {
        for head in heads.iter().cycle().take(heads.len() * 4) {
            scope.spawn(|| reader.ring.unwrap(head).unwrap());
        }
    });
    reading.calls()
}

#[test]
fn processes_count_each_for_itself() {
    for (_, pairs) in SCOPES {
        let one = calls_of(1, pairs, 60, 2);
        assert!(one > 0);
        assert_eq!(calls_of(25, pairs, 60, 2), 25 * one);
    }
}

#[test]
fn a_restore_asks_once_for_each_data_key() {
    for writers in [1, 4, 100] {
        assert_eq!(calls_of_a_restore(writers), writers as u64);
    }
}

#[test]
fn the_documented_table_is_what_is_counted() {
    const BEGIN: &str = "<!-- written by tests/kms_budget.rs -->\n";
    const END: &str = "<!-- end -->\n";
    let path = "docs/OPERATIONS.md";
    let document = fs::read_to_string(path).unwrap();
    let (front, rest) = document.split_once(BEGIN).expect("the mark is there");
    let (committed, back) = rest.split_once(END).expect("and its end");
    let table = table();
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, format!("{front}{BEGIN}{table}{END}{back}")).unwrap();
        return;
    }
    assert!(
        committed == table,
        "docs/OPERATIONS.md is stale: run `WRITE_DOCS=1 cargo test --test kms_budget`\n{table}"
    );
}

fn table() -> String {
    let mut out = String::from(
        "| `data-key.scope` | checkpoints every | TaskManagers | calls/s | calls a month | $ a month | of the quota: AWS, Azure, GCP |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (scope, pairs) in SCOPES {
        for (interval, seconds) in INTERVALS {
            const HOURS: u64 = 2;
            let one = calls_of(1, pairs, seconds, HOURS) as f64 / (HOURS * 3600) as f64;
            for task_managers in TASK_MANAGERS {
                let rate = one * task_managers as f64;
                let month = rate * MONTH;
                writeln!(
                    out,
                    "| {scope} | {interval} | {} | {} | {} | {} | {} |",
                    grouped(task_managers),
                    shown(rate),
                    grouped(month.round() as u64),
                    dollars(month),
                    QUOTAS.map(|(_, quota)| percent(rate / quota)).join(", ")
                )
                .unwrap();
            }
        }
    }
    let base = [("kms.provider", "local"), ("kms.local.keyring", "/none")];
    let per_second = EncryptionConfig::from_pairs(base).unwrap().kms_config.calls_per_second;
    out.push_str(
        "\nA restore in which every TaskManager opens files under so many data keys, all at the same moment:\n\n",
    );
    out.push_str("| data keys each | TaskManagers | calls | $ | seconds at the quota of AWS, Azure, GCP | seconds by `kms.calls-per-second` alone |\n| --- | --- | --- | --- | --- | --- |\n");
    for keys in KEYS_A_PROCESS_READS {
        let each = calls_of_a_restore(keys);
        for task_managers in TASK_MANAGERS {
            let calls = each * task_managers;
            let seconds = |quota: f64| shown(calls as f64 / quota);
            writeln!(
                out,
                "| {keys} | {} | {} | {} | {} | {} |",
                grouped(task_managers),
                grouped(calls),
                dollars(calls as f64),
                QUOTAS.map(|(_, quota)| seconds(quota)).join(", "),
                shown(each.saturating_sub(u64::from(per_second)) as f64 / f64::from(per_second))
            )
            .unwrap();
        }
    }
    out
}

/// One figure if all providers ask the same, else each by name.
fn dollars(calls: f64) -> String {
    let costs = PRICES.map(|(name, price)| (name, calls / 10_000.0 * price));
    if costs.iter().all(|(_, cost)| *cost == costs[0].1) {
        return format!("{:.2}", costs[0].1);
    }
    costs.map(|(name, cost)| format!("{name} {cost:.2}")).join(", ")
}

fn shown(number: f64) -> String {
    if number >= 10.0 || number == 0.0 { format!("{number:.0}") } else { format!("{number:.2}") }
}

fn percent(share: f64) -> String {
    if share < 0.001 { "< 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(" ")
}

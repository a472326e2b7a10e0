//! The composition root: one configuration, its key service, its data keys, one runtime thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::config::EncryptionConfig;
use crate::envelope::{AtEof, Head, Layout, Opened, Opener, Parsed, SealOptions, Sealer, Waypoints};
use crate::error::{Error, Kind, Result};
use crate::keys::{DataKey, KeyRing, Sidecars, SystemClock};
use crate::kms::over::{self, Surroundings};
use crate::metrics::EncryptionMetrics;

/// Seals and opens under one configuration. Any number of threads may use it; no call on a thread that seals waits for
/// the key service once the first data key is there.
pub struct EncryptionEngine {
    config: EncryptionConfig,
    keys: KeyRing,
    metrics: Arc<EncryptionMetrics>,
    waypoints: Arc<Waypoints>,
    /// Last, so that everything which runs on it is gone before it is.
    runtime: Runtime,
}

impl EncryptionEngine {
    /// An engine under this configuration. The key service is asked for the first data key in the background.
    pub fn open(config: EncryptionConfig) -> Result<Arc<EncryptionEngine>> {
        for (asked, key) in [(config.audit_logging, "audit.enabled"), (config.fips_mode, "fips-mode")] {
            if asked {
                return Err(Kind::Unsupported.error(format_args!("{key} = true: this build does not have it")));
            }
        }
        for warning in config.warnings() {
            log::warn!("{warning}");
        }
        let runtime = Runtime::start()?;
        let metrics = Arc::new(EncryptionMetrics::default());
        let clock = Arc::new(SystemClock);
        let clients = over::connect(&config, &Surroundings::new(clock.clone(), Arc::clone(&metrics)))?;
        let keys = KeyRing::new(&config, clients, runtime.handle.clone(), clock, Arc::clone(&metrics))?;
        Ok(Arc::new(EncryptionEngine { config, keys, metrics, waypoints: Arc::default(), runtime }))
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &EncryptionConfig {
        &self.config
    }

    /// Its data keys.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Waits for a future, whose I/O, timers and tasks the thread sealpoint-rt serves. Not to be called on that thread, or
    /// inside any other runtime: it panics there.
    pub fn wait<R>(&self, future: impl Future<Output = R>) -> R {
        self.runtime.handle.block_on(future)
    }

    /// What it counted so far.
    pub fn metrics(&self) -> &EncryptionMetrics {
        &self.metrics
    }

    /// Begins to seal a file of the tenant that `path` belongs to. With a `subject`, the file's own last path
    /// component, it can only be opened under that name.
    pub fn sealer(&self, path: &str, subject: Option<&str>) -> Result<Sealing> {
        let seal = || {
            if !self.config.enabled {
                return Err(Kind::Config.error("nothing can be sealed: the configuration says enabled = false"));
            }
            let tenant = self.config.tenants.of_path(path);
            let key = self.keys.for_sealing(tenant)?;
            let options = SealOptions {
                algorithm: self.config.algorithm,
                chunk_size: self.config.chunk_size,
                tenant: tenant.into(),
                subject: subject.map(str::to_owned),
                context: self.config.encryption_context.clone(),
                created_at_ms: now_ms(),
            };
            let sealer = Sealer::new(key.secret(), key.id(), key.slots(), &options)?;
            key.count(1, 0);
            Ok(Sealing { sealer, key, metrics: Arc::clone(&self.metrics), time: Stopwatch::default() })
        };
        seal().inspect_err(|error| self.metrics.sealing_failed(error)).map_err(|error| named(error, path))
    }

    /// Begins to open a file found at `path`, whose head was read. With an `expected` name it must be bound to that
    /// name: a file bound to another, or to none, is refused. Waits for the key service unless the data key is cached.
    pub fn opener(&self, head: &Head, path: &str, expected: Option<&str>) -> Result<Opening> {
        self.opener_by(head, path, expected, || self.keys.unwrap(head))
    }

    /// As [`opener`](Self::opener); where the key service no longer gives the data key for the file's own slots, it is
    /// looked for in the sidecars beside the file.
    pub fn opener_beside(
        &self,
        head: &Head,
        path: &str,
        expected: Option<&str>,
        sidecars: &mut Sidecars<'_>,
    ) -> Result<Opening> {
        self.opener_by(head, path, expected, || self.keys.unwrap_beside(head, sidecars))
    }

    /// As [`opener`](Self::opener), by the slots that a sidecar has for the file's data key, whatever its own are worth.
    pub fn opener_with(&self, head: &Head, path: &str, expected: Option<&str>, sidecar: &[u8]) -> Result<Opening> {
        self.opener_by(head, path, expected, || {
            self.keys.unwrap_with(head, sidecar)?.ok_or_else(|| {
                let id = head.bound.data_key_id;
                Kind::KeyNotFound.error(format_args!("the key file has no slots for data key {id}"))
            })
        })
    }

    fn opener_by(
        &self,
        head: &Head,
        path: &str,
        expected: Option<&str>,
        key: impl FnOnce() -> Result<Arc<DataKey>>,
    ) -> Result<Opening> {
        let open = || {
            let key = key()?;
            let opener = Opener::new(head, key.secret())?.sharing(Arc::clone(&self.waypoints), head);
            // Only now is the head proven to be the one that was sealed.
            self.check_place(head, path, expected)?;
            Ok(Opening { opener, metrics: Arc::clone(&self.metrics), time: Stopwatch::default(), produced: 0 })
        };
        open().inspect_err(|error| self.metrics.opening_failed(error)).map_err(|error| named(error, path))
    }

    /// From now on files are sealed under the next data key: a new checkpoint of `scope` (its directory) has begun.
    pub fn begin_epoch(&self, scope: &str, checkpoint: i64) {
        self.keys.begin_epoch(scope, checkpoint);
    }

    /// From now on this process looks after the key-encryption keys, which one process of a cluster should: it rotates
    /// them by their age (`key-rotation.*`). May be called any number of times.
    pub fn coordinate(&self) {
        self.keys.coordinate();
    }

    /// Seals a whole buffer into a sealed file.
    pub fn encrypt(&self, path: &str, plaintext: &[u8]) -> Result<Vec<u8>> {
        let mut sealing = self.sealer(path, None)?;
        let layout = sealing.layout();
        let head = sealing.head().len();
        let mut sealed = vec![0; head + layout.sealed_len(plaintext.len()) + layout.end_len];
        sealed[..head].copy_from_slice(sealing.head());
        let body = sealing.seal(plaintext, &mut sealed[head..])?;
        let end = sealing.finish(&mut sealed[head + body..])?;
        sealed.truncate(head + body + end);
        Ok(sealed)
    }

    /// Opens a whole sealed buffer; nothing comes out unless all of it verifies.
    pub fn decrypt(&self, path: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let head = match Head::parse(sealed).map_err(|error| named(error, path))? {
            Parsed::Complete(head) => head,
            Parsed::NeedMore(_) => return Err(named(Kind::Truncated.error("the buffer ends inside the head"), path)),
        };
        let mut opening = self.opener(&head, path, None)?;
        let open = |opening: &mut Opening| {
            let mut plain = vec![0; sealed.len() - head.len()];
            let mut filled = 0;
            loop {
                let at = usize::try_from(opening.wants()).unwrap_or(usize::MAX).min(sealed.len());
                let opened = opening.open(&sealed[at..], &mut plain[filled..])?;
                filled += opened.produced;
                let at = at + opened.consumed;
                if opened.ended || opened.consumed == 0 {
                    opening.eof(&sealed[at..])?;
                    plain.truncate(filled);
                    return Ok(plain);
                }
            }
        };
        open(&mut opening).map_err(|error| named(error, path))
    }

    fn check_place(&self, head: &Head, path: &str, expected: Option<&str>) -> Result<()> {
        let tenant = &head.bound.tenant;
        if let Some(owner) = self.config.tenants.claimed_by(path).filter(|owner| owner != tenant) {
            return Err(Kind::TenantNotAllowed.error(format_args!(
                "the file belongs to tenant '{tenant}', but its path to '{owner}': it was put here by another tenant, \
                 or tenants.{tenant}.paths lacks this path"
            )));
        }
        let Some(name) = expected else { return Ok(()) };
        if head.bound.subject.is_none() {
            return Err(Kind::Integrity.error(format_args!(
                "the file is bound to no name and lies where one bound to '{name}' belongs: it was put there from elsewhere"
            )));
        }
        head.bound.check_subject(name)
    }
}

/// One file being sealed.
pub struct Sealing {
    sealer: Sealer,
    key: Arc<DataKey>,
    metrics: Arc<EncryptionMetrics>,
    time: Stopwatch,
}

impl Sealing {
    /// The bytes that a file begins with.
    pub fn head(&self) -> &[u8] {
        self.sealer.head()
    }

    /// Sizes of frames.
    pub fn layout(&self) -> Layout {
        self.sealer.layout()
    }

    /// See [`Sealer::seal`].
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize> {
        self.measured(|sealer| sealer.seal(plaintext, out))
    }

    /// See [`Sealer::seal_in_place`].
    pub fn seal_in_place(&mut self, buffer: &mut [u8], plaintext: usize) -> Result<usize> {
        self.measured(|sealer| sealer.seal_in_place(buffer, plaintext))
    }

    /// See [`Sealer::finish`]; the file then counts as sealed.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize> {
        let written = self.measured(|sealer| sealer.finish(out))?;
        self.metrics.sealed(self.time.spent, self.sealer.plaintext_len());
        Ok(written)
    }

    fn measured<R>(&mut self, work: impl FnOnce(&mut Sealer) -> Result<R>) -> Result<R> {
        self.time.of(|| work(&mut self.sealer)).inspect_err(|error| self.metrics.sealing_failed(error))
    }
}

impl Drop for Sealing {
    /// What was sealed counts against the data key's bounds, whether or not the file was finished.
    fn drop(&mut self) {
        self.key.count(0, self.sealer.plaintext_len());
    }
}

/// One sealed file being opened.
pub struct Opening {
    opener: Opener,
    metrics: Arc<EncryptionMetrics>,
    time: Stopwatch,
    produced: u64,
}

impl Opening {
    /// Sizes of frames.
    pub fn layout(&self) -> Layout {
        self.opener.layout()
    }

    /// See [`Opener::wants`].
    pub fn wants(&self) -> u64 {
        self.opener.wants()
    }

    /// See [`Opener::open`].
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<Opened> {
        self.measured(|opener| opener.open(sealed, out))
    }

    /// See [`Opener::open_in_place`].
    pub fn open_in_place(&mut self, buffer: &mut [u8]) -> Result<Opened> {
        self.measured(|opener| opener.open_in_place(buffer))
    }

    /// See [`Opener::seek`].
    pub fn seek(&mut self, plaintext_offset: u64) {
        self.opener.seek(plaintext_offset);
    }

    /// See [`Opener::eof`].
    pub fn eof(&mut self, rest: &[u8]) -> Result<AtEof> {
        self.opener.eof(rest).inspect_err(|error| self.metrics.opening_failed(error))
    }

    /// See [`Opener::length`].
    pub fn length(&self) -> Option<u64> {
        self.opener.length()
    }

    /// See [`Opener::verify_end`].
    pub fn verify_end(&mut self, tail: &[u8], file_len: u64) -> Result<u64> {
        self.opener.verify_end(tail, file_len).inspect_err(|error| self.metrics.opening_failed(error))
    }

    fn measured(&mut self, work: impl FnOnce(&mut Opener) -> Result<Opened>) -> Result<Opened> {
        let opened = self.time.of(|| work(&mut self.opener)).inspect_err(|error| self.metrics.opening_failed(error))?;
        self.produced += opened.produced as u64;
        Ok(opened)
    }
}

impl Drop for Opening {
    /// A file counts as opened when its reader is done with it, however much of it was read.
    fn drop(&mut self) {
        self.metrics.opened(self.time.spent, self.produced);
    }
}

/// The time that calls took. Reading the clock costs some 4 % of sealing a chunk, so that in a long row of calls one in
/// [`EVERY`](Self::EVERY) is timed and stands for them all.
#[derive(Default)]
struct Stopwatch {
    calls: u32,
    spent: Duration,
}

impl Stopwatch {
    const EVERY: u32 = 16;

    #[inline]
    fn of<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let call = self.calls;
        self.calls = call.wrapping_add(1);
        if call >= Self::EVERY && !call.is_multiple_of(Self::EVERY) {
            return work();
        }
        let start = Instant::now();
        let result = work();
        self.spent += start.elapsed() * if call < Self::EVERY { 1 } else { Self::EVERY };
        result
    }
}

fn named(error: Error, path: &str) -> Error {
    if path.is_empty() { error } else { error.at(path) }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The one thread that talks to the key service.
struct Runtime {
    handle: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Runtime {
    fn start() -> Result<Runtime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("start the runtime", &error))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("sealpoint-rt".to_owned())
            .spawn(move || {
                // The first random number of a process takes 50 ms and more, whoever asks for it. Nobody waits here, and
                // a failure meets whoever needs one next.
                let _ = aws_lc_rs::rand::fill(&mut [0]);
                // An error means that the sender is gone: the same order to stop.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(|error| Error::io("start the thread sealpoint-rt", &error))?;
        Ok(Runtime { handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // The thread only ends; a panic of a task on it was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

//! What the operations on whole checkpoints work with: an engine for the keys, and every store that the files lie in.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::TryStreamExt;
use parking_lot::Mutex;

use super::patience::Patience;
use super::progress::Progress;
use crate::engine::EncryptionEngine;
use crate::envelope::DataKeyId;
use crate::error::{Kind, Result};
use crate::store::{Location, Object, Store, StoreOptions};

/// An engine and stores. Threads of its user's own may use it, those of a runtime may not: it waits.
pub struct Reach {
    engine: Arc<EncryptionEngine>,
    options: StoreOptions,
    stores: Mutex<Vec<(Location, Store)>>,
    threads: usize,
    /// Data keys that the files' own slots did not give.
    renewed: Mutex<BTreeSet<DataKeyId>>,
    /// What is done on several threads at the moment has failed on one of them.
    failed: AtomicBool,
    progress: Arc<Progress>,
    patience: Patience,
}

impl Reach {
    /// With as many threads as this, or by default two a processor, so that some compute while others wait.
    pub fn new(engine: Arc<EncryptionEngine>, options: StoreOptions, threads: Option<usize>) -> Reach {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Reach {
            engine,
            options,
            stores: Mutex::default(),
            renewed: Mutex::default(),
            threads: threads.unwrap_or(2 * processors).max(1),
            failed: AtomicBool::new(false),
            progress: Arc::default(),
            patience: Patience::new(Duration::ZERO),
        }
    }

    /// Sits out for so long what may pass by itself at a key service; without this, not at all.
    #[must_use]
    pub fn patient(mut self, limit: Duration) -> Reach {
        self.patience = Patience::new(limit);
        self
    }

    /// What takes a key, and is tried again as long as [patience](Self::patient) lasts.
    pub fn with_key<T>(&self, work: impl FnMut() -> Result<T>) -> Result<T> {
        self.patience.blocking(|| self.check(), work)
    }

    /// Who has the keys.
    pub fn engine(&self) -> &Arc<EncryptionEngine> {
        &self.engine
    }

    /// How far the operation has come; by it, it is ended.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Fails once the operation is to end, or what is done [in parallel](Self::parallel) has failed elsewhere: to be asked
    /// before each block of a file, which may be long.
    pub fn check(&self) -> Result<()> {
        if self.failed.load(Relaxed) {
            return Err(Kind::State.error("given up, since something else failed"));
        }
        self.progress.check()
    }

    /// Waits for a store to be read, unless the operation is to end.
    pub fn wait<R>(&self, reading: impl Future<Output = Result<R>>) -> Result<R> {
        self.engine.wait(self.progress.unless_stopped(reading))?
    }

    /// The own slots of a file under this data key did not give it.
    pub(super) fn needs_sidecar(&self, id: DataKeyId) {
        self.renewed.lock().insert(id);
    }

    /// True if [`needs_sidecar`](Self::needs_sidecar) was said of it.
    pub(super) fn is_renewed(&self, id: DataKeyId) -> bool {
        self.renewed.lock().contains(&id)
    }

    /// The store that a place lies in; one for each bucket, container, or machine.
    pub fn store(&self, location: &Location) -> Result<Store> {
        let mut stores = self.stores.lock();
        if let Some((_, store)) = stores.iter().find(|(place, _)| place.same_store(location)) {
            return Ok(store.clone());
        }
        let store = Store::open(location, &self.options)?;
        stores.push((location.clone(), store.clone()));
        Ok(store)
    }

    /// A file, if there is one.
    pub fn stat(&self, location: &Location) -> Result<Option<Object>> {
        self.wait(self.store(location)?.stat(location))
    }

    /// A whole small file, if there is one.
    pub fn small(&self, location: &Location) -> Result<Option<bytes::Bytes>> {
        Ok(self.wait(self.store(location)?.read_versioned(location))?.map(|(bytes, _)| bytes))
    }

    /// Every file at or below a place, in order.
    pub fn list(&self, under: &Location) -> Result<Vec<Object>> {
        self.list_some(under, |_| true)
    }

    /// Those of them that are wanted by what they are: the others take no memory.
    pub fn list_some(&self, under: &Location, mut wanted: impl FnMut(&Object) -> bool) -> Result<Vec<Object>> {
        let store = self.store(under)?;
        let mut found: Vec<Object> = self.wait(async {
            let listed = store.list(under).await;
            listed.try_filter(|object| ready(wanted(object))).try_collect().await
        })?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Does `work` for each of the items, on as many threads as there are, and gives the results to `each` as they come.
    /// A failure of `each` ends it, and whatever is under way and [asks](Self::check).
    pub fn parallel<T: Send, R: Send>(
        &self,
        items: impl IntoIterator<Item = T, IntoIter: Send>,
        work: impl Fn(T) -> R + Sync,
        mut each: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let items = Mutex::new(items.into_iter());
        let outcome = std::thread::scope(|scope| {
            let (sender, results) = std::sync::mpsc::sync_channel(self.threads);
            for _ in 0..self.threads {
                let (sender, items, work) = (sender.clone(), &items, &work);
                scope.spawn(move || {
                    while self.check().is_ok() {
                        let Some(item) = items.lock().next() else { return };
                        if sender.send(work(item)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for result in results {
                each(result).inspect_err(|_| self.failed.store(true, Relaxed))?;
            }
            self.check()
        });
        self.failed.store(false, Relaxed);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread::sleep;

    use super::*;
    use crate::config::EncryptionConfig;
    use crate::kms::local::KeyringFile;

    fn reach(folder: &tempfile::TempDir) -> Reach {
        let keyring = folder.path().join("keyring");
        KeyringFile::new(&keyring, None).unwrap().create("k").unwrap();
        let pairs =
            [("kms.provider", "local"), ("kms.local.keyring", keyring.to_str().unwrap()), ("kms.local.key", "k")];
        let engine = EncryptionEngine::open(EncryptionConfig::from_pairs(pairs).unwrap()).unwrap();
        Reach::new(engine, StoreOptions::default(), Some(2))
    }

    #[test]
    fn a_failure_ends_what_other_threads_are_in_the_middle_of_and_nothing_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let reach = reach(&folder);
        // A file that has no end, read block by block: for longer than any machine needs to say that another one failed.
        let endless = || {
            (0..60_000).find_map(|_| {
                sleep(Duration::from_millis(1));
                reach.check().err()
            })
        };
        let (given_up, both) = (Mutex::new(None), Barrier::new(2));
        let work = |item| {
            both.wait();
            if item == 0 {
                return Err(Kind::StoreFull.error("no room is left"));
            }
            *given_up.lock() = endless();
            Ok(())
        };
        let outcome = reach.parallel(0..2, work, |result| result);
        assert_eq!(outcome.unwrap_err().kind(), Kind::StoreFull, "what failed, and not what was given up for it");
        assert_eq!(given_up.lock().take().expect("it was told").kind(), Kind::State);
        reach.parallel(0..2, |_| reach.check(), |result| result).unwrap();
    }
}

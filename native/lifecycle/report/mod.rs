//! What is sealed under which keys, who still needs them, and who can still open it.
//!
//! One pass over the listing finds the completed checkpoints ([`live`]), a second one reads the head of every file.
//! Memory goes with the number of data keys, and with some 50 bytes for each file that a checkpoint needs.

mod beside;
mod live;
mod tally;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::EncryptionEngine;
use crate::error::{Error, Result};
use crate::lifecycle::Few;
use crate::lifecycle::kek::{KekName, Keks};
use crate::lifecycle::progress::Progress;
use crate::lifecycle::reach::Reach;
use crate::lifecycle::survey::Sealed;
use crate::store::{Location, Store, StoreOptions};

use work::Work;

pub use tally::{Amount, Row};

/// What is reported, besides the places.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How stores are reached.
    pub store: StoreOptions,
    /// Whose need is asked for.
    pub needs: Option<KekName>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// For each tenant, key and version that wraps data keys.
    pub rows: Vec<Row>,
    /// For each tenant: all its files, however many slots they have.
    pub tenants: Vec<(String, Amount)>,
    /// Sealed files that no configured key service says it opens.
    pub unopenable: Few<Location>,
    /// Checkpoints and savepoints whose `_metadata` were read.
    pub checkpoints: u64,
    /// Those whose `_metadata` could not be: which files they need is not known.
    pub unread_checkpoints: Few<Error>,
    /// Where checkpoints lie whose `_metadata` are sealed, by tenant.
    pub checkpoints_of: HashMap<String, Few<Location>>,
    /// Files that are not sealed.
    pub plain: Few<Location>,
    /// Files sealed in a way that this version does not know.
    pub foreign: Few<Error>,
    /// Files that end inside their head: being written, or never finished.
    pub unfinished: Few<Location>,
    /// Files that could not be read, and directories that could not be listed.
    pub unreadable: Few<Error>,
    /// Files that went away while they were looked at.
    pub gone: u64,
    /// Sidecars that are damaged or could not be read: which keys files need for what they hold, is not known.
    pub broken_sidecars: Few<Error>,
    /// Why key services did not say what became of their versions.
    pub silent: Vec<Error>,
    /// What was asked of one key.
    pub needs: Option<Needs>,
}

/// Whether a key, or a version of it, may be done without.
#[derive(Debug, Default)]
pub struct Needs {
    /// Which.
    pub name: Option<KekName>,
    /// Files that nothing else is known to open.
    pub needed: Amount,
    /// Files under it that have another slot as well.
    pub spared: Amount,
    /// Different sets of slots, of which one other than under it was seen to give the data key.
    pub proven: u64,
    /// Those of which none did.
    pub unproven: Vec<Unproven>,
}

/// Files that have another slot, which does not open.
#[derive(Debug)]
pub struct Unproven {
    /// One of them.
    pub example: Location,
    /// All of them.
    pub amount: Amount,
    /// Why the other slots do not do.
    pub error: Error,
}

/// A file that is lost without the key that was asked about.
#[derive(Debug)]
pub struct Needed<'a> {
    /// The file.
    pub file: &'a Sealed,
    /// True if a completed checkpoint needs it.
    pub live: bool,
}

impl Report {
    /// True unless everything that lies there could be looked into.
    pub fn is_partial(&self) -> bool {
        self.not_looked_into() > 0
    }

    /// Files, directories and sidecars that could not be looked into.
    pub fn not_looked_into(&self) -> u64 {
        self.unreadable.count + self.foreign.count + self.broken_sidecars.count
    }

    /// All sealed files.
    pub fn sealed(&self) -> Amount {
        self.tenants.iter().fold(Amount::default(), |mut sum, (_, amount)| {
            sum.merge(amount);
            sum
        })
    }
}

impl Needs {
    /// True if everything would still open without it.
    pub fn nobody(&self) -> bool {
        self.needed.files == 0 && self.unproven.is_empty()
    }
}

/// Looks at every file at or below `roots`. With [`Options::needs`], `each` is given the files that need that key as they
/// are found, and every different set of slots that should open without it is tried. Refuses a place where nothing is, and one where nothing is sealed: the answer for a wrong place would be that nobody needs a key.
/// To be called as [`EncryptionEngine::wait`] is.
pub fn report(
    engine: &Arc<EncryptionEngine>,
    roots: &[Location],
    options: &Options,
    progress: &Progress,
    mut each: impl FnMut(Needed<'_>) -> Result<()>,
) -> Result<Report> {
    let keks = engine.wait(Keks::ask(engine.keys().clients()));
    let mut work = Work::new(engine, keks, options.needs.clone());
    let stores = stores(roots, options)?;
    progress.begin("listing", "files", 0);
    let (mut metadata, mut files) = (Vec::new(), 0);
    for (store, roots) in &stores {
        let listed = engine.wait(progress.unless_stopped(live::metadata_in(store, roots, progress)))?;
        metadata.extend(listed.0);
        files += listed.1;
    }
    progress.begin("reading the metadata of checkpoints", "checkpoints", metadata.len() as u64);
    work.live.read(&Reach::new(Arc::clone(engine), options.store.clone(), None), metadata, progress)?;
    progress.begin("reading heads", "files", files);
    for (store, roots) in &stores {
        engine.wait(progress.unless_stopped(work.look(store, roots, progress, &mut each)))??;
    }
    work.finish(roots, progress)
}

/// One store for all places that lie in it.
fn stores(roots: &[Location], options: &Options) -> Result<Vec<(Store, Vec<Location>)>> {
    let mut stores: Vec<(Store, Vec<Location>)> = Vec::new();
    for root in roots {
        match stores.iter_mut().find(|(_, roots)| roots[0].same_store(root)) {
            Some((_, roots)) => roots.push(root.clone()),
            None => stores.push((Store::open(root, &options.store)?, vec![root.clone()])),
        }
    }
    Ok(stores)
}

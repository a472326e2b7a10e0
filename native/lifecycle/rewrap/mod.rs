//! Rewrap: every data key under a place wrapped anew, in sidecars beside the files, which stay as they are.
//!
//! The heads say which data keys there are ([`plan`]); each is wrapped once for its sidecar, and the sidecar written
//! as a whole ([`sidecar`]). Whatever was written stays good when this ends at any moment, and a further run does what
//! is left.

mod directory;
mod plan;
mod report;
mod sidecar;

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};

use crate::engine::EncryptionEngine;
use crate::error::{Error, Kind, Result};
use crate::keys::{Renewal, Target};
use crate::kms::over::Budget;
use crate::lifecycle::patience::{PATIENCE, Patience};
use crate::lifecycle::progress::Progress;
use crate::lifecycle::survey::{Found, survey};
use crate::store::{Location, Store, StoreOptions};

use plan::Plan;
pub use report::{Failure, Report};

/// How many directories are worked on at once.
const DIRECTORIES: usize = 4;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// By which configured keys.
    pub target: Target,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Also those that say they are wrapped by the current versions already.
    pub again: bool,
    /// The most calls a second to key services, besides what `kms.calls-per-second` allows each.
    pub kms_rate: Option<u32>,
    /// How the stores are reached.
    pub store: StoreOptions,
    /// How long failures of a key service that may pass are sat out.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            target: Target::All,
            dry_run: false,
            again: false,
            kms_rate: None,
            store: StoreOptions::default(),
            patience: PATIENCE,
        }
    }
}

impl Options {
    /// By the configured key of this name alone; by all of them if there is none.
    pub fn to(name: Option<&str>) -> Options {
        let target = name.map_or(Target::All, |name| Target::Client(name.to_owned()));
        Options { target, ..Options::default() }
    }

    /// With no more calls a second than these to key services, and requests to the store; 0 for as many as there are.
    #[must_use]
    pub fn at_rates(mut self, kms: u32, store: u32) -> Options {
        self.kms_rate = (kms > 0).then_some(kms);
        self.store.requests_per_second = (store > 0).then_some(store);
        self
    }
}

/// Wraps the data keys of all files at or below `roots` anew. What fails is in the report, and keeps nothing else from
/// being done; an error means that nothing was. Waits; not to be called on the thread sealpoint-rt.
pub fn rewrap(engine: &EncryptionEngine, roots: &[Location], options: &Options, progress: &Progress) -> Result<Report> {
    let budget = options.kms_rate.map(Budget::new);
    let work = Rewrap {
        renewal: engine.keys().renewal(options.target.clone(), budget)?,
        patience: Patience::new(options.patience),
        dry_run: options.dry_run,
        again: options.again,
        progress,
    };
    let mut stores: Vec<(Store, Vec<Location>)> = Vec::new();
    for root in roots {
        match stores.iter_mut().find(|(_, known)| known[0].same_store(root)) {
            Some((_, known)) => known.push(root.clone()),
            None => stores.push((Store::open(root, &options.store)?, vec![root.clone()])),
        }
    }
    engine.wait(async {
        let mut report = Report { dry_run: options.dry_run, ..Report::default() };
        for (store, roots) in &stores {
            work.all_of(store, roots, &mut report).await?;
        }
        progress.check()?;
        Ok(report)
    })
}

/// The same for one path or URI of a checkpoint, a savepoint, a directory above them, or a single file.
pub fn rewrap_uri(engine: &EncryptionEngine, uri: &str, options: &Options) -> Result<Report> {
    rewrap(engine, &[Location::parse(uri)?], options, &Progress::default())
}

struct Rewrap<'p> {
    renewal: Renewal,
    patience: Patience,
    dry_run: bool,
    again: bool,
    progress: &'p Progress,
}

impl Rewrap<'_> {
    async fn all_of(&self, store: &Store, roots: &[Location], report: &mut Report) -> Result<()> {
        let listed = SystemTime::now();
        let plan = self.progress.unless_stopped(self.plan(store, roots, report)).await?;
        // Whose head was not read may need any entry.
        let is_whole = report.failures.is_empty() && report.unfinished == 0;
        report.data_keys += plan.data_keys();
        self.progress.begin("renewing data keys", "data keys", plan.data_keys());
        let directories = stream::iter(&plan.directories).map(|(directory, groups)| {
            let all_listed = is_whole && roots.iter().any(|root| directory.below(root).is_some());
            let droppable = all_listed.then_some((&plan, listed));
            async move { (directory, self.directory(store, directory, groups, droppable).await) }
        });
        let mut outcomes = directories.buffer_unordered(DIRECTORIES);
        while let Some((directory, outcome)) = outcomes.next().await {
            report.renewed += outcome.renewed;
            report.current += outcome.current;
            report.vanished += outcome.vanished;
            report.dropped += outcome.dropped;
            for by in outcome.versions {
                *report.versions.entry(by).or_default() += 1;
            }
            if outcome.written {
                report.sidecars.push(plan::sidecar_in(directory));
            }
            outcome.notes.into_iter().for_each(|note| report.notes.push(note));
            outcome.failures.into_iter().for_each(|failure| report.failures.push(failure));
        }
        Ok(())
    }

    async fn plan(&self, store: &Store, roots: &[Location], report: &mut Report) -> Plan {
        self.progress.begin("reading heads", "files", 0);
        let mut plan = Plan::default();
        let mut per_root: Vec<(u64, u64)> = vec![(0, 0); roots.len()];
        let mut found = survey(store, roots);
        while let Some(found) = found.next().await {
            self.progress.add(1);
            let (object, sealed) = match &found {
                Found::Sealed(sealed) => (Some(&sealed.object), true),
                Found::Plain(object) | Found::Foreign(object, _) | Found::Unfinished(object) | Found::Gone(object) => {
                    (Some(object), false)
                }
                Found::Unreadable(object, _) => (object.as_ref(), false),
            };
            for (root, (all, of_sealed)) in roots.iter().zip(&mut per_root) {
                if object.is_none_or(|object| object.location.below(root).is_some()) {
                    *all += 1;
                    *of_sealed += u64::from(sealed);
                }
            }
            let failed = |location: &Location, error: Error| Failure { location: location.clone(), files: 1, error };
            match found {
                Found::Sealed(sealed) => {
                    report.sealed += 1;
                    let location = &sealed.object.location;
                    if let Err(error) = self.renewal.admits(&sealed.head) {
                        report.failures.push(failed(location, error));
                    } else if !plan.add(&sealed) {
                        let error = Kind::Integrity.error(
                            "too many files under one data key say different things about it: this one, or others, are forged",
                        );
                        report.failures.push(failed(location, error));
                    }
                }
                Found::Plain(object) => report.plain.push(object.location),
                Found::Unfinished(_) => report.unfinished += 1,
                Found::Gone(_) => report.gone += 1,
                Found::Foreign(object, error) => report.failures.push(failed(&object.location, error)),
                Found::Unreadable(object, error) => {
                    let location = object.map_or_else(|| roots[0].clone(), |object| object.location);
                    report.failures.push(failed(&location, error));
                }
            }
        }
        for (root, (all, sealed)) in roots.iter().zip(per_root) {
            let why = match (all, sealed) {
                (0, _) => Kind::NotFound.error("there is no file at or below it"),
                (_, 0) if !report.plain.is_empty() => Kind::NotSealed.error("no file at or below it is sealed"),
                _ => continue,
            };
            report.failures.push(failure(root, 0, why));
        }
        plan
    }
}

fn failure(location: &Location, files: u64, error: Error) -> Failure {
    Failure { location: location.clone(), files, error }
}

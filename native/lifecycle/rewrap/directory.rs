//! One directory: its data keys looked at, wrapped anew where that is needed, and written into its sidecar.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::stream::{self, StreamExt};

use super::plan::{Group, Plan, Variant, sidecar_in};
use super::report::Failure;
use super::{Rewrap, failure, sidecar};
use crate::envelope::{DataKeyId, slots};
use crate::error::{Kind, Result};
use crate::keys::{Renewed, Wrapping};
use crate::lifecycle::survey::OURS;
use crate::store::{Location, Store};

/// How many data keys are worked on at once.
const DATA_KEYS: usize = 8;
/// After how many renewed data keys a sidecar is written, at least: what is lost if this ends before.
const BATCH: usize = 256;

/// What came of one directory.
#[derive(Default)]
pub struct Outcome {
    pub renewed: u64,
    pub versions: Vec<Wrapping>,
    pub current: u64,
    pub vanished: u64,
    pub dropped: u64,
    pub written: bool,
    pub notes: Vec<String>,
    pub failures: Vec<Failure>,
}

impl Rewrap<'_> {
    /// Renews what its sidecar is to hold.
    pub(super) async fn directory(
        &self,
        store: &Store,
        directory: &Location,
        groups: &BTreeMap<DataKeyId, Group>,
        droppable: Option<(&Plan, SystemTime)>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let all: u64 = groups.values().flat_map(|group| &group.variants).map(|variant| variant.files).sum();
        if let Err(error) = self.directory_into(&mut outcome, store, directory, groups, droppable).await {
            outcome.failures.push(failure(directory, all, error));
        }
        outcome
    }

    async fn directory_into(
        &self,
        outcome: &mut Outcome,
        store: &Store,
        directory: &Location,
        groups: &BTreeMap<DataKeyId, Group>,
        droppable: Option<(&Plan, SystemTime)>,
    ) -> Result<()> {
        self.progress.check()?;
        let present = sidecar::read(store, directory).await?;
        if let Some(reason) = &present.broken {
            outcome.notes.push(format!("{reason}; what can be read of it is kept, and all its keys are proven"));
        }
        let is_broken = present.broken.is_some();
        let mut drop = Vec::new();
        if let Some((plan, listed)) = droppable {
            drop.extend(present.entries.keys().filter(|id| !plan.needs(directory, **id)).copied());
            if !drop.is_empty() && !sidecar::is_settled(store, directory, listed).await? {
                drop.clear();
            }
        }
        let tasks = stream::iter(groups).map(|(id, group)| {
            let entry = present.entries.get(id).map(|entry| entry.section.as_slice());
            async move {
                let came =
                    self.progress.unless_stopped(self.data_key(*id, group, entry, self.again || is_broken)).await;
                let came = came.unwrap_or_else(|error| Err(failure(directory, 0, error)));
                self.progress.add(1);
                (*id, group, came)
            }
        });
        let mut tasks = tasks.buffer_unordered(DATA_KEYS);
        let (mut batch, mut all_renewed) = (BTreeMap::new(), true);
        // A sidecar is written as a whole each time: the more it holds, the more go into one batch.
        let enough = if is_broken { usize::MAX } else { BATCH.max(groups.len() / 8) };
        while let Some((id, group, came)) = tasks.next().await {
            match came {
                Ok(Came::Current) => outcome.current += 1,
                Ok(Came::Needed) => outcome.renewed += 1,
                Ok(Came::Renewed(renewed)) => {
                    outcome.failures.extend(forged(group, &renewed));
                    batch.insert(id, *renewed);
                }
                Err(failed) => {
                    all_renewed = false;
                    outcome.failures.push(failed);
                }
            }
            if batch.len() >= enough {
                self.write(outcome, store, (directory, groups), std::mem::take(&mut batch), &[]).await?;
            }
        }
        // Renewing may have taken hours.
        if droppable.is_some_and(|(_, listed)| !sidecar::is_fresh(listed)) {
            drop.clear();
        }
        if is_broken && !all_renewed {
            // What is left of it may be all that there is of what was not renewed.
            let error = Kind::State.error("it is damaged, and stays as it is: not all keys for it could be renewed");
            outcome.failures.push(failure(&sidecar_in(directory), 0, error));
        } else if self.dry_run {
            outcome.dropped = drop.len() as u64;
        } else if !(batch.is_empty() && drop.is_empty() && !is_broken) {
            self.write(outcome, store, (directory, groups), batch, &drop).await?;
            outcome.dropped = drop.len() as u64;
        }
        Ok(())
    }

    async fn write(
        &self,
        outcome: &mut Outcome,
        store: &Store,
        (directory, groups): (&Location, &BTreeMap<DataKeyId, Group>),
        batch: BTreeMap<DataKeyId, Renewed>,
        drop: &[DataKeyId],
    ) -> Result<()> {
        let variants = batch.keys().filter_map(|id| groups.get(id)).flat_map(|group| &group.variants);
        let examples = variants.map(|variant| &variant.example);
        if !batch.is_empty() && !any_left(store, directory, examples).await? {
            // Their directory is gone with them, and is not to come back by a sidecar in it.
            outcome.vanished += batch.len() as u64;
            return Ok(());
        }
        outcome.written |= sidecar::update(store, directory, &batch, drop).await?;
        outcome.renewed += batch.len() as u64;
        outcome.versions.extend(batch.into_values().flat_map(|renewed| renewed.versions));
        Ok(())
    }

    /// Looks at one data key, and wraps it anew where that is needed.
    async fn data_key(&self, id: DataKeyId, group: &Group, entry: Option<&[u8]>, again: bool) -> Result<Came, Failure> {
        let files = group.variants.iter().map(|variant| variant.files).sum();
        let mut failed = None;
        for variant in &group.variants {
            match self.patience.with(async || self.by(id, group, variant, entry, again).await).await {
                Ok(came) => return Ok(came),
                Err(error) => failed = failed.or(Some(failure(&variant.example, files, error))),
            }
        }
        failed.map_or(Ok(Came::Current), Err)
    }

    /// As one of the group says: by the sidecar's slots, or else by that file's own.
    async fn by(
        &self,
        id: DataKeyId,
        group: &Group,
        variant: &Variant,
        entry: Option<&[u8]>,
        again: bool,
    ) -> Result<Came> {
        let tenant = variant.tenant.as_str();
        let renewed_before = entry.map(|section| slots::parse(section).map(|slots| (slots, section))).transpose()?;
        let is_current = match &renewed_before {
            Some((slots, _)) => self.renewal.is_current(tenant, slots).await?,
            None => self.all_current(&group.variants).await?,
        };
        if is_current && !again {
            return Ok(Came::Current);
        }
        if self.dry_run {
            return Ok(Came::Needed);
        }
        if let Some((slots, section)) = renewed_before {
            match self.renewal.renew(id, tenant, &slots, section).await {
                Ok(renewed) => return Ok(Came::Renewed(Box::new(renewed))),
                Err(error) if error.may_pass() => return Err(error),
                Err(_) => {}
            }
        }
        let renewed = self.renewal.renew(id, tenant, &variant.slots()?, &variant.section).await?;
        Ok(Came::Renewed(Box::new(renewed)))
    }

    async fn all_current(&self, variants: &[Variant]) -> Result<bool> {
        for variant in variants {
            if !self.renewal.is_current(&variant.tenant, &variant.slots()?).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// True if one of these files is there yet, or else any that may be under the same data keys.
async fn any_left<'l>(
    store: &Store,
    directory: &Location,
    examples: impl Iterator<Item = &'l Location>,
) -> Result<bool> {
    for example in examples {
        if store.stat(example).await?.is_some() {
            return Ok(true);
        }
    }
    let mut listed = store.list(directory).await;
    while let Some(found) = listed.next().await {
        if !found?.location.name().starts_with(OURS) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What became of a data key.
enum Came {
    Current,
    /// It would be wrapped anew.
    Needed,
    Renewed(Box<Renewed>),
}

/// The files whose slots no holder of the data key wrote.
fn forged(group: &Group, renewed: &Renewed) -> Vec<Failure> {
    let forged = group.variants.iter().filter(|variant| !renewed.proves(&variant.section));
    let error =
        || Kind::Integrity.error("the key slots failed verification: another file has a good one for its data key");
    forged.map(|variant| failure(&variant.example, variant.files, error())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::StoreOptions;

    #[test]
    fn keys_are_written_while_any_file_is_left_that_may_need_them() {
        let folder = tempfile::tempdir().unwrap();
        let job = Location::of_path(folder.path()).unwrap();
        let store = Store::open(&job, &StoreOptions::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let gone = job.join("chk-1/a");
        let left = || runtime.block_on(any_left(&store, &job, [&gone].into_iter())).unwrap();
        fs::write(folder.path().join(".sealpoint-keys"), "").unwrap();
        assert!(!left(), "nothing but ours");
        fs::create_dir(folder.path().join("shared")).unwrap();
        assert!(!left(), "nothing but a directory");
        fs::write(folder.path().join("shared/1"), "").unwrap();
        assert!(left(), "another file under the same data key");
    }
}

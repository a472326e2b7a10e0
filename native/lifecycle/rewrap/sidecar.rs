//! The sidecar of one directory: read, changed against other writers, read back.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::plan::sidecar_in;
use crate::envelope::DataKeyId;
use crate::envelope::sidecar::{self, Entry};
use crate::error::{Kind, Result};
use crate::keys::{Renewed, Wrapping};
use crate::store::{Location, Replaced, Store, Version};

/// How often a change is tried again that somebody else came before.
const TRIES: usize = 100;
/// How long before a listing a sidecar must have been written for an entry to be taken for unneeded which no listed file
/// needs: an entry that is newer may be for a file that is. A clock of a store may be wrong by this much.
const SETTLED: Duration = Duration::from_secs(15 * 60);

/// What a sidecar holds.
#[derive(Debug, Default)]
pub struct Content {
    pub entries: BTreeMap<DataKeyId, Entry>,
    /// What is wrong with what was there, if not all of it could be read.
    pub broken: Option<String>,
    version: Option<Version>,
    bytes: Bytes,
}

/// Reads the sidecar of a directory; an empty one if there is none, and what can be read of a damaged one: it may be all
/// that still opens a file. One of a later version of the format is an error: it must not be overwritten.
pub async fn read(store: &Store, directory: &Location) -> Result<Content> {
    let location = sidecar_in(directory);
    let Some((bytes, version)) = store.read_versioned(&location).await? else { return Ok(Content::default()) };
    let version = Some(version);
    let (entries, sound) = sidecar::salvage(&bytes);
    let broken = match sound {
        Err(error) if error.kind() == Kind::UnsupportedVersion => {
            return Err(error.at(location).at("its keys were not renewed, use a newer release"));
        }
        sound => sound.err().map(|error| error.at(location).to_string()),
    };
    let entries = entries.into_iter().map(|entry| (entry.data_key_id, entry)).collect();
    Ok(Content { entries, broken, version, bytes })
}

/// True if entries of this sidecar that no file of a listing begun at `listed` needs, may go. A listing that took long tells
/// too little of the files that are there now.
pub async fn is_settled(store: &Store, directory: &Location, listed: SystemTime) -> Result<bool> {
    if !is_fresh(listed) {
        return Ok(false);
    }
    let there = store.stat(&sidecar_in(directory)).await?;
    Ok(there.is_some_and(|object| object.modified + SETTLED < listed))
}

/// True as long as a listing begun then says enough of the files that are there now.
pub fn is_fresh(listed: SystemTime) -> bool {
    listed.elapsed().is_ok_and(|spent| spent < SETTLED)
}

/// Puts what was renewed into the sidecar of a directory, takes out what `drop` names, and reads it back; true if anything
/// had to be written. Entries that somebody else wrote meanwhile stay.
pub async fn update(
    store: &Store,
    directory: &Location,
    renewed: &BTreeMap<DataKeyId, Renewed>,
    drop: &[DataKeyId],
) -> Result<bool> {
    let location = sidecar_in(directory);
    for _ in 0..TRIES {
        let present = read(store, directory).await?;
        let (expected, before) = (present.version.clone(), present.bytes.clone());
        let bytes = Bytes::from(merged(present, renewed, drop).map_err(|error| error.at(&location))?);
        if bytes == before {
            return Ok(false);
        }
        if store.replace(&location, expected, bytes.clone()).await? == Replaced::Changed {
            continue;
        }
        // What is there now was merged with ours by whoever wrote it, or it is ours. Each section in it that is ours was
        // seen to open before it was written.
        let there = read(store, directory).await?;
        if there.bytes == bytes || holds(&there, renewed) {
            return Ok(true);
        }
    }
    Err(Kind::Io.error(format_args!(
        "{location} was changed by others {TRIES} times while it was written: let one rewrap end before the next begins"
    )))
}

fn merged(present: Content, renewed: &BTreeMap<DataKeyId, Renewed>, drop: &[DataKeyId]) -> Result<Vec<u8>> {
    let mut entries = present.entries;
    entries.retain(|id, _| !drop.contains(id));
    for (id, renewed) in renewed {
        let section = match entries.get(id) {
            Some(other) => renewed.joined(&other.section)?,
            None => renewed.section.clone(),
        };
        entries.insert(*id, Entry::new(*id, section)?);
    }
    sidecar::encode(&entries.into_values().collect::<Vec<_>>())
}

/// True if all that was renewed is in it, alone or with what others added.
fn holds(there: &Content, renewed: &BTreeMap<DataKeyId, Renewed>) -> bool {
    renewed.iter().all(|(id, renewed)| {
        there.entries.get(id).is_some_and(|entry| {
            let has = |by: &Wrapping| entry.slots.iter().any(|slot| Wrapping::of(slot) == *by);
            renewed.proves(&entry.section) && renewed.versions.iter().all(has)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_took_long_or_is_of_another_clock_says_too_little() {
        let now = SystemTime::now();
        assert!(is_fresh(now - Duration::from_secs(1)));
        assert!(!is_fresh(now - SETTLED));
        assert!(!is_fresh(now + SETTLED), "the clock was put back");
    }
}

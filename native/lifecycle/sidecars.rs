//! Whether sidecars are well-formed, and give the keys that they say they give.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Problem, What};
use super::reach::Reach;
use crate::envelope::{DataKeyId, Head, Opener, sidecar};
use crate::error::{Kind, Result};
use crate::store::Location;

/// One sidecar.
#[derive(Debug)]
pub struct Sidecar {
    /// Where it is.
    pub location: Location,
    /// The data keys in it.
    pub entries: u64,
    /// Those among them that no file in reach uses: nothing was tried with them.
    pub unused: u64,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// The files that sidecars may have renewed slots for: one of each data key, and where sidecars may lie.
#[derive(Debug, Default)]
pub struct Heads {
    by_key: BTreeMap<DataKeyId, Head>,
    directories: BTreeSet<Location>,
}

impl Heads {
    /// A file with this head.
    pub fn add(&mut self, place: &Location, head: &Head) {
        self.by_key.entry(head.bound.data_key_id).or_insert_with(|| head.clone());
        let directory = place.parent();
        self.directories.extend(directory.as_ref().and_then(Location::parent));
        self.directories.extend(directory);
    }
}

/// Whether each file has a sidecar in its own reach where it needs one. In this process the sidecar of another directory may have
/// given its data key; a process that opens it first has none but its own.
pub struct Within<'a> {
    reach: &'a Reach,
    /// The data keys that each one's sidecar has, or why the store does not show it.
    directories: BTreeMap<Location, Result<BTreeSet<DataKeyId>>>,
}

impl<'a> Within<'a> {
    /// Of files that were opened through this.
    pub fn new(reach: &'a Reach) -> Within<'a> {
        Within { reach, directories: BTreeMap::new() }
    }

    /// A problem if the file can be opened only after another one.
    pub fn check(&mut self, place: &Location, id: DataKeyId) -> Option<Problem> {
        if !self.reach.is_renewed(id) {
            return None;
        }
        let above = place.parent();
        let mut unseen = None;
        for directory in [above.as_ref().and_then(Location::parent), above].into_iter().flatten() {
            match self.ids(&directory) {
                Ok(ids) if ids.contains(&id) => return None,
                Ok(_) => {}
                Err(error) => unseen = Some(error.clone()),
            }
        }
        if let Some(error) = unseen {
            return Some(What::Unchecked.problem(error.at(place)));
        }
        Some(What::Key.problem(Kind::KeyVersionNotFound.error(format_args!(
            "{place}: its own slots do not give its data key any more, and no {} in its directory or above does: the one of another \
             directory has it; run `sealpoint rewrap` over this one as well",
            sidecar::FILE_NAME
        ))))
    }

    fn ids(&mut self, directory: &Location) -> &Result<BTreeSet<DataKeyId>> {
        let reach = self.reach;
        self.directories.entry(directory.clone()).or_insert_with(|| {
            let bytes = reach.small(&directory.join(sidecar::FILE_NAME))?;
            // What is wrong with it is told where sidecars are checked.
            let entries = bytes.map(|bytes| sidecar::found(&bytes).0).unwrap_or_default();
            Ok(entries.iter().map(|entry| entry.data_key_id).collect())
        })
    }
}

/// Checks these sidecars and those that a reader of the files may come to.
pub fn check<'a>(reach: &Reach, heads: &Heads, listed: impl Iterator<Item = &'a Location>) -> Result<Vec<Sidecar>> {
    let mut places: BTreeSet<Location> = listed.cloned().collect();
    places.extend(heads.directories.iter().map(|directory| directory.join(sidecar::FILE_NAME)));
    let mut checked = Vec::new();
    for location in places {
        let found = match reach.small(&location) {
            Ok(None) => continue,
            Ok(Some(bytes)) => entries(reach, heads, &location, &bytes),
            Err(error) => Sidecar { entries: 0, unused: 0, problems: vec![error.into()], location },
        };
        checked.push(found);
    }
    Ok(checked)
}

fn entries(reach: &Reach, heads: &Heads, location: &Location, bytes: &[u8]) -> Sidecar {
    let mut found = Sidecar { location: location.clone(), entries: 0, unused: 0, problems: Vec::new() };
    let (entries, sound) = sidecar::found(bytes);
    found.problems.extend(sound.err().map(|error| error.at(location).into()));
    found.entries = entries.len() as u64;
    for entry in entries {
        let Some(head) = heads.by_key.get(&entry.data_key_id) else {
            found.unused += 1;
            continue;
        };
        let key = reach.engine().keys().unwrap_from(head, &entry.slots, &entry.section);
        if let Err(error) = key.and_then(|key| Opener::new(head, key.secret())) {
            let problem = Problem::from(error);
            let what = if problem.what == What::Unchecked { What::Unchecked } else { What::Key };
            found.problems.push(
                what.problem(problem.error.at(format_args!("{location}: the entry of data key {}", entry.data_key_id))),
            );
        }
    }
    found
}

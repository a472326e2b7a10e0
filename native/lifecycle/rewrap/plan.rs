//! Which data keys belong into which sidecar: as much memory as there are data keys, however many files.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::envelope::sidecar::FILE_NAME;
use crate::envelope::{DataKeyId, Slot, slots};
use crate::error::Result;
use crate::lifecycle::survey::Sealed;
use crate::store::Location;

/// The most slots sections, all different, that files under one data key may have: a genuine key has two or three.
const MOST_VARIANTS: usize = 16;

/// What is to be looked at, by directory of the sidecar.
#[derive(Debug, Default)]
pub struct Plan {
    pub directories: BTreeMap<Location, BTreeMap<DataKeyId, Group>>,
    /// The data keys of files in a directory or right below it: those that its sidecar is asked for.
    in_use: HashMap<Location, HashSet<DataKeyId>>,
}

/// The files under one data key that share a sidecar.
#[derive(Debug, Default)]
pub struct Group {
    pub variants: Vec<Variant>,
}

/// Files that say the same about their data key. Nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    pub tenant: String,
    pub section: Vec<u8>,
    pub files: u64,
    /// One of them.
    pub example: Location,
}

impl Plan {
    /// Takes note of a file; false if it says something else than too many others.
    #[must_use]
    pub fn add(&mut self, sealed: &Sealed) -> bool {
        let (location, bound) = (&sealed.object.location, &sealed.head.bound);
        let directory = location.parent().unwrap_or_else(|| location.clone());
        let group = self.directories.entry(home(&directory)).or_default().entry(bound.data_key_id).or_default();
        let section = sealed.head.slots_section();
        for directory in directory.parent().into_iter().chain([directory]) {
            self.in_use.entry(directory).or_default().insert(bound.data_key_id);
        }
        let same = |variant: &&mut Variant| variant.section == section && variant.tenant == bound.tenant;
        if let Some(known) = group.variants.iter_mut().find(same) {
            known.files += 1;
            return true;
        }
        if group.variants.len() == MOST_VARIANTS {
            return false;
        }
        group.variants.push(Variant {
            tenant: bound.tenant.clone(),
            section: section.to_vec(),
            files: 1,
            example: location.clone(),
        });
        true
    }

    /// True if a file needs this data key from the sidecar of this directory.
    pub fn needs(&self, directory: &Location, id: DataKeyId) -> bool {
        self.in_use.get(directory).is_some_and(|ids| ids.contains(&id))
    }

    /// How many data keys there are, once for each sidecar.
    pub fn data_keys(&self) -> u64 {
        self.directories.values().map(|groups| groups.len() as u64).sum()
    }
}

impl Variant {
    pub fn slots(&self) -> Result<Vec<Slot>> {
        slots::parse(&self.section)
    }
}

/// The sidecar of a directory.
pub fn sidecar_in(directory: &Location) -> Location {
    directory.join(FILE_NAME)
}

/// The directory whose sidecar holds the keys of the files of this one. Flink deletes `chk-N` when it has deleted the files
/// in it, and must find it empty then: the sidecar is one above, and so it is for `shared` and `taskowned` and, since
/// readers look no further up than that, for what Flink makes right below these.
fn home(directory: &Location) -> Location {
    let parent = directory.parent();
    let is_set = |name: &str| matches!(name, "shared" | "taskowned");
    let within_set = parent.as_ref().is_some_and(|parent| is_set(parent.name()));
    match parent {
        Some(parent) if is_checkpoint(directory.name()) || is_set(directory.name()) || within_set => parent,
        Some(_) | None => directory.clone(),
    }
}

fn is_checkpoint(name: &str) -> bool {
    name.strip_prefix("chk-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_into_a_directory_that_flink_deletes_by_itself() {
        for (directory, expected) in [
            ("/c/job/chk-12", "/c/job"),
            ("/c/job/shared", "/c/job"),
            ("/c/job/taskowned", "/c/job"),
            ("/c/job/shared/op-1", "/c/job/shared"),
            ("/c/job/taskowned/tm-1", "/c/job/taskowned"),
            ("/s/savepoint-1a", "/s/savepoint-1a"),
            ("/c/job/chk-", "/c/job/chk-"),
            ("/c/job/chk-1x", "/c/job/chk-1x"),
            ("/ha", "/ha"),
            ("/", "/"),
            ("/chk-1", "/"),
        ] {
            let location = |text: &str| Location::parse(text).unwrap();
            assert_eq!(home(&location(directory)), location(expected), "{directory}");
        }
        let bucket = Location::parse("s3://bucket/chk-3").unwrap();
        assert_eq!(sidecar_in(&home(&bucket)).to_string(), "s3://bucket/.sealpoint-keys");
    }
}

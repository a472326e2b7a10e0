//! Which files completed checkpoints and savepoints need, by their `_metadata`.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use futures_util::StreamExt;

use crate::error::{Error, Kind, Result};
use crate::flink::{self, Extent, METADATA, Reference};
use crate::lifecycle::Few;
use crate::lifecycle::problem::Problem;
use crate::lifecycle::progress::Progress;
use crate::lifecycle::reach::Reach;
use crate::lifecycle::sealed_file::{SealedFile, THROUGH};
use crate::lifecycle::survey::files;
use crate::store::{Location, Object, Store};

/// The files that are needed: eight bytes each, by a hash that nobody can foresee. If two share one, a file counts as
/// needed that is not; a needed one is never missed.
#[derive(Default)]
pub struct Live {
    hash: RandomState,
    files: HashSet<u64>,
    /// Checkpoints and savepoints that were read.
    pub checkpoints: u64,
    /// Those that could not be read: which files they need is not known.
    pub unread: Few<Error>,
}

/// Every `_metadata` at or below these places, and how many files there are to be looked at.
pub async fn metadata_in(store: &Store, roots: &[Location], progress: &Progress) -> (Vec<Object>, u64) {
    let (mut found, mut all) = (Vec::new(), 0);
    let mut listed = files(store, roots);
    while let Some(listed) = listed.next().await {
        progress.add(1);
        all += 1;
        // What cannot be listed is told when the files are looked at.
        found.extend(listed.ok().filter(|object| object.location.name() == METADATA));
    }
    found.sort_by(|a, b| a.location.cmp(&b.location));
    (found, all)
}

impl Live {
    /// Reads these `_metadata`.
    pub fn read(&mut self, reach: &Reach, metadata: Vec<Object>, progress: &Progress) -> Result<()> {
        let hash = self.hash.clone();
        let work = |object: Object| needed_by(reach, &object, &hash);
        reach.parallel(metadata, work, |needed| {
            progress.add(1);
            progress.check()?;
            match needed {
                Ok(needed) => {
                    self.checkpoints += 1;
                    self.files.extend(needed);
                }
                // Its checkpoint was deleted meanwhile.
                Err(problem) if problem.error.kind() == Kind::NotFound => {}
                Err(problem) => self.unread.push(problem.error),
            }
            Ok(())
        })
    }

    /// True if a checkpoint that was read needs this file.
    pub fn needs(&self, file: &Location) -> bool {
        self.files.contains(&hash_of(&self.hash, file))
    }
}

/// The hashes of the files that a checkpoint needs, its `_metadata` among them.
fn needed_by(reach: &Reach, metadata: &Object, hash: &RandomState) -> Result<Vec<u64>, Problem> {
    let place = &metadata.location;
    let directory = place.parent().unwrap_or_else(|| place.clone());
    let mut needed = vec![hash_of(hash, place)];
    let mut sealed = SealedFile::open(reach, metadata, THROUGH)?;
    let read = flink::read(sealed.reader(), |reference| {
        if reference.extent != Extent::Directory
            && let Some(file) = place_of(&directory, reference)
        {
            needed.push(hash_of(hash, &file));
        }
        Ok(())
    });
    read.map_err(|error| error.at(place))?;
    Ok(needed)
}

fn hash_of(hash: &RandomState, file: &Location) -> u64 {
    // Not the scheme itself: s3 and s3a are one store.
    hash.hash_one((file.kind(), file.authority(), file.key()))
}

/// Where a file of a checkpoint lies; none if it lies in a store that Sealpoint does not reach.
fn place_of(directory: &Location, reference: &Reference) -> Option<Location> {
    if reference.relative { Some(directory.join(&reference.path)) } else { Location::parse(&reference.path).ok() }
}

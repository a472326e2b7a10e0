//! Whether checkpoints are whole: every file that their metadata name is there, is the right one, and opens.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::{Checkpoint, Length};
use super::manifest::Manifest;
use super::problem::{Problem, What};
use super::reach::Reach;
use super::sealed_file::{ENDS, SealedFile, THROUGH};
use super::sidecars::{self, Sidecar, Within};
use super::survey::OURS;
use crate::envelope::{DataKeyId, Head, sidecar};
use crate::error::{Error, Kind, Result};
use crate::flink::METADATA;
use crate::store::{Location, Object};

/// What is read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    Through,
    /// Its head and its end: what lies between may be damaged.
    Ends,
}

/// What is made of the manifests of checkpoints. One that is there is always compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifests {
    /// A checkpoint without one is whole as well.
    Compare,
    /// A checkpoint without one is not whole.
    Require,
    /// A checkpoint without one, in which nothing is wrong, is given one.
    Write,
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Each checkpoint or savepoint, with what is wrong with it.
    pub checkpoints: Vec<Verdict>,
    /// Directories of checkpoints that have no `_metadata`: they were never completed, or are being written.
    pub unfinished: Vec<Location>,
    /// Sealed or not, files that no checkpoint here needs: of one that is being written or was given up, of an older one
    /// that is gone, or put there by somebody.
    pub unreferenced: Vec<Location>,
    /// The sidecars that files here may be opened by, with what is wrong with them.
    pub sidecars: Vec<Sidecar>,
    /// Files that were verified, each once however many checkpoints need it.
    pub files: u64,
    /// The plaintext in them.
    pub bytes: u64,
}

/// One checkpoint or savepoint.
#[derive(Debug)]
pub struct Verdict {
    /// Its directory.
    pub directory: Location,
    /// Its number, if its metadata could be read.
    pub checkpoint_id: Option<u64>,
    /// The files that it needs, `_metadata` included.
    pub files: u64,
    /// Those of them that have no end, in a directory that Flink merges files into: whole as far as the checkpoint needs.
    pub open_ended: u64,
    /// Whether there is a manifest, so that a file replaced by an older one of its name would have been noticed.
    pub manifest: bool,
    /// What is wrong, each file once.
    pub problems: Vec<Problem>,
}

impl Verified {
    /// True if nothing is wrong, as far as it could be found out.
    pub fn is_whole(&self) -> bool {
        self.problems().next().is_none()
    }

    /// True if it could not be found out whether something is wrong.
    pub fn is_incomplete(&self) -> bool {
        self.problems().any(|problem| problem.what == What::Unchecked)
    }

    fn problems(&self) -> impl Iterator<Item = &Problem> {
        let of_checkpoints = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.problems);
        of_checkpoints.chain(self.sidecars.iter().flat_map(|sidecar| &sidecar.problems))
    }
}

/// Verifies every checkpoint and savepoint at or below `root`, a directory or a `_metadata`, and what they need wherever
/// it lies. Memory grows with the number of files, not with what is in them.
pub fn verify(reach: &Reach, root: &Location, depth: Depth, manifests: Manifests) -> Result<Verified> {
    let root = if root.name() == METADATA { root.parent().unwrap_or_else(|| root.clone()) } else { root.clone() };
    let listed = reach.list(&root)?;
    let metadata: Vec<&Object> = listed.iter().filter(|object| object.location.name() == METADATA).collect();
    if metadata.is_empty() {
        return Err(Kind::NotFound.error(format_args!(
            "{root}: no {METADATA} at or below it: give the directory of a checkpoint, a savepoint, or a job"
        )));
    }
    let mut found = Verified { unfinished: unfinished(&root, &listed), ..Verified::default() };
    let mut loaded = Vec::new();
    reach.parallel(
        metadata,
        |object| (object, Checkpoint::load(reach, object)),
        |result| {
            loaded.push(result);
            Ok(())
        },
    )?;
    loaded.sort_by(|(a, _), (b, _)| a.location.cmp(&b.location));

    let needs = needs(&loaded);
    let size = |place: &&Location| object_at(&listed, place).map_or(0, |object| object.size);
    reach.progress().begin_bytes("verifying", "files", needs.len() as u64, needs.keys().map(size).sum());
    let (mut results, mut heads) = (BTreeMap::new(), sidecars::Heads::default());
    let check = |(place, length)| (place, check(reach, object_at(&listed, place), place, length, depth));
    reach.parallel(needs.iter().map(|(place, length)| (*place, *length)), check, |(place, result)| {
        reach.progress().add(1);
        let result = result.map(|(head, seen)| {
            heads.add(place, &head);
            seen
        });
        results.insert(place, result);
        Ok(())
    })?;

    let mut within = Within::new(reach);
    for (place, result) in &mut results {
        if let Some(problem) = result.as_ref().ok().and_then(|file| within.check(place, file.data_key_id)) {
            *result = Err(problem);
        }
        if let Ok(file) = result {
            found.files += 1;
            found.bytes += file.plaintext;
        }
    }
    for (object, checkpoint) in &loaded {
        let unopened = checkpoint.as_ref().ok().and_then(|checkpoint| {
            heads.add(&object.location, &checkpoint.metadata_head);
            found.files += 1;
            found.bytes += checkpoint.metadata_len;
            within.check(&object.location, checkpoint.metadata_head.bound.data_key_id)
        });
        found.checkpoints.push(verdict(reach, object, checkpoint, unopened, &results, manifests)?);
    }
    let places = listed.iter().map(|object| &object.location);
    found.sidecars = sidecars::check(reach, &heads, places.clone().filter(|place| place.name() == sidecar::FILE_NAME))?;
    let referenced = |place: &Location| needs.contains_key(place) || place.name() == METADATA || is_ours(place);
    found.unreferenced = places.filter(|place| !referenced(place)).cloned().collect();
    Ok(found)
}

fn object_at<'l>(listed: &'l [Object], place: &Location) -> Option<&'l Object> {
    listed.binary_search_by(|object| object.location.cmp(place)).ok().map(|at| &listed[at])
}

/// Every file that one of the checkpoints needs, with what all of them need of it.
fn needs<'c>(loaded: &'c [(&Object, Result<Checkpoint, Problem>)]) -> BTreeMap<&'c Location, Length> {
    let mut needs = BTreeMap::new();
    for checkpoint in loaded.iter().filter_map(|(_, checkpoint)| checkpoint.as_ref().ok()) {
        for (place, length) in &checkpoint.files {
            let known = needs.entry(place).or_insert(*length);
            // Two checkpoints that contradict each other: the file is read, and each compares its own length.
            *known = known.and(*length).unwrap_or(Length::Any);
        }
    }
    needs
}

/// What reading a file showed, beside its head. There is one for each file.
struct Seen {
    data_key_id: DataKeyId,
    /// By which a manifest knows the file.
    commitment: [u8; 32],
    sealed_len: u64,
    /// Its verified length, or as far as it was verified.
    plaintext: u64,
    /// False if it has no end.
    ended: bool,
}

fn check(
    reach: &Reach,
    listed: Option<&Object>,
    place: &Location,
    needed: Length,
    depth: Depth,
) -> Result<(Head, Seen), Problem> {
    let object = match listed {
        Some(object) => object.clone(),
        None => reach.stat(place)?.ok_or_else(|| missing(place))?,
    };
    let named = |error: Error| if error.message().starts_with(&place.to_string()) { error } else { error.at(place) };
    let mut file = SealedFile::open(reach, &object, if depth == Depth::Through { THROUGH } else { ENDS })?;
    let merged = match needed {
        Length::AtLeast(least) => Some(least),
        Length::Exactly(_) | Length::Any => None,
    };
    let read = match depth {
        Depth::Through => read_through(reach, &mut file),
        Depth::Ends => file.length(),
    };
    let seen = |plaintext, ended, head: Head| {
        let (data_key_id, commitment) = (head.bound.data_key_id, *head.commitment());
        (head, Seen { data_key_id, commitment, sealed_len: object.size, plaintext, ended })
    };
    match (read, merged) {
        (Ok(plaintext), _) => Ok(seen(plaintext, true, file.head)),
        (Err(error), Some(least)) if error.kind() == Kind::Truncated => {
            let enough = match depth {
                Depth::Through => file.position() >= least,
                // Sealed bytes are more than plain ones.
                Depth::Ends => object.size >= least,
            };
            if !enough {
                return Err(What::Truncated.problem(named(error)));
            }
            let plaintext = if depth == Depth::Through { file.position() } else { least };
            Ok(seen(plaintext, false, file.head))
        }
        (Err(error), _) => Err(named(error).into()),
    }
}

fn read_through(reach: &Reach, file: &mut SealedFile<'_>) -> Result<u64> {
    let mut block = vec![0; THROUGH as usize];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(file.position()),
            read => reach.progress().add_bytes(read as u64),
        }
    }
}

fn missing(place: &Location) -> Problem {
    What::Missing
        .problem(Kind::NotFound.error(format_args!("{place}: the metadata name it, and there is no such file")))
}

fn verdict(
    reach: &Reach,
    metadata: &Object,
    checkpoint: &Result<Checkpoint, Problem>,
    unopened: Option<Problem>,
    results: &BTreeMap<&Location, Result<Seen, Problem>>,
    manifests: Manifests,
) -> Result<Verdict> {
    let directory = metadata.location.parent().unwrap_or_else(|| metadata.location.clone());
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(problem) => {
            let problems = vec![problem.clone()];
            return Ok(Verdict { directory, checkpoint_id: None, files: 1, open_ended: 0, manifest: false, problems });
        }
    };
    let mut problems: Vec<Problem> = checkpoint.problems.iter().cloned().chain(unopened).collect();
    let mut open_ended = 0;
    let mut seen = vec![(&metadata.location, metadata.size, checkpoint.metadata_head.commitment(), false)];
    for (place, length) in &checkpoint.files {
        match results.get(place) {
            Some(Ok(file)) => {
                open_ended += u64::from(!file.ended);
                problems.extend(wrong_length(place, *length, file));
                seen.push((place, file.sealed_len, &file.commitment, !file.ended));
            }
            Some(Err(problem)) => problems.push(problem.clone()),
            None => problems.push(missing(place)),
        }
    }
    let manifest = match Manifest::read(reach, &directory) {
        Ok(Some(manifest)) => {
            let replaced = seen.iter().filter_map(|(place, len, id, _)| manifest.check(&directory, place, *len, id));
            problems.extend(replaced);
            true
        }
        Ok(None) if manifests == Manifests::Write && problems.is_empty() => {
            let mut manifest = Manifest::default();
            for (place, len, commitment, grows) in seen {
                manifest.add(&directory, place, len, commitment, grows);
            }
            manifest.write(reach, &directory)?;
            true
        }
        Ok(None) => {
            if manifests == Manifests::Require {
                problems.push(Manifest::missing(&directory));
            }
            false
        }
        Err(problem) => {
            problems.push(problem);
            true
        }
    };
    Ok(Verdict {
        directory,
        checkpoint_id: Some(checkpoint.summary.checkpoint_id),
        files: 1 + checkpoint.files.len() as u64,
        open_ended,
        manifest,
        problems,
    })
}

fn wrong_length(place: &Location, needed: Length, seen: &Seen) -> Option<Problem> {
    let (what, needed) = match needed {
        Length::Exactly(length) if seen.plaintext < length => (What::Truncated, length),
        Length::Exactly(length) if seen.plaintext > length => (What::Length, length),
        Length::AtLeast(length) if seen.plaintext < length => (What::Truncated, length),
        Length::Exactly(_) | Length::AtLeast(_) | Length::Any => return None,
    };
    Some(what.problem(Kind::Integrity.error(format_args!(
        "{place}: it holds {} bytes, and the metadata need {needed}: it is another file of that name",
        seen.plaintext
    ))))
}

/// Directories that Flink names as those of checkpoints, and in which there is none.
fn unfinished(root: &Location, listed: &[Object]) -> Vec<Location> {
    let mut without: BTreeSet<Location> = BTreeSet::new();
    for object in listed {
        let mut above = object.location.parent();
        while let Some(directory) = above.filter(|directory| directory.below(root).is_some()) {
            if directory.name().strip_prefix("chk-").is_some_and(|number| number.parse::<u64>().is_ok()) {
                without.insert(directory.clone());
            }
            above = directory.parent();
        }
    }
    without.into_iter().filter(|directory| object_at(listed, &directory.join(METADATA)).is_none()).collect()
}

/// Files of Sealpoint's own beside the state.
fn is_ours(place: &Location) -> bool {
    place.name().starts_with(OURS)
}

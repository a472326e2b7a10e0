//! A checkpoint or savepoint: its `_metadata`, and what it needs of which files.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Problem, What};
use super::reach::Reach;
use super::sealed_file::{SealedFile, THROUGH};
use crate::envelope::Head;
use crate::error::{Error, Kind, Result};
use crate::flink::{self, Extent, METADATA, Reference, Summary};
use crate::store::{Location, Object};

/// What a checkpoint consists of, by its `_metadata`.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its directory.
    pub directory: Location,
    /// What the metadata say besides.
    pub summary: Summary,
    /// The head of `_metadata`, proven.
    pub metadata_head: Head,
    /// The bytes of plaintext in `_metadata` itself.
    pub metadata_len: u64,
    /// The files that it needs besides `_metadata`.
    pub files: BTreeMap<Location, Length>,
    /// The directories of merged files that it names.
    pub directories: BTreeSet<Location>,
    /// References that lead nowhere.
    pub problems: Vec<Problem>,
}

/// How much plaintext a file must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// This, to its end.
    Exactly(u64),
    /// This at least, and it may have no end: Flink merges parts into it and goes on, or was killed.
    AtLeast(u64),
    /// The metadata do not say; it is read to its end.
    Any,
}

impl Checkpoint {
    /// Reads the `_metadata` of a checkpoint, to its verified end.
    pub fn load(reach: &Reach, metadata: &Object) -> Result<Checkpoint, Problem> {
        let directory = metadata.location.parent().unwrap_or_else(|| metadata.location.clone());
        let (mut files, mut directories) = (BTreeMap::new(), BTreeSet::new());
        let mut problems = Vec::new();
        let mut sealed = SealedFile::open(reach, metadata, THROUGH)?;
        let summary = flink::read(sealed.reader(), |reference| {
            match place(&directory, reference) {
                Ok(place) if reference.extent == Extent::Directory => {
                    directories.insert(place);
                }
                Ok(place) => {
                    let needed = Length::of(reference.extent);
                    let known = files.entry(place.clone()).or_insert(needed);
                    *known = known.and(needed).ok_or_else(|| {
                        Kind::Malformed.error(format_args!("the metadata name {place} with two different lengths"))
                    })?;
                }
                Err(problem) => problems.push(problem),
            }
            Ok(())
        })
        .map_err(|error| error.at(&metadata.location))?;
        let metadata_len = sealed.position();
        Ok(Checkpoint { directory, summary, metadata_head: sealed.head, metadata_len, files, directories, problems })
    }

    /// Where its `_metadata` is.
    pub fn metadata(&self) -> Location {
        self.directory.join(METADATA)
    }
}

impl Length {
    fn of(extent: Extent) -> Length {
        match extent {
            Extent::Whole(length) => Length::Exactly(length),
            Extent::Segment { start, length } => Length::AtLeast(start + length),
            Extent::Unsized | Extent::Directory => Length::Any,
        }
    }

    /// What satisfies both, if anything does.
    pub fn and(self, other: Length) -> Option<Length> {
        match (self, other) {
            (Length::Exactly(one), Length::Exactly(two)) => (one == two).then_some(self),
            (Length::Exactly(exactly), Length::AtLeast(least)) | (Length::AtLeast(least), Length::Exactly(exactly)) => {
                (exactly >= least).then_some(Length::Exactly(exactly))
            }
            (Length::AtLeast(one), Length::AtLeast(two)) => Some(Length::AtLeast(one.max(two))),
            (Length::Any, known) | (known, Length::Any) => Some(known),
        }
    }
}

/// Where the file of a reference lies; a problem if nobody should look there.
pub fn place(directory: &Location, reference: &Reference) -> Result<Location, Problem> {
    let path = &reference.path;
    let refused = |why: &str| {
        let text = format_args!("{}: its metadata name '{}': {why}", directory.join(METADATA), path.escape_debug());
        What::Reference.problem(Kind::Malformed.error(text))
    };
    if reference.relative {
        // Flink's Path would follow these to wherever they lead.
        let leads_away = path.starts_with('/') || path.contains(':') || path.split('/').any(|part| part == "..");
        return if leads_away { Err(refused("it leads out of its directory")) } else { Ok(directory.join(path)) };
    }
    if !path.starts_with(SEALED) {
        return Err(What::Plaintext.problem(Kind::NotSealed.error(format_args!(
            "{}: its metadata name '{}', which is no sealed path: Flink would read the file as plaintext",
            directory.join(METADATA),
            path.escape_debug()
        ))));
    }
    let place = Location::parse(path).map_err(|error| What::Unchecked.problem(at(directory, error)))?;
    // A store that has two schemes (s3, s3a) is one store, and a file in it one file.
    Ok(if place.same_store(directory) { top(directory).join(place.key()) } else { place })
}

/// How sealed paths begin.
pub const SEALED: &str = "sealed+";

fn top(place: &Location) -> Location {
    let mut top = place.clone();
    while let Some(parent) = top.parent() {
        top = parent;
    }
    top
}

fn at(directory: &Location, error: Error) -> Error {
    error.at(directory.join(METADATA))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flink::Role;

    fn reference(path: &str, relative: bool) -> Reference {
        Reference { role: Role::Keyed, extent: Extent::Whole(1), path: path.to_owned(), relative, span: 0..0 }
    }

    #[test]
    fn a_relative_path_stays_in_its_directory() {
        let directory = Location::parse("s3://b/job/chk-1").unwrap();
        let found = |path: &str| place(&directory, &reference(path, true));
        assert_eq!(found("uuid").unwrap().to_string(), "s3://b/job/chk-1/uuid");
        for bad in ["../shared/x", "/etc/passwd", "file:///etc/passwd", "a/../../b"] {
            assert_eq!(found(bad).unwrap_err().what, What::Reference, "{bad}");
        }
    }

    #[test]
    fn an_absolute_path_is_a_sealed_one_that_can_be_reached() {
        let directory = Location::parse("/job/chk-1").unwrap();
        let found = |path: &str| place(&directory, &reference(path, false)).map(|place| place.to_string());
        assert_eq!(found("sealed+file:/job/shared/x y%20").unwrap(), "file:///job/shared/x y%20");
        let bucket = Location::parse("s3://b/job/chk-1").unwrap();
        let other_name = place(&bucket, &reference("sealed+s3a://b/job/shared/x", false)).unwrap();
        assert_eq!(other_name.to_string(), "s3://b/job/shared/x");
        assert_eq!(found("file:/job/shared/x").unwrap_err().what, What::Plaintext);
        assert_eq!(found("sealed+hdfs://name/x").unwrap_err().what, What::Unchecked);
    }

    #[test]
    fn two_needs_of_one_file_are_met_together_or_contradict_each_other() {
        use Length::{Any, AtLeast, Exactly};
        for (one, two, both) in [
            (Exactly(5), Exactly(5), Some(Exactly(5))),
            (Exactly(5), Exactly(6), None),
            (Exactly(5), AtLeast(4), Some(Exactly(5))),
            (Exactly(5), AtLeast(6), None),
            (AtLeast(5), AtLeast(6), Some(AtLeast(6))),
            (Any, Exactly(5), Some(Exactly(5))),
            (Any, Any, Some(Any)),
        ] {
            assert_eq!((one.and(two), two.and(one)), (both, both), "{one:?} {two:?}");
        }
    }
}

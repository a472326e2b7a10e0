//! The manifest of a checkpoint: which sealed file, exactly, each name stood for. Names alone do not tell a file from an
//! older one of the same name and tenant. docs/FORMAT.md is its normative text.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufReader, ErrorKind, Read};

use super::checkpoint::SEALED;
use super::problem::{Problem, What};
use super::reach::Reach;
use super::sealed_file::{SealedFile, THROUGH};
use super::sealed_writer::SealedWriter;
use crate::error::{Error, Kind, Result};
use crate::store::Location;

/// The name of the manifest in a checkpoint's directory, and its subject.
pub const FILE_NAME: &str = ".sealpoint-manifest";

const MAGIC: [u8; 8] = *b"SEALMAN\n";
const VERSION: u8 = 1;
/// The longest path in it.
const MAX_PATH: usize = 4096;

/// What a manifest says of the files of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    entries: BTreeMap<String, Entry>,
}

/// One sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The bytes of the sealed file; those that it has at least if it grows.
    pub sealed_len: u64,
    /// The commitment in its head, which no two files share.
    pub commitment: [u8; 32],
    /// Flink merges others into it: it may become longer.
    pub grows: bool,
}

impl Manifest {
    /// Takes a file in.
    pub fn add(&mut self, directory: &Location, place: &Location, sealed_len: u64, commitment: &[u8; 32], grows: bool) {
        self.insert(name(directory, place), Entry { sealed_len, commitment: *commitment, grows });
    }

    /// Takes a file in by its name, which is one of [`Names`].
    pub fn insert(&mut self, name: String, entry: Entry) {
        self.entries.insert(name, entry);
    }

    /// How many files are in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is wrong with a file, by this manifest of its checkpoint.
    pub fn check(
        &self,
        directory: &Location,
        place: &Location,
        sealed_len: u64,
        commitment: &[u8; 32],
    ) -> Option<Problem> {
        self.check_named(&name(directory, place), place, sealed_len, commitment)
    }

    /// The same by a name, which is one of [`Names`], of a file that messages call `place`.
    pub fn check_named(
        &self,
        name: &str,
        place: impl fmt::Display,
        sealed_len: u64,
        commitment: &[u8; 32],
    ) -> Option<Problem> {
        let replaced = |why: &str| {
            Some(
                What::Replaced
                    .problem(Kind::Integrity.error(format_args!("{place}: {why} the manifest was written over"))),
            )
        };
        let Some(entry) = self.entries.get(name) else {
            return replaced("it is not among the files that");
        };
        if entry.commitment != *commitment {
            return replaced("it is another sealed file of that name than the one that");
        }
        // A file that still grew may be longer. Whatever is shorter was cut, which reading it shows unless it has no end.
        let as_long = if entry.grows { sealed_len >= entry.sealed_len } else { sealed_len == entry.sealed_len };
        if as_long { None } else { replaced("it has not the length of the one that") }
    }

    /// The manifest in a checkpoint's directory, if there is one.
    pub fn read(reach: &Reach, directory: &Location) -> Result<Option<Manifest>, Problem> {
        let location = directory.join(FILE_NAME);
        let Some(object) = reach.stat(&location)? else { return Ok(None) };
        let mut file = SealedFile::open(reach, &object, THROUGH)?;
        if file.head.bound.subject.as_deref() != Some(FILE_NAME) {
            let error = Kind::Integrity.error(format_args!("{location}: it was not sealed as a manifest"));
            return Err(What::Swapped.problem(error));
        }
        Ok(Some(decode(file.reader()).map_err(|error| error.at(&location))?))
    }

    /// That there must be one in a checkpoint's directory, and is none.
    pub fn missing(directory: &Location) -> Problem {
        let location = directory.join(FILE_NAME);
        What::Missing.problem(Kind::NotFound.error(format_args!(
            "{location}: there is no manifest, and one is required. If there was one, somebody deleted it. If there never was, and you trust what lies there, `sealpoint verify --write-manifest` gives it one"
        )))
    }

    /// Writes it into the checkpoint's directory, in the place of one that is there.
    pub fn write(&self, reach: &Reach, directory: &Location) -> Result<()> {
        let mut writer = SealedWriter::new(reach, &directory.join(FILE_NAME), Some(FILE_NAME))?;
        self.encode(|bytes| writer.append(bytes))?;
        writer.finish().map(drop)
    }

    /// Its plaintext.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode(|more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads its plaintext.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest> {
        decode(bytes)
    }

    fn encode(&self, mut put: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        put(&MAGIC)?;
        put(&[VERSION, 0, 0, 0])?;
        put(&(self.entries.len() as u64).to_be_bytes())?;
        for (path, entry) in &self.entries {
            let length = u16::try_from(path.len()).ok().filter(|length| usize::from(*length) <= MAX_PATH);
            let length = length.ok_or_else(|| {
                Kind::InvalidArgument.error(format_args!("a manifest cannot hold a path of {} bytes", path.len()))
            })?;
            put(&length.to_be_bytes())?;
            put(path.as_bytes())?;
            put(&[u8::from(entry.grows)])?;
            put(&entry.sealed_len.to_be_bytes())?;
            put(&entry.commitment)?;
        }
        Ok(())
    }
}

/// A file of the checkpoint's own directory by its name there, so that the directory may be moved; another by its URI.
fn name(directory: &Location, place: &Location) -> String {
    place.below(directory).map_or_else(|| place.canonical().uri(), str::to_owned)
}

/// The names of files in the manifest of one checkpoint, by paths as Flink gives them. Of a store that cannot be reached
/// from here (HDFS, say) a path is taken as it is.
pub struct Names {
    directory: Option<Location>,
    text: String,
}

impl Names {
    /// Of the checkpoint in this directory.
    pub fn below(directory: &str) -> Names {
        Names { directory: Location::parse(directory).ok(), text: plain(directory).to_owned() }
    }

    /// The name of the file at this path.
    pub fn of(&self, path: &str) -> String {
        match (&self.directory, Location::parse(path)) {
            (Some(directory), Ok(place)) => name(directory, &place),
            (None, Ok(place)) => place.canonical().uri(),
            (_, Err(_)) => {
                let path = plain(path);
                path.strip_prefix(&self.text).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path).to_owned()
            }
        }
    }
}

fn plain(path: &str) -> &str {
    path.strip_prefix(SEALED).unwrap_or(path)
}

fn decode(source: impl Read) -> Result<Manifest> {
    let mut source = BufReader::new(source);
    if array(&mut source)? != MAGIC {
        return Err(malformed("it does not begin with the magic of one"));
    }
    match array::<4>(&mut source)? {
        [VERSION, 0, 0, 0] => {}
        [VERSION, ..] => return Err(malformed("its reserved bytes are not zero")),
        [version, ..] => {
            return Err(
                Kind::UnsupportedVersion.error(format_args!("the manifest has version {version}: use a newer release"))
            );
        }
    }
    let count = u64::from_be_bytes(array(&mut source)?);
    let mut manifest = Manifest::default();
    // The count reserves nothing: a hostile one runs into the end of the bytes.
    for _ in 0..count {
        let length = usize::from(u16::from_be_bytes(array(&mut source)?));
        if length > MAX_PATH {
            return Err(malformed("a path is longer than the format allows"));
        }
        let mut path = vec![0; length];
        read(&mut source, &mut path)?;
        let path = String::from_utf8(path).map_err(|_| malformed("a path is not UTF-8"))?;
        let grows = match array::<1>(&mut source)? {
            [0] => false,
            [1] => true,
            [_] => return Err(malformed("a flag is neither 0 nor 1")),
        };
        let entry =
            Entry { grows, sealed_len: u64::from_be_bytes(array(&mut source)?), commitment: array(&mut source)? };
        if manifest.entries.last_key_value().is_some_and(|(last, _)| *last >= path) {
            return Err(malformed("its entries are not in ascending order"));
        }
        manifest.entries.insert(path, entry);
    }
    let mut more = [0];
    match source.read(&mut more) {
        Ok(0) => Ok(manifest),
        Ok(_) => Err(malformed("bytes follow its last entry")),
        Err(error) => Err(Error::io("read the manifest", &error)),
    }
}

fn array<const N: usize>(source: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    read(source, &mut bytes).map(|()| bytes)
}

fn read(source: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => malformed("it ends early"),
        _ => Error::io("read the manifest", &error),
    })
}

fn malformed(what: &str) -> Error {
    Kind::Malformed.error(format_args!("the manifest is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |grows| Entry { sealed_len: 7, commitment: [3; 32], grows };
        let paths = ["_metadata", "s3://bucket/shared/é", "uuid"];
        Manifest { entries: paths.iter().enumerate().map(|(at, path)| ((*path).to_owned(), entry(at == 1))).collect() }
    }

    #[test]
    fn a_manifest_reads_back_and_no_cut_or_extra_byte_does() {
        for manifest in [Manifest::default(), manifest()] {
            let bytes = manifest.to_bytes().unwrap();
            assert_eq!(decode(&bytes[..]).unwrap(), manifest);
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]).unwrap_err().kind(), Kind::Malformed, "cut at {cut}");
            }
            assert_eq!(decode(&[&bytes[..], &[0]].concat()[..]).unwrap_err().kind(), Kind::Malformed);
        }
    }

    #[test]
    fn a_file_has_one_name_however_its_store_and_its_directory_are_spelled() {
        for (directory, path, expected) in [
            ("sealed+file:/job/chk-1", "sealed+file:/job/chk-1/a", "a"),
            ("file:///job/chk-1", "sealed+file:/job/chk-1/tm/a", "tm/a"),
            ("/job/chk-1", "sealed+file:/job/shared/x y", "file:///job/shared/x y"),
            ("sealed+s3a://b/job/chk-1", "sealed+s3://b/job/chk-1/a", "a"),
            ("s3a://b/job/chk-1", "sealed+s3a://b/job/shared/a", "s3://b/job/shared/a"),
            ("s3://b/job/chk-1", "sealed+s3a://b/job/chk-10/a", "s3://b/job/chk-10/a"),
            ("abfss://c@a.host/chk-1", "abfss://c@a.host/shared/a", "abfs://c@a.host/shared/a"),
            ("sealed+hdfs://nn:8020/job/chk-1", "sealed+hdfs://nn:8020/job/chk-1/a", "a"),
            ("sealed+hdfs://nn:8020/job/chk-1", "sealed+hdfs://nn:8020/job/chk-10", "hdfs://nn:8020/job/chk-10"),
            ("sealed+hdfs://nn:8020/job/chk-1", "sealed+s3a://b/shared/a", "s3://b/shared/a"),
        ] {
            assert_eq!(Names::below(directory).of(path), expected, "{directory} {path}");
        }
    }

    #[test]
    fn order_flags_versions_and_lengths_are_checked() {
        let good = manifest().to_bytes().unwrap();
        let kind_with = |at: usize, value: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + value.len()].copy_from_slice(value);
            decode(&bad[..]).unwrap_err().kind()
        };
        assert_eq!(kind_with(0, b"SEALKEY\n"), Kind::Malformed);
        assert_eq!(kind_with(8, &[2]), Kind::UnsupportedVersion);
        assert_eq!(kind_with(9, &[1]), Kind::Malformed);
        assert_eq!(kind_with(12, &u64::MAX.to_be_bytes()), Kind::Malformed);
        assert_eq!(kind_with(20, &[0xff, 0xff]), Kind::Malformed);
        assert_eq!(kind_with(22, b"z"), Kind::Malformed);
        assert_eq!(kind_with(31, &[2]), Kind::Malformed);
    }
}

//! One sealed file of a store, read in constant memory.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::problem::{Problem, What};
use super::reach::Reach;
use crate::envelope::{Head, sidecar};
use crate::error::{Error, Kind, Result};
use crate::flink;
use crate::store::{Location, Object};
use crate::stream::{OpenStream, ReadAt, read_head};

/// How much is asked of a store at once where a file is read through.
pub const THROUGH: u64 = 1024 * 1024;
/// The same where only its head and its end are read.
pub const ENDS: u64 = 4096;

/// A sealed file whose head is proven. Only verified bytes come out of it.
pub struct SealedFile<'a> {
    /// What its head says.
    pub head: Head,
    stream: OpenStream<Blocks<'a>>,
    size: u64,
}

impl<'a> SealedFile<'a> {
    /// Opens a file that lies where its name says: one that was sealed under another name is refused. `block` is
    /// [`THROUGH`] or [`ENDS`].
    pub fn open(reach: &'a Reach, object: &Object, block: u64) -> Result<SealedFile<'a>, Problem> {
        let location = &object.location;
        let named = |error: Error| error.at(location);
        let mut source = blocks(reach, object, block)?;
        let (_, head) = read_head(&mut source).map_err(named)?;
        let mut beside = |place| {
            reach.needs_sidecar(head.bound.data_key_id);
            beside(reach, location, place)
        };
        let uri = location.uri();
        let opening = reach.with_key(|| reach.engine().opener_beside(&head, &uri, None, &mut beside))?;
        check_name(&head, location.name()).map_err(|error| What::Swapped.problem(named(error)))?;
        Ok(SealedFile { head, stream: OpenStream::new(source, opening), size: object.size })
    }

    /// What the head of a file says, proven by nothing.
    pub fn head(reach: &Reach, object: &Object) -> Result<Head> {
        let location = &object.location;
        read_head(&mut blocks(reach, object, ENDS)?).map(|(_, head)| head).map_err(|error| error.at(location))
    }

    /// The next bytes of plaintext; 0 only at the verified end.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        self.stream.read(out)
    }

    /// The bytes of plaintext read so far.
    pub fn position(&self) -> u64 {
        self.stream.position()
    }

    /// The length of the plaintext, from the verified end.
    pub fn length(&mut self) -> Result<u64> {
        self.stream.length(self.size)
    }

    /// The same as a stream of the standard library.
    pub fn reader(&mut self) -> &mut impl io::Read {
        &mut self.stream
    }
}

/// Refuses a file that was sealed under another name than it has, or under none where it would have been given one.
fn check_name(head: &Head, name: &str) -> Result<()> {
    match &head.bound.subject {
        Some(_) => head.bound.check_subject(name),
        None if flink::names_are_bound(name) => Err(Kind::Integrity.error(format_args!(
            "the file is bound to no name and lies where one bound to '{name}' belongs: it was put there from elsewhere"
        ))),
        None => Ok(()),
    }
}

/// The sidecar of a file's directory, or of the one above.
fn beside(reach: &Reach, file: &Location, place: sidecar::Place) -> Result<Option<Vec<u8>>> {
    let directory = match place {
        sidecar::Place::Directory => file.parent(),
        sidecar::Place::Parent => file.parent().and_then(|directory| directory.parent()),
    };
    let Some(directory) = directory else { return Ok(None) };
    Ok(reach.small(&directory.join(sidecar::FILE_NAME))?.map(Vec::from))
}

fn blocks<'a>(reach: &'a Reach, object: &Object, block: u64) -> Result<Blocks<'a>> {
    let (store, location) = (reach.store(&object.location)?, object.location.clone());
    let read = move |range| {
        reach.check()?;
        reach.wait(store.read(&location, range))
    };
    Ok(Blocks::new(object.size, block, read))
}

/// A file of a store, read in blocks from wherever it is asked to.
pub struct Blocks<'a> {
    read: Box<dyn FnMut(Range<u64>) -> Result<Bytes> + 'a>,
    size: u64,
    block: u64,
    at: u64,
    held: Bytes,
}

impl<'a> Blocks<'a> {
    /// Of a file of this size, by what reads a range of it.
    pub fn new(size: u64, block: u64, read: impl FnMut(Range<u64>) -> Result<Bytes> + 'a) -> Blocks<'a> {
        Blocks { read: Box::new(read), size, block, at: 0, held: Bytes::new() }
    }
}

impl ReadAt for Blocks<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buf.is_empty() {
            return Ok(0);
        }
        let held = |source: &Self| offset.checked_sub(source.at).filter(|skip| *skip < source.held.len() as u64);
        let skip = match held(self) {
            Some(skip) => skip as usize,
            None => {
                let range = offset..self.size.min(offset + self.block);
                self.held = (self.read)(range).map_err(io::Error::other)?;
                self.at = offset;
                0
            }
        };
        let found = &self.held[skip..];
        let len = found.len().min(buf.len());
        buf[..len].copy_from_slice(&found[..len]);
        Ok(len)
    }
}

//! One file of a store, sealed as it is written, in constant memory.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use super::reach::Reach;
use super::sealed_file::{SealedFile, THROUGH};
use crate::envelope::{Head, Parsed};
use crate::error::{Error, Kind, Result};
use crate::store::{Location, Object, Writer};
use crate::stream::SealStream;

/// A digest of a file's plaintext. It is compared and goes nowhere: not into a message, and not into a file.
#[derive(PartialEq, Eq)]
pub struct Digest([u8; 32]);

/// A sealed file that appears under its name once it is finished; dropped before, it leaves nothing.
pub struct SealedWriter<'a> {
    reach: &'a Reach,
    stream: SealStream,
    /// None once it is finished.
    writer: Option<Writer>,
    head: Head,
    sealed: Vec<u8>,
    digest: Context,
    /// What went wrong, for a caller that was told through a stream of the standard library.
    location: Location,
}

impl<'a> SealedWriter<'a> {
    /// Begins a file at this place, of the tenant that the place belongs to, bound to `subject` if there is one.
    pub fn new(reach: &'a Reach, location: &Location, subject: Option<&str>) -> Result<SealedWriter<'a>> {
        let uri = location.uri();
        let sealing = reach.with_key(|| reach.engine().sealer(&uri, subject))?;
        let Parsed::Complete(head) = Head::parse(sealing.head())? else {
            return Err(Kind::Internal.error("a head was sealed that does not parse: report it"));
        };
        let writer = reach.engine().wait(reach.store(location)?.writer(location))?;
        Ok(SealedWriter {
            reach,
            stream: SealStream::new(sealing),
            writer: Some(writer),
            head,
            sealed: Vec::new(),
            digest: Context::new(&SHA256),
            location: location.clone(),
        })
    }

    /// The head that the file will have.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Appends plaintext.
    pub fn append(&mut self, plaintext: &[u8]) -> Result<()> {
        self.reach.check()?;
        self.digest.update(plaintext);
        self.stream.update(plaintext, &mut self.sealed)?;
        if self.sealed.len() as u64 >= THROUGH { self.flush_sealed() } else { Ok(()) }
    }

    /// Makes the file durable and visible.
    pub fn finish(mut self) -> Result<Digest> {
        self.stream.finish(&mut self.sealed)?;
        self.flush_sealed()?;
        let writer = self.writer.take().ok_or_else(ended)?;
        self.reach.engine().wait(writer.finish()).map_err(|error| error.at(&self.location))?;
        Ok(Digest::of(self.digest.clone()))
    }

    fn flush_sealed(&mut self) -> Result<()> {
        let sealed = Bytes::from(std::mem::take(&mut self.sealed));
        let writer = self.writer.as_mut().ok_or_else(ended)?;
        self.reach.engine().wait(writer.write(sealed))
    }
}

impl Drop for SealedWriter<'_> {
    /// Waits until what was written is gone: the process may end next, and an upload in parts would stay, unseen and paid for.
    fn drop(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        if let Err(error) = self.reach.engine().wait(writer.abort()) {
            log::warn!("{}: what was written of it could not be removed: {error}", self.location);
        }
    }
}

fn ended() -> Error {
    Kind::State.error("this file was finished already")
}

impl io::Write for SealedWriter<'_> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        self.append(plaintext).map_err(io::Error::other)?;
        Ok(plaintext.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Digest {
    fn of(digest: Context) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        Digest(bytes)
    }

    /// Of what a file holds, read back and opened to its end.
    pub fn read(reach: &Reach, object: &Object) -> Result<(Digest, Head)> {
        let mut file = SealedFile::open(reach, object, THROUGH)?;
        let mut digest = Context::new(&SHA256);
        each_block(&mut file, |block| {
            digest.update(block);
            Ok(())
        })?;
        Ok((Digest::of(digest), file.head))
    }
}

/// A sink that keeps nothing but the digest.
pub struct Digesting(Context);

impl Default for Digesting {
    fn default() -> Digesting {
        Digesting(Context::new(&SHA256))
    }
}

impl Digesting {
    /// Of all that was written.
    pub fn finish(self) -> Digest {
        Digest::of(self.0)
    }
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file to its verified end, block by block.
pub fn each_block(file: &mut SealedFile<'_>, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut block = vec![0; THROUGH as usize];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            read => each(&block[..read])?,
        }
    }
}

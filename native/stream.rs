//! Sealed files as streams: pushing plaintext in, pulling plaintext out at any offset, in constant memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::engine::{Opening, Sealing};
use crate::envelope::sidecar::{FILE_NAME, Place};
use crate::envelope::{AtEof, Head, Parsed, limits};
use crate::error::{Error, Kind, Result};

/// How many chunks are sealed or opened at once: enough to make the cost of a call vanish, small enough for a cache.
const BATCH_CHUNKS: usize = 4;

/// What a head takes at most in practice; longer ones are read in a second step.
const FIRST_READ: usize = 4096;

/// Seals bytes as they come, holding back less than one chunk.
pub struct SealStream {
    sealing: Sealing,
    pending: Vec<u8>,
    head_due: bool,
}

impl SealStream {
    /// A stream over a fresh file key; the head is part of the first output.
    pub fn new(sealing: Sealing) -> SealStream {
        let pending = Vec::with_capacity(sealing.layout().chunk_size);
        SealStream { sealing, pending, head_due: true }
    }

    /// Appends to `out` whatever `plaintext` completes.
    pub fn update(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.put_head(out);
        let chunk = self.sealing.layout().chunk_size;
        let mut rest = plaintext;
        if !self.pending.is_empty() {
            let take = rest.len().min(chunk - self.pending.len());
            self.pending.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if self.pending.len() < chunk {
                return Ok(());
            }
            self.cut(out)?;
        }
        let whole = rest.len() - rest.len() % chunk;
        append(out, self.sealing.layout().sealed_len(whole), |to| self.sealing.seal(&rest[..whole], to))?;
        self.pending.extend_from_slice(&rest[whole..]);
        Ok(())
    }

    /// Appends what was held back as a chunk of its own, so that everything given so far can be read.
    pub fn sync(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.put_head(out);
        if self.pending.is_empty() { Ok(()) } else { self.cut(out) }
    }

    /// Appends what was held back and the end of the file. The stream takes nothing more.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.sync(out)?;
        append(out, self.sealing.layout().end_len, |to| self.sealing.finish(to))
    }

    /// The most bytes that an `update` of `plaintext` bytes and a `sync` or `finish` after it append.
    pub fn bound(&self, plaintext: usize) -> usize {
        let layout = self.sealing.layout();
        let head = if self.head_due { self.sealing.head().len() } else { 0 };
        // Two more frames than the bytes fill: the one held back and the one cut short.
        let besides = head + 2 * layout.frame_len(layout.chunk_size) + layout.end_len;
        layout.sealed_len(plaintext).saturating_add(besides)
    }

    fn put_head(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.head_due) {
            out.extend_from_slice(self.sealing.head());
        }
    }

    fn cut(&mut self, out: &mut Vec<u8>) -> Result<()> {
        append(out, self.sealing.layout().sealed_len(self.pending.len()), |to| self.sealing.seal(&self.pending, to))?;
        self.pending.clear();
        Ok(())
    }
}

/// Grows `out` by `len` bytes, lets `fill` write there and keeps as many as it says.
fn append(out: &mut Vec<u8>, len: usize, fill: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<()> {
    let start = out.len();
    out.resize(start + len, 0);
    let written = fill(&mut out[start..]).inspect_err(|_| out.truncate(start))?;
    out.truncate(start + written);
    Ok(())
}

/// Bytes that can be read at any offset.
pub trait ReadAt {
    /// Reads into `buf` from `offset`; 0 only at the end of the file.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let len = buf.len().min(self.len() - start);
        buf[..len].copy_from_slice(&self[start..start + len]);
        Ok(len)
    }
}

/// Opens a sealed file from a source, at any offset. Only verified bytes come out.
pub struct OpenStream<S> {
    source: S,
    opening: Opening,
    /// Sealed bytes read and not yet taken: `sealed[from..to]`, the first of them at `offset` of the file.
    sealed: Vec<u8>,
    from: usize,
    to: usize,
    offset: u64,
    /// Plaintext opened and not yet given: `plain[given..filled]`.
    plain: Vec<u8>,
    given: usize,
    filled: usize,
    /// Where the next byte given stands in the plaintext.
    position: u64,
    ended: bool,
}

/// Reads the head of a sealed file: what has been read, and the head in it.
pub fn read_head<S: ReadAt>(source: &mut S) -> Result<(Vec<u8>, Head)> {
    let mut bytes = Vec::new();
    let mut needed = FIRST_READ;
    loop {
        let mut at_end = false;
        while bytes.len() < needed && !at_end {
            let filled = bytes.len();
            bytes.resize(needed, 0);
            let read = read_some(source, filled as u64, &mut bytes[filled..])?;
            bytes.truncate(filled + read);
            at_end = read == 0;
        }
        match Head::parse(&bytes)? {
            Parsed::Complete(head) => return Ok((bytes, head)),
            Parsed::NeedMore(total) if at_end || total <= bytes.len() => {
                return Err(Kind::Truncated
                    .error(format_args!("the file ends after {} bytes, inside its head of {total}", bytes.len())));
            }
            Parsed::NeedMore(total) => needed = total,
        }
    }
}

/// A whole sidecar, or none if there is not a byte of one. A longer one than the format allows is not read to its end.
pub fn read_sidecar<S: ReadAt>(source: &mut S) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while bytes.len() <= limits::MAX_SIDECAR {
        let filled = bytes.len();
        bytes.resize(filled + FIRST_READ.max(filled), 0);
        let read = read_some(source, filled as u64, &mut bytes[filled..])?;
        bytes.truncate(filled + read);
        if read == 0 {
            break;
        }
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// The sidecars beside a file of this machine, for [`EncryptionEngine::opener_beside`](crate::engine::EncryptionEngine::opener_beside).
pub fn sidecars_beside(path: &Path) -> impl FnMut(Place) -> Result<Option<Vec<u8>>> {
    let directory = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    move |place| {
        let folder = match place {
            Place::Directory => directory.as_deref(),
            Place::Parent => directory.as_deref().and_then(Path::parent),
        };
        let Some(file) = folder.map(|folder| folder.join(FILE_NAME)) else { return Ok(None) };
        // Not to be waited for, should it be a pipe.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&file);
        match opened.and_then(|opened| Ok((opened.metadata()?.is_file(), opened))) {
            Ok((true, mut opened)) => read_sidecar(&mut opened),
            Ok((false, _)) => Err(Kind::Malformed.error(format_args!("{} is no file: move it away", file.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format_args!("open {}", file.display()), &error)),
        }
    }
}

impl<S: ReadAt> OpenStream<S> {
    /// A stream from the first plaintext byte on; `opening` belongs to the head at the start of `source`.
    pub fn new(source: S, opening: Opening) -> OpenStream<S> {
        let layout = opening.layout();
        let offset = opening.wants();
        OpenStream {
            source,
            sealed: vec![0; BATCH_CHUNKS * layout.frame_len(layout.chunk_size) + layout.end_len],
            from: 0,
            to: 0,
            offset,
            plain: vec![0; BATCH_CHUNKS * layout.chunk_size],
            given: 0,
            filled: 0,
            position: 0,
            ended: false,
            opening,
        }
    }

    /// Gives the next plaintext bytes; 0 only at the verified end.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.given == self.filled {
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
        let len = out.len().min(self.filled - self.given);
        out[..len].copy_from_slice(&self.plain[self.given..self.given + len]);
        self.given += len;
        self.position += len as u64;
        Ok(len)
    }

    /// Goes on at `offset` of the plaintext. An offset past the end is no error; reading there gives 0.
    pub fn seek(&mut self, offset: u64) {
        let behind = offset.checked_sub(self.position);
        if let Some(skip) = behind.filter(|skip| *skip <= (self.filled - self.given) as u64) {
            self.given += skip as usize;
        } else {
            self.given = self.filled;
            self.ended = false;
            self.opening.seek(offset);
        }
        self.position = offset;
    }

    /// Where the next byte stands in the plaintext.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The plaintext length by the file's verified end, given the file's own length.
    pub fn length(&mut self, file_len: u64) -> Result<u64> {
        if let Some(length) = self.opening.length() {
            return Ok(length);
        }
        let mut tail = vec![0; self.opening.layout().end_len];
        let start =
            file_len.checked_sub(tail.len() as u64).ok_or_else(|| Kind::Truncated.error("the file has no end"))?;
        let mut filled = 0;
        while filled < tail.len() {
            match read_some(&mut self.source, start + filled as u64, &mut tail[filled..])? {
                0 => return Err(Kind::Truncated.error("the file is shorter than it was said to be")),
                read => filled += read,
            }
        }
        self.opening.verify_end(&tail, file_len)
    }

    /// One step: opens what is there, or reads more.
    fn advance(&mut self) -> Result<()> {
        let wants = self.opening.wants();
        match wants.checked_sub(self.offset) {
            Some(skip) if skip <= (self.to - self.from) as u64 => self.from += skip as usize,
            _ => self.from = self.to,
        }
        self.offset = wants;
        let opened = self.opening.open(&self.sealed[self.from..self.to], &mut self.plain)?;
        if opened.produced > 0 {
            // After a seek the frame that holds the target comes whole.
            let skip = (self.position - opened.start).min(opened.produced as u64) as usize;
            (self.given, self.filled) = (skip, opened.produced);
            return Ok(());
        }
        if opened.ended {
            // Whatever lies behind the end makes the file another than the one that was sealed. Ended only then: whoever
            // reads on after a failure here gets it again, and never a clean end.
            self.expect_eof()?;
            self.ended = true;
            return Ok(());
        }
        if self.opening.wants() == wants { self.refill() } else { Ok(()) }
    }

    fn refill(&mut self) -> Result<()> {
        self.sealed.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        let read = read_some(&mut self.source, self.offset + self.to as u64, &mut self.sealed[self.to..])?;
        self.to += read;
        if read == 0 {
            self.ended = match self.opening.eof(&self.sealed[..self.to])? {
                AtEof::Done => true,
                AtEof::Retry => false,
            };
        }
        Ok(())
    }

    fn expect_eof(&mut self) -> Result<()> {
        let wants = self.opening.wants();
        let mut one = [0; 1];
        let read = read_some(&mut self.source, wants, &mut one)?;
        self.opening.eof(&one[..read]).map(|_| ())
    }
}

impl<S: ReadAt> io::Read for OpenStream<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        OpenStream::read(self, out).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

fn read_some<S: ReadAt>(source: &mut S, offset: u64, buf: &mut [u8]) -> Result<usize> {
    loop {
        match source.read_at(offset, buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|error| Error::io("read the sealed file", &error)),
        }
    }
}

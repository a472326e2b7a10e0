//! Sealed files in memory: what the tests of the format seal and open with, as a caller of the library would.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support")]

use std::sync::Arc;

use sealpoint::config::EncryptionAlgorithm;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::{
    AtEof, DataKeyId, Head, Layout, Opened, Opener, Parsed, SealOptions, Sealer, Slot, Waypoints, encode_slots,
};
use sealpoint::error::{Error, Kind, Result};
use sealpoint::secret::Secret;

pub const ALGORITHMS: [EncryptionAlgorithm; 2] = [EncryptionAlgorithm::Aes256Gcm, EncryptionAlgorithm::Aes256CbcHmac];

pub const DATA_KEY: [u8; 32] = *b"a data key for tests, 32 bytes..";

pub fn secret(bytes: [u8; 32]) -> Secret {
    Secret::take(&mut { bytes }).unwrap()
}

pub fn data_key() -> Secret {
    secret(DATA_KEY)
}

pub fn data_key_id() -> DataKeyId {
    DataKeyId::from_bytes(*b"data-key-id-0001")
}

pub fn slots() -> Vec<u8> {
    let slot = Slot {
        provider: "local".into(),
        kek: "sealpoint".into(),
        version: "1".into(),
        wrapped: b"wrapped by a key service".to_vec(),
    };
    encode_slots(&[slot], data_key_id(), &data_key()).unwrap()
}

pub fn options(algorithm: EncryptionAlgorithm, chunk_size: u32) -> SealOptions {
    SealOptions {
        algorithm,
        chunk_size,
        tenant: "default".into(),
        subject: None,
        context: EncryptionContext::default(),
        created_at_ms: 1_764_000_000_000,
    }
}

pub fn sealer(algorithm: EncryptionAlgorithm, chunk_size: u32) -> Sealer {
    Sealer::new(&data_key(), data_key_id(), &slots(), &options(algorithm, chunk_size)).unwrap()
}

/// Bytes that repeat nowhere near, so that a swap shows.
pub fn plaintext(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// The file of these parts, each cut short at its end as `sync()` does.
pub fn seal_parts(sealer: &mut Sealer, parts: &[&[u8]]) -> Vec<u8> {
    let mut file = sealer.head().to_vec();
    for part in parts {
        let start = file.len();
        file.resize(start + sealer.layout().sealed_len(part.len()), 0);
        let sealed = sealer.seal(part, &mut file[start..]).unwrap();
        assert_eq!(start + sealed, file.len());
    }
    file
}

/// The file of these parts, closed.
pub fn seal_whole(algorithm: EncryptionAlgorithm, chunk_size: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut sealer = sealer(algorithm, chunk_size);
    let mut file = seal_parts(&mut sealer, parts);
    let start = file.len();
    file.resize(start + sealer.layout().end_len, 0);
    sealer.finish(&mut file[start..]).unwrap();
    file
}

/// The head of a whole file in memory.
pub fn head(file: &[u8]) -> Result<Head> {
    match Head::parse(file)? {
        Parsed::Complete(head) => Ok(head),
        Parsed::NeedMore(_) => Err(Kind::Truncated.error("the head is cut")),
    }
}

/// Everything a careful reader does with a whole file: slots, head, frames, end.
pub fn open_whole(file: &[u8], data_key: &Secret) -> Result<Vec<u8>> {
    Reader::new(file, data_key, 3 * 8192)?.read_to_end()
}

/// How the reader hands bytes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffers {
    OutOfPlace,
    InPlace,
}

/// A stream over a sealed file in memory, with a buffer of a chosen size.
pub struct Reader<'a> {
    file: &'a [u8],
    pub opener: Opener,
    layout: Layout,
    buffer: usize,
    pub buffers: Buffers,
    position: u64,
    ready: Vec<u8>,
    ended: bool,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a [u8], data_key: &Secret, buffer: usize) -> Result<Reader<'a>> {
        let head = head(file)?;
        head.verify_slots(data_key)?;
        let opener = Opener::new(&head, data_key)?;
        let layout = opener.layout();
        let buffer = buffer.max(layout.frame_len(layout.chunk_size));
        let buffers = Buffers::OutOfPlace;
        Ok(Reader { file, opener, layout, buffer, buffers, position: 0, ready: Vec::new(), ended: false })
    }

    /// The same reader, sharing waypoints with others.
    pub fn sharing(mut self, waypoints: &Arc<Waypoints>) -> Result<Reader<'a>> {
        let head = head(self.file)?;
        self.opener = Opener::new(&head, &data_key())?.sharing(Arc::clone(waypoints), &head);
        Ok(self)
    }

    pub fn seek(&mut self, position: u64) {
        self.opener.seek(position);
        (self.position, self.ended) = (position, false);
        self.ready.clear();
    }

    pub fn verify_end(&mut self) -> Result<u64> {
        let tail = self.file.len().saturating_sub(self.layout.end_len);
        self.opener.verify_end(&self.file[tail..], self.file.len() as u64)
    }

    pub fn read_to_end(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = self.read(usize::MAX)? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    /// Up to `len` bytes; none at the end of the file.
    pub fn read(&mut self, len: usize) -> Result<Option<Vec<u8>>> {
        while self.ready.is_empty() {
            if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
        let bytes: Vec<u8> = self.ready.drain(..len.min(self.ready.len())).collect();
        self.position += bytes.len() as u64;
        Ok(Some(bytes))
    }

    fn fill(&mut self) -> Result<()> {
        let wants = self.opener.wants();
        let start = usize::try_from(wants).unwrap().min(self.file.len());
        let stop = self.file.len().min(start.saturating_add(self.buffer));
        let sealed = &self.file[start..stop];
        let (opened, produced) = match self.buffers {
            Buffers::OutOfPlace => self.open(sealed)?,
            Buffers::InPlace => self.open_in_place(sealed)?,
        };
        assert!(opened.consumed <= sealed.len());
        self.keep(&opened, produced);
        let stuck = opened.consumed == 0 && self.opener.wants() == wants && !opened.ended;
        if opened.ended {
            assert_eq!(self.opener.eof(&self.file[stop..])?, AtEof::Done);
            self.ended = true;
        } else if stuck {
            assert_eq!(stop, self.file.len(), "the opener makes progress while there is a whole frame");
            assert_eq!(self.opener.eof(sealed)?, AtEof::Retry);
        }
        Ok(())
    }

    fn open(&mut self, sealed: &[u8]) -> Result<(Opened, Vec<u8>)> {
        let mut out = vec![0; self.buffer];
        let opened = self.opener.open(sealed, &mut out)?;
        out.truncate(opened.produced);
        Ok((opened, out))
    }

    fn open_in_place(&mut self, sealed: &[u8]) -> Result<(Opened, Vec<u8>)> {
        let mut buffer = sealed.to_vec();
        let opened = self.opener.open_in_place(&mut buffer)?;
        let (mut out, mut frames) = (Vec::new(), &buffer[..]);
        while out.len() < opened.produced {
            let plaintext = u32::from_be_bytes(frames[..4].try_into().unwrap()) as usize;
            out.extend_from_slice(&frames[self.layout.front..self.layout.front + plaintext]);
            frames = &frames[self.layout.frame_len(plaintext)..];
        }
        assert_eq!(out.len(), opened.produced);
        Ok((opened, out))
    }

    /// Drops what lies before the position sought, which what is released must hold.
    fn keep(&mut self, opened: &Opened, produced: Vec<u8>) {
        if !produced.is_empty() {
            let end = opened.start + produced.len() as u64;
            assert!((opened.start..end).contains(&self.position), "{opened:?} is not where {} is", self.position);
        }
        let early = usize::try_from(self.position.saturating_sub(opened.start)).unwrap().min(produced.len());
        self.ready = produced[early..].to_vec();
    }
}

/// True for every kind that a damaged file may be refused with.
pub fn is_refusal(error: &Error) -> bool {
    use Kind::{Integrity, Malformed, NotSealed, Truncated, UnsupportedVersion};
    matches!(error.kind(), Integrity | Truncated | NotSealed | Malformed | UnsupportedVersion)
}

//! Sealing a file, from its head to its end.

use std::sync::Arc;

use super::bound::BoundFields;
use super::data_key_id::DataKeyId;
use super::head::{COMMITMENT, FIXED, PRELUDE, SALT, new_prelude};
use super::layout::{END_FIELDS, End, Layout, Place};
use super::limits::{MAX_BOUND, MAX_FRAMES, MAX_PLAINTEXT, MAX_SLOTS};
use super::suite::{Failed, FileCipher};
use crate::config::EncryptionAlgorithm;
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// What a new file is sealed with, and bound to.
#[derive(Debug, Clone)]
pub struct SealOptions {
    /// The cipher suite.
    pub algorithm: EncryptionAlgorithm,
    /// The plaintext bytes of a full frame: a power of two from 4 KiB to 1 MiB.
    pub chunk_size: u32,
    /// Whose file it is.
    pub tenant: Arc<str>,
    /// The file's own name, where it will not be renamed.
    pub subject: Option<String>,
    /// The pairs that the operator binds.
    pub context: EncryptionContext,
    /// Now, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// Seals one file: write [`head`](Self::head), then what [`seal`](Self::seal) gives, then what
/// [`finish`](Self::finish) gives.
///
/// Every frame takes the next counter before it is sealed, whether or not that succeeds, and the first failure of any
/// kind closes the sealer for good: no nonce is ever used twice.
pub struct Sealer {
    cipher: FileCipher,
    layout: Layout,
    head: Box<[u8]>,
    /// Where the next frame goes.
    next: Place,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    /// An earlier call failed, or was cut short by a panic.
    Failed,
}

impl Sealer {
    /// A new file under this data key, whose `slots` are those of [`encode_slots`](super::encode_slots).
    pub fn new(data_key: &Secret, id: DataKeyId, slots: &[u8], options: &SealOptions) -> Result<Sealer> {
        let mut salt = [0; SALT];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| Kind::Internal.error("the random generator failed"))?;
        Sealer::with_salt(data_key, id, slots, options, salt)
    }

    fn with_salt(
        data_key: &Secret,
        id: DataKeyId,
        slots: &[u8],
        options: &SealOptions,
        salt: [u8; SALT],
    ) -> Result<Sealer> {
        if slots.len() > MAX_SLOTS {
            return Err(Kind::InvalidArgument.error(format_args!("the key slots take more than {MAX_SLOTS} bytes")));
        }
        let subject = options.subject.as_deref();
        // Enough for all but a large context: the fixed fields of a bound section take 62 bytes.
        let room = PRELUDE + 128 + options.tenant.len() + subject.map_or(0, str::len) + slots.len() + SALT + COMMITMENT;
        let mut head = Vec::with_capacity(room);
        head.extend_from_slice(&new_prelude(options.algorithm));
        BoundFields {
            data_key_id: id,
            created_at_ms: options.created_at_ms,
            chunk_size: options.chunk_size,
            tenant: &options.tenant,
            subject,
            context: &options.context,
        }
        .encode(&mut head)?;
        let bound_end = head.len();
        debug_assert!(bound_end - PRELUDE <= MAX_BOUND);
        head[FIXED..FIXED + 4].copy_from_slice(&((bound_end - PRELUDE) as u32).to_be_bytes());
        head[FIXED + 4..PRELUDE].copy_from_slice(&(slots.len() as u32).to_be_bytes());
        let (cipher, commitment) =
            FileCipher::derive(options.algorithm, data_key, &salt, &head[..FIXED], &head[PRELUDE..bound_end])?;
        head.extend_from_slice(slots);
        head.extend_from_slice(&salt);
        head.extend_from_slice(&commitment);
        Ok(Sealer {
            cipher,
            layout: Layout::new(options.algorithm, options.chunk_size),
            next: Place::first(head.len()),
            head: head.into_boxed_slice(),
            state: State::Open,
        })
    }

    /// The bytes to write first.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The shape of the file's frames.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The plaintext sealed so far.
    pub fn plaintext_len(&self) -> u64 {
        self.next.plaintext
    }

    /// The frames sealed so far.
    pub fn frames(&self) -> u64 {
        self.next.index
    }

    /// Seals `plaintext` into `out` and returns the bytes written: [`Layout::sealed_len`]. Give a multiple of the chunk
    /// size, but before the end of the file or where a durability point cuts a chunk short.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize> {
        let sealed = self.begin(plaintext.len(), out.len())?;
        let mut frames = out;
        for chunk in plaintext.chunks(self.layout.chunk_size) {
            let place = self.spend(chunk.len())?;
            let frame =
                frames.split_off_mut(..self.layout.frame_len(chunk.len())).ok_or_else(|| too_small(sealed, 0))?;
            self.cipher.seal(&place, chunk, frame).map_err(|Failed| refused(&place))?;
        }
        self.state = State::Open;
        Ok(sealed)
    }

    /// Seals `plaintext` bytes where they lie and returns the sealed bytes, which start at the buffer's start. The
    /// plaintext of chunk `i` must lie at `i * frame_len(chunk_size) + front`.
    pub fn seal_in_place(&mut self, buffer: &mut [u8], plaintext: usize) -> Result<usize> {
        let sealed = self.begin(plaintext, buffer.len())?;
        let (mut frames, mut left) = (buffer, plaintext);
        while left > 0 {
            let chunk = left.min(self.layout.chunk_size);
            let place = self.spend(chunk)?;
            let frame = frames.split_off_mut(..self.layout.frame_len(chunk)).ok_or_else(|| too_small(sealed, 0))?;
            self.cipher.seal_in_place(&place, chunk, frame).map_err(|Failed| refused(&place))?;
            left -= chunk;
        }
        self.state = State::Open;
        Ok(sealed)
    }

    /// Writes the end and returns its length: [`Layout::end_len`]. A file without one is read as cut short.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize> {
        self.begin(0, usize::MAX)?;
        let length = self.layout.end_len;
        let end = out.get_mut(..length).ok_or_else(|| too_small(length, 0))?;
        let (fields, tag) = end.split_first_chunk_mut::<END_FIELDS>().ok_or_else(|| too_small(length, 0))?;
        *fields = End::at(&self.next).encode();
        self.cipher.seal_end(self.next.index, fields, tag).map_err(|Failed| refused(&self.next))?;
        self.state = State::Finished;
        Ok(length)
    }

    /// Starts a call: failed until it succeeds, so that no way out of it leaves a half-used counter behind.
    fn begin(&mut self, plaintext: usize, room: usize) -> Result<usize> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Open => {}
            State::Finished => {
                self.state = State::Finished;
                return Err(Kind::State.error("the sealed file is finished: nothing can follow its end"));
            }
            State::Failed => {
                return Err(Kind::State.error("sealing failed before: the file is not whole, write it anew"));
            }
        }
        let sealed = self.layout.sealed_len(plaintext);
        if sealed > room { Err(too_small(sealed, room)) } else { Ok(sealed) }
    }

    /// Takes the place of the next frame, for good.
    #[inline]
    fn spend(&mut self, plaintext: usize) -> Result<Place> {
        let place = self.next;
        if !place.has_room_for(plaintext) {
            return Err(Kind::InvalidArgument.error(format_args!(
                "a sealed file holds at most {MAX_FRAMES} frames and {MAX_PLAINTEXT} bytes: start another"
            )));
        }
        self.next = place.after(plaintext, &self.layout);
        Ok(place)
    }

    /// A sealer that has come this far already, to test the limits of the format.
    #[cfg(test)]
    fn fast_forward(mut self, index: u64, plaintext: u64) -> Sealer {
        self.next = Place { index, plaintext, ..self.next };
        self
    }
}

fn too_small(needed: usize, room: usize) -> Error {
    Kind::InvalidArgument.error(format_args!("the buffer holds {room} bytes, and sealing takes {needed}"))
}

fn refused(place: &Place) -> Error {
    Kind::Internal.error(format_args!("frame {} could not be sealed", place.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Slot, encode_slots};

    fn sealer(algorithm: EncryptionAlgorithm) -> Sealer {
        let key = Secret::take(&mut [1; 32]).unwrap();
        let id = DataKeyId::from_bytes([2; 16]);
        let slot = Slot { provider: "local".into(), kek: "k".into(), version: "1".into(), wrapped: vec![3; 60] };
        let slots = encode_slots(&[slot], id, &key).unwrap();
        let options = SealOptions {
            algorithm,
            chunk_size: 4096,
            tenant: "default".into(),
            subject: None,
            context: EncryptionContext::default(),
            created_at_ms: 0,
        };
        Sealer::with_salt(&key, id, &slots, &options, [4; SALT]).unwrap()
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn the_last_frame_of_the_format_is_sealed_and_no_other() {
        for algorithm in [EncryptionAlgorithm::Aes256Gcm, EncryptionAlgorithm::Aes256CbcHmac] {
            let mut out = [0; 5000];
            let mut last = sealer(algorithm).fast_forward(MAX_FRAMES - 1, 0);
            last.seal(b"x", &mut out).unwrap();
            assert_eq!(last.frames(), MAX_FRAMES);
            assert_eq!(last.seal(b"x", &mut out).unwrap_err().kind(), Kind::InvalidArgument);
            assert_eq!(last.frames(), MAX_FRAMES);
            assert_eq!(last.finish(&mut out).unwrap_err().kind(), Kind::State);

            let mut full = sealer(algorithm).fast_forward(MAX_FRAMES, 0);
            full.finish(&mut out).unwrap();

            let mut longest = sealer(algorithm).fast_forward(9, MAX_PLAINTEXT - 4096);
            longest.seal(&[0; 4096], &mut out).unwrap();
            assert_eq!(longest.plaintext_len(), MAX_PLAINTEXT);
            assert_eq!(longest.seal(b"x", &mut out).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn no_counter_seals_twice_whatever_fails() {
        let mut sealer = sealer(EncryptionAlgorithm::Aes256Gcm);
        let mut out = [0; 5000];
        sealer.seal(b"first", &mut out).unwrap();
        assert_eq!(sealer.seal(b"second", &mut out[..10]).unwrap_err().kind(), Kind::InvalidArgument);
        for result in [sealer.seal(b"second", &mut out), sealer.finish(&mut out)] {
            assert_eq!(result.unwrap_err().kind(), Kind::State);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn nothing_follows_the_end() {
        let mut sealer = sealer(EncryptionAlgorithm::Aes256Gcm);
        let mut out = [0; 5000];
        assert_eq!(sealer.finish(&mut out).unwrap(), 36);
        for result in [sealer.seal(b"more", &mut out), sealer.seal_in_place(&mut out, 4), sealer.finish(&mut out)] {
            assert_eq!(result.unwrap_err().kind(), Kind::State);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn in_place_and_out_of_place_agree() {
        let plaintext: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let (mut scattered, mut placed) =
            (sealer(EncryptionAlgorithm::Aes256Gcm), sealer(EncryptionAlgorithm::Aes256Gcm));
        let layout = placed.layout();
        let mut out = vec![0; layout.sealed_len(plaintext.len())];
        let mut buffer = out.clone();
        for (i, chunk) in plaintext.chunks(4096).enumerate() {
            let at = i * layout.frame_len(4096) + layout.front;
            buffer[at..at + chunk.len()].copy_from_slice(chunk);
        }
        assert_eq!(scattered.seal(&plaintext, &mut out).unwrap(), out.len());
        assert_eq!(placed.seal_in_place(&mut buffer, plaintext.len()).unwrap(), out.len());
        assert_eq!(out, buffer);
    }
}

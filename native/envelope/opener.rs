//! Opening a file: in order, or from any offset, without I/O of its own.

use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::constant_time;

use super::head::{COMMITMENT, Head};
use super::layout::{END_FIELDS, End, Layout, PREFIX, Place, Prefix};
use super::limits::MAX_FRAMES;
use super::suite::{Failed, FileCipher};
use super::waypoints::{Trail, Waypoints};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// Opens one file: the caller brings the sealed bytes from [`wants`](Self::wants) on, as many as it likes, and is given
/// the plaintext of the whole frames among them, each verified before a byte of it is released.
///
/// Supply at least [`Layout::frame_len`] of a chunk, or all up to the end of the file, and every call makes progress:
/// it consumes, it produces, or it moves `wants` elsewhere. An integrity failure closes the opener for good; a file
/// found cut short does not, and can be read up to there.
pub struct Opener {
    cipher: FileCipher,
    layout: Layout,
    /// The first frame.
    first: Place,
    /// The frame wanted next. Proven only while reading in order.
    at: Place,
    /// The boundary after the last frame that verified.
    verified: Place,
    mode: Mode,
    /// The end of the file, once it verified.
    end: Option<End>,
    /// Where the end stops, once it verified.
    file_len: u64,
    /// The frame that failed verification.
    failed: Option<u64>,
    /// What other openers of the file found out about its frames.
    hints: Option<Hints>,
}

/// An opener's part in the waypoints that it shares with others.
struct Hints {
    shared: Arc<Waypoints>,
    file: [u8; COMMITMENT],
    /// What the walk under way has passed.
    passed: Trail,
    /// The offset in the plaintext of the place that was shared last.
    told: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In order.
    Read,
    /// At the place where the target lies if all frames before it are full.
    Guess { target: u64 },
    /// From prefix to prefix, until the frame that holds the target; `hinted` if it began where only a hint said that
    /// a frame begins.
    Walk { target: u64, hinted: bool },
    /// Past the end.
    Done,
}

/// What a call of [`Opener::open`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The sealed bytes that are done with.
    pub consumed: usize,
    /// The plaintext bytes released.
    pub produced: usize,
    /// The offset in the plaintext of the first of them. After a seek it may lie before the offset sought, since the frame
    /// there is released whole: drop the difference.
    pub start: u64,
    /// True once the end of the file verified and everything before it, from where reading began, was released.
    pub ended: bool,
}

/// What the end of the caller's bytes meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEof {
    /// The file is whole and was read to its end.
    Done,
    /// A seek looked in the wrong place: go on at [`Opener::wants`].
    Retry,
}

impl Opener {
    /// Derives the keys of the file and proves that the head is the one they were made for.
    pub fn new(head: &Head, data_key: &Secret) -> Result<Opener> {
        let (cipher, commitment) =
            FileCipher::derive(head.algorithm, data_key, head.salt(), head.fixed(), head.bound_section())?;
        constant_time::verify_slices_are_equal(&commitment, head.commitment()).map_err(|_| {
            Kind::Integrity.error("the head failed verification: it was changed, or its data key is another")
        })?;
        let first = Place::first(head.len());
        Ok(Opener {
            cipher,
            layout: Layout::new(head.algorithm, head.bound.chunk_size),
            first,
            at: first,
            verified: first,
            mode: Mode::Read,
            end: None,
            file_len: 0,
            failed: None,
            hints: None,
        })
    }

    /// Learns from other openers of the file where its frames begin, and tells them.
    pub fn sharing(self, waypoints: Arc<Waypoints>, head: &Head) -> Opener {
        let (passed, file) = (waypoints.trail(), *head.commitment());
        Opener { hints: Some(Hints { shared: waypoints, file, passed, told: 0 }), ..self }
    }

    /// The shape of the file's frames.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The offset in the file of the next sealed byte to bring.
    pub fn wants(&self) -> u64 {
        self.at.file
    }

    /// The length of the plaintext, known once the end verified.
    pub fn length(&self) -> Option<u64> {
        self.end.map(|end| end.plaintext)
    }

    /// Opens the whole frames in `sealed`, whose first byte is the one that [`wants`](Self::wants) names, as far as they
    /// fit in `out`.
    ///
    /// A call that finds a seek's guess wrong, or skips frames on the way to a seek's target, produces nothing. `out`
    /// must have room for one whole frame (a chunk always suffices); beyond what was produced its content is undefined,
    /// but never unverified plaintext.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<Opened> {
        self.run(&mut OutOfPlace { sealed, out })
    }

    /// As [`open`](Self::open), but the plaintext of a frame stays where its ciphertext was: at the frame's start plus
    /// [`Layout::front`], its length in the frame's prefix. When anything was produced, its first frame is at the
    /// buffer's start. After a wrong guess the buffer's content is spent: fill it anew from [`wants`](Self::wants).
    pub fn open_in_place(&mut self, buffer: &mut [u8]) -> Result<Opened> {
        self.run(&mut InPlace { buffer })
    }

    /// Goes on at this offset in the plaintext, which may lie past the end. Bring the bytes that [`wants`](Self::wants)
    /// then names.
    pub fn seek(&mut self, plaintext_offset: u64) {
        let target = plaintext_offset;
        if let Some(end) = self.end.filter(|end| target >= end.plaintext) {
            self.finish(&end);
        } else if self.mode == Mode::Read && target == self.at.plaintext {
            // Already there.
        } else {
            match self.guess(target) {
                Some(place) => (self.at, self.mode) = (place, Mode::Guess { target }),
                None => self.walk(target),
            }
        }
    }

    /// Says that the file has no bytes from [`wants`](Self::wants) on but `rest`, which holds no whole frame.
    pub fn eof(&mut self, rest: &[u8]) -> Result<AtEof> {
        self.check_not_failed()?;
        match self.mode {
            Mode::Done if rest.is_empty() => Ok(AtEof::Done),
            Mode::Done => Err(self.fail()),
            Mode::Guess { target } => {
                self.walk(target);
                Ok(AtEof::Retry)
            }
            Mode::Walk { target, hinted: true } => {
                self.walk_unaided(target);
                Ok(AtEof::Retry)
            }
            Mode::Read | Mode::Walk { .. } => Err(Kind::Truncated.error(format_args!(
                "the file stops at frame {} without its end: it was cut, or never closed",
                self.at.index
            ))),
        }
    }

    /// Verifies the end of the file from its last [`Layout::end_len`] bytes and its length, and returns the length of the
    /// plaintext. Reading goes on where it was.
    pub fn verify_end(&mut self, tail: &[u8], file_len: u64) -> Result<u64> {
        self.check_not_failed()?;
        let no_end = || Kind::Truncated.error("the file has no end: it was cut, or never closed");
        let failed = || Kind::Integrity.error("the end failed verification");
        if tail.len() != self.layout.end_len {
            return Err(if file_len < self.first.file + self.layout.end_len as u64 {
                no_end()
            } else {
                Kind::InvalidArgument.error(format_args!("the end takes {} bytes", self.layout.end_len))
            });
        }
        let body = file_len.checked_sub(self.first.file + self.layout.end_len as u64).ok_or_else(no_end)?;
        let (fields, tag) = tail.split_first_chunk::<END_FIELDS>().ok_or_else(no_end)?;
        let end = End::parse(fields, &self.layout).ok_or_else(no_end)?;
        self.cipher.open_end(end.frames, fields, tag).map_err(|Failed| failed())?;
        if !end.fits(body, &self.layout) {
            return Err(failed());
        }
        (self.end, self.file_len) = (Some(end), file_len);
        Ok(end.plaintext)
    }

    fn run(&mut self, buffers: &mut impl Buffers) -> Result<Opened> {
        self.check_not_failed()?;
        let mut opened = Opened { consumed: 0, produced: 0, start: self.at.plaintext, ended: false };
        loop {
            match self.step(buffers, &mut opened) {
                Ok(Step::On) => {}
                Ok(Step::Stop) => break,
                Ok(Step::NoRoom(plaintext)) => {
                    return Err(Kind::InvalidArgument.error(format_args!(
                        "the buffer has no room for the {plaintext} bytes of frame {}",
                        self.at.index
                    )));
                }
                // What was verified before it is good, and the next call comes upon the failure again.
                Err(Failed) if opened.produced > 0 => break,
                Err(Failed) => match self.mode {
                    Mode::Guess { target } => {
                        self.walk(target);
                        break;
                    }
                    Mode::Walk { target, hinted: true } => {
                        self.walk_unaided(target);
                        break;
                    }
                    Mode::Read | Mode::Walk { .. } | Mode::Done => return Err(self.fail()),
                },
            }
        }
        if opened.produced == 0 {
            opened.start = self.at.plaintext;
        }
        opened.ended = self.mode == Mode::Done;
        Ok(opened)
    }

    /// Takes one frame, or the end.
    #[inline]
    fn step(&mut self, buffers: &mut impl Buffers, opened: &mut Opened) -> Result<Step, Failed> {
        let rest = &buffers.sealed()[opened.consumed..];
        if self.mode == Mode::Done {
            return if rest.is_empty() { Ok(Step::Stop) } else { Err(Failed) };
        }
        let Some(prefix) = rest.first_chunk::<PREFIX>() else {
            return Ok(Step::Stop);
        };
        match Prefix::parse(*prefix, &self.layout).ok_or(Failed)? {
            Prefix::End { .. } => self.step_end(rest, opened),
            Prefix::Frame(plaintext) if !self.at.has_room_for(plaintext) => Err(Failed),
            Prefix::Frame(plaintext) => self.step_frame(plaintext, buffers, opened),
        }
    }

    #[inline]
    fn step_frame(
        &mut self,
        plaintext: usize,
        buffers: &mut impl Buffers,
        opened: &mut Opened,
    ) -> Result<Step, Failed> {
        let available = buffers.sealed().len() - opened.consumed;
        let next = self.at.after(plaintext, &self.layout);
        let length = self.layout.frame_len(plaintext);
        if matches!(self.mode, Mode::Walk { target, .. } if next.plaintext <= target) {
            if let Some(hints) = self.hints.as_mut().filter(|_| self.at.irregular) {
                hints.passed.add(self.at);
            }
            self.at = next;
            opened.consumed += length.min(available);
            return Ok(Step::On);
        }
        let skipped = opened.consumed > 0 && opened.produced == 0;
        if skipped || available < length {
            return Ok(Step::Stop);
        }
        if plaintext > buffers.room(opened.produced) {
            return Ok(if opened.consumed > 0 { Step::Stop } else { Step::NoRoom(plaintext) });
        }
        let frame = opened.consumed..opened.consumed + length;
        buffers.open(&self.cipher, &self.at, frame, opened.produced..opened.produced + plaintext)?;
        opened.consumed += length;
        let place = std::mem::replace(&mut self.at, next);
        let start = place.plaintext;
        self.verified = next;
        if place.irregular {
            self.tell(place);
        }
        match self.mode {
            // A short frame before the target: the guess was right, but the file goes on irregularly.
            Mode::Guess { target } if next.plaintext <= target => self.mode = Mode::Walk { target, hinted: false },
            Mode::Read | Mode::Guess { .. } | Mode::Walk { .. } | Mode::Done => {
                if opened.produced == 0 {
                    opened.start = start;
                }
                self.mode = Mode::Read;
                opened.produced += plaintext;
            }
        }
        Ok(Step::On)
    }

    fn step_end(&mut self, rest: &[u8], opened: &mut Opened) -> Result<Step, Failed> {
        if rest.len() < self.layout.end_len {
            return Ok(Step::Stop);
        }
        let (fields, tag) = rest.split_first_chunk::<END_FIELDS>().ok_or(Failed)?;
        // The end of this very file, after these very frames, and nothing behind it.
        let end = End::at(&self.at);
        if *fields != end.encode() || rest.len() > self.layout.end_len {
            return Err(Failed);
        }
        self.cipher.open_end(end.frames, fields, tag)?;
        opened.consumed += self.layout.end_len;
        (self.end, self.file_len) = (Some(end), self.at.file + self.layout.end_len as u64);
        self.finish(&end);
        Ok(Step::Stop)
    }

    /// The place of the frame that holds `target` if no frame before it is short; none if there is nothing to guess.
    fn guess(&self, target: u64) -> Option<Place> {
        let chunk = self.layout.chunk_size as u64;
        let index = target / chunk;
        let irregular = self.end.is_some_and(|end| end.irregular) || self.verified.irregular;
        if irregular || self.hint(target).is_some() || index > MAX_FRAMES {
            return None;
        }
        let place = Place {
            file: self.first.file + index * self.layout.frame_len(self.layout.chunk_size) as u64,
            index,
            plaintext: index * chunk,
            irregular: false,
        };
        // Boundaries that are known need no guess: were one wrong there, the walk would begin at the same place.
        (place.file != self.first.file && place.file != self.verified.file).then_some(place)
    }

    /// Walks to `target` from the nearest boundary known before it.
    fn walk(&mut self, target: u64) {
        let proven = if self.verified.plaintext <= target { self.verified } else { self.first };
        let hint = self.hint(target).filter(|hint| hint.plaintext > proven.plaintext);
        self.at = hint.unwrap_or(proven);
        self.mode = Mode::Walk { target, hinted: hint.is_some() };
        if let Some(hints) = &mut self.hints {
            hints.passed.clear();
        }
    }

    /// Walks again, where a hint led to what did not verify: believing no hint any more, and leaving none behind.
    fn walk_unaided(&mut self, target: u64) {
        if let Some(hints) = self.hints.take() {
            hints.shared.forget(&hints.file);
        }
        self.walk(target);
    }

    /// A boundary at or before `target` that some opener of this file came past; only irregular files have any.
    fn hint(&self, target: u64) -> Option<Place> {
        self.hints.as_ref().and_then(|hints| hints.shared.before(&hints.file, target))
    }

    /// Shares the place of a frame that just verified, and with it those that a walk to it passed.
    #[inline]
    fn tell(&mut self, place: Place) {
        let walked = matches!(self.mode, Mode::Walk { .. });
        if let Some(hints) = &mut self.hints
            && (walked || place.plaintext.abs_diff(hints.told) >= hints.shared.spacing())
        {
            hints.passed.add(place);
            hints.shared.add(&hints.file, hints.passed.places());
            hints.passed.clear();
            hints.told = place.plaintext;
        }
    }

    fn finish(&mut self, end: &End) {
        let End { irregular, plaintext, frames } = *end;
        self.at = Place { file: self.file_len, index: frames, plaintext, irregular };
        self.mode = Mode::Done;
    }

    fn fail(&mut self) -> Error {
        self.failed = Some(self.at.index);
        integrity(self.at.index)
    }

    fn check_not_failed(&self) -> Result<()> {
        self.failed.map_or(Ok(()), |frame| Err(integrity(frame)))
    }
}

/// The one text of every failure: which check it was is nobody's business but ours.
fn integrity(frame: u64) -> Error {
    Kind::Integrity.error(format_args!("frame {frame} failed verification"))
}

enum Step {
    On,
    Stop,
    NoRoom(usize),
}

/// Where a call finds sealed bytes and puts plaintext.
trait Buffers {
    fn sealed(&self) -> &[u8];
    /// The plaintext that fits behind what was produced.
    fn room(&self, produced: usize) -> usize;
    fn open(&mut self, cipher: &FileCipher, at: &Place, frame: Range<usize>, out: Range<usize>) -> Result<(), Failed>;
}

struct OutOfPlace<'a> {
    sealed: &'a [u8],
    out: &'a mut [u8],
}

impl Buffers for OutOfPlace<'_> {
    fn sealed(&self) -> &[u8] {
        self.sealed
    }

    fn room(&self, produced: usize) -> usize {
        self.out.len() - produced
    }

    #[inline]
    fn open(&mut self, cipher: &FileCipher, at: &Place, frame: Range<usize>, out: Range<usize>) -> Result<(), Failed> {
        cipher.open(at, &self.sealed[frame], &mut self.out[out])
    }
}

struct InPlace<'a> {
    buffer: &'a mut [u8],
}

impl Buffers for InPlace<'_> {
    fn sealed(&self) -> &[u8] {
        self.buffer
    }

    fn room(&self, _produced: usize) -> usize {
        usize::MAX
    }

    #[inline]
    fn open(&mut self, cipher: &FileCipher, at: &Place, frame: Range<usize>, out: Range<usize>) -> Result<(), Failed> {
        cipher.open_in_place(at, out.len(), &mut self.buffer[frame])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EncryptionAlgorithm;
    use crate::context::EncryptionContext;
    use crate::envelope::limits::MAX_PLAINTEXT;
    use crate::envelope::{DataKeyId, Parsed, SealOptions, Sealer, Slot, encode_slots};

    const CHUNK: usize = 4096;

    /// An opener that has come this far already, to test the limits of the format.
    fn fast_forwarded(algorithm: EncryptionAlgorithm, index: u64, plaintext: u64) -> Opener {
        let (key, id) = (Secret::take(&mut [1; 32]).unwrap(), DataKeyId::from_bytes([2; 16]));
        let slot = Slot { provider: "local".into(), kek: "k".into(), version: "1".into(), wrapped: vec![3; 60] };
        let slots = encode_slots(&[slot], id, &key).unwrap();
        let options = SealOptions {
            algorithm,
            chunk_size: CHUNK as u32,
            tenant: "default".into(),
            subject: None,
            context: EncryptionContext::default(),
            created_at_ms: 0,
        };
        let sealer = Sealer::new(&key, id, &slots, &options).unwrap();
        let Parsed::Complete(head) = Head::parse(sealer.head()).unwrap() else {
            panic!("the head is whole");
        };
        let mut opener = Opener::new(&head, &key).unwrap();
        opener.at = Place { index, plaintext, irregular: true, ..opener.first };
        opener
    }

    /// A frame of so many bytes at the opener's place, as one who has the file's keys can make it anywhere.
    fn frame(opener: &Opener, plaintext: usize) -> Vec<u8> {
        let mut frame = vec![0; opener.layout.frame_len(plaintext)];
        opener.cipher.seal(&opener.at, &vec![7; plaintext], &mut frame).unwrap();
        frame
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn the_last_frame_of_the_format_is_opened_and_no_other() {
        for algorithm in [EncryptionAlgorithm::Aes256Gcm, EncryptionAlgorithm::Aes256CbcHmac] {
            let mut out = [0; CHUNK];
            let mut opener = fast_forwarded(algorithm, MAX_FRAMES - 1, 9);
            let last = frame(&opener, 1);
            assert_eq!(opener.open(&last, &mut out).unwrap().produced, 1);
            let one_more = frame(&opener, 1);
            assert_eq!(opener.open(&one_more, &mut out).unwrap_err().kind(), Kind::Integrity);

            let mut opener = fast_forwarded(algorithm, 9, MAX_PLAINTEXT - CHUNK as u64);
            let last = frame(&opener, CHUNK);
            assert_eq!(opener.open(&last, &mut out).unwrap().produced, CHUNK);
            let one_more = frame(&opener, 1);
            assert_eq!(opener.open(&one_more, &mut out).unwrap_err().kind(), Kind::Integrity);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn no_seek_overflows() {
        for target in [u64::MAX, 1 << 63, MAX_PLAINTEXT, MAX_FRAMES * CHUNK as u64, (MAX_FRAMES + 1) * CHUNK as u64] {
            let mut opener = fast_forwarded(EncryptionAlgorithm::Aes256Gcm, 0, 0);
            opener.seek(target);
            assert!(opener.wants() >= opener.first.file);
            while opener.eof(&[]).is_ok() {}
            assert_eq!(opener.eof(&[]).unwrap_err().kind(), Kind::Truncated);
        }
    }
}

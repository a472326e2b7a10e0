//! Where things lie in a sealed file: lengths only, no keys.

use crate::config::EncryptionAlgorithm;

/// The shape of the frames of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The plaintext bytes of a full frame.
    pub chunk_size: usize,
    /// The bytes of a frame before its ciphertext: the prefix, and with CBC the IV.
    pub front: usize,
    /// The bytes of a frame after its ciphertext: the tag.
    pub tag: usize,
    /// The bytes of the end of the file.
    pub end_len: usize,
    padded: bool,
}

/// The bytes of the prefix that starts every frame and the end.
pub(super) const PREFIX: usize = 4;
/// The bytes of the end before its tag: prefix, plaintext length, frame count.
pub(super) const END_FIELDS: usize = 20;
/// The block of AES.
pub(super) const BLOCK: usize = 16;

impl Layout {
    /// The layout of files of this suite and chunk size.
    pub fn new(algorithm: EncryptionAlgorithm, chunk_size: u32) -> Layout {
        let (iv, tag, padded) = match algorithm {
            EncryptionAlgorithm::Aes256Gcm => (0, super::gcm::TAG, false),
            EncryptionAlgorithm::Aes256CbcHmac => (super::cbc_hmac::IV, super::cbc_hmac::TAG, true),
        };
        Layout { chunk_size: chunk_size as usize, front: PREFIX + iv, tag, end_len: END_FIELDS + tag, padded }
    }

    /// The bytes of the frame that holds `plaintext` bytes, at most a chunk.
    pub fn frame_len(&self, plaintext: usize) -> usize {
        self.front + self.ciphertext_len(plaintext) + self.tag
    }

    /// The bytes of all frames that `plaintext` bytes take, cut into chunks. A length too large for memory gives
    /// `usize::MAX`, which no buffer has.
    pub fn sealed_len(&self, plaintext: usize) -> usize {
        // The chunk size is a power of two: a shift and a mask, for this runs once a call.
        let chunks = plaintext >> self.chunk_size.trailing_zeros();
        let whole = chunks.saturating_mul(self.frame_len(self.chunk_size));
        match plaintext & (self.chunk_size - 1) {
            0 => whole,
            rest => whole.saturating_add(self.frame_len(rest)),
        }
    }

    /// PKCS#7 always pads, so a multiple of the block grows by a block.
    pub(super) fn ciphertext_len(&self, plaintext: usize) -> usize {
        if self.padded { (plaintext / BLOCK + 1) * BLOCK } else { plaintext }
    }
}

/// The boundary before a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its offset in the sealed file.
    pub(super) file: u64,
    /// The index of the frame.
    pub(super) index: u64,
    /// The plaintext bytes in all frames before it.
    pub(super) plaintext: u64,
    /// True if a frame before it, other than the one right before it, is shorter than a chunk.
    pub(super) irregular: bool,
}

impl Place {
    /// The first frame, after a head of this length.
    pub(super) fn first(head_len: usize) -> Place {
        Place { file: head_len as u64, index: 0, plaintext: 0, irregular: false }
    }

    /// The boundary after the frame here, which holds `plaintext` bytes. Callers keep to the limits of the format, under
    /// which none of these sums can overflow.
    pub(super) fn after(&self, plaintext: usize, layout: &Layout) -> Place {
        Place {
            file: self.file + layout.frame_len(plaintext) as u64,
            index: self.index + 1,
            plaintext: self.plaintext + plaintext as u64,
            // Frames hold a chunk at most, so what a short one falls behind is never made up for.
            irregular: self.plaintext != self.index * layout.chunk_size as u64,
        }
    }

    /// True if the format's limits allow a frame of `plaintext` bytes here.
    pub(super) fn has_room_for(&self, plaintext: usize) -> bool {
        use super::limits::{MAX_FRAMES, MAX_PLAINTEXT};
        self.index < MAX_FRAMES && plaintext as u64 <= MAX_PLAINTEXT.saturating_sub(self.plaintext)
    }
}

/// The prefix of a frame of `plaintext` bytes, at most 1 MiB.
pub(super) fn frame_prefix(plaintext: usize) -> [u8; PREFIX] {
    (plaintext as u32).to_be_bytes()
}

/// What a prefix announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// A frame of so many bytes of plaintext.
    Frame(usize),
    /// The end of the file.
    End { irregular: bool },
}

const END: u32 = 1 << 31;
const IRREGULAR: u32 = 1 << 30;

impl Prefix {
    /// Reads a prefix; anything the format does not allow is `None`.
    pub(super) fn parse(bytes: [u8; PREFIX], layout: &Layout) -> Option<Prefix> {
        let value = u32::from_be_bytes(bytes);
        if value & END != 0 {
            (value & !(END | IRREGULAR) == 0).then_some(Prefix::End { irregular: value & IRREGULAR != 0 })
        } else {
            // Compared before it is computed with: a hostile prefix is at most a chunk from here on.
            (1..=layout.chunk_size as u32).contains(&value).then_some(Prefix::Frame(value as usize))
        }
    }
}

/// What the end of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) irregular: bool,
    pub(super) plaintext: u64,
    pub(super) frames: u64,
}

impl End {
    /// The end of a file whose last frame ends here.
    pub(super) fn at(place: &Place) -> End {
        End { irregular: place.irregular, plaintext: place.plaintext, frames: place.index }
    }

    pub(super) fn encode(&self) -> [u8; END_FIELDS] {
        let prefix = END | if self.irregular { IRREGULAR } else { 0 };
        let mut out = [0; END_FIELDS];
        out[..4].copy_from_slice(&prefix.to_be_bytes());
        out[4..12].copy_from_slice(&self.plaintext.to_be_bytes());
        out[12..].copy_from_slice(&self.frames.to_be_bytes());
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; anything else is `None`.
    pub(super) fn parse(bytes: &[u8; END_FIELDS], layout: &Layout) -> Option<End> {
        let mut reader = super::bytes::Reader::new(bytes);
        match Prefix::parse(reader.array()?, layout)? {
            Prefix::Frame(_) => None,
            Prefix::End { irregular } => Some(End { irregular, plaintext: reader.u64()?, frames: reader.u64()? }),
        }
    }

    /// True if a file of `body` bytes of frames can end like this.
    pub(super) fn fits(&self, body: u64, layout: &Layout) -> bool {
        use super::limits::{MAX_FRAMES, MAX_PLAINTEXT};
        let chunk = layout.chunk_size as u64;
        if self.frames > MAX_FRAMES || self.plaintext > MAX_PLAINTEXT {
            return false;
        }
        let frames_fit = if self.irregular {
            self.frames >= 2 && self.frames <= self.plaintext && self.plaintext < self.frames * chunk
        } else {
            self.frames == self.plaintext.div_ceil(chunk)
        };
        let Some(ciphertext) = body.checked_sub(self.frames * (layout.front + layout.tag) as u64) else {
            return false;
        };
        let body_fits = match (layout.padded, self.irregular) {
            (false, _) => ciphertext == self.plaintext,
            (true, false) => ciphertext == self.regular_padded(layout),
            // Each frame is padded by 1 to 16 bytes; which, only the frames tell.
            (true, true) => {
                let block = BLOCK as u64;
                ciphertext.is_multiple_of(block)
                    && ciphertext >= self.plaintext + self.frames
                    && ciphertext <= self.plaintext + self.frames * block
            }
        };
        frames_fit && body_fits
    }

    fn regular_padded(&self, layout: &Layout) -> u64 {
        let chunk = layout.chunk_size;
        let whole = self.plaintext / chunk as u64;
        let rest = (self.plaintext % chunk as u64) as usize;
        whole * layout.ciphertext_len(chunk) as u64 + if rest == 0 { 0 } else { layout.ciphertext_len(rest) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: [EncryptionAlgorithm; 2] = [EncryptionAlgorithm::Aes256Gcm, EncryptionAlgorithm::Aes256CbcHmac];

    #[test]
    fn lengths_are_those_of_the_format() {
        let gcm = Layout::new(EncryptionAlgorithm::Aes256Gcm, 16_384);
        assert_eq!((gcm.front, gcm.end_len, gcm.frame_len(16_384), gcm.frame_len(1)), (4, 36, 16_404, 21));
        let cbc = Layout::new(EncryptionAlgorithm::Aes256CbcHmac, 16_384);
        assert_eq!((cbc.front, cbc.end_len, cbc.frame_len(16_384), cbc.frame_len(15)), (20, 52, 16_452, 68));
        assert_eq!(gcm.sealed_len(0), 0);
        assert_eq!(gcm.sealed_len(16_385), 16_404 + 21);
        assert_eq!(gcm.sealed_len(usize::MAX), usize::MAX);
    }

    #[test]
    fn hostile_prefixes_are_refused() {
        for algorithm in ALGORITHMS {
            let layout = Layout::new(algorithm, 4096);
            for value in [0, 4097, 0x7fff_ffff, 0x4000_0000, 0x8000_0001, 0xffff_ffff, 0xc000_0010, 0xa000_0000] {
                assert_eq!(Prefix::parse(u32::to_be_bytes(value), &layout), None, "{value:#x}");
            }
            assert_eq!(Prefix::parse(4096u32.to_be_bytes(), &layout), Some(Prefix::Frame(4096)));
            assert_eq!(Prefix::parse(END.to_be_bytes(), &layout), Some(Prefix::End { irregular: false }));
            assert_eq!(Prefix::parse([0xc0, 0, 0, 0], &layout), Some(Prefix::End { irregular: true }));
        }
    }

    #[test]
    fn a_short_frame_makes_a_file_irregular_only_when_another_follows() {
        let layout = Layout::new(EncryptionAlgorithm::Aes256Gcm, 4096);
        let place = Place::first(100).after(4096, &layout).after(7, &layout);
        assert!(!place.irregular);
        assert!(place.after(4096, &layout).irregular);
        assert!(place.after(4096, &layout).after(4089, &layout).irregular, "and it stays so");
    }

    #[test]
    fn the_limits_hold_at_the_limit() {
        let at = |index, plaintext| Place { file: 0, index, plaintext, irregular: true };
        let (frames, bytes) = (super::super::limits::MAX_FRAMES, super::super::limits::MAX_PLAINTEXT);
        assert!(at(frames - 1, 0).has_room_for(1));
        assert!(!at(frames, 0).has_room_for(1));
        assert!(at(0, bytes - 4096).has_room_for(4096));
        assert!(!at(0, bytes - 4096).has_room_for(4097));
        assert!(!at(0, u64::MAX).has_room_for(1));
    }

    #[test]
    fn an_end_fits_only_files_of_its_length() {
        for algorithm in ALGORITHMS {
            let layout = Layout::new(algorithm, 4096);
            for plaintext in [0usize, 1, 15, 16, 4095, 4096, 4097, 9000] {
                let body = layout.sealed_len(plaintext) as u64;
                let frames = plaintext.div_ceil(4096) as u64;
                let end = End { irregular: false, plaintext: plaintext as u64, frames };
                assert!(end.fits(body, &layout));
                assert!(!end.fits(body + 1, &layout));
                assert!(!end.fits(body + 16, &layout));
                assert!(!End { frames: frames + 1, ..end }.fits(body, &layout));
                assert!(!End { plaintext: u64::MAX, ..end }.fits(u64::MAX, &layout));
                assert!(!End { frames: u64::MAX, ..end }.fits(u64::MAX, &layout));
            }
            let body = (layout.frame_len(5) + layout.frame_len(4096)) as u64;
            let end = End { irregular: true, plaintext: 4101, frames: 2 };
            assert!(end.fits(body, &layout));
            assert!(!End { irregular: true, plaintext: 8192, frames: 2 }.fits(body + 4091, &layout));
            assert!(!End { frames: 1, ..end }.fits(body, &layout));
        }
    }
}

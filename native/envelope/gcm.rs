//! Suite 01: AES-256-GCM (NIST SP 800-38D). The nonce is a counter over a secret base, so none repeats under a file key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::layout::{END_FIELDS, PREFIX, Place, frame_prefix};
use super::suite::Failed;

/// The bytes of a tag.
pub(super) const TAG: usize = 16;
const CIPHER_KEY: usize = 32;

pub(super) struct Gcm {
    key: LessSafeKey,
    base: [u8; NONCE_LEN],
}

impl Gcm {
    /// The derived bytes it takes: cipher key and base nonce.
    pub(super) const KEYS: usize = CIPHER_KEY + NONCE_LEN;

    pub(super) fn new(keys: &[u8]) -> Option<Gcm> {
        let (key, base) = keys.split_at_checked(CIPHER_KEY)?;
        Some(Gcm { key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?), base: base.try_into().ok()? })
    }

    #[inline]
    pub(super) fn seal(&self, place: &Place, chunk: &[u8], frame: &mut [u8]) -> Result<(), Failed> {
        let (prefix, body) = frame.split_first_chunk_mut::<PREFIX>().ok_or(Failed)?;
        let (ciphertext, tag) = body.split_at_mut_checked(chunk.len()).ok_or(Failed)?;
        *prefix = frame_prefix(chunk.len());
        let (nonce, aad) = (self.nonce(place.index), frame_aad(*prefix, place.plaintext));
        self.key.seal_out_of_place_scatter(nonce, aad, chunk, ciphertext, &[], tag).map_err(|_| Failed)
    }

    #[inline]
    pub(super) fn seal_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        let (prefix, body) = frame.split_first_chunk_mut::<PREFIX>().ok_or(Failed)?;
        let (chunk, tag) = body.split_at_mut_checked(plaintext).ok_or(Failed)?;
        *prefix = frame_prefix(plaintext);
        let (nonce, aad) = (self.nonce(place.index), frame_aad(*prefix, place.plaintext));
        self.key.seal_in_place_scatter(nonce, aad, chunk, &[], tag).map_err(|_| Failed)
    }

    #[inline]
    pub(super) fn open(&self, place: &Place, frame: &[u8], out: &mut [u8]) -> Result<(), Failed> {
        let (prefix, body) = frame.split_first_chunk::<PREFIX>().ok_or(Failed)?;
        let (ciphertext, tag) = body.split_at_checked(out.len()).ok_or(Failed)?;
        let (nonce, aad) = (self.nonce(place.index), frame_aad(*prefix, place.plaintext));
        self.key.open_separate_gather(nonce, aad, ciphertext, tag, out).map_err(|_| Failed)
    }

    #[inline]
    pub(super) fn open_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        let (prefix, body) = frame.split_first_chunk_mut::<PREFIX>().ok_or(Failed)?;
        let (ciphertext, tag) = body.split_at_mut_checked(plaintext).ok_or(Failed)?;
        let (nonce, aad) = (self.nonce(place.index), frame_aad(*prefix, place.plaintext));
        self.key.open_in_place_separate_tag(nonce, aad, tag, ciphertext).map(|_| ()).map_err(|_| Failed)
    }

    pub(super) fn seal_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &mut [u8]) -> Result<(), Failed> {
        self.key.seal_in_place_scatter(self.nonce(frames), Aad::from(fields), &mut [], &[], tag).map_err(|_| Failed)
    }

    pub(super) fn open_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &[u8]) -> Result<(), Failed> {
        self.key.open_separate_gather(self.nonce(frames), Aad::from(fields), &[], tag, &mut []).map_err(|_| Failed)
    }

    /// The base, its last eight bytes XOR the index: a counter never given twice is a nonce never used twice.
    #[inline]
    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.base;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

#[inline]
fn frame_aad(prefix: [u8; PREFIX], offset: u64) -> Aad<[u8; 12]> {
    let mut aad = [0; 12];
    aad[..PREFIX].copy_from_slice(&prefix);
    aad[PREFIX..].copy_from_slice(&offset.to_be_bytes());
    Aad::from(aad)
}

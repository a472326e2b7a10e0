//! Suite 02: AES-256-CBC (NIST SP 800-38A) with HMAC-SHA-256 over the ciphertext, checked before anything is decrypted.

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::{constant_time, hmac};

use super::layout::{BLOCK, END_FIELDS, PREFIX, Place, frame_prefix};
use super::suite::Failed;

/// The bytes of an initialisation vector.
pub(super) const IV: usize = BLOCK;
/// The bytes of a tag.
pub(super) const TAG: usize = 32;
const KEY: usize = 32;

pub(super) struct CbcHmac {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
    mac: hmac::Key,
}

impl CbcHmac {
    /// The derived bytes it takes: cipher key and MAC key.
    pub(super) const KEYS: usize = 2 * KEY;

    pub(super) fn new(keys: &[u8]) -> Option<CbcHmac> {
        let (cipher, mac) = keys.split_at_checked(KEY)?;
        let key = || UnboundCipherKey::new(&AES_256, cipher);
        Some(CbcHmac {
            encrypting: EncryptingKey::cbc(key().ok()?).ok()?,
            decrypting: DecryptingKey::cbc(key().ok()?).ok()?,
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
        })
    }

    pub(super) fn seal(&self, place: &Place, chunk: &[u8], frame: &mut [u8]) -> Result<(), Failed> {
        frame.get_mut(PREFIX + IV..).and_then(|body| body.get_mut(..chunk.len())).ok_or(Failed)?.copy_from_slice(chunk);
        self.seal_in_place(place, chunk.len(), frame)
    }

    pub(super) fn seal_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        let (prefix, body) = frame.split_first_chunk_mut::<PREFIX>().ok_or(Failed)?;
        let (iv, body) = body.split_first_chunk_mut::<IV>().ok_or(Failed)?;
        let (ciphertext, tag) = body.split_last_chunk_mut::<TAG>().ok_or(Failed)?;
        *prefix = frame_prefix(plaintext);
        let padding = ciphertext.len() - plaintext;
        ciphertext[plaintext..].fill(padding as u8);
        // `encrypt` draws a fresh random IV for each frame.
        let DecryptionContext::Iv128(drawn) = self.encrypting.encrypt(ciphertext).map_err(|_| Failed)? else {
            return Err(Failed);
        };
        *iv = *drawn.as_ref();
        tag.copy_from_slice(self.frame_mac(*prefix, place, &[iv, ciphertext]).as_ref());
        Ok(())
    }

    /// The plaintext is up to a block shorter than its ciphertext, and `out` is no longer than the plaintext: so the
    /// last block, which holds the padding, is opened apart.
    pub(super) fn open(&self, place: &Place, frame: &[u8], out: &mut [u8]) -> Result<(), Failed> {
        let (iv, ciphertext) = self.verified(place, frame)?;
        let (whole, last) = ciphertext.split_last_chunk::<BLOCK>().ok_or(Failed)?;
        let (head, tail) = out.split_at_mut_checked(whole.len()).ok_or(Failed)?;
        let mut padded = *last;
        self.decrypt(whole.last_chunk::<IV>().unwrap_or(iv), &mut padded)?;
        check_padding(&padded, tail.len())?;
        head.copy_from_slice(whole);
        self.decrypt(iv, head)?;
        tail.copy_from_slice(&padded[..tail.len()]);
        Ok(())
    }

    pub(super) fn open_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        let (iv, ciphertext) = self.verified(place, frame)?;
        let (iv, length) = (*iv, ciphertext.len());
        let ciphertext = frame.get_mut(PREFIX + IV..PREFIX + IV + length).ok_or(Failed)?;
        self.decrypt(&iv, ciphertext)?;
        let last = length - BLOCK;
        check_padding(&ciphertext[last..], plaintext.checked_sub(last).ok_or(Failed)?)
    }

    pub(super) fn seal_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &mut [u8]) -> Result<(), Failed> {
        let mac = self.end_mac(frames, fields);
        tag.first_chunk_mut::<TAG>().ok_or(Failed)?.copy_from_slice(mac.as_ref());
        Ok(())
    }

    pub(super) fn open_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &[u8]) -> Result<(), Failed> {
        constant_time::verify_slices_are_equal(self.end_mac(frames, fields).as_ref(), tag).map_err(|_| Failed)
    }

    /// The IV and ciphertext of a frame whose tag is right.
    fn verified<'a>(&self, place: &Place, frame: &'a [u8]) -> Result<(&'a [u8; IV], &'a [u8]), Failed> {
        let (prefix, body) = frame.split_first_chunk::<PREFIX>().ok_or(Failed)?;
        let (covered, tag) = body.split_last_chunk::<TAG>().ok_or(Failed)?;
        let expected = self.frame_mac(*prefix, place, &[covered]);
        constant_time::verify_slices_are_equal(expected.as_ref(), tag).map_err(|_| Failed)?;
        covered.split_first_chunk::<IV>().ok_or(Failed)
    }

    fn decrypt(&self, iv: &[u8; IV], blocks: &mut [u8]) -> Result<(), Failed> {
        if blocks.is_empty() {
            return Ok(());
        }
        self.decrypting.decrypt(blocks, DecryptionContext::Iv128(iv.into())).map(|_| ()).map_err(|_| Failed)
    }

    fn frame_mac(&self, prefix: [u8; PREFIX], place: &Place, sealed: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac);
        let mut fields = [0; PREFIX + 16];
        fields[..PREFIX].copy_from_slice(&prefix);
        fields[PREFIX..PREFIX + 8].copy_from_slice(&place.plaintext.to_be_bytes());
        fields[PREFIX + 8..].copy_from_slice(&place.index.to_be_bytes());
        context.update(&fields);
        sealed.iter().for_each(|part| context.update(part));
        context.sign()
    }

    fn end_mac(&self, frames: u64, fields: &[u8; END_FIELDS]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(fields);
        context.update(&frames.to_be_bytes());
        context.sign()
    }
}

/// The last block of a frame whose tag was right can be wrong only if its writer was; refused like all else.
fn check_padding(block: &[u8], plaintext: usize) -> Result<(), Failed> {
    let padding = BLOCK.checked_sub(plaintext).ok_or(Failed)?;
    let right = block.get(plaintext..).is_some_and(|bytes| bytes.iter().all(|byte| usize::from(*byte) == padding));
    if right && padding > 0 { Ok(()) } else { Err(Failed) }
}

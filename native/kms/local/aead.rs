//! AES-256-GCM of a few bytes under a random nonce, which leads the result.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::{Kind, Result};
use crate::secret::Secret;

/// Nonce, ciphertext, tag.
pub fn seal(key: &Secret, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let failed = |_| Kind::Internal.error("AES-256-GCM failed");
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Kind::Internal.error("the random generator failed"))?;
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len()));
    buffer.extend_from_slice(plaintext);
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    let tag = cipher(key)?.seal_in_place_separate_tag(nonce_used, Aad::from(aad), &mut buffer).map_err(failed)?;
    Ok([&nonce, buffer.as_slice(), tag.as_ref()].concat())
}

/// The plaintext, or `None` if the bytes are not what [`seal`] gave under this key and associated data.
pub fn open(key: &Secret, aad: &[u8], sealed: &[u8]) -> Result<Option<Secret>> {
    let Some((nonce, rest)) = sealed.split_first_chunk::<NONCE_LEN>() else { return Ok(None) };
    let mut buffer = Zeroizing::new(rest.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    match cipher(key)?.open_in_place(nonce, Aad::from(aad), &mut buffer) {
        Ok(plaintext) => Secret::take(plaintext).map(Some),
        Err(_) => Ok(None),
    }
}

fn cipher(key: &Secret) -> Result<LessSafeKey> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.expose());
    unbound.map(LessSafeKey::new).map_err(|_| Kind::Internal.error("a key of the keyring has not 32 bytes"))
}

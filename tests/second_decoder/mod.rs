//! A second implementation of the sealed file, written from docs/FORMAT.md on the RustCrypto crates. It shares no code
//! with the library: whole files in memory, nothing fast. `encoder` can also break one rule at a time, for the vectors.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support")]

pub mod decoder;
pub mod encoder;
pub mod sidecar;
pub mod vectors;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

pub const GCM: u8 = 1;
pub const CBC_HMAC: u8 = 2;

/// The keys of one file (FORMAT.md, "Keys").
pub enum Keys {
    Gcm { cipher: [u8; 32], base: [u8; 12] },
    CbcHmac { cipher: [u8; 32], mac: [u8; 32] },
}

pub fn hkdf_sha512(data_key: &[u8; 32], salt: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    Hkdf::<Sha512>::new(Some(salt), data_key).expand(info, &mut out).unwrap();
    out
}

/// The keys and the commitment.
pub fn file_keys(suite: u8, data_key: &[u8; 32], salt: &[u8], prelude: &[u8], bound: &[u8]) -> (Keys, Vec<u8>) {
    let info = [b"sealpoint/v1 file", &prelude[0..12], bound].concat();
    if suite == GCM {
        let okm = hkdf_sha512(data_key, salt, &info, 76);
        (Keys::Gcm { cipher: okm[..32].try_into().unwrap(), base: okm[32..44].try_into().unwrap() }, okm[44..].to_vec())
    } else {
        let okm = hkdf_sha512(data_key, salt, &info, 96);
        let (cipher, mac) = (okm[..32].try_into().unwrap(), okm[32..64].try_into().unwrap());
        (Keys::CbcHmac { cipher, mac }, okm[64..].to_vec())
    }
}

pub fn slots_mac(data_key: &[u8; 32], id: &[u8], count_and_slots: &[u8]) -> Vec<u8> {
    let key = hkdf_sha512(data_key, &[], b"sealpoint/v1 slots", 32);
    hmac_sha256(&key, &[id, count_and_slots])
}

pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn gcm_nonce(base: &[u8; 12], index: u64) -> [u8; 12] {
    let last = u64::from_be_bytes(base[4..].try_into().unwrap()) ^ index;
    [&base[..4], &last.to_be_bytes()[..]].concat().try_into().unwrap()
}

fn gcm_encrypt(key: &[u8; 32], nonce: [u8; 12], msg: &[u8], aad: &[u8]) -> Vec<u8> {
    Aes256Gcm::new(key.into()).encrypt(&nonce.into(), Payload { msg, aad }).unwrap()
}

fn gcm_decrypt(key: &[u8; 32], nonce: [u8; 12], msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(key.into()).decrypt(&nonce.into(), Payload { msg, aad }).ok()
}

/// CBC of whole blocks: this implementation pads and unpads by itself, as the text says.
fn cbc_encrypt(key: &[u8; 32], iv: &[u8; 16], blocks: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<Aes256>::new(key.into(), iv.into()).encrypt_padded_vec::<NoPadding>(blocks)
}

fn cbc_decrypt(key: &[u8; 32], iv: &[u8; 16], blocks: &[u8]) -> Vec<u8> {
    cbc::Decryptor::<Aes256>::new(key.into(), iv.into()).decrypt_padded_vec::<NoPadding>(blocks).unwrap()
}

//! The cipher suites, and how the keys of a file derive from its data key.

use aws_lc_rs::hkdf::{self as aws_hkdf, HKDF_SHA512, KeyType};
use zeroize::Zeroizing;

use super::cbc_hmac::CbcHmac;
use super::gcm::Gcm;
use super::head::COMMITMENT;
use super::layout::{END_FIELDS, Place};
use crate::config::EncryptionAlgorithm;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// The bytes of a data key.
const DATA_KEY: usize = 32;

/// The number that files name a suite by.
pub(super) fn number(algorithm: EncryptionAlgorithm) -> u8 {
    match algorithm {
        EncryptionAlgorithm::Aes256Gcm => 1,
        EncryptionAlgorithm::Aes256CbcHmac => 2,
    }
}

/// The suite of a number.
pub(super) fn by_number(number: u8) -> Option<EncryptionAlgorithm> {
    match number {
        1 => Some(EncryptionAlgorithm::Aes256Gcm),
        2 => Some(EncryptionAlgorithm::Aes256CbcHmac),
        _ => None,
    }
}

/// A frame that was not sealed or did not verify. Which check failed stays in here: to the outside they are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// The keys of one file, ready to use.
pub(super) enum FileCipher {
    Gcm(Gcm),
    CbcHmac(Box<CbcHmac>),
}

impl FileCipher {
    /// The keys and the commitment of the file with this salt and these bound bytes.
    pub(super) fn derive(
        algorithm: EncryptionAlgorithm,
        data_key: &Secret,
        salt: &[u8],
        fixed: &[u8],
        bound: &[u8],
    ) -> Result<(FileCipher, [u8; COMMITMENT])> {
        let keys_len = match algorithm {
            EncryptionAlgorithm::Aes256Gcm => Gcm::KEYS,
            EncryptionAlgorithm::Aes256CbcHmac => CbcHmac::KEYS,
        };
        let mut derived = Zeroizing::new([0u8; CbcHmac::KEYS + COMMITMENT]);
        let derived = &mut derived[..keys_len + COMMITMENT];
        hkdf(data_key, salt, &[b"sealpoint/v1 file", fixed, bound], derived)?;
        let (keys, commitment) = derived.split_last_chunk::<COMMITMENT>().ok_or_else(key_failed)?;
        let cipher = match algorithm {
            EncryptionAlgorithm::Aes256Gcm => FileCipher::Gcm(Gcm::new(keys).ok_or_else(key_failed)?),
            EncryptionAlgorithm::Aes256CbcHmac => {
                FileCipher::CbcHmac(Box::new(CbcHmac::new(keys).ok_or_else(key_failed)?))
            }
        };
        Ok((cipher, *commitment))
    }

    /// Seals a chunk into its frame, which has exactly its length.
    #[inline]
    pub(super) fn seal(&self, place: &Place, chunk: &[u8], frame: &mut [u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.seal(place, chunk, frame),
            FileCipher::CbcHmac(cbc) => cbc.seal(place, chunk, frame),
        }
    }

    /// Seals the frame whose plaintext already lies where its ciphertext goes.
    #[inline]
    pub(super) fn seal_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.seal_in_place(place, plaintext, frame),
            FileCipher::CbcHmac(cbc) => cbc.seal_in_place(place, plaintext, frame),
        }
    }

    /// Opens a whole frame into `out`, which has exactly the length of its plaintext.
    #[inline]
    pub(super) fn open(&self, place: &Place, frame: &[u8], out: &mut [u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.open(place, frame, out),
            FileCipher::CbcHmac(cbc) => cbc.open(place, frame, out),
        }
    }

    /// Opens a whole frame of so many bytes of plaintext where it lies.
    #[inline]
    pub(super) fn open_in_place(&self, place: &Place, plaintext: usize, frame: &mut [u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.open_in_place(place, plaintext, frame),
            FileCipher::CbcHmac(cbc) => cbc.open_in_place(place, plaintext, frame),
        }
    }

    /// Writes the tag of the end behind its fields.
    pub(super) fn seal_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &mut [u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.seal_end(frames, fields, tag),
            FileCipher::CbcHmac(cbc) => cbc.seal_end(frames, fields, tag),
        }
    }

    /// Checks the tag of the end.
    pub(super) fn open_end(&self, frames: u64, fields: &[u8; END_FIELDS], tag: &[u8]) -> Result<(), Failed> {
        match self {
            FileCipher::Gcm(gcm) => gcm.open_end(frames, fields, tag),
            FileCipher::CbcHmac(cbc) => cbc.open_end(frames, fields, tag),
        }
    }
}

/// HKDF-SHA-512 (RFC 5869), extract and expand, from a data key.
pub(super) fn hkdf(data_key: &Secret, salt: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    if data_key.expose().len() != DATA_KEY {
        return Err(Kind::WrappedKey.error(format_args!(
            "a data key takes {DATA_KEY} bytes, not {}: it was not wrapped for a sealed file",
            data_key.expose().len()
        )));
    }
    aws_hkdf::Salt::new(HKDF_SHA512, salt)
        .extract(data_key.expose())
        .expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| key_failed())
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn key_failed() -> Error {
    Kind::Internal.error("a file key could not be derived")
}

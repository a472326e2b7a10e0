//! What a wrapped data key of ours looks like: a byte that says how it was wrapped, and what the service gave. Whoever
//! only opens needs no look at the key for it, and a key may change its type from one version to the next.

use crate::error::Result;
use crate::kms::azure::algorithm::Algorithm;
use crate::kms::azure::wire::nonsense;

const RSA_OAEP_256: u8 = 1;
const A256_GCM: u8 = 2;
const IV_LEN: usize = 12;
const DATA_KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// A wrapped data key, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrapped<'b> {
    RsaOaep256(&'b [u8]),
    A256Gcm { iv: &'b [u8; IV_LEN], ciphertext: &'b [u8], tag: &'b [u8] },
}

impl<'b> Wrapped<'b> {
    /// `None` where no key of Azure can have given these bytes: the service is not bothered with them.
    pub fn parse(bytes: &'b [u8]) -> Option<Wrapped<'b>> {
        match bytes.split_first()? {
            // 2048, 3072 and 4096 bits are all there are.
            (&RSA_OAEP_256, ciphertext) => {
                [256, 384, 512].contains(&ciphertext.len()).then_some(Wrapped::RsaOaep256(ciphertext))
            }
            (&A256_GCM, rest) if rest.len() == IV_LEN + DATA_KEY_LEN + TAG_LEN => {
                let (iv, rest) = rest.split_first_chunk()?;
                let (ciphertext, tag) = rest.split_at(DATA_KEY_LEN);
                Some(Wrapped::A256Gcm { iv, ciphertext, tag })
            }
            _ => None,
        }
    }

    /// The bytes for the file, if [`parse`](Self::parse) takes them: a data key that cannot be opened again is no use.
    pub fn encode(algorithm: Algorithm, parts: &[&[u8]]) -> Result<Vec<u8>> {
        let lead = match algorithm {
            Algorithm::RsaOaep256 => RSA_OAEP_256,
            Algorithm::A256Gcm => A256_GCM,
        };
        let bytes = [&[lead], parts.concat().as_slice()].concat();
        match Wrapped::parse(&bytes) {
            Some(_) => Ok(bytes),
            None => Err(nonsense(format_args!("a wrapped data key of {} bytes came back", bytes.len() - 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_again() {
        for length in [256, 384, 512] {
            let bytes = Wrapped::encode(Algorithm::RsaOaep256, &[&vec![7; length]]).unwrap();
            assert_eq!(Wrapped::parse(&bytes), Some(Wrapped::RsaOaep256(&bytes[1..])));
        }
        let bytes = Wrapped::encode(Algorithm::A256Gcm, &[&[1; 12], &[2; 32], &[3; 16]]).unwrap();
        let expected = Wrapped::A256Gcm { iv: &[1; 12], ciphertext: &[2; 32], tag: &[3; 16] };
        assert_eq!(Wrapped::parse(&bytes), Some(expected));
    }

    #[test]
    fn other_lengths_and_other_leads_are_nothing_of_ours() {
        for length in (0..600).filter(|length| ![256, 384, 512].contains(length)) {
            assert!(Wrapped::encode(Algorithm::RsaOaep256, &[&vec![7; length]]).is_err(), "{length}");
        }
        for length in (0..600).filter(|length| *length != 60) {
            assert!(Wrapped::encode(Algorithm::A256Gcm, &[&vec![7; length]]).is_err(), "{length}");
        }
        assert_eq!(Wrapped::parse(&[]), None);
        for lead in (0..=255).filter(|lead| ![RSA_OAEP_256, A256_GCM].contains(lead)) {
            assert!(Wrapped::parse(&[[lead].as_slice(), &[7; 256]].concat()).is_none(), "{lead}");
        }
    }
}

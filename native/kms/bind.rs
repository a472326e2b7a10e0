//! Binding a data key to its context where the service has no associated data (RSA-OAEP, AES key wrap): what is
//! wrapped is the data key and, behind it, the SHA-256 of the canonical context. See docs/FORMAT.md.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use zeroize::{Zeroize, Zeroizing};

use crate::context::EncryptionContext;
use crate::error::{Kind, Result};
use crate::secret::Secret;

const DATA_KEY_LEN: usize = 32;

/// How long a bound data key is.
pub const BOUND_LEN: usize = DATA_KEY_LEN + SHA256_OUTPUT_LEN;

/// What to hand to the service: the data key, which has 32 bytes, and the digest of the context.
pub fn bind(data_key: &Secret, context: &EncryptionContext) -> Result<Secret> {
    if data_key.expose().len() != DATA_KEY_LEN {
        return Err(Kind::InvalidArgument.error(format_args!("a data key has {DATA_KEY_LEN} bytes")));
    }
    let mut bound = Zeroizing::new([0; BOUND_LEN]);
    bound[..DATA_KEY_LEN].copy_from_slice(data_key.expose());
    bound[DATA_KEY_LEN..].copy_from_slice(&digest_of(context));
    Secret::take(bound.as_mut_slice())
}

/// The data key out of what the service unwrapped, if it is bound to this context; wipes `bound` in any case. Another
/// length and another digest are one error: neither says more than that these bytes were not wrapped for this context.
pub fn unbind(bound: &mut [u8], context: &EncryptionContext) -> Result<Secret> {
    let expected = digest_of(context);
    let right_length = bound.len() == BOUND_LEN;
    let data_key = match bound.split_at_mut_checked(DATA_KEY_LEN) {
        Some((data_key, found)) if right_length && verify_slices_are_equal(found, &expected).is_ok() => {
            Secret::take(data_key)
        }
        Some(_) | None => Err(Kind::WrappedKey.error(
            "what the service unwrapped is not a data key of this context: it is damaged, or was wrapped for another tenant or encryption context",
        )),
    };
    bound.zeroize();
    data_key
}

fn digest_of(context: &EncryptionContext) -> [u8; SHA256_OUTPUT_LEN] {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest(&SHA256, &context.encode()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        EncryptionContext::new(pairs.iter().copied()).unwrap()
    }

    fn bound_to(pairs: &[(&str, &str)]) -> Vec<u8> {
        bind(&Secret::take(&mut [7; 32]).unwrap(), &context(pairs)).unwrap().expose().to_vec()
    }

    /// The digest was computed by `printf '\0\1\0\2ab\0\1c' | sha256sum`.
    #[test]
    fn the_digest_of_the_canonical_context_follows_the_data_key() {
        let bound = bound_to(&[("ab", "c")]);
        assert_eq!(bound[..32], [7; 32]);
        let digest: String = bound[32..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "7ac42cad66b159a09492e780f3b87d6d731916532be748b6d1df533a3ee026a8");
    }

    #[test]
    fn only_the_same_context_gives_the_data_key_back() {
        let pairs = [("ab", "c")];
        assert_eq!(unbind(&mut bound_to(&pairs), &context(&pairs)).unwrap().expose(), [7; 32]);
        for other in [&[("a", "bc")][..], &[("ab", "d")], &[("ab", "c"), ("d", "")], &[]] {
            let refused = unbind(&mut bound_to(&pairs), &context(other)).unwrap_err();
            assert_eq!(refused.kind(), Kind::WrappedKey, "{other:?}");
        }
    }

    #[test]
    fn every_other_length_and_every_flipped_bit_of_the_digest_is_refused() {
        let pairs = [("tenant", "a")];
        for length in (0..130).filter(|length| *length != BOUND_LEN) {
            let mut bytes = bound_to(&pairs);
            bytes.resize(length, 0);
            assert_eq!(unbind(&mut bytes, &context(&pairs)).unwrap_err().kind(), Kind::WrappedKey, "{length}");
        }
        for bit in 0..8 * SHA256_OUTPUT_LEN {
            let mut bytes = bound_to(&pairs);
            bytes[DATA_KEY_LEN + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unbind(&mut bytes, &context(&pairs)).unwrap_err().kind(), Kind::WrappedKey, "{bit}");
        }
    }

    #[test]
    fn what_was_unwrapped_is_wiped_whether_it_is_right_or_not() {
        let pairs = [("tenant", "a")];
        let mut right = bound_to(&pairs);
        unbind(&mut right, &context(&pairs)).unwrap();
        let mut wrong = bound_to(&pairs);
        unbind(&mut wrong, &context(&[])).unwrap_err();
        assert_eq!((right, wrong), (vec![0; BOUND_LEN], vec![0; BOUND_LEN]));
    }

    #[test]
    fn only_data_keys_of_32_bytes_are_bound() {
        for length in [0, 16, 31, 33, 64] {
            let refused = bind(&Secret::random(length).unwrap(), &EncryptionContext::default());
            assert_eq!(refused.unwrap_err().kind(), Kind::InvalidArgument, "{length}");
        }
    }
}

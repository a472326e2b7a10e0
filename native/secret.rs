//! Secret bytes: wiped when dropped.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::error::{Kind, Result};

/// The most bytes that one [`Secret`] holds.
pub const MAX_LEN: usize = 64;

/// Up to [`MAX_LEN`] secret bytes, wiped on drop, never printed, never copied.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Fresh bytes from the library's random generator.
    pub fn random(len: usize) -> Result<Secret> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Kind::Internal.error("the random generator failed"))?;
        Ok(Secret(bytes))
    }

    /// Takes the bytes over and wipes the source; more than [`MAX_LEN`] is an error.
    pub fn take(source: &mut [u8]) -> Result<Secret> {
        if source.len() > MAX_LEN {
            source.zeroize();
            return Err(Kind::InvalidArgument.error(format_args!("a secret holds at most {MAX_LEN} bytes")));
        }
        let secret = Secret(Zeroizing::new(source.to_vec()));
        source.zeroize();
        Ok(secret)
    }

    /// The bytes. Borrow them for as short as possible.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

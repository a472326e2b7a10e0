//! The identity of a data key: random, never a digest of the key and never the wrapped bytes, which key services may
//! change without changing the key.

use std::fmt;

use crate::error::{Kind, Result};

/// The 128-bit random identity of a data key; printed in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataKeyId([u8; 16]);

impl DataKeyId {
    /// A fresh identity.
    pub fn random() -> Result<DataKeyId> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Kind::Internal.error("the random generator failed"))?;
        Ok(DataKeyId(bytes))
    }

    /// The identity that a file names.
    pub const fn from_bytes(bytes: [u8; 16]) -> DataKeyId {
        DataKeyId(bytes)
    }

    /// Its bytes, as files hold them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DataKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_lower_case_hex() {
        let id = DataKeyId::from_bytes([0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xFF]);
        assert_eq!(id.to_string(), "a00102030405060708090a0b0c0d0eff");
    }
}

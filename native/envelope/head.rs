//! The head of a sealed file: everything before the first frame.

use std::ops::Range;

use super::bound::Bound;
use super::limits::{MAX_BOUND, MAX_SLOTS};
use super::slots::{self, Slot};
use super::suite;
use crate::config::EncryptionAlgorithm;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// What a sealed file begins with.
pub(super) const MAGIC: [u8; 8] = *b"SEALPNT\n";
/// The only version there is.
/// The version of the format of sealed files.
pub const VERSION: u8 = 1;
/// Magic, version, suite, flags: the part of the prelude that keys are bound to.
pub(super) const FIXED: usize = 12;
/// [`FIXED`] and the two section lengths.
pub(super) const PRELUDE: usize = 20;
pub(super) const SALT: usize = 24;
pub(super) const COMMITMENT: usize = 32;

/// The head of a file as it was read: well-formed, but proven only once [`Opener::new`](super::Opener::new) took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The cipher suite of the file.
    pub algorithm: EncryptionAlgorithm,
    /// What the file says of itself.
    pub bound: Bound,
    /// The wrapped data keys.
    pub slots: Vec<Slot>,
    bytes: Vec<u8>,
    bound_end: usize,
}

/// How far [`Head::parse`] came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The head is longer: call again with this many bytes from the start of the file (never more than 82 KiB). If the
    /// file has fewer, it was cut.
    NeedMore(usize),
    /// The whole head.
    Complete(Head),
}

impl Head {
    /// Reads a head from the start of a file. Bytes after the head are left alone.
    pub fn parse(bytes: &[u8]) -> Result<Parsed> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(Kind::NotSealed.error("this is not a sealed file: it does not begin with the magic of one"));
        }
        let Some(prelude) = bytes.first_chunk::<PRELUDE>() else {
            return Ok(Parsed::NeedMore(PRELUDE));
        };
        let Prelude { algorithm, bound, slots, total } = Prelude::parse(prelude)?;
        let Some(head) = bytes.get(..total) else {
            return Ok(Parsed::NeedMore(total));
        };
        Ok(Parsed::Complete(Head {
            algorithm,
            bound: Bound::parse(&head[bound.clone()])?,
            slots: slots::parse(&head[slots])?,
            bytes: head.to_vec(),
            bound_end: bound.end,
        }))
    }

    /// The bytes that the head takes in its file.
    #[allow(clippy::len_without_is_empty, reason = "a head is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Checks that a holder of the data key wrote the slots: do so after one of them gave the key.
    pub fn verify_slots(&self, data_key: &Secret) -> Result<()> {
        slots::verify(self.slots_section(), self.bound.data_key_id, data_key)
    }

    /// The slots as the file holds them, count and mac included.
    pub fn slots_section(&self) -> &[u8] {
        &self.bytes[self.bound_end..self.salt_start()]
    }

    pub(super) fn fixed(&self) -> &[u8] {
        &self.bytes[..FIXED]
    }

    pub(super) fn bound_section(&self) -> &[u8] {
        &self.bytes[PRELUDE..self.bound_end]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.bytes[self.salt_start()..self.salt_start() + SALT]
    }

    /// What the head ends with: it follows from the data key, the salt and the bound section, so that no two files share one.
    pub fn commitment(&self) -> &[u8; COMMITMENT] {
        self.bytes.last_chunk().expect("a parsed head ends with its commitment")
    }

    fn salt_start(&self) -> usize {
        self.bytes.len() - SALT - COMMITMENT
    }
}

/// The prelude of a new file, its section lengths still to come.
pub(super) fn new_prelude(algorithm: EncryptionAlgorithm) -> [u8; PRELUDE] {
    let mut prelude = [0; PRELUDE];
    prelude[..8].copy_from_slice(&MAGIC);
    prelude[8] = VERSION;
    prelude[9] = suite::number(algorithm);
    prelude
}

struct Prelude {
    algorithm: EncryptionAlgorithm,
    bound: Range<usize>,
    slots: Range<usize>,
    total: usize,
}

impl Prelude {
    fn parse(bytes: &[u8; PRELUDE]) -> Result<Prelude> {
        let [_, _, _, _, _, _, _, _, version, number, flags @ .., b0, b1, b2, b3, s0, s1, s2, s3] = *bytes;
        if version != VERSION {
            return Err(Kind::UnsupportedVersion.error(format_args!(
                "the file has version {version} of the format, and this library reads version {VERSION}: \
                 open it with a newer release"
            )));
        }
        let algorithm = suite::by_number(number)
            .ok_or_else(|| malformed(&format!("its cipher suite {number:#04x} is unknown to this version")))?;
        if flags != [0, 0] {
            return Err(malformed("its flags are not zero"));
        }
        let bound_len = section_len([b0, b1, b2, b3], MAX_BOUND)?;
        let slots_len = section_len([s0, s1, s2, s3], MAX_SLOTS)?;
        let bound = PRELUDE..PRELUDE + bound_len;
        let slots = bound.end..bound.end + slots_len;
        let total = slots.end + SALT + COMMITMENT;
        Ok(Prelude { algorithm, bound, slots, total })
    }
}

/// A section's length, refused before anything is computed from it or allocated for it.
fn section_len(bytes: [u8; 4], limit: usize) -> Result<usize> {
    usize::try_from(u32::from_be_bytes(bytes))
        .ok()
        .filter(|length| *length <= limit)
        .ok_or_else(|| malformed("a section is longer than the format allows"))
}

fn malformed(what: &str) -> Error {
    Kind::Malformed.error(format_args!("the head is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::EncryptionContext;
    use crate::envelope::DataKeyId;
    use crate::envelope::bound::BoundFields;

    /// A head with proofs of zeros: enough for the parser, and free of C code for Miri.
    fn unproven() -> Vec<u8> {
        let mut bytes = new_prelude(EncryptionAlgorithm::Aes256CbcHmac).to_vec();
        let context = EncryptionContext::default();
        let fields = BoundFields {
            data_key_id: DataKeyId::from_bytes([7; 16]),
            created_at_ms: 5,
            chunk_size: 4096,
            tenant: "t",
            subject: None,
            context: &context,
        };
        fields.encode(&mut bytes).unwrap();
        bytes[15] = (bytes.len() - PRELUDE) as u8;
        let slots = [&[1, 1, b'l', 0, 1, b'k', 0, 0, 0, 1, 0xab][..], &[0; slots::MAC]].concat();
        bytes[19] = slots.len() as u8;
        bytes.extend_from_slice(&slots);
        bytes.extend_from_slice(&[0x11; SALT]);
        bytes.extend_from_slice(&[0x22; COMMITMENT]);
        bytes
    }

    #[test]
    fn a_head_is_read_from_any_number_of_bytes() {
        let bytes = unproven();
        for have in 0..bytes.len() {
            let expected = if have < PRELUDE { PRELUDE } else { bytes.len() };
            assert_eq!(Head::parse(&bytes[..have]).unwrap(), Parsed::NeedMore(expected), "with {have} bytes");
        }
        let Parsed::Complete(head) = Head::parse(&[&bytes[..], b"frames"].concat()).unwrap() else {
            panic!("the head is whole");
        };
        assert_eq!((head.len(), head.algorithm), (bytes.len(), EncryptionAlgorithm::Aes256CbcHmac));
        assert_eq!((head.salt(), head.commitment()), (&[0x11; SALT][..], &[0x22; COMMITMENT]));
        assert_eq!((head.slots.len(), head.slots_section().len()), (1, 11 + slots::MAC));
        assert_eq!(head.fixed(), b"SEALPNT\n\x01\x02\0\0");
    }

    #[test]
    fn a_foreign_file_is_told_from_a_cut_one_at_once() {
        for bytes in [&b"h"[..], b"SEALPNT\r\n", b"SEALKEY\n"] {
            assert_eq!(Head::parse(bytes).unwrap_err().kind(), Kind::NotSealed);
        }
        assert_eq!(Head::parse(b"").unwrap(), Parsed::NeedMore(PRELUDE));
    }

    #[test]
    fn no_prelude_makes_a_reader_ask_for_more_than_the_limits() {
        let good = unproven();
        let kind_with = |at: usize, value: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + value.len()].copy_from_slice(value);
            Head::parse(&bad).map(|_| ()).map_err(|error| error.kind())
        };
        for at in [12, 16] {
            assert_eq!(kind_with(at, &u32::MAX.to_be_bytes()), Err(Kind::Malformed));
            assert_eq!(kind_with(at, &65_537u32.to_be_bytes()), Err(Kind::Malformed));
        }
        assert_eq!(kind_with(12, &16_385u32.to_be_bytes()), Err(Kind::Malformed));
        assert_eq!(kind_with(12, &0u32.to_be_bytes()), Err(Kind::Malformed));
        assert_eq!(kind_with(8, &[0]), Err(Kind::UnsupportedVersion));
        assert_eq!(kind_with(8, &[2]), Err(Kind::UnsupportedVersion));
        assert_eq!(kind_with(9, &[0]), Err(Kind::Malformed));
        assert_eq!(kind_with(9, &[3]), Err(Kind::Malformed));
        assert_eq!(kind_with(10, &[1]), Err(Kind::Malformed));
        assert_eq!(kind_with(11, &[1]), Err(Kind::Malformed));
        let largest = [&good[..12], &16_384u32.to_be_bytes(), &65_536u32.to_be_bytes()].concat();
        assert_eq!(Head::parse(&largest).unwrap(), Parsed::NeedMore(20 + 16_384 + 65_536 + 56));
    }
}

//! The slots section of a head: the data key, wrapped once or more. It can be replaced without touching the file's own
//! key, so it is not bound; its mac proves that a holder of the data key wrote it.

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::bytes::Reader;
use super::data_key_id::DataKeyId;
use super::limits::{MAX_SLOT_COUNT, MAX_SLOTS, MAX_WRAPPED};
use super::suite;
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// The bytes of the mac that ends the section.
pub(super) const MAC: usize = 32;

/// A data key wrapped by one key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The key service, by [`KmsClient::provider`](crate::kms::KmsClient::provider).
    pub provider: String,
    /// The key-encryption key in it.
    pub kek: String,
    /// The version of that key; empty where the service has none.
    pub version: String,
    /// The service's own bytes.
    pub wrapped: Vec<u8>,
}

/// The section of these slots, its count and mac included, ready for any head under this data key.
pub fn encode_slots(slots: &[Slot], id: DataKeyId, data_key: &Secret) -> Result<Vec<u8>> {
    if !(1..=MAX_SLOT_COUNT).contains(&slots.len()) {
        return Err(invalid(format_args!("a file takes 1 to {MAX_SLOT_COUNT} wrapped keys, not {}", slots.len())));
    }
    let mut out = vec![slots.len() as u8];
    for slot in slots {
        put_slot(&mut out, slot)?;
    }
    if out.len() + MAC > MAX_SLOTS {
        return Err(invalid(format_args!("the wrapped keys take more than {MAX_SLOTS} bytes")));
    }
    out.extend_from_slice(mac(&out, id, data_key)?.as_ref());
    Ok(out)
}

/// Reads a section, without proof of who wrote it: that is [`verify`]'s part, once a slot gave the data key.
pub fn parse(section: &[u8]) -> Result<Vec<Slot>> {
    let malformed = |what: &str| Kind::Malformed.error(format_args!("the key slots are malformed: {what}"));
    if section.len() > MAX_SLOTS {
        return Err(malformed("they are longer than the format allows"));
    }
    let body = section.len().checked_sub(MAC).ok_or_else(|| malformed("they end early"))?;
    let mut reader = Reader::new(&section[..body]);
    let count = usize::from(reader.u8().ok_or_else(|| malformed("they end early"))?);
    if !(1..=MAX_SLOT_COUNT).contains(&count) {
        return Err(malformed("their count is out of range"));
    }
    let slots = (0..count)
        .map(|_| take_slot(&mut reader))
        .collect::<Option<Vec<Slot>>>()
        .ok_or_else(|| malformed("a slot breaks the grammar"))?;
    if reader.is_empty() { Ok(slots) } else { Err(malformed("bytes follow the last slot")) }
}

/// Checks the mac of a section that [`parse`] read, in constant time.
pub fn verify(section: &[u8], id: DataKeyId, data_key: &Secret) -> Result<()> {
    let failed = || Kind::Integrity.error("the key slots failed verification");
    let (body, tag) = section.split_last_chunk::<MAC>().ok_or_else(failed)?;
    let expected = mac(body, id, data_key)?;
    constant_time::verify_slices_are_equal(expected.as_ref(), tag).map_err(|_| failed())
}

fn mac(body: &[u8], id: DataKeyId, data_key: &Secret) -> Result<hmac::Tag> {
    let mut key = Zeroizing::new([0u8; MAC]);
    suite::hkdf(data_key, &[], &[b"sealpoint/v1 slots"], &mut key[..])?;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key[..]));
    context.update(id.as_bytes());
    context.update(body);
    Ok(context.sign())
}

fn put_slot(out: &mut Vec<u8>, slot: &Slot) -> Result<()> {
    let provider = u8::try_from(slot.provider.len())
        .ok()
        .filter(|length| *length > 0)
        .ok_or_else(|| invalid("the name of a key service takes 1 to 255 bytes"))?;
    out.push(provider);
    out.extend_from_slice(slot.provider.as_bytes());
    if slot.kek.is_empty() {
        return Err(invalid("a wrapped key names no key-encryption key"));
    }
    put_long(out, slot.kek.as_bytes())?;
    put_long(out, slot.version.as_bytes())?;
    if !(1..=MAX_WRAPPED).contains(&slot.wrapped.len()) {
        return Err(invalid(format_args!("a wrapped key takes 1 to {MAX_WRAPPED} bytes, not {}", slot.wrapped.len())));
    }
    put_long(out, &slot.wrapped)
}

fn put_long(out: &mut Vec<u8>, value: &[u8]) -> Result<()> {
    let length = u16::try_from(value.len()).map_err(|_| invalid("the name of a key takes more than 65535 bytes"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

fn take_slot(reader: &mut Reader<'_>) -> Option<Slot> {
    let provider = reader.u8().map(usize::from).filter(|length| *length > 0)?;
    let provider = reader.text(provider)?.to_owned();
    let kek = reader.u16().map(usize::from).filter(|length| *length > 0)?;
    let kek = reader.text(kek)?.to_owned();
    let version = usize::from(reader.u16()?);
    let version = reader.text(version)?.to_owned();
    let wrapped = reader.u16().map(usize::from).filter(|length| (1..=MAX_WRAPPED).contains(length))?;
    let wrapped = reader.take(wrapped)?.to_vec();
    Some(Slot { provider, kek, version, wrapped })
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Kind::InvalidArgument.error(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DataKeyId = DataKeyId::from_bytes([9; 16]);

    fn slot(provider: &str, wrapped: usize) -> Slot {
        Slot { provider: provider.into(), kek: "sealpoint".into(), version: "3".into(), wrapped: vec![0xab; wrapped] }
    }

    /// A section with a mac of zeros: enough for the parser, and free of C code for Miri.
    fn unproven(slots: &[Slot]) -> Vec<u8> {
        let mut out = vec![slots.len() as u8];
        slots.iter().for_each(|slot| put_slot(&mut out, slot).unwrap());
        out.extend_from_slice(&[0; MAC]);
        out
    }

    #[test]
    fn slots_read_back_and_no_cut_or_extra_byte_does() {
        let slots = [slot("local", 60), Slot { version: String::new(), ..slot("aws", 184) }];
        let section = unproven(&slots);
        assert_eq!(parse(&section).unwrap(), slots);
        for cut in 0..section.len() {
            assert_eq!(parse(&section[..cut]).unwrap_err().kind(), Kind::Malformed, "cut at {cut}");
        }
        assert_eq!(parse(&[&section[..], &[0]].concat()).unwrap_err().kind(), Kind::Malformed);
    }

    #[test]
    fn hostile_counts_and_lengths_are_refused() {
        let section = unproven(&[slot("local", 60)]);
        for count in [0, 2, 9, 255] {
            let mut bad = section.clone();
            bad[0] = count;
            assert!(parse(&bad).is_err(), "count {count}");
        }
        for at in [1, 7, 8, 18, 19, 21, 22] {
            let mut bad = section.clone();
            bad[at] = 0xff;
            assert!(parse(&bad).is_err(), "length byte at {at}");
        }
        assert!(parse(&vec![1; MAX_SLOTS + 1]).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn what_a_reader_would_refuse_is_never_written() {
        let key = Secret::take(&mut [1; 32]).unwrap();
        let long = "k".repeat(65_000);
        for bad in [
            vec![],
            vec![slot("local", 60); 9],
            vec![slot("", 60)],
            vec![slot(&long[..256], 60)],
            vec![slot("local", 0)],
            vec![slot("local", MAX_WRAPPED + 1)],
            vec![slot("local", MAX_WRAPPED); 8],
            vec![Slot { kek: String::new(), ..slot("local", 60) }],
        ] {
            assert_eq!(encode_slots(&bad, ID, &key).unwrap_err().kind(), Kind::InvalidArgument);
        }
        assert!(encode_slots(&vec![slot("local", 8_100); 8], ID, &key).is_ok());
    }

    #[test]
    #[cfg_attr(miri, ignore = "runs C code")]
    fn the_mac_binds_every_byte_the_id_and_the_data_key() {
        let key = Secret::take(&mut [1; 32]).unwrap();
        let section = encode_slots(&[slot("local", 60)], ID, &key).unwrap();
        verify(&section, ID, &key).unwrap();
        for bit in 0..section.len() * 8 {
            let mut bad = section.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&bad, ID, &key).unwrap_err().kind(), Kind::Integrity);
        }
        assert!(verify(&section, DataKeyId::from_bytes([8; 16]), &key).is_err());
        assert!(verify(&section, ID, &Secret::take(&mut [2; 32]).unwrap()).is_err());
    }
}

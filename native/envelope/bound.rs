//! The bound section of a head: what a file says of itself, and cannot say otherwise without losing its key.

use super::bytes::Reader;
use super::data_key_id::DataKeyId;
use super::limits::{MAX_BOUND, MAX_CHUNK_LOG2, MAX_SUBJECT, MAX_TENANT, MIN_CHUNK_LOG2};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};

/// What the key of a file is bound to: change any of it, and the file does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The data key that the file key derives from.
    pub data_key_id: DataKeyId,
    /// When the data key's owner says the file was made, milliseconds since 1970.
    pub created_at_ms: u64,
    /// The plaintext bytes of a full frame: a power of two from 4 KiB to 1 MiB.
    pub chunk_size: u32,
    /// Whose file it is.
    pub tenant: String,
    /// The file's own name, where it is known not to be renamed.
    pub subject: Option<String>,
    /// The pairs that the operator bound.
    pub context: EncryptionContext,
}

mod tag {
    pub(super) const DATA_KEY: u8 = 1;
    pub(super) const CREATED: u8 = 2;
    pub(super) const CHUNK: u8 = 3;
    pub(super) const TENANT: u8 = 4;
    pub(super) const SUBJECT: u8 = 5;
    pub(super) const CONTEXT: u8 = 6;
}

/// The fields of a bound section, borrowed, to be written into a head without a copy of their own.
pub(super) struct BoundFields<'a> {
    pub(super) data_key_id: DataKeyId,
    pub(super) created_at_ms: u64,
    pub(super) chunk_size: u32,
    pub(super) tenant: &'a str,
    pub(super) subject: Option<&'a str>,
    pub(super) context: &'a EncryptionContext,
}

impl BoundFields<'_> {
    /// Appends the section, after checking it as a reader would.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        put(out, tag::DATA_KEY, self.data_key_id.as_bytes());
        put(out, tag::CREATED, &self.created_at_ms.to_be_bytes());
        put(out, tag::CHUNK, &[chunk_log2(self.chunk_size)?]);
        put(out, tag::TENANT, checked("tenant", self.tenant, MAX_TENANT)?.as_bytes());
        if let Some(subject) = self.subject {
            put(out, tag::SUBJECT, checked("file name", subject, MAX_SUBJECT)?.as_bytes());
        }
        if !self.context.is_empty() {
            put(out, tag::CONTEXT, &self.context.encode());
        }
        debug_assert!(out.len() - start <= MAX_BOUND, "the limits of the fields add up to less");
        Ok(())
    }
}

impl Bound {
    /// Refuses a file that was sealed under a subject and is now opened under another name: it was swapped or renamed.
    /// A file without a subject may have any name.
    pub fn check_subject(&self, name: &str) -> Result<()> {
        match self.subject.as_deref() {
            Some(subject) if subject != name => Err(Kind::Integrity.error(format_args!(
                "the file was sealed as '{subject}' and is opened as '{name}': it was swapped with another, or renamed"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads a whole section; anything but the one encoding of its content is refused.
    pub(super) fn parse(bytes: &[u8]) -> Result<Bound> {
        let mut fields: [Option<&[u8]>; 6] = [None; 6];
        let mut reader = Reader::new(bytes);
        let mut last = 0;
        while !reader.is_empty() {
            let (tag, value) = take_field(&mut reader).ok_or_else(|| malformed("a field runs past its section"))?;
            if tag <= last {
                return Err(malformed("its fields are not in ascending order"));
            }
            last = tag;
            *fields.get_mut(usize::from(tag) - 1).ok_or_else(|| malformed("it has an unknown field"))? = Some(value);
        }
        let [data_key, created, chunk, tenant, subject, context] = fields;
        Ok(Bound {
            data_key_id: DataKeyId::from_bytes(fixed(data_key, "data-key id")?),
            created_at_ms: u64::from_be_bytes(fixed(created, "creation time")?),
            chunk_size: chunk_size(fixed(chunk, "chunk size")?)?,
            tenant: text(tenant.ok_or_else(|| malformed("it has no tenant"))?, "tenant", MAX_TENANT)?,
            subject: subject.map(|value| text(value, "subject", MAX_SUBJECT)).transpose()?,
            context: context.map(parse_context).transpose()?.unwrap_or_default(),
        })
    }
}

fn put(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    // Every value is bounded far below 64 KiB: see `limits` and the bound of `EncryptionContext`.
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

fn take_field<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let tag = reader.u8()?;
    let length = reader.u16()?;
    Some((tag, reader.take(usize::from(length))?))
}

fn fixed<const N: usize>(value: Option<&[u8]>, name: &str) -> Result<[u8; N]> {
    value
        .and_then(|value| value.try_into().ok())
        .ok_or_else(|| malformed(&format!("its {name} is missing or not whole")))
}

fn text(value: &[u8], name: &str, limit: usize) -> Result<String> {
    match std::str::from_utf8(value) {
        Ok(text) if (1..=limit).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(malformed(&format!("its {name} is not UTF-8 of 1 to {limit} bytes"))),
    }
}

fn chunk_size([log2]: [u8; 1]) -> Result<u32> {
    if (MIN_CHUNK_LOG2..=MAX_CHUNK_LOG2).contains(&log2) {
        Ok(1 << log2)
    } else {
        Err(malformed("its chunk size is out of range"))
    }
}

fn parse_context(value: &[u8]) -> Result<EncryptionContext> {
    let context = EncryptionContext::decode(value)?;
    // An empty context has one encoding: no field.
    if context.is_empty() { Err(malformed("its encryption context is empty")) } else { Ok(context) }
}

fn chunk_log2(chunk_size: u32) -> Result<u8> {
    let log2 = chunk_size.trailing_zeros() as u8;
    if chunk_size.is_power_of_two() && (MIN_CHUNK_LOG2..=MAX_CHUNK_LOG2).contains(&log2) {
        Ok(log2)
    } else {
        Err(Kind::InvalidArgument
            .error(format_args!("a chunk size of {chunk_size} bytes is not a power of two from 4 KiB to 1 MiB")))
    }
}

fn checked<'a>(name: &str, text: &'a str, limit: usize) -> Result<&'a str> {
    if (1..=limit).contains(&text.len()) {
        Ok(text)
    } else {
        Err(Kind::InvalidArgument.error(format_args!("a {name} takes 1 to {limit} bytes, not {}", text.len())))
    }
}

fn malformed(what: &str) -> Error {
    Kind::Malformed.error(format_args!("the head is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(context: &EncryptionContext) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = BoundFields {
            data_key_id: DataKeyId::from_bytes([7; 16]),
            created_at_ms: 1_700_000_000_000,
            chunk_size: 16_384,
            tenant: "default",
            subject: Some("_metadata"),
            context,
        };
        fields.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn the_section_reads_back() {
        let context = EncryptionContext::new([("team", "fraud")]).unwrap();
        let bound = Bound::parse(&sample(&context)).unwrap();
        assert_eq!(bound.subject.as_deref(), Some("_metadata"));
        assert_eq!((bound.chunk_size, bound.tenant.as_str(), &bound.context), (16_384, "default", &context));
    }

    #[test]
    fn every_cut_is_refused_but_at_the_optional_fields() {
        let bytes = sample(&EncryptionContext::new([("team", "fraud")]).unwrap());
        let optional = [19 + 11 + 4 + 10, 19 + 11 + 4 + 10 + 12];
        for cut in 0..bytes.len() {
            assert_eq!(Bound::parse(&bytes[..cut]).is_ok(), optional.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn fields_out_of_order_doubled_unknown_or_out_of_range_are_refused() {
        let good = sample(&EncryptionContext::default());
        let refuse = |bytes: &[u8]| assert_eq!(Bound::parse(bytes).unwrap_err().kind(), Kind::Malformed);
        refuse(&[&good[..], &good[..19]].concat());
        refuse(&[&good[19..], &good[..19]].concat());
        refuse(&[&good[..], &[7, 0, 0]].concat());
        refuse(&[&good[..], &[6, 0, 2, 0, 0]].concat());
        refuse(&[&[0, 0, 0], &good[..]].concat());
        for log2 in [0, 11, 21, 255] {
            let mut bad = good.clone();
            bad[19 + 11 + 3] = log2;
            refuse(&bad);
        }
        let mut not_text = good.clone();
        not_text[19 + 11 + 4 + 3] = 0xff;
        refuse(&not_text);
    }

    #[test]
    fn what_a_reader_would_refuse_is_never_written() {
        let context = EncryptionContext::default();
        let fields = |chunk_size, tenant, subject| BoundFields {
            data_key_id: DataKeyId::from_bytes([7; 16]),
            created_at_ms: 0,
            chunk_size,
            tenant,
            subject,
            context: &context,
        };
        let long = "x".repeat(1025);
        for bad in [
            fields(0, "t", None),
            fields(2048, "t", None),
            fields(5000, "t", None),
            fields(2 << 20, "t", None),
            fields(4096, "", None),
            fields(4096, &long[..129], None),
            fields(4096, "t", Some("")),
            fields(4096, "t", Some(&long)),
        ] {
            assert_eq!(bad.encode(&mut Vec::new()).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }
}

//! The sidecar file: data keys wrapped anew, for all files of a directory, since object stores cannot change a head.

use super::bytes::Reader;
use super::data_key_id::DataKeyId;
use super::limits::{MAX_SIDECAR, MAX_SLOTS};
use super::slots::{self, Slot};
use crate::error::{Error, Kind, Result};

/// The name of the sidecar in its directory.
pub const FILE_NAME: &str = ".sealpoint-keys";

/// Where a reader looks for the sidecar of a file whose own slots do not give its data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the file's directory.
    Directory,
    /// In that directory's parent.
    Parent,
}

impl Place {
    /// All places, in the order in which a reader tries them.
    pub const IN_ORDER: [Place; 2] = [Place::Directory, Place::Parent];
}

const MAGIC: [u8; 8] = *b"SEALKEY\n";
const VERSION: u8 = 1;
const PRELUDE: usize = 16;
const ENTRY: usize = 20;

/// The renewed slots of one data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The data key.
    pub data_key_id: DataKeyId,
    /// Its slots, read but not proven: see [`slots::verify`].
    pub slots: Vec<Slot>,
    /// The section as a head would hold it, count and mac included.
    pub section: Vec<u8>,
}

impl Entry {
    /// An entry of a section that [`encode_slots`](super::encode_slots) made.
    pub fn new(data_key_id: DataKeyId, section: Vec<u8>) -> Result<Entry> {
        Ok(Entry { data_key_id, slots: slots::parse(&section)?, section })
    }
}

/// The bytes of a sidecar with these entries, their ids ascending and each once.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>> {
    if !entries.is_sorted_by(|a, b| a.data_key_id < b.data_key_id) {
        return Err(Kind::InvalidArgument.error("the entries of a sidecar are not in ascending order"));
    }
    let length = PRELUDE + entries.iter().map(|entry| ENTRY + entry.section.len()).sum::<usize>();
    if length > MAX_SIDECAR {
        return Err(Kind::InvalidArgument.error(format_args!(
            "the keys of this directory take {length} bytes, more than the {MAX_SIDECAR} of a sidecar: delete checkpoints that nobody needs and rewrap again, or re-encrypt what is there"
        )));
    }
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    // At most `MAX_SIDECAR` bytes hold far fewer than 2^32 entries.
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        out.extend_from_slice(entry.data_key_id.as_bytes());
        out.extend_from_slice(&(entry.section.len() as u32).to_be_bytes());
        out.extend_from_slice(&entry.section);
    }
    Ok(out)
}

/// Reads a whole sidecar.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(bytes, |id, section| {
        entries.push(Entry::new(id, section.to_vec())?);
        Ok(())
    })?;
    Ok(entries)
}

/// What can be read of a sidecar that may be damaged: all that [`find`] would give, and whatever stands before the damage.
/// An error says what is wrong with it.
pub fn salvage(bytes: &[u8]) -> (Vec<Entry>, Result<()>) {
    let (entries, walked, sound) = lenient(bytes);
    (entries, walked.and(sound))
}

/// What readers find in a sidecar that may be damaged: all that [`find`] would give, and nothing else. An error says what is
/// wrong with it.
pub fn found(bytes: &[u8]) -> (Vec<Entry>, Result<()>) {
    let (entries, walked, sound) = lenient(bytes);
    match walked {
        Ok(()) => (entries, sound),
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// The entries up to a damage of the whole, without those that are damaged themselves; and what is wrong with each.
fn lenient(bytes: &[u8]) -> (Vec<Entry>, Result<()>, Result<()>) {
    let (mut entries, mut sound) = (Vec::new(), Ok(()));
    let walked = walk(bytes, |id, section| {
        match Entry::new(id, section.to_vec()) {
            Ok(entry) => entries.push(entry),
            Err(error) => sound = Err(error),
        }
        Ok(())
    });
    (entries, walked, sound)
}

/// The entry of one data key. What the sidecar holds besides must be well-formed too, but for the slots of other keys,
/// which nobody looks into.
pub fn find(bytes: &[u8], wanted: DataKeyId) -> Result<Option<Entry>> {
    let mut found = None;
    walk(bytes, |id, section| {
        if id == wanted {
            found = Some(section);
        }
        Ok(())
    })?;
    found.map(|section| Entry::new(wanted, section.to_vec())).transpose()
}

fn walk<'a>(bytes: &'a [u8], mut visit: impl FnMut(DataKeyId, &'a [u8]) -> Result<()>) -> Result<()> {
    if bytes.len() > MAX_SIDECAR {
        return Err(malformed("it is longer than the format allows"));
    }
    let mut reader = Reader::new(bytes);
    if reader.array() != Some(MAGIC) {
        return Err(malformed("it does not begin with the magic of one"));
    }
    match reader.array::<4>() {
        Some([VERSION, 0, 0, 0]) => {}
        Some([VERSION, ..]) => return Err(malformed("its reserved bytes are not zero")),
        Some([version, ..]) => {
            return Err(
                Kind::UnsupportedVersion.error(format_args!("the key file has version {version} of the format"))
            );
        }
        None => return Err(malformed("it ends early")),
    }
    let count = reader.u32().ok_or_else(|| malformed("it ends early"))?;
    let mut last = None;
    // The count reserves nothing: a hostile one runs into the end of the bytes.
    for _ in 0..count {
        let (id, section) =
            take_entry(&mut reader).ok_or_else(|| malformed("an entry runs past its limit or the file"))?;
        if last >= Some(id) {
            return Err(malformed("its entries are not in ascending order"));
        }
        visit(id, section)?;
        last = Some(id);
    }
    if reader.rest().is_empty() { Ok(()) } else { Err(malformed("bytes follow its last entry")) }
}

fn take_entry<'a>(reader: &mut Reader<'a>) -> Option<(DataKeyId, &'a [u8])> {
    let id = DataKeyId::from_bytes(reader.array()?);
    let length = usize::try_from(reader.u32()?).ok().filter(|length| *length <= MAX_SLOTS)?;
    Some((id, reader.take(length)?))
}

fn malformed(what: &str) -> Error {
    Kind::Malformed.error(format_args!("the key file is malformed: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u8) -> Entry {
        let section = [&[1, 1, b'l', 0, 1, b'k', 0, 0, 0, 1, id][..], &[0; 32]].concat();
        Entry::new(DataKeyId::from_bytes([id; 16]), section).unwrap()
    }

    #[test]
    fn entries_read_back_and_no_cut_or_extra_byte_does() {
        for entries in [vec![], vec![entry(1), entry(2), entry(9)]] {
            let bytes = encode(&entries).unwrap();
            assert_eq!(decode(&bytes).unwrap(), entries);
            for id in 0..10 {
                let entry = entries.iter().find(|entry| entry.data_key_id == DataKeyId::from_bytes([id; 16]));
                assert_eq!(find(&bytes, DataKeyId::from_bytes([id; 16])).unwrap().as_ref(), entry);
            }
            assert_eq!(salvage(&bytes), (entries.clone(), Ok(())));
            for cut in 0..bytes.len() {
                let (saved, error) = salvage(&bytes[..cut]);
                assert!(entries.starts_with(&saved) && error.unwrap_err().kind() == Kind::Malformed, "cut at {cut}");
                assert!(found(&bytes[..cut]).0.is_empty(), "cut at {cut}: no reader finds any");
                assert_eq!(decode(&bytes[..cut]).unwrap_err().kind(), Kind::Malformed, "cut at {cut}");
                assert!(find(&bytes[..cut], DataKeyId::from_bytes([1; 16])).is_err(), "cut at {cut}");
            }
            assert_eq!(decode(&[&bytes[..], &[0]].concat()).unwrap_err().kind(), Kind::Malformed);
        }
    }

    #[test]
    fn order_counts_lengths_and_versions_are_checked() {
        assert!(encode(&[entry(2), entry(1)]).is_err());
        assert!(encode(&[entry(2), entry(2)]).is_err());
        let good = encode(&[entry(1), entry(2)]).unwrap();
        let kind_with = |at: usize, value: &[u8]| {
            let mut bad = good.clone();
            bad[at..at + value.len()].copy_from_slice(value);
            decode(&bad).unwrap_err().kind()
        };
        assert_eq!(kind_with(0, b"SEALPNT\n"), Kind::Malformed);
        assert_eq!(kind_with(8, &[2]), Kind::UnsupportedVersion);
        assert_eq!(kind_with(9, &[1]), Kind::Malformed);
        assert_eq!(kind_with(12, &u32::MAX.to_be_bytes()), Kind::Malformed);
        assert_eq!(kind_with(32, &u32::MAX.to_be_bytes()), Kind::Malformed);
        assert_eq!(kind_with(16, &[2; 16]), Kind::Malformed);
        // The slots of one entry are damaged: a reader finds the other one, and so it is saved.
        let mut bad = good.clone();
        bad[36] = 9;
        assert_eq!(find(&bad, entry(2).data_key_id).unwrap(), Some(entry(2)));
        for (entries, error) in [salvage(&bad), found(&bad)] {
            assert_eq!((entries, error.unwrap_err().kind()), (vec![entry(2)], Kind::Malformed));
        }
    }
}

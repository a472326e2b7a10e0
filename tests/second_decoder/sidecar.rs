//! The sidecar file, from docs/FORMAT.md.

use super::decoder::Refusal;

/// A data-key id and its raw slots section.
pub type Entry = (Vec<u8>, Vec<u8>);

pub fn read(bytes: &[u8]) -> Result<Vec<Entry>, Refusal> {
    let bad = Refusal::Malformed;
    if bytes.len() > 16 << 20 || !bytes.starts_with(b"SEALKEY\n") || bytes.len() < 16 {
        return Err(bad);
    }
    if bytes[8] != 1 {
        return Err(Refusal::UnsupportedVersion);
    }
    if bytes[9..12] != [0, 0, 0] {
        return Err(bad);
    }
    let count = u32::from_be_bytes(bytes[12..16].try_into().unwrap());
    let (mut rest, mut entries) = (&bytes[16..], Vec::<Entry>::new());
    for _ in 0..count {
        if rest.len() < 20 {
            return Err(bad);
        }
        let length = u32::from_be_bytes(rest[16..20].try_into().unwrap()) as usize;
        if length > 65_536 || rest.len() < 20 + length {
            return Err(bad);
        }
        let (id, slots) = (rest[..16].to_vec(), rest[20..20 + length].to_vec());
        if entries.last().is_some_and(|(last, _)| *last >= id) {
            return Err(bad);
        }
        entries.push((id, slots));
        rest = &rest[20 + length..];
    }
    if rest.is_empty() { Ok(entries) } else { Err(bad) }
}

pub fn write(count: u32, entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let entry = |(id, slots): &(&[u8], &[u8])| [*id, &(slots.len() as u32).to_be_bytes(), *slots].concat();
    [b"SEALKEY\n\x01\0\0\0", &count.to_be_bytes()[..], &entries.iter().flat_map(entry).collect::<Vec<_>>()].concat()
}

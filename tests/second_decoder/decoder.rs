//! Reading, in the order of docs/FORMAT.md.

use super::{CBC_HMAC, GCM, Keys, cbc_decrypt, file_keys, gcm_decrypt, gcm_nonce, hmac_sha256, slots_mac};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotSealed,
    UnsupportedVersion,
    Malformed,
    Integrity,
    Truncated,
}

/// What the bound section says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub id: Vec<u8>,
    pub created_at: u64,
    pub chunk: u64,
    pub tenant: String,
    pub subject: Option<String>,
    pub context: Vec<(String, String)>,
}

/// What was released before the end, or before the refusal; and the facts, or the refusal.
pub struct Outcome {
    pub released: Vec<u8>,
    pub result: Result<Facts, Refusal>,
}

/// Opens a whole file; `name` is the name that the reader opens it under, where it knows one.
pub fn open(file: &[u8], data_key: &[u8; 32], name: Option<&str>) -> Outcome {
    let mut released = Vec::new();
    let result = open_into(file, data_key, name, &mut released);
    Outcome { released, result }
}

fn open_into(file: &[u8], data_key: &[u8; 32], name: Option<&str>, released: &mut Vec<u8>) -> Result<Facts, Refusal> {
    const MAGIC: &[u8] = b"SEALPNT\n";
    if !file.starts_with(MAGIC) {
        return Err(if MAGIC.starts_with(file) { Refusal::Truncated } else { Refusal::NotSealed });
    }
    let prelude = cut(file, 0, 20)?;
    if prelude[8] != 1 {
        return Err(Refusal::UnsupportedVersion);
    }
    let suite = prelude[9];
    malformed_unless(suite == GCM || suite == CBC_HMAC)?;
    malformed_unless(prelude[10..12] == [0, 0])?;
    let (bound_len, slots_len) = (be(&prelude[12..16]), be(&prelude[16..20]));
    malformed_unless(bound_len <= 16_384 && slots_len <= 65_536)?;
    let head_len = 20 + bound_len as usize + slots_len as usize + 56;
    let head = cut(file, 0, head_len)?;
    let (bound, rest) = head[20..].split_at(bound_len as usize);
    let (slots, rest) = rest.split_at(slots_len as usize);
    let (salt, commitment) = rest.split_at(24);

    let facts = read_bound(bound).ok_or(Refusal::Malformed)?;
    read_slots(slots).ok_or(Refusal::Malformed)?;
    let (count_and_slots, mac) = slots.split_at(slots.len() - 32);
    integrity_unless(slots_mac(data_key, &facts.id, count_and_slots) == mac)?;
    let (keys, derived) = file_keys(suite, data_key, salt, prelude, bound);
    integrity_unless(derived == commitment)?;
    integrity_unless(name.is_none() || facts.subject.is_none() || name == facts.subject.as_deref())?;

    read_frames(file, head_len, &keys, facts.chunk, released)?;
    Ok(facts)
}

fn read_frames(file: &[u8], start: usize, keys: &Keys, chunk: u64, released: &mut Vec<u8>) -> Result<(), Refusal> {
    let (mut at, mut index, mut offset) = (start, 0u64, 0u64);
    let (mut irregular, mut last_was_short) = (false, false);
    loop {
        let prefix = be(cut(file, at, 4)?);
        if prefix & 0x8000_0000 != 0 {
            integrity_unless(prefix & 0x3fff_ffff == 0)?;
            let tag_len = if matches!(keys, Keys::Gcm { .. }) { 16 } else { 32 };
            let end = cut(file, at, 20 + tag_len)?;
            integrity_unless(at + 20 + tag_len == file.len())?;
            let (fields, tag) = end.split_at(20);
            integrity_unless(be(&fields[4..12]) == offset && be(&fields[12..20]) == index)?;
            integrity_unless((prefix & 0x4000_0000 != 0) == irregular)?;
            return integrity_unless(end_verifies(keys, index, fields, tag));
        }
        integrity_unless((1..=chunk).contains(&prefix) && index < (1 << 32) - 2)?;
        let length = frame_len(keys, prefix as usize);
        let frame = cut(file, at, length)?;
        let plain = open_frame(keys, frame, prefix as usize, index, offset).ok_or(Refusal::Integrity)?;
        released.extend_from_slice(&plain);
        irregular |= last_was_short;
        last_was_short = prefix < chunk;
        at += length;
        index += 1;
        offset += prefix;
    }
}

fn frame_len(keys: &Keys, n: usize) -> usize {
    match keys {
        Keys::Gcm { .. } => 4 + n + 16,
        Keys::CbcHmac { .. } => 4 + 16 + (n / 16 + 1) * 16 + 32,
    }
}

fn open_frame(keys: &Keys, frame: &[u8], n: usize, index: u64, offset: u64) -> Option<Vec<u8>> {
    let (prefix, sealed) = frame.split_at(4);
    match keys {
        Keys::Gcm { cipher, base } => {
            let aad = [prefix, &offset.to_be_bytes()].concat();
            gcm_decrypt(cipher, gcm_nonce(base, index), sealed, &aad)
        }
        Keys::CbcHmac { cipher, mac } => {
            let (covered, tag) = sealed.split_at(sealed.len() - 32);
            if hmac_sha256(mac, &[prefix, &offset.to_be_bytes(), &index.to_be_bytes(), covered]) != tag {
                return None;
            }
            let (iv, ciphertext) = covered.split_at(16);
            let mut padded = cbc_decrypt(cipher, iv.try_into().unwrap(), ciphertext);
            let padding = padded.split_off(n);
            padding.iter().all(|byte| usize::from(*byte) == padding.len()).then_some(padded)
        }
    }
}

fn end_verifies(keys: &Keys, count: u64, fields: &[u8], tag: &[u8]) -> bool {
    match keys {
        Keys::Gcm { cipher, base } => gcm_decrypt(cipher, gcm_nonce(base, count), tag, fields).is_some(),
        Keys::CbcHmac { mac, .. } => hmac_sha256(mac, &[fields, &count.to_be_bytes()]) == tag,
    }
}

fn read_bound(mut rest: &[u8]) -> Option<Facts> {
    let mut values: [Option<&[u8]>; 7] = [None; 7];
    let mut last = 0;
    while !rest.is_empty() {
        let tag = usize::from(take(&mut rest, 1)?[0]);
        if tag <= last || tag > 6 {
            return None;
        }
        let length = be(take(&mut rest, 2)?) as usize;
        values[tag] = Some(take(&mut rest, length)?);
        last = tag;
    }
    let sized = |tag: usize, length: usize| values[tag].filter(|value| value.len() == length);
    let exponent = sized(3, 1).map(|value| value[0]).filter(|value| (12..=20).contains(value))?;
    let subject = match values[5] {
        Some(value) => Some(text(value, 1..=1024)?),
        None => None,
    };
    let context = match values[6] {
        Some(value) => read_context(value)?,
        None => Vec::new(),
    };
    Some(Facts {
        id: sized(1, 16)?.to_vec(),
        created_at: be(sized(2, 8)?),
        chunk: 1 << exponent,
        tenant: text(values[4]?, 1..=128)?,
        subject,
        context,
    })
}

fn read_context(mut rest: &[u8]) -> Option<Vec<(String, String)>> {
    if rest.len() > 8192 {
        return None;
    }
    let count = be(take(&mut rest, 2)?);
    let mut pairs: Vec<(String, String)> = Vec::new();
    for _ in 0..count {
        let length = be(take(&mut rest, 2)?) as usize;
        let key = text(take(&mut rest, length)?, 1..=8192)?;
        let length = be(take(&mut rest, 2)?) as usize;
        let value = text(take(&mut rest, length)?, 0..=8192)?;
        if pairs.last().is_some_and(|(last, _)| last.as_bytes() >= key.as_bytes()) {
            return None;
        }
        pairs.push((key, value));
    }
    (rest.is_empty() && count > 0).then_some(pairs)
}

fn read_slots(section: &[u8]) -> Option<()> {
    let mut rest = &section[..section.len().checked_sub(32)?];
    let count = take(&mut rest, 1)?[0];
    if !(1..=8).contains(&count) {
        return None;
    }
    for _ in 0..count {
        let length = usize::from(take(&mut rest, 1)?[0]);
        text(take(&mut rest, length)?, 1..=255)?;
        let length = be(take(&mut rest, 2)?) as usize;
        text(take(&mut rest, length)?, 1..=65_535)?;
        let length = be(take(&mut rest, 2)?) as usize;
        text(take(&mut rest, length)?, 0..=65_535)?;
        let length = be(take(&mut rest, 2)?) as usize;
        if !(1..=8192).contains(&length) {
            return None;
        }
        take(&mut rest, length)?;
    }
    rest.is_empty().then_some(())
}

fn text(bytes: &[u8], lengths: std::ops::RangeInclusive<usize>) -> Option<String> {
    lengths.contains(&bytes.len()).then(|| String::from_utf8(bytes.to_vec()).ok())?
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    if rest.len() < length {
        return None;
    }
    let (taken, left) = rest.split_at(length);
    *rest = left;
    Some(taken)
}

/// Bytes of the file, which is cut short if it has not that many.
fn cut(file: &[u8], at: usize, length: usize) -> Result<&[u8], Refusal> {
    file.get(at..at + length).ok_or(Refusal::Truncated)
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn malformed_unless(holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Malformed) }
}

fn integrity_unless(holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Integrity) }
}

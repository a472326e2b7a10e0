//! Java's modified UTF-8 (`java.io.DataInput`, "Modified UTF-8"): NUL takes two bytes, and a character beyond the basic
//! plane is written as its two surrogates of three bytes each.

/// The text in these bytes; none if they are no such text, or hold half a surrogate pair.
pub fn decode(bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let more =
            |index: usize| after.get(index).filter(|byte| **byte & 0xc0 == 0x80).map(|byte| u16::from(byte & 0x3f));
        let first = u16::from(*first);
        let (unit, used) = match first {
            0..=0x7f => (first, 0),
            0xc0..=0xdf => ((first & 0x1f) << 6 | more(0)?, 1),
            0xe0..=0xef => ((first & 0x0f) << 12 | more(0)? << 6 | more(1)?, 2),
            _ => return None,
        };
        units.push(unit);
        rest = &after[used..];
    }
    String::from_utf16(&units).ok()
}

/// The bytes of a text, as `DataOutput.writeUTF` puts them behind their length.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let low = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
        match unit {
            1..=0x7f => bytes.push(unit as u8),
            0 | 0x80..=0x7ff => bytes.extend_from_slice(&[0xc0 | (unit >> 6) as u8, low(0)]),
            _ => bytes.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(6), low(0)]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_two_rules_of_java_hold() {
        assert_eq!(encode("a\0é€"), b"a\xc0\x80\xc3\xa9\xe2\x82\xac");
        assert_eq!(encode("\u{1f512}"), [0xed, 0xa0, 0xbd, 0xed, 0xb4, 0x92]);
        for wrong in [&b"\x80"[..], b"\xc3", b"\xe2\x82", b"\xf0\x9f\x94\x92", b"\xed\xa0\xbd", b"\xc3\xc3"] {
            assert_eq!(decode(wrong), None, "{wrong:x?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}

//! The encryption context: pairs that a data key, and every file under it, is bound to.

use std::collections::BTreeMap;

use crate::error::{Kind, Result};

/// The largest encoding of a context, so that a head stays within its limit.
pub const MAX_ENCODED: usize = 8 * 1024;

/// Ordered pairs of UTF-8 strings with an injective encoding: `{"ab": "c"}` and `{"a": "bc"}` encode differently.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// The context of these pairs; an empty key, or an encoding over [`MAX_ENCODED`], is a configuration error.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        let mut map = BTreeMap::new();
        for (key, value) in pairs {
            let key = key.into();
            if key.is_empty() {
                return Err(Kind::Config.error("an encryption context has an empty key"));
            }
            if map.contains_key(&key) {
                return Err(Kind::Config.error(format_args!("the encryption context names '{key}' twice")));
            }
            map.insert(key, value.into());
        }
        let context = EncryptionContext(map);
        if context.encoded_len() > MAX_ENCODED {
            return Err(Kind::Config.error(format_args!(
                "the encryption context takes {} bytes, more than {MAX_ENCODED}",
                context.encoded_len()
            )));
        }
        Ok(context)
    }

    /// The pairs, keys ascending bytewise.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// True if there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The canonical bytes: a count (u16), then for each pair, keys ascending, key and value, each led by its length
    /// (u16); big-endian. This is what a key service without pairs takes as associated data.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        let mut put = |length: usize, bytes: &[u8]| {
            // The constructor bounds the whole encoding far below 64 KiB.
            out.extend_from_slice(&(length as u16).to_be_bytes());
            out.extend_from_slice(bytes);
        };
        put(self.0.len(), &[]);
        for (key, value) in &self.0 {
            put(key.len(), key.as_bytes());
            put(value.len(), value.as_bytes());
        }
        out
    }

    /// Reads [`encode`](Self::encode)'s bytes back; anything but its exact output is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let malformed = || Kind::Malformed.error("the encryption context is malformed");
        if bytes.len() > MAX_ENCODED {
            return Err(malformed());
        }
        let mut map = BTreeMap::new();
        let mut rest = bytes;
        for _ in 0..take_length(&mut rest).ok_or_else(malformed)? {
            let key = take_text(&mut rest).ok_or_else(malformed)?;
            let value = take_text(&mut rest).ok_or_else(malformed)?;
            let ascending = map.last_key_value().is_none_or(|(last, _): (&String, &String)| *last < key);
            if key.is_empty() || !ascending {
                return Err(malformed());
            }
            map.insert(key, value);
        }
        if rest.is_empty() { Ok(EncryptionContext(map)) } else { Err(malformed()) }
    }

    fn encoded_len(&self) -> usize {
        2 + self.0.iter().map(|(key, value)| 4 + key.len() + value.len()).sum::<usize>()
    }
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    Some(usize::from(u16::from_be_bytes(*head)))
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = take_length(rest)?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_injective_and_reads_back() {
        let first = EncryptionContext::new([("ab", "c")]).unwrap();
        let second = EncryptionContext::new([("a", "bc")]).unwrap();
        assert_ne!(first.encode(), second.encode());
        for context in [first, second, EncryptionContext::default()] {
            assert_eq!(EncryptionContext::decode(&context.encode()).unwrap(), context);
        }
    }

    #[test]
    fn anything_but_the_canonical_encoding_is_refused() {
        let good = EncryptionContext::new([("a", "1"), ("b", "2")]).unwrap().encode();
        for cut in 0..good.len() {
            assert!(EncryptionContext::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(EncryptionContext::decode(&longer).is_err());
        let mut descending = good;
        descending[4] = b'z';
        assert!(EncryptionContext::decode(&descending).is_err());
    }
}

//! Writing: the pieces of a file, each of which a caller may get wrong on purpose while all proofs around it hold.

use super::{CBC_HMAC, GCM, Keys, cbc_encrypt, file_keys, gcm_encrypt, gcm_nonce, hmac_sha256, sha256, slots_mac};

pub const END: u32 = 0x8000_0000;
pub const IRREGULAR: u32 = 0x4000_0000;

/// A file to be, every part of it open to change.
#[derive(Clone)]
pub struct Plan {
    pub data_key: [u8; 32],
    pub id: [u8; 16],
    pub salt: [u8; 24],
    /// Magic, version, suite, flags.
    pub fixed: Vec<u8>,
    /// The bound section's fields, in order: tag and value.
    pub fields: Vec<(u8, Vec<u8>)>,
    /// The count that the slots section claims; none: the true one.
    pub slot_count: Option<u8>,
    pub slots: Vec<Vec<u8>>,
}

impl Plan {
    pub fn new(suite: u8, chunk_log2: u8) -> Plan {
        let id = *b"data-key-id-0001";
        Plan {
            data_key: *b"sealpoint test vectors data key!",
            id,
            salt: *b"salt for a test vector..",
            fixed: [b"SEALPNT\n", &[1, suite, 0, 0][..]].concat(),
            fields: vec![
                (1, id.to_vec()),
                (2, 1_764_000_000_000u64.to_be_bytes().to_vec()),
                (3, vec![chunk_log2]),
                (4, b"default".to_vec()),
            ],
            slot_count: None,
            slots: vec![slot("local", "sealpoint", "1", b"a wrapped data key")],
        }
    }

    pub fn field(mut self, tag: u8, value: impl Into<Vec<u8>>) -> Plan {
        let value = value.into();
        match self.fields.iter_mut().find(|(other, _)| *other == tag) {
            Some(field) => field.1 = value,
            None => self.fields.push((tag, value)),
        }
        self
    }

    pub fn suite(&self) -> u8 {
        self.fixed[9]
    }

    pub fn bound(&self) -> Vec<u8> {
        let field = |(tag, value): &(u8, Vec<u8>)| [&[*tag], &len16(value)[..], value].concat();
        self.fields.iter().flat_map(field).collect()
    }

    pub fn slots_section(&self) -> Vec<u8> {
        let count = self.slot_count.unwrap_or(self.slots.len() as u8);
        let body = [&[count], &self.slots.concat()[..]].concat();
        let mac = slots_mac(&self.data_key, &self.id, &body);
        [body, mac].concat()
    }

    pub fn keys(&self) -> (Keys, Vec<u8>) {
        file_keys(self.suite(), &self.data_key, &self.salt, &self.fixed, &self.bound())
    }

    pub fn head(&self) -> Vec<u8> {
        let (bound, slots) = (self.bound(), self.slots_section());
        let lengths = [(bound.len() as u32).to_be_bytes(), (slots.len() as u32).to_be_bytes()].concat();
        [&self.fixed, &lengths, &bound, &slots, &self.salt[..], &self.keys().1].concat()
    }

    /// The frames of these chunks, and where the next one goes.
    pub fn frames(&self, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, u64, u64) {
        let (mut frames, mut offset) = (Vec::new(), 0);
        for (index, chunk) in chunks.iter().enumerate() {
            frames.push(self.frame(chunk.len() as u32, index as u64, offset, chunk));
            offset += chunk.len() as u64;
        }
        (frames, chunks.len() as u64, offset)
    }

    /// A frame with this prefix, whose tag is right for all that is given.
    pub fn frame(&self, prefix: u32, index: u64, offset: u64, chunk: &[u8]) -> Vec<u8> {
        let padding = 16 - chunk.len() % 16;
        let padded = [chunk, &vec![padding as u8; padding]].concat();
        self.frame_padded(prefix, index, offset, chunk, &padded)
    }

    /// As [`frame`](Self::frame); suite 02 encrypts `padded` as it is.
    pub fn frame_padded(&self, prefix: u32, index: u64, offset: u64, chunk: &[u8], padded: &[u8]) -> Vec<u8> {
        let (prefix, offset, index_bytes) = (prefix.to_be_bytes(), offset.to_be_bytes(), index.to_be_bytes());
        match self.keys().0 {
            Keys::Gcm { cipher, base } => {
                let sealed = gcm_encrypt(&cipher, gcm_nonce(&base, index), chunk, &[&prefix[..], &offset].concat());
                [&prefix[..], &sealed].concat()
            }
            Keys::CbcHmac { cipher, mac } => {
                // Random in a real writer; here a fixed function of the place, so that vectors can be made again.
                let iv: [u8; 16] = sha256(&[&self.salt[..], &index_bytes].concat())[..16].try_into().unwrap();
                let ciphertext = cbc_encrypt(&cipher, &iv, padded);
                let tag = hmac_sha256(&mac, &[&prefix, &offset, &index_bytes, &iv, &ciphertext]);
                [&prefix[..], &iv, &ciphertext, &tag].concat()
            }
        }
    }

    /// An end with these fields, whose tag is right for them.
    pub fn end(&self, prefix: u32, length: u64, count: u64) -> Vec<u8> {
        let fields = [&prefix.to_be_bytes()[..], &length.to_be_bytes(), &count.to_be_bytes()].concat();
        let tag = match self.keys().0 {
            Keys::Gcm { cipher, base } => gcm_encrypt(&cipher, gcm_nonce(&base, count), &[], &fields),
            Keys::CbcHmac { mac, .. } => hmac_sha256(&mac, &[&fields, &count.to_be_bytes()]),
        };
        [fields, tag].concat()
    }

    /// The whole file of these chunks, as a correct writer makes it if the plan is correct.
    pub fn file(&self, chunks: &[&[u8]]) -> Vec<u8> {
        let chunk = 1u64 << self.fields.iter().find(|(tag, _)| *tag == 3).map_or(14, |(_, value)| value[0]);
        let irregular = chunks.iter().rev().skip(1).any(|part| (part.len() as u64) < chunk);
        let (frames, count, length) = self.frames(chunks);
        let end = self.end(if irregular { END | IRREGULAR } else { END }, length, count);
        [self.head(), frames.concat(), end].concat()
    }
}

pub fn slot(provider: &str, kek: &str, version: &str, wrapped: &[u8]) -> Vec<u8> {
    let mut out = vec![provider.len() as u8];
    out.extend_from_slice(provider.as_bytes());
    for value in [kek.as_bytes(), version.as_bytes(), wrapped] {
        out.extend_from_slice(&len16(value));
        out.extend_from_slice(value);
    }
    out
}

/// The value of field 06.
pub fn context(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (pairs.len() as u16).to_be_bytes().to_vec();
    for (key, value) in pairs {
        for text in [key, value] {
            out.extend_from_slice(&len16(text.as_bytes()));
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn len16(value: &[u8]) -> [u8; 2] {
    (value.len() as u16).to_be_bytes()
}

const _: () = assert!(GCM == 1 && CBC_HMAC == 2);

//! The two ways to wrap a data key. The first byte of what is wrapped says which; opening goes by it.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::{Zeroize, Zeroizing};

use crate::context::EncryptionContext;
use crate::error::{Kind, Result};
use crate::kms::bind::{BOUND_LEN, bind, unbind};
use crate::kms::pkcs11::errors::Fault;
use crate::secret::{MAX_LEN, Secret};

const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// What RFC 5649 adds.
const KWP_OVERHEAD: usize = 8;

/// How a data key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM: byte 1, nonce (12), ciphertext, tag (16); the canonical context is associated data.
    Gcm,
    /// AES key wrap with padding (RFC 5649): byte 2, what the token gave; the context is bound inside, see `bind`.
    Kwp,
}

impl Cipher {
    fn marker(self) -> u8 {
        match self {
            Cipher::Gcm => 1,
            Cipher::Kwp => 2,
        }
    }

    /// Of a wrapped data key, if it can be one at all.
    pub fn of(wrapped: &[u8]) -> Option<Cipher> {
        let (marker, rest) = wrapped.split_first()?;
        match marker {
            1 if (IV_LEN + TAG_LEN..=IV_LEN + TAG_LEN + MAX_LEN).contains(&rest.len()) => Some(Cipher::Gcm),
            2 if rest.len() == BOUND_LEN + KWP_OVERHEAD => Some(Cipher::Kwp),
            _ => None,
        }
    }

    pub fn wrap(
        self,
        session: &Session,
        key: ObjectHandle,
        plaintext: &Secret,
        context: &EncryptionContext,
    ) -> Result<Vec<u8>, Fault> {
        let mut wrapped = vec![self.marker()];
        match self {
            Cipher::Gcm => {
                let mut iv = [0; IV_LEN];
                aws_lc_rs::rand::fill(&mut iv).map_err(|_| Kind::Internal.error("the random generator failed"))?;
                let associated = context.encode();
                let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, &associated, tag_bits())?);
                let sealed = session.encrypt(&mechanism, key, plaintext.expose())?;
                // Some modules choose the nonce themselves, and write it where ours was.
                wrapped.extend_from_slice(&iv);
                wrapped.extend_from_slice(&sealed);
            }
            Cipher::Kwp => {
                let bound = bind(plaintext, context)?;
                let data_key = create(session, &bound)?;
                let outcome = session.wrap_key(&Mechanism::AesKeyWrapPad, key, data_key);
                let destroyed = session.destroy_object(data_key);
                wrapped.extend_from_slice(&outcome?);
                destroyed?;
            }
        }
        Ok(wrapped)
    }

    pub fn unwrap(
        self,
        session: &Session,
        key: ObjectHandle,
        wrapped: &[u8],
        context: &EncryptionContext,
    ) -> Result<Secret, Fault> {
        let sealed = wrapped.get(1..).unwrap_or_default();
        match self {
            Cipher::Gcm => {
                let (iv, sealed) = sealed.split_first_chunk::<IV_LEN>().ok_or_else(|| Kind::WrappedKey.error(SHORT))?;
                let (mut iv, associated) = (*iv, context.encode());
                let mechanism = Mechanism::AesGcm(GcmParams::new(&mut iv, &associated, tag_bits())?);
                let mut plaintext = Zeroizing::new(session.decrypt(&mechanism, key, sealed)?);
                Ok(Secret::take(&mut plaintext)?)
            }
            Cipher::Kwp => {
                let template = [
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::Token(false),
                    Attribute::Sensitive(false),
                    Attribute::Extractable(true),
                ];
                let data_key = session.unwrap_key(&Mechanism::AesKeyWrapPad, key, sealed, &template)?;
                let read = session.get_attributes(data_key, &[AttributeType::Value]);
                let destroyed = session.destroy_object(data_key);
                let mut bound = Zeroizing::new(Vec::new());
                for attribute in read? {
                    if let Attribute::Value(value) = attribute {
                        *bound = value;
                    }
                }
                destroyed?;
                Ok(unbind(&mut bound, context)?)
            }
        }
    }
}

const SHORT: &str = "the wrapped data key is too short";

fn tag_bits() -> cryptoki::types::Ulong {
    (TAG_LEN as u64 * 8).into()
}

/// A data key as an object of the session, which goes with it.
fn create(session: &Session, value: &Secret) -> Result<ObjectHandle, Fault> {
    let mut template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Value(value.expose().to_vec()),
    ];
    let created = session.create_object(&template);
    for attribute in &mut template {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
    Ok(created?)
}

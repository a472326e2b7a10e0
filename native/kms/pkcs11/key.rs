//! The versions of a key: AES keys on the token that share a label and differ in `CKA_ID`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::error::{Error, Kind, Result};
use crate::kms::KeyVersion;
use crate::kms::pkcs11::cipher::Cipher;
use crate::kms::pkcs11::errors::Fault;
use crate::kms::timestamp::rfc3339;

/// `CKA_ID` of the keys that we make: these two bytes, milliseconds since 1970 (6 bytes), random (4). Tokens have no
/// other place for an instant: `CKA_START_DATE` is a day.
const MAGIC: &[u8; 2] = b"SP";
const ID_LEN: usize = 12;

/// One version, as the token tells it.
#[derive(Debug, Clone)]
pub struct Version {
    pub handle: ObjectHandle,
    id: Vec<u8>,
    created_at: SystemTime,
    bytes: usize,
    /// `CKA_ENCRYPT`, `CKA_DECRYPT`
    gcm: (bool, bool),
    /// `CKA_WRAP`, `CKA_UNWRAP`
    kwp: (bool, bool),
    extractable: bool,
}

impl Version {
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn describe(&self) -> KeyVersion {
        KeyVersion { id: self.id(), created_at: self.created_at, enabled: self.opens() }
    }

    /// True if it may open data keys.
    pub fn opens(&self) -> bool {
        self.gcm.1 || self.kwp.1
    }

    /// That it may wrap by this cipher; the error says why not.
    pub fn check_wraps(&self, cipher: Cipher, label: &str) -> Result<()> {
        let (may, other) = match cipher {
            Cipher::Gcm => (self.gcm.0, self.kwp.0),
            Cipher::Kwp => (self.kwp.0, self.gcm.0),
        };
        if self.bytes != 32 {
            return Err(Kind::Config
                .error(format_args!("key '{label}' has {} bits: an AES key of 256 bits is needed", self.bytes * 8)));
        }
        match (may, other) {
            (true, _) => Ok(()),
            (false, true) => Err(Kind::Config.error(format_args!(
                "key '{label}' was made for another mechanism (CKA_ENCRYPT is for aes-gcm, CKA_WRAP for aes-kwp): set \
                 kms.pkcs11.mechanism to it"
            ))),
            (false, false) => Err(disabled(label, &self.id())),
        }
    }

    pub fn is_extractable(&self) -> bool {
        self.extractable
    }
}

/// A version that may not be used.
pub fn disabled(label: &str, id: &str) -> Error {
    Kind::KeyDisabled.error(format_args!(
        "key '{label}' version {id} is disabled on the token (CKA_ENCRYPT and CKA_DECRYPT, or CKA_WRAP and CKA_UNWRAP): \
         enable it to go on with it"
    ))
}

/// All versions, oldest first; never none. `seen` says that there were some before.
pub fn versions(session: &Session, token: &str, label: &str, seen: bool) -> Result<Vec<Version>, Fault> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let mut versions = Vec::new();
    for handle in session.find_objects(&template)? {
        versions.push(read(session, handle, label)?);
    }
    if versions.is_empty() {
        return Err(missing(token, label, seen).into());
    }
    versions.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
    Ok(versions)
}

/// A token that was pulled out may go on answering, as one that holds nothing.
fn missing(token: &str, label: &str, seen: bool) -> Error {
    if seen {
        return Kind::KeyNotFound.error(format_args!(
            "pkcs11 token '{token}' shows no AES key with the label '{label}' any more, though this process has used it: the \
             token was pulled out, or the key was deleted; put it back"
        ));
    }
    Kind::KeyNotFound.error(format_args!(
        "pkcs11 token '{token}' holds no AES key with the label '{label}': check kms.pkcs11.key-label, or make one with \
         `sealpoint pkcs11 create-key`"
    ))
}

fn read(session: &Session, handle: ObjectHandle, label: &str) -> Result<Version, Fault> {
    const WANTED: &[AttributeType] = &[
        AttributeType::Id,
        AttributeType::ValueLen,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Wrap,
        AttributeType::Unwrap,
        AttributeType::Extractable,
    ];
    let mut version = Version {
        handle,
        id: Vec::new(),
        created_at: UNIX_EPOCH,
        bytes: 0,
        gcm: (false, false),
        kwp: (false, false),
        extractable: false,
    };
    for attribute in session.get_attributes(handle, WANTED)? {
        match attribute {
            Attribute::Id(id) => version.id = id,
            Attribute::ValueLen(length) => version.bytes = length.into(),
            Attribute::Encrypt(may) => version.gcm.0 = may,
            Attribute::Decrypt(may) => version.gcm.1 = may,
            Attribute::Wrap(may) => version.kwp.0 = may,
            Attribute::Unwrap(may) => version.kwp.1 = may,
            Attribute::Extractable(may) => version.extractable = may,
            _ => {}
        }
    }
    if version.id.is_empty() {
        return Err(Kind::Config
            .error(format_args!("key '{label}' has no CKA_ID, which tells versions apart: give it one"))
            .into());
    }
    version.created_at = instant_of(&version.id).or_else(|| start_date(session, handle)).unwrap_or(UNIX_EPOCH);
    Ok(version)
}

/// A fresh key: it never leaves the token, and may do what its cipher needs and nothing else. A key that may wrap and
/// decrypt could be used to take other keys out of the token.
pub fn generate(session: &Session, label: &str, cipher: Cipher, after: Option<&Version>) -> Result<(), Fault> {
    let newest = after.map_or(UNIX_EPOCH, |version| version.created_at + Duration::from_millis(1));
    let gcm = cipher == Cipher::Gcm;
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(true),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Id(id_of(SystemTime::now().max(newest))?),
        Attribute::Encrypt(gcm),
        Attribute::Decrypt(gcm),
        Attribute::Wrap(!gcm),
        Attribute::Unwrap(!gcm),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template)?;
    Ok(())
}

/// Allows or forbids everything that this cipher does.
pub fn set_enabled(session: &Session, version: &Version, cipher: Cipher, enabled: bool) -> Result<(), Fault> {
    let template = match cipher {
        Cipher::Gcm => [Attribute::Encrypt(enabled), Attribute::Decrypt(enabled)],
        Cipher::Kwp => [Attribute::Wrap(enabled), Attribute::Unwrap(enabled)],
    };
    Ok(session.update_attributes(version.handle, &template)?)
}

fn id_of(instant: SystemTime) -> Result<Vec<u8>> {
    let millis = instant.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let millis = u64::try_from(millis).unwrap_or(u64::MAX).to_be_bytes();
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Kind::Internal.error("the random generator failed"))?;
    Ok([&MAGIC[..], &millis[2..], &random].concat())
}

fn instant_of(id: &[u8]) -> Option<SystemTime> {
    let rest = id.strip_prefix(MAGIC).filter(|_| id.len() == ID_LEN)?;
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(rest.get(..6)?);
    Some(UNIX_EPOCH + Duration::from_millis(u64::from_be_bytes(millis)))
}

/// For keys that another tool made.
fn start_date(session: &Session, handle: ObjectHandle) -> Option<SystemTime> {
    let attributes = session.get_attributes(handle, &[AttributeType::StartDate]).ok()?;
    attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::StartDate(date) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            rfc3339(&format!("{}-{}-{}T00:00:00Z", text(&date.year), text(&date.month), text(&date.day)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_the_instant_of_its_key() {
        let instant = UNIX_EPOCH + Duration::from_millis(1_795_554_000_123);
        let (one, other) = (id_of(instant).unwrap(), id_of(instant).unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), instant_of(&one)), (ID_LEN, Some(instant)));
        for foreign in [&b""[..], b"\x01", b"SP", b"XX0123456789", b"SP01234567890"] {
            assert_eq!(instant_of(foreign), None);
        }
    }
}

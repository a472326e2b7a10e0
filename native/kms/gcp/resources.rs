//! What Cloud KMS sends and takes: https://cloud.google.com/kms/docs/reference/rest, as far as it is used here.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::kms::gcp::crc32c::crc32c;

/// A CryptoKey.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CryptoKey {
    /// What the key is for.
    #[serde(default)]
    pub purpose: String,
    /// The version that encrypts, if there is one.
    pub primary: Option<CryptoKeyVersion>,
    /// After how long the service makes a new version the primary one, if it does.
    pub rotation_period: Option<String>,
}

/// A CryptoKeyVersion.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CryptoKeyVersion {
    /// Its full name.
    pub name: String,
    /// `ENABLED`, `DISABLED`, ...
    #[serde(default)]
    pub state: String,
    /// RFC 3339.
    #[serde(default)]
    pub create_time: String,
    /// When it will be destroyed, while that is scheduled; RFC 3339.
    #[serde(default)]
    pub destroy_time: String,
}

/// A page of versions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionPage {
    #[serde(default)]
    pub crypto_key_versions: Vec<CryptoKeyVersion>,
    #[serde(default)]
    pub next_page_token: String,
}

/// What `encrypt` answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encrypted {
    /// The version that encrypted.
    pub name: String,
    #[serde(deserialize_with = "bytes")]
    pub ciphertext: Vec<u8>,
    #[serde(default, deserialize_with = "checksum")]
    pub ciphertext_crc32c: Option<u32>,
    #[serde(default)]
    pub verified_plaintext_crc32c: bool,
    #[serde(default)]
    pub verified_additional_authenticated_data_crc32c: bool,
}

/// What `decrypt` answers. The plaintext stays in the buffer of the answer, which is wiped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decrypted<'a> {
    #[serde(borrow, default)]
    pub plaintext: Cow<'a, str>,
    #[serde(default, deserialize_with = "checksum")]
    pub plaintext_crc32c: Option<u32>,
}

impl Decrypted<'_> {
    /// The plaintext, if its checksum is right.
    pub fn checked(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut plaintext = Zeroizing::new(vec![0; base64::decoded_len_estimate(self.plaintext.len())]);
        let length = STANDARD.decode_slice(self.plaintext.as_bytes(), &mut plaintext).ok()?;
        plaintext.truncate(length);
        (self.plaintext_crc32c == Some(crc32c(&plaintext))).then_some(plaintext)
    }
}

/// The permissions that the caller has, out of those that were asked for.
#[derive(Debug, Deserialize)]
pub struct Granted {
    #[serde(default)]
    pub permissions: Vec<String>,
}

/// A body that holds a field and the associated data, each with its checksum; wiped.
pub fn sealed_request(field: &str, data: &[u8], aad: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(200 + 2 * (data.len() + aad.len())));
    for (start, name, bytes) in [("{", field, data), (",", "additionalAuthenticatedData", aad)] {
        body.extend_from_slice(format!("{start}\"{name}Crc32c\":\"{}\",\"{name}\":\"", crc32c(bytes)).as_bytes());
        let from = body.len();
        body.resize(from + base64::encoded_len(bytes.len(), true).unwrap_or_default(), 0);
        // The place has exactly the length that the text takes.
        let _length = STANDARD.encode_slice(bytes, &mut body[from..]);
        body.push(b'"');
    }
    body.push(b'}');
    body
}

/// The other bodies.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Body<'a> {
    /// Of `cryptoKeyVersions.create` and `destroy`.
    Empty {},
    /// Of `updatePrimaryVersion`.
    #[serde(rename_all = "camelCase")]
    Primary { crypto_key_version_id: &'a str },
    /// Of `cryptoKeyVersions.patch`.
    State { state: &'a str },
    /// Of `testIamPermissions`.
    Permissions { permissions: &'a [&'a str] },
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
}

/// A 64-bit number is a string in the JSON of protobuf; a number is read too.
fn checksum<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Int64 {
        Text(String),
        Number(u32),
    }
    match Option::<Int64>::deserialize(deserializer)? {
        Some(Int64::Text(text)) => text.parse().map(Some).map_err(D::Error::custom),
        Some(Int64::Number(number)) => Ok(Some(number)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_with_checksums() {
        let body = sealed_request("plaintext", b"123456789", &[0xff; 32]);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "plaintext": "MTIzNDU2Nzg5",
            "plaintextCrc32c": "3808858755",
            "additionalAuthenticatedData": "//////////////////////////////////////////8=",
            "additionalAuthenticatedDataCrc32c": "1655221059",
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_plaintext_counts_only_with_its_checksum() {
        let read = |text: &str| serde_json::from_str::<Decrypted>(text).unwrap().checked().map(|bytes| bytes.to_vec());
        let good = r#"{"plaintext": "MTIzNDU2Nzg5", "plaintextCrc32c": "3808858755"}"#;
        assert_eq!(read(good), Some(b"123456789".to_vec()));
        assert_eq!(read(&good.replace("\"3808858755\"", "3808858755")), Some(b"123456789".to_vec()));
        assert_eq!(read(r#"{"plaintextCrc32c": "0"}"#), Some(vec![]));
        for bad in [
            r#"{"plaintext": "MTIzNDU2Nzg5"}"#,
            r#"{"plaintext": "MTIzNDU2Nzg5", "plaintextCrc32c": "3808858756"}"#,
            r#"{"plaintext": "MTIzNDU2Nzg4", "plaintextCrc32c": "3808858755"}"#,
            r#"{"plaintext": "no base64", "plaintextCrc32c": "0"}"#,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

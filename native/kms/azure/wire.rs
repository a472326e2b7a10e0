//! What goes over the wire: the JSON of the keys API, api-version 7.4.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::kms::KeyVersion;

/// What `wrapkey`, `unwrapkey`, `encrypt` and `decrypt` take.
#[derive(Serialize, Default)]
pub struct CryptoRequest<'a> {
    pub alg: &'a str,
    pub value: Zeroizing<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aad: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What they answer.
#[derive(Deserialize)]
pub struct CryptoAnswer {
    pub kid: String,
    pub value: Zeroizing<String>,
    pub iv: Option<String>,
    pub tag: Option<String>,
}

/// A key as `get`, `rotate` and `update` answer it.
#[derive(Deserialize)]
pub struct Bundle {
    pub key: JsonWebKey,
    pub attributes: Attributes,
}

/// A key as `delete` answers it, and `deletedkeys`.
#[derive(Deserialize)]
pub struct DeletedBundle {
    pub attributes: DeletedAttributes,
    /// Seconds since 1970; none where the vault keeps nothing that was deleted.
    #[serde(rename = "scheduledPurgeDate")]
    pub scheduled_purge_date: Option<u64>,
}

#[derive(Deserialize)]
pub struct DeletedAttributes {
    /// `Recoverable+Purgeable`, `Recoverable`, `Purgeable`, ...
    #[serde(rename = "recoveryLevel", default)]
    pub recovery_level: String,
}

/// The public part of a key.
#[derive(Deserialize)]
pub struct JsonWebKey {
    pub kid: String,
    pub kty: String,
    #[serde(default)]
    pub key_ops: Vec<String>,
    pub n: Option<String>,
    pub e: Option<String>,
}

/// Times are seconds since 1970.
#[derive(Deserialize)]
pub struct Attributes {
    pub enabled: bool,
    pub created: u64,
    pub nbf: Option<u64>,
    pub exp: Option<u64>,
}

/// One page of a key's versions.
#[derive(Deserialize)]
pub struct VersionPage {
    #[serde(default)]
    pub value: Vec<VersionItem>,
    #[serde(rename = "nextLink")]
    pub next_link: Option<String>,
}

#[derive(Deserialize)]
pub struct VersionItem {
    pub kid: String,
    pub attributes: Attributes,
}

impl Bundle {
    pub fn version(&self, key: &str) -> Result<KeyVersion> {
        self.attributes.version(&self.key.kid, key)
    }
}

impl VersionItem {
    pub fn version(&self, key: &str) -> Result<KeyVersion> {
        self.attributes.version(&self.kid, key)
    }
}

impl Attributes {
    fn version(&self, kid: &str, key: &str) -> Result<KeyVersion> {
        Ok(KeyVersion { id: version_of(kid, key)?, created_at: time(self.created), enabled: self.enabled })
    }
}

/// The version at the end of a key identifier, which must be one of this key:
/// `https://<host>/keys/<name>/<version>`.
pub fn version_of(kid: &str, key: &str) -> Result<String> {
    let path = kid.split_once("/keys/").map(|(_, path)| path);
    match path.and_then(|path| path.split_once('/')) {
        Some((name, version)) if name.eq_ignore_ascii_case(key) && is_version(version) => Ok(version.to_owned()),
        Some(_) | None => Err(nonsense(format_args!("'{}' is no version of key '{key}'", kid.escape_debug()))),
    }
}

/// True for what may stand in a path as a version. Versions come out of files too.
pub fn is_version(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

pub fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX)))
}

/// The body of a request, wiped once it is sent; its capacity keeps it in one place.
pub fn to_json(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
    serde_json::to_writer(&mut *body, request)
        .map_err(|error| Kind::Internal.error(format_args!("cannot encode a request: {error}")))?;
    Ok(body)
}

/// Half an answer may pass. The parser's own text could quote a value: it is not shown.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Kind::KmsUnavailable.error(format_args!(
            "Azure's answer of {} bytes breaks off or is none of the keys API (at column {})",
            body.len(),
            error.column()
        ))
    })
}

pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes))
}

pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes.map(Zeroizing::new).map_err(|_| nonsense(format_args!("a value in its answer is not base64url")))
}

pub fn nonsense(reason: std::fmt::Arguments<'_>) -> Error {
    Kind::Internal.error(format_args!("{reason}: is kms.azure.vault-url that of a key vault?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_from_identifiers_of_this_key_only() {
        let kid = "https://flink.vault.azure.net/keys/state/21c6349c6ed040e9a40f473db932a1ff";
        assert_eq!(version_of(kid, "state").unwrap(), "21c6349c6ed040e9a40f473db932a1ff");
        assert_eq!(version_of(kid, "STATE").unwrap(), "21c6349c6ed040e9a40f473db932a1ff");
        for (kid, key) in [
            (kid, "other"),
            ("https://flink.vault.azure.net/keys/state", "state"),
            ("https://flink.vault.azure.net/keys/state/", "state"),
            ("https://flink.vault.azure.net/keys/state/a/b", "state"),
            ("https://flink.vault.azure.net/keys/state/..", "state"),
            ("", "state"),
        ] {
            assert!(version_of(kid, key).is_err(), "{kid}");
        }
    }

    #[test]
    fn what_a_file_calls_a_version_cannot_lead_elsewhere() {
        assert!(is_version("9c63e47bcf974f299e96deb18ef4b3dc"));
        for text in ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "é", &"a".repeat(128)] {
            assert!(!is_version(text), "{text}");
        }
    }
}

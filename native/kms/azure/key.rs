//! The key in use, as it was when we last looked: what may wrap, and how.

use std::fmt;
use std::time::SystemTime;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};

use crate::config::AzureAlgorithm;
use crate::error::{Error, Kind, Result};
use crate::kms::azure::algorithm::Algorithm;
use crate::kms::azure::wire::{self, Bundle, JsonWebKey};
use crate::secret::Secret;

/// Smaller moduli are not worth wrapping anything with (and Azure has none).
const LEAST_BITS: usize = 2048;

/// A version of a key that can wrap data keys.
pub struct KeyInUse {
    pub version: String,
    pub algorithm: Algorithm,
    public: Option<OaepPublicEncryptingKey>,
    /// When it starts and ends to wrap, if it does.
    not_before: Option<SystemTime>,
    expires: Option<SystemTime>,
}

impl KeyInUse {
    /// The key of this name, if data keys can be wrapped by it; the error says why not.
    pub fn new(bundle: &Bundle, name: &str, configured: AzureAlgorithm) -> Result<KeyInUse> {
        let key = &bundle.key;
        let version = wire::version_of(&key.kid, name)?;
        let algorithm = algorithm(key, configured)?;
        let public = match algorithm {
            Algorithm::RsaOaep256 => Some(public_key(key)?),
            Algorithm::A256Gcm => None,
        };
        let (not_before, expires) = (bundle.attributes.nbf.map(wire::time), bundle.attributes.exp.map(wire::time));
        if !bundle.attributes.enabled {
            return Err(Kind::KeyDisabled
                .error(format_args!("its version {version} is disabled: enable it, or rotate the key")));
        }
        let found = KeyInUse { version, algorithm, public, not_before, expires };
        found.check(SystemTime::now())?;
        Ok(found)
    }

    /// An error outside the dates that the key has.
    pub fn check(&self, now: SystemTime) -> Result<()> {
        let out = |state: &str| {
            Kind::KeyDisabled
                .error(format_args!("its version {} {state}: change its dates, or rotate the key", self.version))
        };
        if self.not_before.is_some_and(|from| now < from) {
            return Err(out("is not valid yet"));
        }
        if self.expires.is_some_and(|until| now >= until) {
            return Err(out("has expired"));
        }
        Ok(())
    }

    /// RSA-OAEP-256 with the public key, on this machine.
    pub fn wrap_here(&self, bound: &Secret) -> Result<Vec<u8>> {
        let key = self.public.as_ref().ok_or_else(|| {
            Kind::Config
                .error("kms.azure.wrap-locally is true, but a symmetric key has no public half: remove that setting")
        })?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let length = key
            .encrypt(&OAEP_SHA256_MGF1SHA256, bound.expose(), &mut wrapped, None)
            .map_err(|_| Kind::Internal.error("RSA-OAEP-256 failed"))?
            .len();
        wrapped.truncate(length);
        Ok(wrapped)
    }
}

fn algorithm(key: &JsonWebKey, configured: AzureAlgorithm) -> Result<Algorithm> {
    let kty = key.kty.escape_debug();
    let wrong = |reason: fmt::Arguments<'_>| Kind::Config.error(reason);
    let algorithm = Algorithm::of(&key.kty).ok_or_else(|| {
        wrong(format_args!(
            "it is of type {kty}, which wraps nothing: an RSA key is needed, or a symmetric key (oct-HSM) of a Managed HSM"
        ))
    })?;
    if !algorithm.agrees_with(configured) {
        return Err(wrong(format_args!(
            "it is of type {kty}, which does not do what kms.azure.algorithm says: set that to 'auto', or use another key"
        )));
    }
    for operation in [algorithm.wrap(), algorithm.unwrap()] {
        if !key.key_ops.iter().any(|allowed| allowed == operation.name()) {
            return Err(wrong(format_args!(
                "its permitted operations (key_ops) are only [{}]: {} is needed",
                key.key_ops.join(", ").escape_debug(),
                operation.name()
            )));
        }
    }
    Ok(algorithm)
}

fn public_key(key: &JsonWebKey) -> Result<OaepPublicEncryptingKey> {
    let part = |part: &Option<String>| wire::decode(part.as_deref().unwrap_or_default());
    let (n, e) = (part(&key.n)?, part(&key.e)?);
    let bits = n.iter().skip_while(|byte| **byte == 0).count() * 8;
    if bits < LEAST_BITS {
        return Err(
            Kind::Config.error(format_args!("it is an RSA key of {bits} bits: {LEAST_BITS} and more are needed"))
        );
    }
    let refused = |_| -> Error { Kind::Config.error("its public half is not an RSA key that can be used") };
    let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    let public: PublicEncryptingKey = components.try_into().map_err(refused)?;
    OaepPublicEncryptingKey::new(public).map_err(refused)
}

impl fmt::Debug for KeyInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyInUse({}, {})", self.version, self.algorithm.name())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
    use serde_json::{Value, json};

    use super::*;

    const KID: &str = "https://flink.vault.azure.net/keys/state/21c6349c6ed040e9a40f473db932a1ff";

    fn bundle(change: Value) -> Bundle {
        // the recording EncryptWithKeyNameReturnsFullKeyId of Azure/azure-sdk-for-net
        let n = "4rbGkLrnJJVsRWj1cr-JwWYNlfTR94QonK5nVu-F_K9Gcby7ismV8vqY8KisM1jH6F9IRgB_uyLDGim_EEZ7rnTzTQEkttSL_-uFq_m8glY7lcVSvKv-a0j-1v1PKqDy7V-nYxgtZLQkhGndFvJmvvnbODs1fUEtYYStHlPkEbuS5-hcadIm1JLQc31rMkHHteINlGzy2xlWOSjPuPZGP-WYBBL-vfVLo0SBkXKSRysXIbI8SjPvOAEXfS-Sqm-Ivw8Zq0A8a48C4efv5fPtqL5YyJnRq2PZSMiERPDqW78hYSZSeM21-LRjGP1ExgWPA2YgIkmzu9CEkZUvXnXm6Q";
        let mut all = json!({
            "key": {"kid": KID, "kty": "RSA", "key_ops": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"], "n": n, "e": "AQAB"},
            "attributes": {"enabled": true, "created": 1_667_322_941, "updated": 1_667_322_941, "recoveryLevel": "Recoverable", "exportable": false},
        });
        for part in ["key", "attributes"] {
            for (name, value) in change.get(part).and_then(Value::as_object).into_iter().flatten() {
                all[part][name] = value.clone();
            }
        }
        serde_json::from_value(all).unwrap()
    }

    fn refused(change: Value, configured: AzureAlgorithm) -> Error {
        KeyInUse::new(&bundle(change), "state", configured).unwrap_err()
    }

    #[test]
    fn the_type_of_the_key_decides_the_algorithm() {
        let key = KeyInUse::new(&bundle(json!({})), "state", AzureAlgorithm::Auto).unwrap();
        assert_eq!((key.algorithm, key.version.as_str()), (Algorithm::RsaOaep256, "21c6349c6ed040e9a40f473db932a1ff"));
        let symmetric = bundle(json!({"key": {"kty": "oct-HSM", "n": null, "e": null}}));
        let key = KeyInUse::new(&symmetric, "state", AzureAlgorithm::Auto).unwrap();
        assert_eq!(key.algorithm, Algorithm::A256Gcm);
        assert!(key.wrap_here(&Secret::random(64).unwrap()).unwrap_err().message().contains("kms.azure.wrap-locally"));
        assert!(refused(json!({}), AzureAlgorithm::A256Gcm).message().contains("kms.azure.algorithm"));
    }

    #[test]
    fn keys_that_cannot_wrap_are_refused_with_the_reason() {
        for (change, kind, said) in [
            (json!({"key": {"kty": "EC", "key_ops": ["sign"]}}), Kind::Config, "of type EC"),
            (json!({"key": {"key_ops": ["sign", "verify"]}}), Kind::Config, "[sign, verify]: wrapKey is needed"),
            (json!({"key": {"key_ops": ["wrapKey"]}}), Kind::Config, "unwrapKey is needed"),
            (json!({"key": {"n": "4rbGkLrnJJVsRWj1cr-JwWYN"}}), Kind::Config, "RSA key of 144 bits"),
            (json!({"key": {"n": null}}), Kind::Config, "RSA key of 0 bits"),
            (json!({"attributes": {"enabled": false}}), Kind::KeyDisabled, "is disabled"),
            (json!({"attributes": {"exp": 1_667_322_942}}), Kind::KeyDisabled, "has expired"),
            (json!({"attributes": {"nbf": 4_000_000_000_u64}}), Kind::KeyDisabled, "is not valid yet"),
            (
                json!({"key": {"kid": "https://flink.vault.azure.net/keys/other/1"}}),
                Kind::Internal,
                "no version of key",
            ),
        ] {
            let error = refused(change, AzureAlgorithm::Auto);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(said), "{error}");
        }
    }

    #[test]
    fn a_key_stops_wrapping_when_its_time_is_over() {
        let ends = SystemTime::now() + Duration::from_secs(1_000);
        let seconds = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let key =
            KeyInUse::new(&bundle(json!({"attributes": {"exp": seconds}})), "state", AzureAlgorithm::Auto).unwrap();
        assert!(key.check(ends - Duration::from_secs(10)).is_ok());
        assert_eq!(key.check(ends).unwrap_err().kind(), Kind::KeyDisabled);
    }

    #[test]
    fn what_is_wrapped_here_the_private_key_opens() {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        // A modulus of 2048 bits, then (0x02 0x03) an exponent of three bytes, at its end.
        let (rest, e) = der.as_ref().split_last_chunk::<3>().unwrap();
        let n = rest[..rest.len() - 2].last_chunk::<256>().unwrap();
        let change = json!({"key": {"n": wire::encode(n).as_str(), "e": wire::encode(e).as_str()}});
        let key = KeyInUse::new(&bundle(change), "state", AzureAlgorithm::Auto).unwrap();
        let bound = Secret::random(64).unwrap();
        let wrapped = key.wrap_here(&bound).unwrap();
        let opener = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut opened = vec![0; opener.min_output_size()];
        let opened = opener.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut opened, None).unwrap();
        assert_eq!(opened, bound.expose());
        assert_ne!(key.wrap_here(&bound).unwrap(), wrapped, "every wrapping is another");
    }
}

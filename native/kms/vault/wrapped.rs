//! `vault:v3:<base64>`: what the engine gives for a wrapped key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::kms::WrappedKey;

/// A wrapped data key has less than a hundred bytes.
const MAX_LEN: usize = 1024;

/// The text to send, if it can be the engine's at all and is of the version that the file says. The server is laxer: its
/// base64 skips line breaks, so that one wrapped key would have many forms.
pub fn check(wrapped: &WrappedKey) -> Option<&str> {
    let text = std::str::from_utf8(&wrapped.bytes).ok().filter(|text| text.len() <= MAX_LEN)?;
    let (version, base64) = split(text)?;
    STANDARD.decode(base64).ok().filter(|bytes| !bytes.is_empty())?;
    (version.to_string() == wrapped.version).then_some(text)
}

/// The version that wrapped it.
pub fn version(bytes: &[u8]) -> Option<u64> {
    split(std::str::from_utf8(bytes).ok()?).map(|(version, _)| version)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let (version, base64) = text.strip_prefix("vault:v")?.split_once(':')?;
    let number = version.parse().ok()?;
    // `+3` and `03` parse as well.
    (format!("{number}") == version && number > 0).then_some((number, base64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_engines_own_form_and_version_is_sent() {
        let wrapped = |text: &str| WrappedKey {
            kek: "transit/keys/state".to_owned(),
            version: "3".to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        assert!(check(&wrapped("vault:v3:AAAA")).is_some());
        let long = format!("vault:v3:{}", "A".repeat(65_536));
        for text in [
            "",
            "vault",
            "vault:v3:",
            "vault:v2:AAAA",
            "vault:v03:AAAA",
            "vault:v+3:AAAA",
            "vault:v3:AA",
            "vault:v3:AAAA\n",
            "vault:v3:AAAA:",
            "Vault:v3:AAAA",
            &long,
        ] {
            assert!(check(&wrapped(text)).is_none(), "{text}");
        }
        assert!(check(&WrappedKey { bytes: vec![0xff], ..wrapped("") }).is_none());
    }
}

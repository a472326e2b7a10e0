//! What a server that refuses means by it.

use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::kms::http::Answer;

/// More of a server's text is of no use.
const MAX_SAID: usize = 300;

/// What was asked of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    Encrypt,
    Decrypt,
    Rotate,
    Configure,
    Delete,
}

impl Action {
    /// The path below the address, which is what policies name.
    pub fn path(self, mount: &str, key: &str) -> String {
        match self {
            Action::Read | Action::Delete => format!("{mount}/keys/{key}"),
            Action::Encrypt => format!("{mount}/encrypt/{key}"),
            Action::Decrypt => format!("{mount}/decrypt/{key}"),
            Action::Rotate => format!("{mount}/keys/{key}/rotate"),
            Action::Configure => format!("{mount}/keys/{key}/config"),
        }
    }

    /// What the policy must grant on the path.
    pub fn capability(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Encrypt | Action::Decrypt | Action::Rotate | Action::Configure => "update",
            Action::Delete => "delete",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Action::Read => "read the key",
            Action::Encrypt => "wrap a data key",
            Action::Decrypt => "unwrap a data key",
            Action::Rotate => "rotate the key",
            Action::Configure => "change the key",
            Action::Delete => "delete the key",
        }
    }
}

/// The key that was asked for, for errors.
#[derive(Debug)]
pub struct Target {
    pub address: String,
    pub mount: String,
    pub key: String,
}

/// The error of an answer about a key that is no success.
pub fn explain(answer: &Answer, action: Action, target: &Target) -> Error {
    let said = said(&answer.body);
    let (kind, advice) = classify(answer.status, &said, action, target);
    let Target { address, mount, key } = target;
    kind.error(format_args!(
        "vault at {address} did not {} '{mount}/keys/{key}': HTTP {}{}: {advice}",
        action.verb(),
        answer.status,
        quoted(&said)
    ))
    .after(answer.retry_after)
}

/// What the server says beforehand that the token may not do.
pub fn not_granted(action: Action, target: &Target) -> Error {
    let Target { address, mount, key } = target;
    Kind::AccessDenied.error(format_args!(
        "vault at {address} would not {} '{mount}/keys/{key}': {}",
        action.verb(),
        grant(action, target)
    ))
}

/// The error of an answer to a login that is no success; `option` is where its credential comes from.
pub fn explain_login(answer: &Answer, address: &str, path: &str, option: &str) -> Error {
    let said = said(&answer.body);
    let (kind, advice) = mounting(&said).or_else(|| passing(answer.status, &said)).unwrap_or_else(|| {
        if said.contains("invalid role name") {
            (Kind::Config, "the login method has no such role: check kms.vault.role".to_owned())
        } else {
            (Kind::Credentials, format!("the credential is wrong, expired or used up: check {option}"))
        }
    });
    let status = answer.status;
    kind.error(format_args!("vault at {address} refused the login at {path}: HTTP {status}{}: {advice}", quoted(&said)))
        .after(answer.retry_after)
}

/// True if the answer refuses the token itself, not what it asks for: it expired, was revoked, or never was one. Where
/// a policy refuses, the servers say that one error occurred.
pub fn refuses_the_token(answer: &Answer) -> bool {
    let said = said(&answer.body);
    answer.status == 403 && (said.contains("invalid token") || !said.contains("error occurred"))
}

fn classify(status: u16, said: &str, action: Action, target: &Target) -> (Kind, String) {
    if let Some(known) = mounting(said).or_else(|| about_the_key(said)) {
        return known;
    }
    match status {
        403 => (Kind::AccessDenied, grant(action, target)),
        404 if said.is_empty() && action == Action::Read => (Kind::KeyNotFound, no_such_key(target)),
        404 | 405 => (Kind::Config, "is this mount a transit engine? Check kms.vault.mount".to_owned()),
        _ if said.contains("key not found") => (Kind::KeyNotFound, no_such_key(target)),
        _ => passing(status, said)
            .unwrap_or_else(|| (Kind::Internal, "this answer is not known here; see the server's log".to_owned())),
    }
}

fn grant(action: Action, target: &Target) -> String {
    format!(
        "grant it in the policy of the token: path \"{}\" {{ capabilities = [\"{}\"] }}",
        action.path(&target.mount, &target.key),
        action.capability()
    )
}

fn no_such_key(target: &Target) -> String {
    format!(
        "there is no such key: check kms.vault.key-name, or create it: vault write -f {}/keys/{} type=aes256-gcm96",
        target.mount, target.key
    )
}

/// What is wrong with the path.
fn mounting(said: &str) -> Option<(Kind, String)> {
    if said.contains("no handler for route") || said.contains("unsupported path") {
        let advice = "nothing of this kind is mounted there: check kms.vault.mount (vault secrets enable transit) or, at \
                      a login, kms.vault.auth-mount (vault auth enable ...), and kms.vault.namespace";
        return Some((Kind::Config, advice.to_owned()));
    }
    said.contains("namespace not found").then(|| (Kind::Config, "check kms.vault.namespace".to_owned()))
}

/// What is wrong with the key, a version of it, or the wrapped key.
fn about_the_key(said: &str) -> Option<(Kind, String)> {
    const KNOWN: &[(&str, Kind, &str)] = &[
        ("soft-deleted", Kind::KeyPendingDeletion, "the key was deleted softly: restore it (.../soft-delete-restore)"),
        (
            "disallowed by policy (too old)",
            Kind::KeyDisabled,
            "the version is below the key's min_decryption_version: lower that to open what it wrapped",
        ),
        ("version is too new", Kind::KeyVersionNotFound, "the key has no such version: was it restored from a backup?"),
        ("message authentication failed", Kind::WrappedKey, DAMAGED),
        ("unable to decrypt", Kind::WrappedKey, DAMAGED),
        ("invalid ciphertext", Kind::WrappedKey, DAMAGED),
        ("missing ciphertext", Kind::WrappedKey, DAMAGED),
        ("non-AEAD cipher suite", Kind::Config, WRONG_TYPE),
        ("provided for non-AEAD", Kind::Config, WRONG_TYPE),
        ("does not support", Kind::Config, WRONG_TYPE),
        ("missing 'context'", Kind::Config, "the key is derived: create one with derived=false"),
    ];
    KNOWN.iter().find(|(text, ..)| said.contains(text)).map(|(_, kind, advice)| (*kind, (*advice).to_owned()))
}

const DAMAGED: &str = "the wrapped data key is damaged, or was wrapped for another tenant or encryption context";
pub const WRONG_TYPE: &str = "the key has the wrong type: create one with type=aes256-gcm96";

/// What may pass by itself.
fn passing(status: u16, said: &str) -> Option<(Kind, String)> {
    let (kind, advice) = match status {
        429 => (Kind::KmsThrottled, "a rate limit quota of the server is exhausted"),
        503 if said.contains("sealed") => (Kind::KmsUnavailable, "unseal it"),
        301..=308 => (
            Kind::KmsUnavailable,
            "a standby sent us to another node: set kms.vault.address to where the active one is",
        ),
        412 | 472 | 473 | 500.. => (Kind::KmsUnavailable, "the server, or what stands before it, is not well"),
        _ => return None,
    };
    Some((kind, advice.to_owned()))
}

/// The server's own words, on one line.
fn said(body: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    struct Said {
        #[serde(default)]
        errors: Vec<String>,
        #[serde(default)]
        warnings: Option<Vec<String>>,
    }
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    let texts: Vec<String> = said.errors.into_iter().chain(said.warnings.into_iter().flatten()).collect();
    let line = texts.join("; ").split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" '{said}'") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let retry_after = (status == 429).then(|| Duration::from_secs(7));
        Answer { status, retry_after, headers: HeaderMap::new(), body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    fn target() -> Target {
        Target { address: "https://vault:8200".to_owned(), mount: "transit".to_owned(), key: "state".to_owned() }
    }

    /// The bodies are those of OpenBao 2.7.2, recorded with curl, but for the lines that say "Vault": those follow
    /// the wording of HashiCorp's Vault, and were not recorded from one.
    #[test]
    fn every_answer_of_the_server_is_the_right_kind() {
        use Action::{Configure, Decrypt, Encrypt, Read, Rotate};
        let kv = r#"{"request_id":"3","data":null,"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs."]}"#;
        for (action, status, body, kind) in [
            (
                Read,
                404,
                r#"{"errors":["no handler for route \"transit/keys/state\". route entry not found."]}"#,
                Kind::Config,
            ),
            (Read, 404, r#"{"errors":["namespace not found"]}"#, Kind::Config),
            (Read, 404, kv, Kind::Config),
            (Encrypt, 404, kv, Kind::Config),
            (Read, 404, r#"{"errors":[]}"#, Kind::KeyNotFound),
            (Decrypt, 400, r#"{"errors":["encryption key not found"]}"#, Kind::KeyNotFound),
            (Rotate, 400, r#"{"errors":["key not found"]}"#, Kind::KeyNotFound),
            (Decrypt, 400, r#"{"errors":["cipher: message authentication failed"]}"#, Kind::WrappedKey),
            // Vault
            (Decrypt, 400, r#"{"errors":["invalid ciphertext: unable to decrypt"]}"#, Kind::WrappedKey),
            (Decrypt, 400, r#"{"errors":["invalid ciphertext length"]}"#, Kind::WrappedKey),
            (Decrypt, 400, r#"{"errors":["invalid ciphertext: no prefix"]}"#, Kind::WrappedKey),
            (Decrypt, 400, r#"{"errors":["invalid ciphertext: could not decode base64"]}"#, Kind::WrappedKey),
            (Decrypt, 400, r#"{"errors":["missing ciphertext to decrypt"]}"#, Kind::WrappedKey),
            (Decrypt, 400, r#"{"errors":["invalid ciphertext: version is too new"]}"#, Kind::KeyVersionNotFound),
            (
                Decrypt,
                400,
                r#"{"errors":["ciphertext or signature version is disallowed by policy (too old)"]}"#,
                Kind::KeyDisabled,
            ),
            (Decrypt, 400, r#"{"errors":["refusing to use soft-deleted key"]}"#, Kind::KeyPendingDeletion),
            (
                Rotate,
                500,
                r#"{"errors":["1 error occurred:\n\t* refusing to use soft-deleted key\n\n"]}"#,
                Kind::KeyPendingDeletion,
            ),
            (
                Encrypt,
                400,
                r#"{"errors":["'[0].associated_data' provided for non-AEAD cipher suite rsa-2048"]}"#,
                Kind::Config,
            ),
            (
                Encrypt,
                400,
                r#"{"errors":["missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key"]}"#,
                Kind::Config,
            ),
            (Rotate, 403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#, Kind::AccessDenied),
            (
                Configure,
                400,
                r#"{"errors":["min decryption version should not be less then min available version"]}"#,
                Kind::Internal,
            ),
            (
                Encrypt,
                429,
                r#"{"errors":["request path \"transit/keys/state\": rate limit quota exceeded"]}"#,
                Kind::KmsThrottled,
            ),
            (Encrypt, 500, r#"{"errors":["internal error"]}"#, Kind::KmsUnavailable),
            (Encrypt, 503, r#"{"errors":["Vault is sealed"]}"#, Kind::KmsUnavailable),
            (Encrypt, 502, "<html>bad gateway</html>", Kind::KmsUnavailable),
            (Encrypt, 307, "", Kind::KmsUnavailable),
        ] {
            let error = explain(&answer(status, body), action, &target());
            assert_eq!(error.kind(), kind, "{body}: {error}");
            assert_eq!(error.retry_after().is_some(), status == 429, "{error}");
            assert!(error.message().starts_with("vault at https://vault:8200 did not "), "{error}");
        }
    }

    /// As above.
    #[test]
    fn a_refused_login_says_what_to_check() {
        for (status, body, kind, said) in [
            (400, r#"{"errors":["invalid role or secret ID"]}"#, Kind::Credentials, "kms.vault.secret-id-file"),
            (403, r#"{"errors":["permission denied"]}"#, Kind::Credentials, "kms.vault.secret-id-file"),
            (400, r#"{"errors":["invalid role name \"x\""]}"#, Kind::Config, "kms.vault.role"),
            (
                404,
                r#"{"errors":["no handler for route \"auth/nope/login\". route entry not found."]}"#,
                Kind::Config,
                "kms.vault.auth-mount",
            ),
            (
                404,
                r#"{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}"#,
                Kind::Config,
                "kms.vault.auth-mount",
            ),
            (500, r#"{"errors":["could not load backend configuration"]}"#, Kind::KmsUnavailable, "could not load"),
            (503, r#"{"errors":["Vault is sealed"]}"#, Kind::KmsUnavailable, "unseal"),
        ] {
            let error = explain_login(
                &answer(status, body),
                "https://vault:8200",
                "auth/approle/login",
                "kms.vault.secret-id-file",
            );
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(said), "{error}");
        }
    }

    /// As above: the first was said to an expired token, the second to a valid one without the policy; the third is
    /// Vault's.
    #[test]
    fn a_dead_token_is_told_from_a_missing_permission() {
        let dead = |body| refuses_the_token(&answer(403, body));
        assert!(dead(r#"{"errors":["permission denied"]}"#));
        assert!(!dead(r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#));
        assert!(dead(r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#));
        assert!(!refuses_the_token(&answer(503, r#"{"errors":["Vault is sealed"]}"#)));
    }

    #[test]
    fn a_missing_permission_is_named_as_a_policy_writes_it() {
        let body = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
        let error = explain(&answer(403, body), Action::Rotate, &target());
        assert!(
            error.message().contains(r#"path "transit/keys/state/rotate" { capabilities = ["update"] }"#),
            "{error}"
        );
    }
}

//! What a refusal of Cloud KMS means: from google.rpc.Status (https://google.aip.dev/193) to our kinds.

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::kms::http::Answer;

/// What was asked for; decides what a refusal means, and which permission it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `cryptoKeys.encrypt`
    Encrypt,
    /// `cryptoKeys.decrypt`
    Decrypt,
    /// `cryptoKeys.get`
    GetKey,
    /// `cryptoKeyVersions.list`
    ListVersions,
    /// `cryptoKeyVersions.create`
    CreateVersion,
    /// `cryptoKeys.updatePrimaryVersion`
    SetPrimary,
    /// `cryptoKeyVersions.patch`
    SetState,
    /// `cryptoKeyVersions.destroy`
    Destroy,
    /// `cryptoKeys.testIamPermissions`
    TestPermissions,
}

impl Operation {
    /// The IAM permission that it takes; https://cloud.google.com/kms/docs/reference/permissions-and-roles.
    pub const fn permission(self) -> &'static str {
        match self {
            Operation::Encrypt => "cloudkms.cryptoKeyVersions.useToEncrypt",
            Operation::Decrypt => "cloudkms.cryptoKeyVersions.useToDecrypt",
            Operation::GetKey => "cloudkms.cryptoKeys.get",
            Operation::ListVersions => "cloudkms.cryptoKeyVersions.list",
            Operation::CreateVersion => "cloudkms.cryptoKeyVersions.create",
            Operation::SetPrimary => "cloudkms.cryptoKeys.update",
            Operation::SetState => "cloudkms.cryptoKeyVersions.update",
            Operation::Destroy => "cloudkms.cryptoKeyVersions.destroy",
            Operation::TestPermissions => "none",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Operation::Encrypt => "wrap with",
            Operation::Decrypt => "unwrap with",
            Operation::GetKey => "read",
            Operation::ListVersions => "list the versions of",
            Operation::CreateVersion => "make a new version of",
            Operation::SetPrimary => "change the primary version of",
            Operation::SetState => "enable or disable a version of",
            Operation::Destroy => "schedule the destruction of a version of",
            Operation::TestPermissions => "ask for the permissions on",
        }
    }
}

/// The error that an answer other than 200 stands for. `place` is the endpoint, `key` the key's name.
pub fn refusal(operation: Operation, place: &str, key: &str, answer: &Answer) -> Error {
    let status = Status::read(answer);
    let (kind, advice) = status.meaning(operation);
    let pause = if kind == Kind::KmsThrottled { status.retry_delay().or(answer.retry_after) } else { None };
    kind.error(format_args!(
        "Google Cloud KMS at {place} cannot {} {key}: {}{advice}",
        operation.words(),
        status.words(operation)
    ))
    .after(pause)
}

/// google.rpc.Status, as far as it was there.
struct Status {
    http: u16,
    code: String,
    message: String,
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// The fields of ErrorInfo, PreconditionFailure and RetryInfo that matter here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    reason: String,
    violations: Vec<Violation>,
    retry_delay: String,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(rename = "type", default)]
    kind: String,
}

/// More of a message is of no use.
const LONGEST: usize = 600;

impl Status {
    fn read(answer: &Answer) -> Status {
        match serde_json::from_slice::<Envelope>(&answer.body) {
            Ok(Envelope { error: Body { status, message, details } }) => {
                Status { http: answer.status, code: status, message, details }
            }
            // A front end or a proxy answered, not the service.
            Err(_) => Status { http: answer.status, code: String::new(), message: String::new(), details: Vec::new() },
        }
    }

    fn meaning(&self, operation: Operation) -> (Kind, String) {
        match self.code.as_str() {
            "UNAUTHENTICATED" => (Kind::Credentials, self.credentials_advice()),
            "PERMISSION_DENIED" => self.permission(operation),
            "NOT_FOUND" if self.message.starts_with("CryptoKeyVersion ") => {
                (Kind::KeyVersionNotFound, String::new())
            }
            "NOT_FOUND" => (
                Kind::KeyNotFound,
                "; check kms.gcp.project, location, key-ring and key-name: a key is found only in its own location"
                    .to_owned(),
            ),
            "FAILED_PRECONDITION" => self.precondition(),
            "INVALID_ARGUMENT" if self.message.contains("checksum") => {
                (Kind::KmsUnavailable, "; the request was damaged on the way".to_owned())
            }
            "INVALID_ARGUMENT" if operation == Operation::Decrypt => (
                Kind::WrappedKey,
                "; the wrapped data key is damaged, or was wrapped by another key or for another tenant or encryption context"
                    .to_owned(),
            ),
            "INVALID_ARGUMENT" => (Kind::Config, String::new()),
            "RESOURCE_EXHAUSTED" => (
                Kind::KmsThrottled,
                "; lower kms.calls-per-second, or ask Google for a higher quota of Cloud KMS".to_owned(),
            ),
            "UNIMPLEMENTED" => (Kind::Unsupported, String::new()),
            "DEADLINE_EXCEEDED" => (Kind::KmsTimeout, String::new()),
            "UNAVAILABLE" | "INTERNAL" | "ABORTED" | "CANCELLED" | "UNKNOWN" => (Kind::KmsUnavailable, String::new()),
            _ => self.by_http_status(),
        }
    }

    fn by_http_status(&self) -> (Kind, String) {
        let elsewhere = || "; check kms.gcp.endpoint and kms.proxy".to_owned();
        match self.http {
            401 => (Kind::Credentials, self.credentials_advice()),
            403 => (Kind::AccessDenied, elsewhere()),
            407 => (Kind::Config, "; the proxy wants other credentials: check kms.proxy".to_owned()),
            408 | 504 => (Kind::KmsTimeout, String::new()),
            429 => (Kind::KmsThrottled, String::new()),
            300..=399 | 404 | 405 => (Kind::Config, elsewhere()),
            500..=599 => (Kind::KmsUnavailable, String::new()),
            _ => (Kind::Internal, elsewhere()),
        }
    }

    fn credentials_advice(&self) -> String {
        "; check the credentials (kms.gcp.credentials-file, or the application default ones) and this machine's clock"
            .to_owned()
    }

    fn permission(&self, operation: Operation) -> (Kind, String) {
        if self.has_reason("SERVICE_DISABLED") || self.has_reason("BILLING_DISABLED") {
            return (Kind::Config, "; enable the Cloud KMS API, and billing, in that project".to_owned());
        }
        if self.has_reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT") {
            return (
                Kind::AccessDenied,
                "; the credentials need the scope https://www.googleapis.com/auth/cloudkms or cloud-platform"
                    .to_owned(),
            );
        }
        (Kind::AccessDenied, format!("; grant {} on the key, and check its name", operation.permission()))
    }

    /// A version in the wrong state, a key of the wrong purpose, an API that is off.
    fn precondition(&self) -> (Kind, String) {
        let state = self.violation().and_then(|kind| kind.strip_prefix("KEY_")).or_else(|| {
            let (_, state) = self.message.split_once("current state is: ")?;
            Some(state.trim_end_matches('.'))
        });
        match state {
            Some("DISABLED") => (Kind::KeyDisabled, "; enable that version".to_owned()),
            Some("DESTROY_SCHEDULED") => {
                (Kind::KeyPendingDeletion, "; restore that version before it is destroyed, then enable it".to_owned())
            }
            Some("DESTROYED") => {
                (Kind::KeyVersionNotFound, "; what it wrapped can be opened by no one any more".to_owned())
            }
            Some(_) => (Kind::KeyDisabled, String::new()),
            None if self.message.contains("purpose") => {
                (Kind::Config, "; choose a key with the purpose ENCRYPT_DECRYPT".to_owned())
            }
            None if self.message.contains("API has not been used") => {
                (Kind::Config, "; enable the Cloud KMS API in that project".to_owned())
            }
            None => (Kind::Config, String::new()),
        }
    }

    fn violation(&self) -> Option<&str> {
        let kinds = self.details.iter().flat_map(|detail| &detail.violations);
        kinds.map(|violation| violation.kind.as_str()).find(|kind| !kind.is_empty())
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.details.iter().any(|detail| detail.reason == reason)
    }

    /// RetryInfo's duration: `7s`, `0.5s`.
    fn retry_delay(&self) -> Option<Duration> {
        let seconds = self.details.iter().find_map(|detail| detail.retry_delay.strip_suffix('s'))?;
        Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
    }

    /// The service's own code and words, on one line.
    fn words(&self, operation: Operation) -> String {
        let code = if self.code.is_empty() { "no status" } else { &self.code };
        // What the service could not decode it repeats: when wrapping, that would be the data key.
        let tells_too_much = operation == Operation::Encrypt && self.message.contains("decoding failed");
        if self.message.is_empty() || tells_too_much {
            return format!("it answered {} ({code})", self.http);
        }
        let words: Vec<&str> = self.message.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let message: String = words.join(" ").chars().take(LONGEST).collect();
        format!("{code} ({}): {}", self.http, message.trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    const KEY: &str = "projects/acme/locations/europe-west3/keyRings/flink/cryptoKeys/state";

    fn answer(status: u16, body: &str) -> Answer {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        Answer { status, retry_after: None, headers: HeaderMap::new(), body }
    }

    fn status(code: u16, status: &str, message: &str, details: &str) -> Answer {
        let message = serde_json::Value::from(message);
        answer(
            code,
            &format!(
                r#"{{"error": {{"code": {code}, "message": {message}, "status": "{status}", "details": [{details}]}}}}"#
            ),
        )
    }

    fn refused(operation: Operation, answer: &Answer) -> Error {
        refusal(operation, "https://cloudkms.googleapis.com", KEY, answer)
    }

    fn violation(kind: &str) -> String {
        format!(
            r#"{{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [{{"type": "{kind}", "subject": "{KEY}/cryptoKeyVersions/1"}}]}}"#
        )
    }

    fn reason(reason: &str) -> String {
        format!(r#"{{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "{reason}"}}"#)
    }

    /// The words and details are those of the real service, as users reported them; the source stands with each.
    #[test]
    fn what_the_service_was_seen_to_answer_has_its_kind() {
        use Operation::{CreateVersion, Decrypt, Encrypt, GetKey, SetPrimary};
        let not_enabled = |state: &str| format!("{KEY}/cryptoKeyVersions/1 is not enabled, current state is: {state}.");
        let denied = |what: &str| format!("Permission '{what}' denied on resource '{KEY}' (or it may not exist).");
        let unauthenticated = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
        let quota = "Quota exceeded for quota metric 'Cryptographic requests' and limit 'Cryptographic requests per minute' of service 'cloudkms.googleapis.com' for consumer 'project_number:1'.";
        let unused = "Cloud Key Management Service (KMS) API has not been used in project 773781448124 before or it is disabled.";
        let cases = [
            // github.com/googleapis/nodejs-kms/issues/145; the same at nodejs-kms/issues/39 and elsewhere
            (
                Decrypt,
                status(
                    400,
                    "INVALID_ARGUMENT",
                    "Decryption failed: verify that 'name' refers to the correct CryptoKey.",
                    "",
                ),
                Kind::WrappedKey,
                "another key",
            ),
            // github.com/GoogleCloudPlatform/python-docs-samples/issues/2465
            (
                Decrypt,
                status(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.", ""),
                Kind::WrappedKey,
                "damaged",
            ),
            // gcloud's own report of a disabled version, in a public wiki: FAILED_PRECONDITION with KEY_DISABLED
            (
                Encrypt,
                status(400, "FAILED_PRECONDITION", &not_enabled("DISABLED"), &violation("KEY_DISABLED")),
                Kind::KeyDisabled,
                "enable that version",
            ),
            // reported by users of SOPS: "googleapi: Error 400: .. DESTROY_SCHEDULED .. failedPrecondition"
            (
                Decrypt,
                status(
                    400,
                    "FAILED_PRECONDITION",
                    &not_enabled("DESTROY_SCHEDULED"),
                    &violation("KEY_DESTROY_SCHEDULED"),
                ),
                Kind::KeyPendingDeletion,
                "restore that version",
            ),
            // github.com/sethvargo/vault-on-gke/issues/56, where the details are not shown
            (
                Decrypt,
                status(400, "FAILED_PRECONDITION", &not_enabled("DESTROYED"), ""),
                Kind::KeyVersionNotFound,
                "DESTROYED",
            ),
            // github.com/hashicorp/terraform-provider-google/issues/15415
            (
                Encrypt,
                status(403, "PERMISSION_DENIED", &denied("cloudkms.cryptoKeyVersions.useToEncrypt"), ""),
                Kind::AccessDenied,
                "grant cloudkms.cryptoKeyVersions.useToEncrypt",
            ),
            // github.com/terraform-google-modules/terraform-google-vault/pull/197
            (
                GetKey,
                status(403, "PERMISSION_DENIED", &denied("cloudkms.cryptoKeys.get"), &reason("IAM_PERMISSION_DENIED")),
                Kind::AccessDenied,
                "grant cloudkms.cryptoKeys.get",
            ),
            // github.com/kubernetes/k8s.io/pull/6403
            (
                Encrypt,
                status(403, "PERMISSION_DENIED", unused, &reason("SERVICE_DISABLED")),
                Kind::Config,
                "enable the Cloud KMS API",
            ),
            // github.com/googleapis/nodejs-kms/issues/179: the same, in 2019
            (
                Encrypt,
                status(
                    400,
                    "FAILED_PRECONDITION",
                    "Google Cloud KMS API has not been used in this project before, or it is disabled.",
                    "",
                ),
                Kind::Config,
                "enable the Cloud KMS API",
            ),
            // github.com/georgewhewell/ethers-gcp-kms-signer/issues/13
            (
                GetKey,
                status(
                    404,
                    "NOT_FOUND",
                    "The request concerns location 'europe-west4' but was sent to location 'global'. Either Cloud KMS is not available in 'europe-west4' or the request was misrouted.",
                    "",
                ),
                Kind::KeyNotFound,
                "kms.gcp.project, location",
            ),
            // github.com/vectordotdev/vector/issues/10828
            (
                Encrypt,
                status(401, "UNAUTHENTICATED", unauthenticated, &reason("ACCESS_TOKEN_EXPIRED")),
                Kind::Credentials,
                "clock",
            ),
            // github.com/GoogleCloudPlatform/python-docs-samples/issues/3482, for the crypto quota
            (
                Encrypt,
                status(429, "RESOURCE_EXHAUSTED", quota, &reason("RATE_LIMIT_EXCEEDED")),
                Kind::KmsThrottled,
                "kms.calls-per-second",
            ),
            // github.com/tink-crypto/tink-go-gcpkms/issues/8: a path that the front end does not know
            (
                Decrypt,
                answer(404, "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>"),
                Kind::Config,
                "kms.gcp.endpoint",
            ),
            // Not reported word by word; the status is the one that Google's contract tests of its own fake expect
            // (github.com/GoogleCloudPlatform/kms-integrations, fakekms/contract), the words are those of our server.
            (
                Encrypt,
                status(
                    400,
                    "FAILED_PRECONDITION",
                    "state has purpose ASYMMETRIC_SIGN; this operation requires ENCRYPT_DECRYPT.",
                    "",
                ),
                Kind::Config,
                "purpose ENCRYPT_DECRYPT",
            ),
            (
                GetKey,
                status(404, "NOT_FOUND", &format!("CryptoKey {KEY} not found."), ""),
                Kind::KeyNotFound,
                "key-name",
            ),
            (
                SetPrimary,
                status(404, "NOT_FOUND", &format!("CryptoKeyVersion {KEY}/cryptoKeyVersions/9 not found."), ""),
                Kind::KeyVersionNotFound,
                "Versions/9",
            ),
            (
                Encrypt,
                status(
                    400,
                    "INVALID_ARGUMENT",
                    "The checksum in field plaintext_crc32c did not match the data in field plaintext.",
                    "",
                ),
                Kind::KmsUnavailable,
                "on the way",
            ),
            (
                Decrypt,
                status(
                    400,
                    "INVALID_ARGUMENT",
                    "The checksum in field ciphertext_crc32c did not match the data in field ciphertext.",
                    "",
                ),
                Kind::KmsUnavailable,
                "on the way",
            ),
            (
                CreateVersion,
                status(503, "UNAVAILABLE", "The service is currently unavailable.", ""),
                Kind::KmsUnavailable,
                "UNAVAILABLE (503)",
            ),
            (
                Encrypt,
                status(500, "INTERNAL", "Internal error encountered.", ""),
                Kind::KmsUnavailable,
                "INTERNAL (500)",
            ),
            (Encrypt, status(504, "DEADLINE_EXCEEDED", "Deadline exceeded.", ""), Kind::KmsTimeout, "DEADLINE"),
            (Encrypt, answer(502, "<html>bad gateway</html>"), Kind::KmsUnavailable, "502"),
            (Encrypt, answer(307, ""), Kind::Config, "kms.gcp.endpoint"),
            (Encrypt, answer(407, ""), Kind::Config, "kms.proxy"),
            (Encrypt, answer(418, "{}"), Kind::Internal, "418"),
        ];
        for (operation, answer, kind, said) in cases {
            let error = refused(operation, &answer);
            assert_eq!(error.kind(), kind, "{error}");
            let names = error.message().contains(said) && error.message().contains(KEY);
            assert!(names && error.message().contains("https://cloudkms.googleapis.com"), "{error}");
            assert_eq!(error.retry_after(), None);
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_passed_on_however_it_is_said() {
        let info = r#"{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s"}"#;
        let said_inside = status(429, "RESOURCE_EXHAUSTED", "Quota exceeded", info);
        let mut said_outside = status(429, "RESOURCE_EXHAUSTED", "Quota exceeded", "");
        said_outside.retry_after = Some(Duration::from_secs(7));
        for (answer, pause) in [(said_inside, 1_500), (said_outside, 7_000)] {
            let error = refused(Operation::Decrypt, &answer);
            assert_eq!((error.kind(), error.retry_after()), (Kind::KmsThrottled, Some(Duration::from_millis(pause))));
        }
    }

    #[test]
    fn what_could_not_be_decoded_is_not_repeated() {
        let echo = r#"Invalid value at 'plaintext' (TYPE_BYTES), Base64 decoding failed for "c2VjcmV0""#;
        let error = refused(Operation::Encrypt, &status(400, "INVALID_ARGUMENT", echo, ""));
        assert!(!error.message().contains("c2VjcmV0"), "{error}");
        let long = refused(Operation::GetKey, &status(503, "UNAVAILABLE", &"x\n".repeat(9_000), ""));
        assert!(long.message().len() < 2 * LONGEST && !long.message().contains('\n'));
    }
}

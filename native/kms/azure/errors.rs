//! What the service's refusals mean.

use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::kms::azure::algorithm::Operation;
use crate::kms::http::Answer;

/// What was asked for when the service refused.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub operation: Operation,
    /// The key as files name it: `https://<vault>/keys/<name>`.
    pub kek: &'a str,
    pub version: Option<&'a str>,
    /// Managed HSMs name their permissions differently.
    pub is_hsm: bool,
}

/// The error that this answer is. The service's own code and words are in it.
pub fn refusal(answer: &Answer, call: Call<'_>) -> Error {
    let refusal = Refusal::parse(&answer.body);
    let kind = kind(answer.status, &refusal, call.operation);
    let next = next_step(kind, &refusal, call);
    let version = call.version.map(|version| format!(" version {version}")).unwrap_or_default();
    kind.error(format_args!(
        "Azure refuses {} of key {}{version}: HTTP {}{refusal}{next}",
        call.operation.name(),
        call.kek,
        answer.status
    ))
    .after(answer.retry_after)
}

/// `{"error": {"code", "message", "innererror": {"code"}}}`, or nothing where something else answered.
#[derive(Default)]
struct Refusal {
    code: String,
    inner: String,
    message: String,
}

impl Refusal {
    fn parse(body: &[u8]) -> Refusal {
        #[derive(Deserialize)]
        struct Form {
            error: Outer,
        }
        #[derive(Deserialize)]
        struct Outer {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
            #[serde(alias = "innerError")]
            innererror: Option<Inner>,
        }
        #[derive(Deserialize)]
        struct Inner {
            #[serde(default)]
            code: String,
        }
        serde_json::from_slice(body).map_or_else(
            |_| Refusal::default(),
            |Form { error }| Refusal {
                code: error.code,
                inner: error.innererror.map(|inner| inner.code).unwrap_or_default(),
                message: error.message,
            },
        )
    }

    fn is(&self, code: &str) -> bool {
        self.inner == code || self.code == code
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.code.is_empty() {
            return Ok(());
        }
        let words: Vec<&str> = self.message.split_whitespace().collect();
        let message: String = words.join(" ").chars().filter(|c| !c.is_control()).take(600).collect();
        let inner = if self.inner.is_empty() { String::new() } else { format!("/{}", self.inner.escape_debug()) };
        write!(f, " {}{inner}: {}", self.code.escape_debug(), message.trim_end_matches('.'))
    }
}

fn kind(status: u16, refusal: &Refusal, operation: Operation) -> Kind {
    let opens = matches!(operation, Operation::UnwrapKey | Operation::Decrypt);
    match status {
        400 if opens => Kind::WrappedKey,
        401 => Kind::Credentials,
        403 if refusal.is("KeyDisabled") || refusal.message.contains("disabled key") => Kind::KeyDisabled,
        403 if outside_its_dates(refusal) => Kind::KeyDisabled,
        403 if refusal.is("KeyOperationForbidden") => Kind::Config,
        403 => Kind::AccessDenied,
        404 => Kind::KeyNotFound,
        408 => Kind::KmsTimeout,
        409 if refusal.is("ObjectIsBeingDeleted") || refusal.is("ObjectIsDeletedButRecoverable") => {
            Kind::KeyPendingDeletion
        }
        409 => Kind::KmsUnavailable, // another change of the same key is under way
        429 => Kind::KmsThrottled,
        500.. => Kind::KmsUnavailable,
        _ => Kind::Config,
    }
}

/// A version with `nbf` and `exp` wraps only between them.
fn outside_its_dates(refusal: &Refusal) -> bool {
    ["KeyNotYetValid", "KeyExpired"].iter().any(|code| refusal.inner.starts_with(code))
        || refusal.message.contains("expired") && refusal.message.contains("key")
}

fn next_step(kind: Kind, refusal: &Refusal, call: Call<'_>) -> String {
    match kind {
        Kind::WrappedKey => {
            "; the wrapped data key is damaged, or was wrapped by another key or version, or for another tenant or encryption context".to_owned()
        }
        Kind::Credentials => "; check kms.azure.credential and the clock of this machine".to_owned(),
        Kind::KeyDisabled => "; enable this version of the key, or rotate the key".to_owned(),
        Kind::AccessDenied if refusal.is("ForbiddenByFirewall") || refusal.is("ForbiddenByConnection") => {
            "; let this machine's network through the firewall of the vault, or use its private endpoint".to_owned()
        }
        Kind::AccessDenied => format!("; grant {}", call.operation.permission(call.is_hsm)),
        Kind::Config if refusal.is("KeyOperationForbidden") => format!(
            "; use a key whose permitted operations (key_ops) include {}, or add it to this one's",
            call.operation.name()
        ),
        Kind::Config => "; check kms.azure.vault-url, kms.azure.algorithm, and the type and size of the key".to_owned(),
        Kind::KeyNotFound => "; check kms.azure.vault-url and kms.azure.key-name".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    const KEK: &str = "https://flink.vault.azure.net/keys/state";

    fn refused(status: u16, body: &str, operation: Operation) -> Error {
        let body = Zeroizing::new(body.as_bytes().to_vec());
        let answer = Answer { status, retry_after: None, headers: HeaderMap::new(), body };
        refusal(&answer, Call { operation, kek: KEK, version: Some("21c6349c"), is_hsm: false })
    }

    /// Bodies of the real service, as people have published them; where is said above each.
    #[test]
    fn each_refusal_of_the_service_has_its_kind() {
        use Operation::{Get, Rotate, UnwrapKey, WrapKey};
        for (operation, status, body, expected, said) in [
            // Azure/azure-sdk-for-net, recording EncryptWithKeyNameReturnsFullKeyId
            (
                Get,
                401,
                r#"{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}"#,
                Kind::Credentials,
                "AKV10000",
            ),
            // crossplane-contrib/provider-azure#346
            (
                Get,
                401,
                r#"{"error":{"code":"Unauthorized","message":"AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/."}}"#,
                Kind::Credentials,
                "AKV10022",
            ),
            // the recording AesGcmEncryptDecrypt there: a Managed HSM gives no body
            (Get, 401, "", Kind::Credentials, "HTTP 401"),
            // piyushsachdeva/Terraform_AKS#2, of a secret; ids shortened
            (
                UnwrapKey,
                403,
                "{\"error\":{\"code\":\"Forbidden\",\"message\":\"Caller is not authorized to perform action on resource.\\r\\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\\r\\nCaller: appid=0;oid=5;iss=https://sts.windows.net/ee4/\\r\\nAction: 'Microsoft.KeyVault/vaults/keys/unwrap/action'\\r\\nAssignment: (not found)\\r\\nDenyAssignmentId: null\\r\\nDecisionReason: 'DeniedWithNoValidRBAC' \\r\\nVault: test;location=canadacentral\\r\\n\",\"innererror\":{\"code\":\"ForbiddenByRbac\"}}}",
                Kind::AccessDenied,
                "grant Microsoft.KeyVault/vaults/keys/unwrap/action (in an access policy: unwrapKey)",
            ),
            // the same of access policies, as the client of another language prints it (code and text)
            (
                Get,
                403,
                r#"{"error":{"code":"Forbidden","message":"The user, group or application 'appid=9402fc42;oid=87888664;iss=https://sts.windows.net/87349d34/' does not have keys get permission on key vault 'keyvaultdpol;location=northeurope'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287","innererror":{"code":"AccessDenied"}}}"#,
                Kind::AccessDenied,
                "does not have keys get permission",
            ),
            // Microsoft's page on REST error codes
            (
                UnwrapKey,
                403,
                r#"{"error":{"code":"Forbidden","message":"Client address is not authorized and caller is not a trusted service.","innererror":{"code":"ForbiddenByFirewall"}}}"#,
                Kind::AccessDenied,
                "firewall of the vault",
            ),
            // Azure/azure-sdk-for-python#45342
            (
                UnwrapKey,
                403,
                r#"{"error":{"code":"Forbidden","message":"Operation unwrapKey is not allowed on a disabled key.","innererror":{"code":"KeyDisabled"}}}"#,
                Kind::KeyDisabled,
                "version 21c6349c",
            ),
            // Azure/azure-sdk-for-net#11518
            (
                UnwrapKey,
                403,
                r#"{"error":{"code":"Forbidden","message":"Operation decrypt is not permitted on this key.","innererror":{"code":"KeyOperationForbidden"}}}"#,
                Kind::Config,
                "key_ops",
            ),
            // Azure/azure-sdk-for-js, a recording of failstogenerateabackupofanon-existingkey
            (
                Get,
                404,
                r#"{"error":{"code":"KeyNotFound","message":"A key with (name/id) state was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"}}"#,
                Kind::KeyNotFound,
                "kms.azure.key-name",
            ),
            // external-secrets/external-secrets#3519, hashicorp/terraform-provider-azurerm#12285 (of secrets)
            (
                Rotate,
                409,
                r#"{"error":{"code":"Conflict","message":"Key state is currently in a deleted but recoverable state.","innererror":{"code":"ObjectIsDeletedButRecoverable"}}}"#,
                Kind::KeyPendingDeletion,
                "recoverable",
            ),
            (
                Rotate,
                409,
                r#"{"error":{"code":"Conflict","message":"Key state is currently being recovered and cannot be re-created; retry later.","innererror":{"code":"ObjectIsBeingRecovered"}}}"#,
                Kind::KmsUnavailable,
                "retry later",
            ),
            // vcsjones/AzureSignTool#219
            (
                UnwrapKey,
                429,
                r#"{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}"#,
                Kind::KmsThrottled,
                "VaultRequestTypeLimitReached",
            ),
            // bruj0/vault-recovery-key#20, and the words of Azure/azure-sdk-for-js#30125
            (
                UnwrapKey,
                400,
                r#"{"error":{"code":"BadParameter","message":"Content of 'value' is not base64url.\r\nProperty 'value' is required.\r\n"}}"#,
                Kind::WrappedKey,
                "another tenant or encryption context",
            ),
            (
                UnwrapKey,
                400,
                r#"{"error":{"code":"BadParameter","message":"Unable to decrypt specified value with this key."}}"#,
                Kind::WrappedKey,
                "damaged",
            ),
            (
                WrapKey,
                400,
                r#"{"error":{"code":"BadParameter","message":"Key and signing algorithm are incompatible."}}"#,
                Kind::Config,
                "kms.azure.algorithm",
            ),
            // gateways in front of the service
            (WrapKey, 503, "<html>Service Unavailable</html>", Kind::KmsUnavailable, "HTTP 503"),
            (WrapKey, 500, "", Kind::KmsUnavailable, "HTTP 500"),
            (WrapKey, 408, "", Kind::KmsTimeout, "HTTP 408"),
            (Get, 301, "", Kind::Config, "kms.azure.vault-url"),
        ] {
            let error = refused(status, body, operation);
            assert_eq!(error.kind(), expected, "{error}");
            assert!(error.message().contains(said) && error.message().contains(KEK), "{error}");
            assert!(!error.message().contains('\r'), "{error}");
        }
    }

    #[test]
    fn the_pause_that_the_service_asks_for_is_kept() {
        let answer = Answer {
            status: 429,
            retry_after: Some(Duration::from_secs(7)),
            headers: HeaderMap::new(),
            body: Zeroizing::new(Vec::new()),
        };
        let call = Call { operation: Operation::WrapKey, kek: KEK, version: None, is_hsm: false };
        assert_eq!(refusal(&answer, call).retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_managed_hsm_has_permissions_of_its_own() {
        let answer =
            Answer { status: 403, retry_after: None, headers: HeaderMap::new(), body: Zeroizing::new(Vec::new()) };
        let call = Call { operation: Operation::Decrypt, kek: KEK, version: None, is_hsm: true };
        let error = refusal(&answer, call);
        assert!(error.message().ends_with("grant Microsoft.KeyVault/managedHsm/keys/decrypt/action"), "{error}");
    }
}

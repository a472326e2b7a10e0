//! The challenge of a vault: what a token for it must be made out to.
//!
//! Nobody need configure it: a request without a token is answered by it. It comes from the vault's own address, over
//! TLS, and yet is believed only if it names the vault's own domain, so that no other service's token is ever sent.

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::error::{Error, Kind, Result};

/// The resource (audience) of tokens for this vault, such as `https://vault.azure.net`.
pub fn resource(headers: &HeaderMap, vault: &Url) -> Result<String> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let named = challenges.filter_map(named_resource).next().ok_or_else(|| not_a_vault(vault))?;
    let host =
        Url::parse(&named).ok().filter(|url| url.scheme() == "https").and_then(|url| url.host_str().map(str::to_owned));
    let own = vault.host_str().unwrap_or_default();
    match host {
        Some(host) if is_in(own, &host) => Ok(named),
        Some(_) | None => Err(Kind::Config.error(format_args!(
            "{own} asks for a token that is made out to '{}', which is not its own domain: such a token is not sent; check kms.azure.vault-url",
            named.escape_debug()
        ))),
    }
}

/// Without the slash and the `.default` that some write behind it.
fn named_resource(challenge: &str) -> Option<String> {
    let (scheme, parameters) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        parameters.split(',').find_map(|parameter| {
            let (found, value) = parameter.trim().split_once('=')?;
            (found == name).then(|| value.trim_matches('"'))
        })
    };
    let resource = value("resource").or_else(|| value("scope"))?;
    Some(resource.trim_end_matches("/.default").trim_end_matches('/').to_owned())
}

fn is_in(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn not_a_vault(vault: &Url) -> Error {
    Kind::Config.error(format_args!("{vault} does not ask for a token as a key vault does: check kms.azure.vault-url"))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn found(vault: &str, challenge: &str) -> Result<String> {
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_str(challenge).unwrap())]);
        resource(&headers, &Url::parse(vault).unwrap())
    }

    /// The first two are recorded answers of the service (Azure/azure-sdk-for-net, EncryptWithKeyNameReturnsFullKeyId
    /// and AesGcmEncryptDecrypt).
    #[test]
    fn the_resource_is_what_the_vault_names() {
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        for (vault, challenge, expected) in [
            (
                "https://heathskeyvault.vault.azure.net/",
                format!(
                    "Bearer authorization=\"https://login.windows.net/{tenant}\", resource=\"https://vault.azure.net\""
                ),
                "https://vault.azure.net",
            ),
            (
                "https://heathskvtesthsm.managedhsm.azure.net/",
                format!(
                    "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", resource=\"https://managedhsm.azure.net\""
                ),
                "https://managedhsm.azure.net",
            ),
            (
                "https://a.vault.azure.cn",
                "bearer scope=\"https://vault.azure.cn/.default\"".to_owned(),
                "https://vault.azure.cn",
            ),
            ("https://localhost:8443", "Bearer resource=https://localhost/".to_owned(), "https://localhost"),
        ] {
            assert_eq!(found(vault, &challenge).unwrap(), expected, "{vault}");
        }
    }

    #[test]
    fn a_token_for_another_domain_is_never_asked_for() {
        for challenge in [
            "Bearer resource=\"https://management.azure.com\"",
            "Bearer resource=\"https://evilvault.azure.net.example.com\"",
            "Bearer resource=\"https://ault.azure.net\"",
            "Bearer resource=\"http://vault.azure.net\"",
            "Bearer resource=\"vault.azure.net\"",
            "Bearer resource=\"\"",
        ] {
            let error = found("https://flink.vault.azure.net", challenge).unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{challenge}");
            assert!(error.message().contains("kms.azure.vault-url"), "{error}");
        }
        for challenge in ["Basic realm=\"x\"", "Bearer", "Bearer error=\"invalid_token\""] {
            assert!(
                found("https://flink.vault.azure.net", challenge)
                    .unwrap_err()
                    .message()
                    .contains("as a key vault does")
            );
        }
    }
}

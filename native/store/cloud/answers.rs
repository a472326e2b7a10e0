//! What the answers of S3, Azure Storage and Google Cloud Storage mean, by status and by the code in them.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::error::{Error, Kind};

/// What to do about an answer.
#[derive(Debug)]
pub enum Meaning {
    /// It is one that `object_store` reads.
    Answer,
    /// The range begins after the end of the object.
    PastEnd,
    /// The same request may be answered otherwise later.
    Again(Error),
    /// It will not.
    Refused(Error),
}

/// Codes that say that the credentials are no good, rather than that they do not suffice.
const CREDENTIALS: &[&str] = &[
    "AuthenticationFailed",
    "AuthenticationRequired",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidSecurity",
    "InvalidToken",
    "NoAuthenticationInformation",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];
const NO_BUCKET: &[&str] = &["ContainerBeingDeleted", "ContainerNotFound", "NoSuchBucket", "ResourceNotFound"];
const FULL: &[&str] = &["QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "AccountQuotaExceeded"];

/// What this answer means to a request, which was `conditional` if it was to be carried out only for a certain version.
pub fn meaning(status: StatusCode, headers: &HeaderMap, body: &[u8], conditional: bool) -> Meaning {
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Meaning::Answer;
    }
    let code = code(headers, body).unwrap_or_default();
    let said = said(headers, body);
    let is = |known: &[&str]| known.contains(&code.as_str());
    if is(FULL) || status == StatusCode::INSUFFICIENT_STORAGE {
        return Meaning::Refused(
            Kind::StoreFull.error(format_args!("the store is full{said}: make room, or raise the quota")),
        );
    }
    if is(CREDENTIALS) || status == StatusCode::UNAUTHORIZED || said.contains("failed to authenticate") {
        let clock = if code == "RequestTimeTooSkewed" { "set this machine's clock" } else { "give valid ones" };
        return Meaning::Refused(
            Kind::Credentials.error(format_args!("the credentials are not accepted{said}: {clock}")),
        );
    }
    if is(NO_BUCKET) {
        return Meaning::Refused(
            Kind::NotFound
                .error(format_args!("there is no such bucket or container{said}: check its name and the account")),
        );
    }
    let region = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok()).map(shown);
    let region = region.or_else(|| element(body, "Region"));
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => Meaning::PastEnd,
        StatusCode::CONFLICT if conditional && code == "ConditionalRequestConflict" => {
            Meaning::Again(Kind::StoreThrottled.error(format_args!("another write was going on{said}")))
        }
        StatusCode::CONFLICT if code.contains("Immutable") || code.contains("Lease") || code.contains("Snapshot") => {
            Meaning::Refused(Kind::StoreDenied.error(format_args!("the object may not be changed{said}")))
        }
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Meaning::Answer,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Meaning::Again(Kind::StoreThrottled.error(format_args!("asks to slow down (status {status}{said})")))
        }
        StatusCode::REQUEST_TIMEOUT => Meaning::Again(Kind::StoreUnavailable.error(format_args!("was too slow{said}"))),
        _ if status.is_server_error() => {
            Meaning::Again(Kind::StoreUnavailable.error(format_args!("failed on its side (status {status}{said})")))
        }
        StatusCode::FORBIDDEN => Meaning::Refused(Kind::StoreDenied.error(format_args!("the store refuses{said}"))),
        _ if region.is_some() || status.is_redirection() || code == "AuthorizationHeaderMalformed" => {
            let region = region.map(|region| format!(": set AWS_REGION={region}")).unwrap_or_default();
            Meaning::Refused(
                Kind::Config.error(format_args!("the bucket is in another region or at another address{said}{region}")),
            )
        }
        _ => Meaning::Refused(Kind::StoreUnavailable.error(format_args!("the store answers status {status}{said}"))),
    }
}

/// The code and the text of an answer that is an error, to be shown; the rest of such answers repeats signatures.
pub fn said(headers: &HeaderMap, body: &[u8]) -> String {
    let text = element(body, "Message").map(|text| text.lines().next().unwrap_or_default().to_owned());
    let both: Vec<String> = code(headers, body).into_iter().chain(text).collect();
    if both.is_empty() { String::new() } else { format!(", {}", both.join(": ")) }
}

fn code(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = headers.get("x-ms-error-code").and_then(|code| code.to_str().ok());
    header.map(shown).or_else(|| element(body, "Code"))
}

/// The text of the first XML element of this name.
fn element(body: &[u8], name: &str) -> Option<String> {
    // An error is short; an object that happens to hold the name is not searched.
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    Some(shown(value))
}

fn shown(text: &str) -> String {
    text.chars().take(200).filter(|letter| !letter.is_control() || *letter == '\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, code: &str, conditional: bool) -> Meaning {
        let body = format!("<Error><Code>{code}</Code><Message>Text.\nSignature: hunter2</Message></Error>");
        meaning(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), conditional)
    }

    #[test]
    fn each_answer_has_one_meaning() {
        for (status, code, kind) in [
            (403, "AccessDenied", Kind::StoreDenied),
            (403, "AuthorizationPermissionMismatch", Kind::StoreDenied),
            (403, "SignatureDoesNotMatch", Kind::Credentials),
            (403, "AuthenticationFailed", Kind::Credentials),
            (400, "ExpiredToken", Kind::Credentials),
            (401, "", Kind::Credentials),
            (404, "NoSuchBucket", Kind::NotFound),
            (404, "ContainerNotFound", Kind::NotFound),
            (409, "BlobImmutableDueToPolicy", Kind::StoreDenied),
            (507, "XMinioStorageFull", Kind::StoreFull),
            (301, "PermanentRedirect", Kind::Config),
            (400, "AuthorizationHeaderMalformed", Kind::Config),
            (400, "InvalidArgument", Kind::StoreUnavailable),
        ] {
            let Meaning::Refused(error) = read(status, code, false) else { panic!("{status} {code}") };
            assert_eq!(error.kind(), kind, "{status} {code}: {error}");
            assert!(error.message().contains(code) && !error.message().contains("hunter2"), "{error}");
        }
        for (status, code) in [(429, ""), (503, "SlowDown"), (500, "InternalError"), (502, ""), (504, ""), (408, "")] {
            assert!(matches!(read(status, code, false), Meaning::Again(_)), "{status} {code}");
        }
        for (status, code) in
            [(200, ""), (206, ""), (304, ""), (404, "NoSuchKey"), (409, "BlobAlreadyExists"), (412, "")]
        {
            assert!(matches!(read(status, code, false), Meaning::Answer), "{status} {code}");
        }
        assert!(matches!(read(416, "InvalidRange", false), Meaning::PastEnd));
        assert!(matches!(read(409, "ConditionalRequestConflict", true), Meaning::Again(_)));
    }

    #[test]
    fn azure_names_its_code_in_a_header() {
        let headers =
            HeaderMap::from_iter([("x-ms-error-code".parse().unwrap(), "ContainerNotFound".parse().unwrap())]);
        let Meaning::Refused(error) = meaning(StatusCode::NOT_FOUND, &headers, b"", false) else { panic!() };
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn the_region_of_a_bucket_is_told() {
        let headers = HeaderMap::from_iter([("x-amz-bucket-region".parse().unwrap(), "eu-west-3".parse().unwrap())]);
        let Meaning::Refused(error) = meaning(StatusCode::MOVED_PERMANENTLY, &headers, b"", false) else { panic!() };
        assert!(error.message().contains("AWS_REGION=eu-west-3"), "{error}");
        let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
        let refused = meaning(StatusCode::BAD_REQUEST, &HeaderMap::new(), body, false);
        let Meaning::Refused(error) = refused else { panic!() };
        assert!(error.message().contains("AWS_REGION=eu-west-3"), "{error}");
    }
}

//! What a failed call means. The codes are those of the AWS KMS API Reference ("Common Errors", and the errors of each
//! operation); the SDK's own classes of errors only tell where a call failed.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ConnectorError, ProvideErrorMetadata, SdkError};

use crate::error::{Error, Kind};
use crate::kms::{CA_FILE, PROXY};
use crate::net::{at_proxy, tls};

/// What the API answers to a dry run that would have succeeded.
const DRY_RUN_WOULD_SUCCEED: &str = "DryRunOperationException";

/// The most of a service's own text that is repeated.
const MAX_MESSAGE: usize = 400;

/// A call, for the texts of its errors.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    /// The service: `AWS KMS`, `AWS STS`.
    pub service: &'c str,
    /// The region, or the address where one is configured.
    pub place: &'c str,
    /// The API's name of the operation: `Decrypt`.
    pub action: &'c str,
    /// The key or role that the call was about.
    pub on: &'c str,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} by {} in {}", self.action, self.on, self.service, self.place)
    }
}

/// What went wrong, and what to do.
pub fn explain<E>(error: &SdkError<E, HttpResponse>, call: Call<'_>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let Call { service, place, .. } = call;
    match error {
        SdkError::ServiceError(failed) => {
            let (code, message) = (failed.err().code(), failed.err().message());
            answered(failed.raw(), code, message, call)
        }
        SdkError::ResponseError(failed) => answered(failed.raw(), None, None, call),
        SdkError::TimeoutError(_) => {
            Kind::KmsTimeout.error(format_args!("{service} in {place} did not answer within kms.attempt-timeout"))
        }
        SdkError::DispatchFailure(failed) => match failed.as_connector_error() {
            Some(failed) => unreachable(failed, service, place),
            None => Kind::KmsUnavailable.error(format_args!("{service} in {place} cannot be called: {}", root(error))),
        },
        // The SDK refused to make a request of it: an address that cannot be, for instance.
        other => Kind::Config.error(format_args!("{service} in {place} cannot be called: {}", root(other))),
    }
}

/// Why a connection failed.
pub fn unreachable(error: &ConnectorError, service: &str, place: &str) -> Error {
    if let Some(fault) = tls::fault(CA_FILE, error) {
        return fault.at(format_args!("{service} in {place}"));
    }
    let cause = root(error);
    if error.is_timeout() {
        Kind::KmsTimeout.error(format_args!("{service} in {place} cannot be reached within kms.connect-timeout"))
    } else if at_proxy(error) {
        Kind::KmsUnavailable.error(format_args!("{service} in {place} cannot be reached through {PROXY}: {cause}"))
    } else if error.is_user() {
        Kind::Config.error(format_args!("{service} in {place} cannot be called: {cause}"))
    } else {
        Kind::KmsUnavailable.error(format_args!("{service} in {place} cannot be reached: {cause}"))
    }
}

/// True for a dry run that would have succeeded.
pub fn would_succeed<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some(DRY_RUN_WOULD_SUCCEED)
}

/// True if the service has no such operation: emulators lack some.
pub fn is_unknown_operation<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let unknown = ["UnknownOperationException", "NotImplementedException", "InvalidAction"];
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    status == Some(501) || code.is_some_and(|code| unknown.contains(&code))
}

/// The innermost text: the outer ones of the SDK say only that something failed.
pub fn root(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

const THROTTLED: &[&str] = &[
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
];

const UNAVAILABLE: &[&str] = &[
    "KMSInternalException",
    "KMSInternal",
    "DependencyTimeoutException",
    "DependencyTimeout",
    "KeyUnavailableException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "IDPCommunicationError",
];

/// Codes whose message may repeat the signed request, a session token included.
const SIGNATURE: &[&str] = &[
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "RequestExpired",
    "RequestTimeTooSkewed",
];

const CREDENTIALS: &[&str] = &[
    "ExpiredTokenException",
    "ExpiredToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "AuthFailure",
    "OptInRequired",
    "InvalidIdentityToken",
    "IDPRejectedClaim",
];

const DENIED: &[&str] = &["AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"];

fn answered(response: &HttpResponse, code: Option<&str>, message: Option<&str>, call: Call<'_>) -> Error {
    let status = response.status().as_u16();
    let code = code.unwrap_or_default();
    let message = message.unwrap_or_default();
    let (kind, advice) = meaning(status, code, message, call);
    let Call { service, place, action, on } = call;
    let said = match (code, SIGNATURE.contains(&code)) {
        ("", _) => format!("HTTP status {status}, with no error of the service"),
        (code, false) if !message.is_empty() => format!("{code}: {}", quoted(message)),
        (code, _) => code.to_owned(),
    };
    let error = kind.error(format_args!("{service} in {place} did not {action} with {on} ({said}): {advice}"));
    error.after(retry_after(response))
}

fn meaning(status: u16, code: &str, message: &str, call: Call<'_>) -> (Kind, String) {
    let action = call.action;
    let advice = |kind, text: &str| (kind, text.to_owned());
    match code {
        _ if THROTTLED.contains(&code) => advice(
            Kind::KmsThrottled,
            "the account's quota of requests is used up: lower kms.calls-per-second, or ask AWS for more",
        ),
        _ if UNAVAILABLE.contains(&code) => {
            advice(Kind::KmsUnavailable, "the service failed on its side; it is tried again")
        }
        _ if SIGNATURE.contains(&code) => advice(
            Kind::Credentials,
            "the signature was not accepted: check the secret key, and the clock of this machine (it may be off by 5 minutes at most)",
        ),
        "ExpiredTokenException" | "ExpiredToken" => advice(
            Kind::Credentials,
            "the credentials have expired: renew them where they come from (environment, profile, token file)",
        ),
        _ if CREDENTIALS.contains(&code) => {
            advice(Kind::Credentials, "the credentials are not known there: check where they come from, and the region")
        }
        _ if DENIED.contains(&code) => {
            let permission = permission(call);
            (Kind::AccessDenied, format!("allow {permission} in the caller's IAM policy and in the key's policy"))
        }
        "DisabledException" => advice(Kind::KeyDisabled, "the key is disabled: enable it (aws kms enable-key)"),
        "KMSInvalidStateException" | "KMSInvalidState" if message.to_ascii_lowercase().contains("pending") => {
            pending(message)
        }
        "KMSInvalidStateException" | "KMSInvalidState" => {
            advice(Kind::KeyDisabled, "the key cannot be used as it is: see its state (aws kms describe-key)")
        }
        "NotFoundException" => {
            advice(Kind::KeyNotFound, "check kms.aws.key-id, kms.aws.region and the account of the credentials")
        }
        "InvalidArnException" => advice(Kind::Config, "check kms.aws.key-id and kms.aws.region"),
        "InvalidKeyUsageException" => advice(
            Kind::Config,
            "kms.aws.key-id must be a symmetric key for encryption (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT)",
        ),
        "InvalidCiphertextException" => advice(
            Kind::WrappedKey,
            "the wrapped data key is damaged, or was wrapped for another tenant or encryption context",
        ),
        "IncorrectKeyException" => advice(
            Kind::WrappedKey,
            "the data key is wrapped under another key: if the alias has moved since, add the old key's ARN to kms.aws.open-key-ids",
        ),
        "LimitExceededException" => advice(
            Kind::Unsupported,
            "AWS KMS rotates a key on demand a limited number of times: turn on automatic rotation (aws kms enable-key-rotation)",
        ),
        "UnsupportedOperationException" => advice(
            Kind::Unsupported,
            "AWS KMS cannot do this with such a key: a symmetric one, whose material AWS made, is needed",
        ),
        "ValidationException" => advice(Kind::Config, "check kms.aws.key-id"),
        _ if status == 429 => advice(Kind::KmsThrottled, "too many requests: lower kms.calls-per-second"),
        _ if status == 408 => advice(Kind::KmsTimeout, "it is tried again"),
        _ if status >= 500 => {
            advice(Kind::KmsUnavailable, "the service, or a proxy before it, failed; it is tried again")
        }
        _ if status == 401 => advice(Kind::Credentials, "check the credentials"),
        _ if status == 403 => {
            (Kind::AccessDenied, format!("check the permission for {action}, and that no proxy refuses the call"))
        }
        // An answer that is none: cut short, or of someone else.
        "" => advice(
            Kind::KmsUnavailable,
            "the answer is incomplete or not one of AWS: check kms.aws.endpoint and kms.proxy",
        ),
        _ => advice(Kind::Internal, "report it, with this text"),
    }
}

fn pending(message: &str) -> (Kind, String) {
    if message.to_ascii_lowercase().contains("import") {
        return (Kind::KeyDisabled, "its key material is not there: import it again".to_owned());
    }
    let advice = "the key is about to be deleted, and everything sealed under it with it: cancel that now (aws kms \
                  cancel-key-deletion, then enable-key), or rewrap the data keys first";
    (Kind::KeyPendingDeletion, advice.to_owned())
}

fn permission(call: Call<'_>) -> String {
    match (call.service, call.action) {
        ("AWS STS", action) => format!("sts:{action}"),
        (_, "ReEncrypt") => "kms:ReEncryptFrom and kms:ReEncryptTo".to_owned(),
        (_, action) => format!("kms:{action}"),
    }
}

fn retry_after(response: &HttpResponse) -> Option<Duration> {
    response.headers().get("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// One line, and not too long a one.
fn quoted(message: &str) -> String {
    let line: String = message.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use crate::config::{AwsKmsConfig, KmsTransport};
    use crate::context::EncryptionContext;
    use crate::error::{Error, Kind};
    use crate::kms::aws::AwsKmsClient;
    use crate::kms::{KmsClient, WrappedKey};

    const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    /// What this answer makes of unwrapping a data key.
    fn decrypting(answer: &str) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            // Twice: a call with refused credentials is repeated once.
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut part = [0; 4096];
                    let length = stream.read(&mut part).unwrap();
                    if length == 0 {
                        return;
                    }
                    request.extend_from_slice(&part[..length]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let error = decrypting_at(&endpoint);
        // Lets the server go if it still waits for the second call.
        drop(std::net::TcpStream::connect(endpoint.trim_start_matches("http://")));
        server.join().unwrap();
        error
    }

    fn decrypting_at(endpoint: &str) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::write(&credentials, "[default]\naws_access_key_id = AKID\naws_secret_access_key = hunter2\n").unwrap();
        let config = AwsKmsConfig {
            region: "us-east-1".to_owned(),
            key_id: KEY.to_owned(),
            open_key_ids: Vec::new(),
            endpoint: Some(endpoint.to_owned()),
            fips: false,
            profile: Some("default".to_owned()),
            credentials_file: Some(credentials),
            role_arn: None,
        };
        let transport = KmsTransport {
            attempt_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            ca_file: None,
            proxy: None,
        };
        let client = AwsKmsClient::new(&config, &transport).unwrap();
        let wrapped = WrappedKey { kek: KEY.to_owned(), version: "1".to_owned(), bytes: vec![1; 150] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let context = EncryptionContext::new([("a", "b")]).unwrap();
        runtime.block_on(client.decrypt(&wrapped, &context)).unwrap_err()
    }

    fn http(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
    }

    fn json(status: &str, body: &str) -> String {
        http(status, "Content-Type: application/x-amz-json-1.1\r\n", body)
    }

    /// Bodies and messages as AWS KMS gave them, each with the public report that quotes it (account and key numbers
    /// were masked there), or as the API Reference describes the error where no report was found.
    #[test]
    fn each_answer_of_the_service_has_its_kind() {
        let cases: &[(Kind, &str, &str, &str)] = &[
            // aws/aws-dynamodb-encryption-java#6
            (
                Kind::KmsThrottled,
                "400 Bad Request",
                r#"{"__type":"ThrottlingException","message":"You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}"#,
                "kms.calls-per-second",
            ),
            // API Reference, Decrypt: KMSInternalException, DependencyTimeoutException, KeyUnavailableException are 500
            (Kind::KmsUnavailable, "500 Internal Server Error", r#"{"__type":"KMSInternalException"}"#, "tried again"),
            (
                Kind::KmsUnavailable,
                "500 Internal Server Error",
                r#"{"__type":"DependencyTimeoutException","message":"Timed out"}"#,
                "",
            ),
            (Kind::KmsUnavailable, "500 Internal Server Error", r#"{"__type":"KeyUnavailableException"}"#, ""),
            // API Reference, Common Errors
            (Kind::KmsUnavailable, "503 Service Unavailable", r#"{"__type":"ServiceUnavailable"}"#, ""),
            (Kind::KmsUnavailable, "500 Internal Server Error", r#"{"__type":"InternalFailure"}"#, ""),
            // fugue/credstash#86
            (
                Kind::KeyDisabled,
                "400 Bad Request",
                r#"{"__type":"DisabledException","message":"arn:aws:kms:us-east-1:123456789012:key/deadbeef-3786-dead-beef-deadbeef7056 is disabled."}"#,
                "enable-key",
            ),
            // hashicorp/terraform-provider-aws#17889
            (
                Kind::KeyPendingDeletion,
                "400 Bad Request",
                r#"{"__type":"KMSInvalidStateException","message":"arn:aws:kms:somewhere:123456789012:key/abc-123-def-09876 is pending deletion."}"#,
                "cancel-key-deletion",
            ),
            // Developer Guide, key states: the other states that make KMSInvalidStateException
            (
                Kind::KeyDisabled,
                "400 Bad Request",
                r#"{"__type":"KMSInvalidStateException","message":"arn:aws:kms:us-east-1:123456789012:key/1 is pending import."}"#,
                "import",
            ),
            (
                Kind::KeyDisabled,
                "400 Bad Request",
                r#"{"__type":"KMSInvalidStateException","message":"arn:aws:kms:us-east-1:123456789012:key/1 is unavailable."}"#,
                "describe-key",
            ),
            // boto/botocore#2107; kubernetes-retired/kube-aws#1041 (an ARN of another region)
            (
                Kind::KeyNotFound,
                "400 Bad Request",
                r#"{"__type":"NotFoundException","message":"Key 'arn:aws:kms:us-east-1:123456789012:key/e11f1804-f93a-4c67-be21-dd963d667090' does not exist"}"#,
                "kms.aws.region",
            ),
            (
                Kind::KeyNotFound,
                "400 Bad Request",
                r#"{"__type":"NotFoundException","message":"Invalid arn"}"#,
                "kms.aws.key-id",
            ),
            // rebuy-de/aws-nuke#247
            (
                Kind::AccessDenied,
                "400 Bad Request",
                r#"{"__type":"AccessDeniedException","message":"User: arn:aws:iam::123456789012:user/flink is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:123456789012:key/1"}"#,
                "allow kms:Decrypt",
            ),
            // boto/boto3#1127
            (
                Kind::Credentials,
                "400 Bad Request",
                r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
                "have expired",
            ),
            // awslabs/amazon-kinesis-producer#116: an error of the common front end
            (
                Kind::Credentials,
                "400 Bad Request",
                r#"{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#,
                "not known there",
            ),
            // aws/aws-sdk-cpp#1681 (AWS KMS, the whole body); aws/aws-sdk-js#2340 (AWS KMS, a clock that is off)
            (
                Kind::Credentials,
                "400 Bad Request",
                r#"{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}"#,
                "clock",
            ),
            (
                Kind::Credentials,
                "400 Bad Request",
                r#"{"__type":"InvalidSignatureException","message":"Signature expired: 20181105T215603Z is now earlier than 20181105T221104Z (20181105T221604Z - 5 min.)"}"#,
                "clock",
            ),
            // API Reference, Decrypt
            (Kind::WrappedKey, "400 Bad Request", r#"{"__type":"InvalidCiphertextException"}"#, "context"),
            // floci-io/floci#1844 quotes AWS KMS
            (
                Kind::WrappedKey,
                "400 Bad Request",
                r#"{"__type":"IncorrectKeyException","message":"The key ID in the request does not identify a KMS key that can perform this operation"}"#,
                "kms.aws.open-key-ids",
            ),
            // jonathankeebler/jwt-kms#4
            (
                Kind::Config,
                "400 Bad Request",
                r#"{"__type":"InvalidKeyUsageException","message":"arn:aws:kms:eu-west-1:774082574083:key/9a956830-5b5d-4203-bc1e-52781bbab0a2 key usage is SIGN_VERIFY which is not valid for Encrypt."}"#,
                "SYMMETRIC_DEFAULT",
            ),
            (
                Kind::Config,
                "400 Bad Request",
                r#"{"__type":"InvalidArnException","message":"Invalid ARN"}"#,
                "kms.aws.key-id",
            ),
            (Kind::Unsupported, "400 Bad Request", r#"{"__type":"UnsupportedOperationException"}"#, "symmetric"),
            // grants are not used: such an error is none that the operator could mend
            (Kind::Internal, "400 Bad Request", r#"{"__type":"InvalidGrantTokenException"}"#, "report it"),
            (
                Kind::Internal,
                "400 Bad Request",
                r#"{"__type":"NeverSeenException","message":"?"}"#,
                "NeverSeenException",
            ),
        ];
        for (kind, status, body, said) in cases {
            let error = decrypting(&json(status, body));
            assert_eq!(error.kind(), *kind, "{body}: {error}");
            let text = error.message();
            assert!(text.contains(said) && text.contains("Decrypt") && text.contains(KEY), "{body}: {text}");
            assert!(text.contains("127.0.0.1") && !text.contains("hunter2"), "{body}: {text}");
        }
    }

    #[test]
    fn a_type_may_stand_in_a_header_or_behind_a_name_space() {
        let named = json("400 Bad Request", r#"{"__type":"com.amazonaws.kms#DisabledException","message":"x"}"#);
        assert_eq!(decrypting(&named).kind(), Kind::KeyDisabled);
        let headers = "x-amzn-ErrorType: DisabledException:http://internal.amazon.com/coral/\r\n";
        assert_eq!(decrypting(&http("400 Bad Request", headers, "{}")).kind(), Kind::KeyDisabled);
    }

    #[test]
    fn answers_of_others_than_the_service_are_told_by_their_status() {
        let page = "<html>proxy</html>";
        for (kind, status, headers) in [
            (Kind::KmsThrottled, "429 Too Many Requests", "Retry-After: 7\r\n"),
            (Kind::KmsUnavailable, "502 Bad Gateway", ""),
            (Kind::KmsUnavailable, "503 Service Unavailable", "Retry-After: 7\r\n"),
            (Kind::KmsUnavailable, "200 OK", ""),
            (Kind::AccessDenied, "403 Forbidden", ""),
        ] {
            let error = decrypting(&http(status, headers, page));
            assert_eq!(error.kind(), kind, "{status}: {error}");
            assert_eq!(error.retry_after(), (!headers.is_empty()).then_some(Duration::from_secs(7)), "{status}");
        }
    }

    #[test]
    fn an_answer_cut_short_may_pass() {
        for cut in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"KeyId\":",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{\"KeyId\":",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let error = decrypting(cut);
            assert_eq!(error.kind(), Kind::KmsUnavailable, "{cut}: {error}");
        }
    }

    #[test]
    fn nobody_there_is_unavailable() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = decrypting_at(&format!("http://{free}"));
        assert_eq!(error.kind(), Kind::KmsUnavailable, "{error}");
        assert!(error.message().contains(&free.to_string()) && error.message().contains("refused"), "{error}");
    }

    #[test]
    fn what_was_signed_is_never_repeated_and_long_texts_are_cut() {
        let signed = r#"{"__type":"InvalidSignatureException","message":"The Canonical String should have been\nx-amz-security-token:hunter2"}"#;
        assert!(!decrypting(&json("400 Bad Request", signed)).message().contains("hunter2"));
        let long = format!(r#"{{"__type":"AccessDeniedException","message":"a\nb{}"}}"#, "ä".repeat(5_000));
        let error = decrypting(&json("400 Bad Request", &long));
        assert!(error.message().len() < 2_000 && !error.message().contains('\n'), "{error}");
    }
}

//! AWS KMS: a server of ours that keeps its rules, and the two emulators that people use, which bend some.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Child, Missing, script, tool};
use crate::provider::{Pairs, Provider, Service, pairs};
use crate::proxy::Route;

mod own;

const REGION: &str = "eu-west-1";

/// A server of ours, checked with AWS's own Python client.
pub struct Aws;

/// `moto_server`.
pub struct Moto;

/// `local-kms`.
pub struct LocalKms;

const NO_DISABLING_OF_VERSIONS: &str = "AWS KMS disables a key with all its versions";
const NO_DESTROYING_OF_VERSIONS: &str = "AWS KMS keeps every version for as long as the key";
const CONTEXT_IS_CONCATENATED: &str = "the emulator joins the pairs of a context without separators; see aws";
const NO_INCORRECT_KEY: &str =
    "the emulator says AccessDeniedException where AWS KMS says IncorrectKeyException; see aws";
const NO_PERMISSIONS: &str = "the emulator knows no permissions; see aws";
const NO_EXPIRY: &str = "the emulator takes any credentials; see aws";
const NO_MATERIALS: &str = "the emulator does not name the key material, so versions cannot be told apart; see aws";

impl Provider for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn server(&self) -> &'static str {
        "a server of ours, from the API Reference, checked with boto3"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        Server::start("aws", true, |port| {
            let mut server = Command::new(tool("python"));
            server.arg(script("aws_kms.py")).arg(port.to_string());
            server
        })
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("disabled_version", NO_DISABLING_OF_VERSIONS),
            ("disabled_version_by_us", NO_DISABLING_OF_VERSIONS),
            ("retired_by_the_tool", NO_DISABLING_OF_VERSIONS),
            ("destroyed_version", NO_DESTROYING_OF_VERSIONS),
        ]
    }

    fn own_cases(&self) -> Vec<crate::cases::Case> {
        own::CASES.to_vec()
    }
}

impl Provider for Moto {
    fn name(&self) -> &'static str {
        "aws-moto"
    }

    fn server(&self) -> &'static str {
        "moto 5, an emulator in Python"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        Server::start("aws-moto", false, |port| {
            let mut server = Command::new(tool("moto_server"));
            server.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            server
        })
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("disabled_version", NO_DISABLING_OF_VERSIONS),
            ("disabled_version_by_us", NO_DISABLING_OF_VERSIONS),
            ("retired_by_the_tool", NO_DISABLING_OF_VERSIONS),
            ("destroyed_version", NO_DESTROYING_OF_VERSIONS),
            ("destroyed_by_us", "the emulator lets keys work on until they are deleted; see aws"),
            ("shredded_by_the_tool", "the emulator lets keys work on until they are deleted; see aws"),
            ("destroying_denied", NO_PERMISSIONS),
            ("injective_context", CONTEXT_IS_CONCATENATED),
            ("wrong_key", NO_INCORRECT_KEY),
            ("extended_wrapped_key", NO_INCORRECT_KEY),
            ("flipped_wrapped_key", NO_INCORRECT_KEY),
            ("disabled_key", "the emulator lets disabled keys work on; see aws"),
            ("pending_deletion", "the emulator lets keys work on until they are deleted; see aws"),
            ("rotated_at_the_server", NO_MATERIALS),
            ("rotated_by_us", NO_MATERIALS),
            ("versions_in_order", NO_MATERIALS),
            ("permissions", NO_PERMISSIONS),
            ("expired_credentials", NO_EXPIRY),
        ]
    }
}

impl Provider for LocalKms {
    fn name(&self) -> &'static str {
        "aws-local-kms"
    }

    fn server(&self) -> &'static str {
        "local-kms 3, an emulator in Go"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let folder = TempDir::new().expect("temporary files can be made").keep();
        Server::start("aws-local-kms", false, |port| {
            let mut server = Command::new(tool("local-kms"));
            server.arg(port.to_string()).arg(folder.join(port.to_string()));
            server
        })
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("disabled_version", NO_DISABLING_OF_VERSIONS),
            ("disabled_version_by_us", NO_DISABLING_OF_VERSIONS),
            ("retired_by_the_tool", NO_DISABLING_OF_VERSIONS),
            ("destroyed_version", NO_DESTROYING_OF_VERSIONS),
            ("destroyed_by_us", "the emulator does not rotate on demand; see aws"),
            ("destroying_denied", NO_PERMISSIONS),
            ("injective_context", CONTEXT_IS_CONCATENATED),
            ("truncated_wrapped_key", "the emulator breaks down over some of them; see aws"),
            ("flipped_wrapped_key", "the emulator opens what has a bit flipped in the name of its key; see aws"),
            ("rewrap", "the emulator does not rotate on demand; see aws"),
            ("rotated_at_the_server", NO_MATERIALS),
            ("rotated_by_us", NO_MATERIALS),
            ("versions_in_order", NO_MATERIALS),
            ("permissions", NO_PERMISSIONS),
            ("expired_credentials", NO_EXPIRY),
        ]
    }
}

/// A server that speaks the protocol of AWS KMS.
struct Server {
    _child: Child,
    port: u16,
    folder: TempDir,
    /// It names the key material, as AWS KMS does.
    names_materials: bool,
}

impl Server {
    fn start(
        name: &'static str,
        names_materials: bool,
        command: impl Fn(u16) -> Command,
    ) -> Result<Box<dyn Service>, Missing> {
        let (child, port) = Child::serve(name, command)?;
        let folder = TempDir::new().expect("temporary files can be made");
        Ok(Box::new(Server { _child: child, port, folder, names_materials }))
    }

    fn ask(&self, operation: &str, request: &Value) -> Value {
        ask(self.port, REGION, operation, request)
    }

    fn current_material(&self, key: &str) -> Value {
        self.ask("DescribeKey", &json!({"KeyId": key}))["KeyMetadata"]["CurrentKeyMaterialId"].clone()
    }

    fn settings_of(&self, access_key: &str, key: &str, route: Option<&Route>) -> Pairs {
        let route = route.expect("there is a network");
        let file = credentials(&self.folder, access_key).display().to_string();
        pairs([
            ("kms.provider", "aws"),
            ("kms.aws.region", REGION),
            ("kms.aws.key-id", key),
            ("kms.aws.endpoint", &route.url()),
            ("kms.aws.credentials-file", &file),
            ("kms.aws.profile", "default"),
        ])
    }
}

impl Service for Server {
    fn upstream(&self) -> Option<String> {
        Some(format!("http://127.0.0.1:{}", self.port))
    }

    fn new_key(&self) -> String {
        let made = self.ask("CreateKey", &json!({}));
        made["KeyMetadata"]["Arn"].as_str().expect("a key has an ARN").to_owned()
    }

    fn settings(&self, key: &str, route: Option<&Route>) -> Pairs {
        self.settings_of("FULL", key, route)
    }

    fn unknown_key(&self) -> String {
        "00000000-1111-2222-3333-444444444444".to_owned()
    }

    fn set_enabled(&self, key: &str, enabled: bool) {
        self.ask(if enabled { "EnableKey" } else { "DisableKey" }, &json!({"KeyId": key}));
    }

    fn schedule_deletion(&self, key: &str) {
        self.ask("ScheduleKeyDeletion", &json!({"KeyId": key, "PendingWindowInDays": 7}));
    }

    fn rotate(&self, key: &str) {
        let before = self.current_material(key);
        self.ask("RotateKeyOnDemand", &json!({"KeyId": key}));
        while self.names_materials && self.current_material(key) == before {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn rotate_every(&self, key: &str, days: u32) -> u32 {
        self.ask("EnableKeyRotation", &json!({"KeyId": key, "RotationPeriodInDays": days}));
        // The emulators know no other period than a year.
        if self.names_materials { days } else { 365 }
    }

    fn unwrap_request(&self) -> &'static str {
        "TrentService.Decrypt"
    }

    fn rewrap_request(&self) -> Option<&'static str> {
        Some("TrentService.ReEncrypt")
    }

    fn throttled(&self, _: u32) -> Value {
        let body = json!({"__type": "ThrottlingException", "message": "You have exceeded the rate at which you may call KMS."});
        json!({"status": 400, "headers": {"Content-Type": "application/x-amz-json-1.1"}, "body": body.to_string()})
    }

    fn tells_the_pause(&self) -> bool {
        false
    }

    fn draws(&self) -> bool {
        true
    }

    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        json!({"set": [["Plaintext"], BASE64_STANDARD.encode(plaintext)]})
    }

    fn expired(&self, key: &str, route: Option<&Route>) -> Pairs {
        self.settings_of("EXPIRED", key, route)
    }

    fn caretaker(&self, key: &str, route: Option<&Route>) -> (String, Pairs) {
        ("kms:ScheduleKeyDeletion".to_owned(), self.settings_of("DENYScheduleKeyDeletion", key, route))
    }

    fn denials(&self, key: &str, route: Option<&Route>) -> Vec<(String, Pairs)> {
        let operations =
            ["GenerateDataKey", "Decrypt", "Encrypt", "DescribeKey", "ListKeyRotations", "GetKeyRotationStatus"];
        let mut denials: Vec<_> = operations
            .iter()
            .map(|operation| (format!("kms:{operation}"), self.settings_of(&format!("DENY{operation}"), key, route)))
            .collect();
        denials.push(("kms:ReEncrypt*".to_owned(), self.settings_of("DENYReEncrypt", key, route)));
        denials
    }
}

/// A shared credentials file with one access key in it.
fn credentials(folder: &TempDir, access_key: &str) -> PathBuf {
    let path = folder.path().join(access_key);
    let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = secret-of-{access_key}\n");
    // Whole or not at all: clients of other tests may be reading it.
    let mut file = tempfile::NamedTempFile::new_in(folder).expect("the folder is ours");
    file.write_all(text.as_bytes()).expect("the folder is ours");
    file.persist(&path).expect("the folder is ours");
    path
}

/// What the server's administrator asks of it, by its own protocol; none of the servers looks at this signature.
fn ask(port: u16, region: &str, operation: &str, request: &Value) -> Value {
    let body = request.to_string();
    let signed = format!("Credential=ADMIN/20260101/{region}/kms/aws4_request, SignedHeaders=host, Signature=0");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\
         X-Amz-Target: TrentService.{operation}\r\nAuthorization: AWS4-HMAC-SHA256 {signed}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server runs");
    stream.write_all((head + &body).as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.lines().next().is_some_and(|line| line.contains(" 200")), "{operation} {request}: {answer}");
    if body.trim().is_empty() { Value::Null } else { serde_json::from_str(body).expect("the answer is JSON") }
}

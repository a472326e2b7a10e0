//! A server of ours that speaks the protocol of Google Cloud KMS (`servers/gcp_kms.py`), itself checked with Google's own
//! client. Our clients are service accounts with a key file.

mod cases;
mod server;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use sealpoint::error::Kind;

use crate::cases::Case;
use crate::child::{Child, Missing, script, tool};
use crate::provider::{Pairs, Provider, Service, pairs};
use crate::proxy::Route;

use server::{Server, crc32c, key_name, unique};

pub struct Gcp;

/// What the documentation grants: the JobManager all of it, TaskManagers the first two.
const PERMISSIONS: [&str; 6] = [
    "cloudkms.cryptoKeyVersions.useToEncrypt",
    "cloudkms.cryptoKeyVersions.useToDecrypt",
    "cloudkms.cryptoKeys.get",
    "cloudkms.cryptoKeyVersions.list",
    "cloudkms.cryptoKeyVersions.create",
    "cloudkms.cryptoKeys.update",
];

const DESTROY: &str = "cloudkms.cryptoKeyVersions.destroy";

impl Provider for Gcp {
    fn name(&self) -> &'static str {
        "gcp"
    }

    fn server(&self) -> &'static str {
        "a server of ours after the published REST reference, checked with google-cloud-kms"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let (child, port) = Child::serve("gcp", |port| {
            let mut python = Command::new(tool("python"));
            python.arg(script("gcp_kms.py")).arg("--port").arg(port.to_string());
            python
        })?;
        let server = Server::new(&format!("http://127.0.0.1:{port}"));
        let folder = TempDir::new().expect("temporary files can be made");
        let all = [&PERMISSIONS[..], &["cloudkms.cryptoKeyVersions.update", DESTROY]].concat();
        let everything = server.key_file(folder.path(), &server.account(&all));
        Ok(Box::new(CloudKms { server, folder, everything, _child: child }))
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn own_cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }
}

struct CloudKms {
    server: Server,
    folder: TempDir,
    /// The key file of an account that may do everything.
    everything: String,
    _child: Child,
}

impl CloudKms {
    /// Does this to each version of the key.
    fn each_version(&self, key: &str, action: &str) {
        for version in 1..=self.server.versions(key) {
            self.server.act(key, &version.to_string(), action);
        }
    }
}

/// The settings of a client with this credentials file.
fn settings(key: &str, credentials: &str, route: Option<&Route>) -> Pairs {
    let endpoint = route.expect("clients go by the proxy").url();
    pairs([
        ("kms.provider", "gcp"),
        ("kms.gcp.project", "acme-flink"),
        ("kms.gcp.location", "europe-west1"),
        ("kms.gcp.key-ring", "flink"),
        ("kms.gcp.key-name", key),
        ("kms.gcp.endpoint", &endpoint),
        ("kms.gcp.credentials-file", credentials),
    ])
}

impl Service for CloudKms {
    fn upstream(&self) -> Option<String> {
        Some(self.server.address().to_owned())
    }

    fn new_key(&self) -> String {
        let key = unique("key");
        self.server.control("key", json!({"name": key_name(&key)}));
        key
    }

    fn settings(&self, key: &str, route: Option<&Route>) -> Pairs {
        settings(key, &self.everything, route)
    }

    fn set_enabled(&self, key: &str, enabled: bool) {
        self.each_version(key, if enabled { "enable" } else { "disable" });
    }

    fn schedule_deletion(&self, key: &str) {
        self.each_version(key, "schedule");
    }

    fn rotate(&self, key: &str) {
        self.server.control("rotate", json!({"name": key_name(key)}));
    }

    fn rotate_every(&self, key: &str, days: u32) -> u32 {
        self.server.control("rotate_every", json!({"name": key_name(key), "seconds": days * 24 * 3600}));
        days
    }

    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        self.server.act(key, version, if enabled { "enable" } else { "disable" });
    }

    fn destroy_version(&self, key: &str, version: &str) {
        self.server.act(key, version, "schedule");
        self.server.act(key, version, "destroy");
    }

    fn unwrap_request(&self) -> &'static str {
        ":decrypt"
    }

    fn throttled(&self, seconds: u32) -> Value {
        let details = json!([
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")},
        ]);
        let error =
            json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded", "details": details});
        json!({"status": 429, "body": json!({"error": error}).to_string()})
    }

    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        let checksum = crc32c(plaintext).to_string();
        json!({"set": [["plaintext"], STANDARD.encode(plaintext), ["plaintextCrc32c"], checksum]})
    }

    fn expired(&self, key: &str, route: Option<&Route>) -> Pairs {
        let account = self.server.account(&PERMISSIONS);
        self.server.control("expire_account", json!({"principal": account}));
        settings(key, &self.server.key_file(self.folder.path(), &account), route)
    }

    /// A service account's token says when it was made, by our clock.
    fn skew(&self, route: Option<&Route>) -> Result<(), Kind> {
        let host = format!("127.0.0.1:{}", route.expect("clients go by the proxy").port());
        // A refused call is made once more, with a new token.
        self.server.control("clock", json!({"offset": 86_400, "host": host, "calls": 2}));
        Err(Kind::Credentials)
    }

    fn caretaker(&self, key: &str, route: Option<&Route>) -> (String, Pairs) {
        let all = [&PERMISSIONS[..], &["cloudkms.cryptoKeyVersions.update"]].concat();
        (
            DESTROY.to_owned(),
            settings(key, &self.server.key_file(self.folder.path(), &self.server.account(&all)), route),
        )
    }

    fn denials(&self, key: &str, route: Option<&Route>) -> Vec<(String, Pairs)> {
        let without = |permission: &str| {
            let left: Vec<&str> = PERMISSIONS.into_iter().filter(|one| *one != permission).collect();
            let file = self.server.key_file(self.folder.path(), &self.server.account(&left));
            (permission.to_owned(), settings(key, &file, route))
        };
        PERMISSIONS.map(without).to_vec()
    }
}

//! OpenBao, a real server of the API that it shares with HashiCorp Vault. Clients get the policies of the documentation.

mod admin;
mod cases;
mod kubernetes;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cases::{Case, throttled};
use crate::child::{Child, Missing, tool};
use crate::provider::{Pairs, Provider, Service, pairs};
use crate::proxy::Route;

use admin::{Admin, ROOT};

pub struct Vault;

impl Provider for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn server(&self) -> &'static str {
        "OpenBao 2.7, the real server"
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let folder = TempDir::new().expect("temporary files can be made");
        let (child, port) = Child::serve("vault", |port| bao(&folder, port, &["-dev"]))?;
        let admin = Admin::new(&format!("http://127.0.0.1:{port}"));
        admin.post("sys/mounts/transit", json!({"type": "transit"}));
        Ok(Box::new(OpenBao { admin, folder, _child: child }))
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[(
            "disabled_key",
            "the transit engine disables old versions, not a key; a soft-deleted key is pending_deletion",
        )]
    }

    fn own_cases(&self) -> Vec<Case> {
        [cases::CASES, throttled::CASES].concat()
    }
}

/// A development server, unsealed, its root token known.
fn bao(folder: &TempDir, port: u16, more: &[&str]) -> Command {
    let mut bao = Command::new(tool("bao"));
    bao.arg("server").args(more).arg(format!("-dev-root-token-id={ROOT}")).arg("-dev-no-store-token");
    bao.arg(format!("-dev-listen-address=127.0.0.1:{port}")).env("HOME", folder.path());
    bao
}

struct OpenBao {
    admin: Admin,
    folder: TempDir,
    _child: Child,
}

impl OpenBao {
    /// The settings of a client with a token of these policies; what the token is, and the settings.
    fn with_policy(&self, key: &str, policy: &str, route: Option<&Route>) -> (String, Pairs) {
        let token = self.admin.token(policy, json!({}));
        let file = self.admin.credential(self.folder.path(), &token);
        let address = route.expect("clients go by the proxy").url();
        let settings = [
            ("kms.provider", "vault"),
            ("kms.vault.address", &address),
            ("kms.vault.key-name", key),
            ("kms.vault.token-file", &file),
        ];
        (token, pairs(settings))
    }
}

impl Service for OpenBao {
    fn upstream(&self) -> Option<String> {
        Some(self.admin.address().to_owned())
    }

    fn new_key(&self) -> String {
        self.admin.new_key("transit", json!({"type": "aes256-gcm96"}))
    }

    fn settings(&self, key: &str, route: Option<&Route>) -> Pairs {
        self.with_policy(key, &admin::documented(&[2, 3, 4], key), route).1
    }

    fn schedule_deletion(&self, key: &str) {
        self.admin.post(&format!("transit/keys/{key}/config"), json!({"deletion_allowed": true}));
        self.admin.delete(&format!("transit/keys/{key}/soft-delete"));
    }

    fn rotate_every(&self, key: &str, days: u32) -> u32 {
        let period = format!("{}h", days * 24);
        self.admin.post(&format!("transit/keys/{key}/config"), json!({"auto_rotate_period": period}));
        days
    }

    fn rotate(&self, key: &str) {
        self.admin.post(&format!("transit/keys/{key}/rotate"), json!({}));
    }

    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        let version: u64 = version.parse().expect("versions are numbers");
        let bound = if enabled { version } else { version + 1 };
        self.admin.post(&format!("transit/keys/{key}/config"), json!({"min_decryption_version": bound}));
    }

    fn destroy_version(&self, key: &str, version: &str) {
        let first_left = version.parse::<u64>().expect("versions are numbers") + 1;
        let bounds = json!({"min_decryption_version": first_left, "min_encryption_version": first_left});
        self.admin.post(&format!("transit/keys/{key}/config"), bounds);
        self.admin.post(&format!("transit/keys/{key}/trim"), json!({"min_available_version": first_left}));
    }

    fn unwrap_request(&self) -> &'static str {
        "POST /v1/transit/decrypt/"
    }

    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        json!({"set": [["data", "plaintext"], STANDARD.encode(plaintext)]})
    }

    fn expired(&self, key: &str, route: Option<&Route>) -> Pairs {
        let (token, settings) = self.with_policy(key, &admin::documented(&[1], key), route);
        self.admin.post("auth/token/revoke", json!({"token": token}));
        settings
    }

    fn caretaker(&self, key: &str, route: Option<&Route>) -> (String, Pairs) {
        let policy = admin::documented(&[2, 3], key);
        (
            format!("path \"transit/keys/{key}\" {{ capabilities = [\"delete\"] }}"),
            self.with_policy(key, &policy, route).1,
        )
    }

    fn denials(&self, key: &str, route: Option<&Route>) -> Vec<(String, Pairs)> {
        let all = admin::documented(&[2], key);
        let (read, rotate) = (format!("keys/{key}"), format!("keys/{key}/rotate"));
        let (wrap, unwrap) = (format!("encrypt/{key}"), format!("decrypt/{key}"));
        let lines = [(read, "read"), (wrap, "update"), (unwrap, "update"), (rotate, "update")];
        let without = |(path, capability): (String, &str)| {
            let path = format!("transit/{path}");
            let line = format!("\"{path}\"");
            let policy: String = all.lines().filter(|l| !l.contains(&line)).map(|l| format!("{l}\n")).collect();
            assert_ne!(policy.trim(), all.trim(), "the documented policy names {path}");
            (format!("{path} [{capability}]"), self.with_policy(key, &policy, route).1)
        };
        lines.map(without).to_vec()
    }
}

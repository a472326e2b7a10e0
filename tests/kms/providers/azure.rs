//! Azure Key Vault and Managed HSM, by a server of ours that Microsoft's own client takes for one.

mod cases;
mod identities;
mod server;

use serde_json::{Value, json};

use crate::cases::Case;
use crate::child::Missing;
use crate::provider::{Pairs, Provider, Service, pairs};
use crate::proxy::Route;

use server::{Server, base64url};

/// Whose keys it is tried with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Azure {
    /// RSA keys of a vault: the context is bound inside.
    KeyVault,
    /// Symmetric keys of a Managed HSM: the context is associated data.
    ManagedHsm,
}

impl Provider for Azure {
    fn name(&self) -> &'static str {
        match self {
            Azure::KeyVault => "azure",
            Azure::ManagedHsm => "azure-hsm",
        }
    }

    fn server(&self) -> &'static str {
        match self {
            Azure::KeyVault => "a server of ours (`azure_key_vault.py`), checked with Microsoft's own client",
            Azure::ManagedHsm => "the same as a Managed HSM, with symmetric keys",
        }
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let options: &[&str] = if *self == Azure::ManagedHsm { &["--hsm"] } else { &[] };
        Ok(Box::new(Started { kind: *self, server: Server::start(options)? }))
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("destroyed_version", "versions are not deleted, only whole keys (see azure::unknown_version)"),
            (
                "through_a_proxy",
                "the server knows itself as localhost only, for which no proxy is asked; its client is the one of Vault",
            ),
        ]
    }

    fn own_cases(&self) -> Vec<Case> {
        match self {
            Azure::KeyVault => cases::CASES.to_vec(),
            Azure::ManagedHsm => cases::HSM_CASES.to_vec(),
        }
    }
}

struct Started {
    kind: Azure,
    server: Server,
}

impl Started {
    /// What the probe tries, as the operation and as the permission that it names.
    fn permissions(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            Azure::KeyVault => &[
                ("get", "Microsoft.KeyVault/vaults/keys/read (in an access policy: get)"),
                ("wrapKey", "Microsoft.KeyVault/vaults/keys/wrap/action (in an access policy: wrapKey)"),
                ("unwrapKey", "Microsoft.KeyVault/vaults/keys/unwrap/action (in an access policy: unwrapKey)"),
                (
                    "getrotationpolicy",
                    "Microsoft.KeyVault/vaults/keyrotationpolicies/read (in an access policy: getrotationpolicy)",
                ),
            ],
            Azure::ManagedHsm => &[
                ("get", "Microsoft.KeyVault/managedHsm/keys/read/action"),
                ("encrypt", "Microsoft.KeyVault/managedHsm/keys/encrypt/action"),
                ("decrypt", "Microsoft.KeyVault/managedHsm/keys/decrypt/action"),
            ],
        }
    }
}

impl Service for Started {
    fn upstream(&self) -> Option<String> {
        Some(self.server.address())
    }

    fn new_key(&self) -> String {
        self.server.new_key(match self.kind {
            Azure::KeyVault => json!({"kty": "RSA", "key_size": 2048}),
            Azure::ManagedHsm => json!({"kty": "oct-HSM", "key_size": 256}),
        })
    }

    fn settings(&self, key: &str, route: Option<&Route>) -> Pairs {
        self.server.settings(key, route.expect("clients go by the proxy"))
    }

    fn set_enabled(&self, key: &str, enabled: bool) {
        for version in self.server.versions(key) {
            self.set_version_enabled(key, &version, enabled);
        }
    }

    fn schedule_deletion(&self, key: &str) {
        self.server.keys("DELETE", key, None);
    }

    fn rotate(&self, key: &str) {
        self.server.keys("POST", &format!("{key}/rotate"), Some(json!({})));
    }

    fn rotate_every(&self, key: &str, days: u32) -> u32 {
        let rotate = json!({"trigger": {"timeAfterCreate": format!("P{days}D")}, "action": {"type": "Rotate"}});
        self.server.keys("PUT", &format!("{key}/rotationpolicy"), Some(json!({"lifetimeActions": [rotate]})));
        days
    }

    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        self.server.keys("PATCH", &format!("{key}/{version}"), Some(json!({"attributes": {"enabled": enabled}})));
    }

    fn unwrap_request(&self) -> &'static str {
        match self.kind {
            Azure::KeyVault => "/unwrapkey",
            Azure::ManagedHsm => "/decrypt",
        }
    }

    fn throttled(&self, seconds: u32) -> Value {
        let message =
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";
        let body = json!({"error": {"code": "Throttled", "message": message}}).to_string();
        json!({"status": 429, "headers": {"Retry-After": seconds.to_string()}, "body": body})
    }

    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        json!({"set": [["value"], base64url(plaintext)]})
    }

    fn expired(&self, key: &str, route: Option<&Route>) -> Pairs {
        let client = self.server.identity(json!({"expired": ["the old secret"]}));
        let route = route.expect("clients go by the proxy");
        self.server.settings_of(&client, "the old secret", key, route)
    }

    fn caretaker(&self, key: &str, route: Option<&Route>) -> (String, Pairs) {
        let client = self.server.identity(json!({"secrets": ["a secret"]}));
        let all = ["get", "list", "wrapKey", "unwrapKey", "encrypt", "decrypt", "rotate", "update"];
        self.server.control("allow", json!({"client": client, "operations": all}));
        let kind = if self.kind == Azure::KeyVault { "vaults" } else { "managedHsm" };
        let settings = self.server.settings_of(&client, "a secret", key, route.expect("clients go by the proxy"));
        (format!("Microsoft.KeyVault/{kind}/keys/delete"), settings)
    }

    fn denials(&self, key: &str, route: Option<&Route>) -> Vec<(String, Pairs)> {
        let route = route.expect("clients go by the proxy");
        let all = self.permissions();
        let without = |(operation, permission): (&str, &str)| {
            let client = self.server.identity(json!({"secrets": ["a secret"]}));
            let others: Vec<&str> = all.iter().map(|(other, _)| *other).filter(|other| *other != operation).collect();
            self.server.control("allow", json!({"client": client, "operations": others}));
            let mut settings = self.server.settings_of(&client, "a secret", key, route);
            if self.kind == Azure::ManagedHsm {
                // Who may not look at a key has to be told what it does.
                settings.extend(pairs([("kms.azure.algorithm", "a256gcm")]));
            }
            (permission.to_owned(), settings)
        };
        all.iter().copied().map(without).collect()
    }
}

//! The server as its operator sees it: keys, service accounts and what they may do.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Builder;

pub struct Server {
    address: String,
}

impl Server {
    pub fn new(address: &str) -> Server {
        Server { address: address.to_owned() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Calls `/control/<name>`; see `Control` in servers/gcp_kms.py.
    pub fn control(&self, name: &str, arguments: Value) -> Value {
        sealpoint::net::tls::install();
        let url = format!("{}/control/{name}", self.address);
        let client = Client::builder().no_proxy().build().expect("a client");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(async {
            let response = client.post(&url).body(arguments.to_string()).send().await?.error_for_status()?;
            response.bytes().await
        });
        let answer = answer.unwrap_or_else(|error| panic!("{url} {arguments}: {error}"));
        serde_json::from_slice(&answer).expect("it answers in JSON")
    }

    /// A fresh service account that may do this with every key of the project.
    pub fn account(&self, permissions: &[&str]) -> String {
        let account = format!("{}@acme-flink.iam.gserviceaccount.com", unique("job"));
        let grant = json!({"principal": account, "resource": "projects/acme-flink", "permissions": permissions});
        self.control("grant", grant);
        account
    }

    /// A key file of an account.
    pub fn key_file(&self, folder: &Path, account: &str) -> String {
        self.file(folder, &self.control("service_account", json!({"email": account})))
    }

    /// A credentials file.
    pub fn file(&self, folder: &Path, credentials: &Value) -> String {
        let file = folder.join(unique("credentials"));
        fs::write(&file, credentials.to_string()).expect("temporary files can be written");
        file.display().to_string()
    }

    /// How many versions the key has ever had.
    pub fn versions(&self, key: &str) -> u64 {
        self.control("versions", json!({"name": key_name(key)}))["count"].as_u64().expect("a number")
    }

    /// `disable`, `enable`, `schedule` destruction, `restore` or `destroy` now.
    pub fn act(&self, key: &str, version: &str, action: &str) {
        let name = format!("{}/cryptoKeyVersions/{version}", key_name(key));
        self.control("version", json!({"name": name, "action": action}));
    }
}

pub fn key_name(key: &str) -> String {
    format!("projects/acme-flink/locations/europe-west1/keyRings/flink/cryptoKeys/{key}")
}

pub fn unique(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{kind}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// CRC-32C bit by bit, so that the client's table has something to be wrong against.
pub fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

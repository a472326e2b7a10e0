//! The server's own API, as an administrator uses it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// The token of the administrator.
pub const ROOT: &str = "root";

pub struct Admin {
    address: String,
    namespace: Option<String>,
}

impl Admin {
    pub fn new(address: &str) -> Admin {
        Admin { address: address.to_owned(), namespace: None }
    }

    /// In a namespace of the server.
    pub fn within(&self, namespace: &str) -> Admin {
        Admin { address: self.address.clone(), namespace: Some(namespace.to_owned()) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body))
    }

    pub fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None)
    }

    pub fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, None);
    }

    /// The name of a fresh key.
    pub fn new_key(&self, mount: &str, options: Value) -> String {
        let key = unique("key");
        self.post(&format!("{mount}/keys/{key}"), options);
        key
    }

    /// A token of this policy and `default`.
    pub fn token(&self, policy: &str, mut options: Value) -> String {
        options["policies"] = json!([self.policy(policy)]);
        let answer = self.post("auth/token/create", options);
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// The name of a policy of this text.
    pub fn policy(&self, text: &str) -> String {
        let name = unique("policy");
        self.post(&format!("sys/policies/acl/{name}"), json!({"policy": text}));
        name
    }

    /// A file with this credential.
    pub fn credential(&self, folder: &Path, text: &str) -> String {
        let file = folder.join(unique("credential"));
        fs::write(&file, format!("{text}\n")).expect("temporary files can be written");
        file.display().to_string()
    }

    fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        sealpoint::net::tls::install();
        // Any certificate: it is on this machine.
        let client = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().expect("a client");
        let url = format!("{}/v1/{path}", self.address);
        let mut request = client.request(method.clone(), &url).header("X-Vault-Token", ROOT);
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        if let Some(body) = &body {
            request = request.body(body.to_string());
        }
        let (status, text) = runtime().block_on(async {
            let response = request.send().await.expect("the server answers");
            (response.status(), response.text().await.expect("the server answers whole"))
        });
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// The policies of docs/KEY_SERVICES.md with these numbers, for this key.
pub fn documented(numbers: &[usize], key: &str) -> String {
    let text = include_str!("../../../../docs/KEY_SERVICES.md");
    let blocks: Vec<&str> =
        text.split("```hcl\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    assert_eq!(blocks.len(), 4, "TaskManagers, the JobManager, who disables versions, who destroys the key");
    // Once for each path, as the server wants it: the last line about one grants the most.
    let path = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let mut lines: Vec<&str> = numbers.iter().flat_map(|number| blocks[*number - 1].lines()).collect();
    for at in (0..lines.len()).rev() {
        if lines[at + 1..].iter().any(|later| path(later) == path(lines[at])) {
            lines.remove(at);
        }
    }
    lines.iter().map(|line| line.replace("flink-state", key) + "\n").collect()
}

pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

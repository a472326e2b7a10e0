//! The server, its own API as an administrator uses it, and its hands for tests.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::child::{Child, Missing, free_port, script, tool};
use crate::provider::{Pairs, pairs};
use crate::proxy::Route;

pub const TENANT: &str = "6f1c4b2e-0000-4000-8000-5ea190147e57";
pub const ADMIN: &str = "11111111-2222-4333-8444-555555555555";
pub const SECRET: &str = "the secret of the test client";
pub const SUBJECT: &str = "system:serviceaccount:flink:jobmanager";

pub struct Server {
    port: u16,
    plain: u16,
    control: u16,
    folder: TempDir,
    _child: Child,
}

impl Server {
    pub fn start(options: &[&str]) -> Result<Server, Missing> {
        let folder = TempDir::new().expect("temporary files can be made");
        let (plain, control) = (free_port(), free_port());
        let (child, port) = Child::serve("azure", |port| {
            let mut command = Command::new(tool("python"));
            command.arg(script("azure_key_vault.py")).arg(folder.path()).args(options);
            let ports = [("--port", port), ("--plain-port", plain), ("--control-port", control)];
            command.args(ports.map(|(option, port)| format!("{option}={port}")));
            command
        })?;
        Ok(Server { port, plain, control, folder, _child: child })
    }

    /// Where it speaks plainly, for the proxy and the administrator.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }

    /// Where the machine's own identity is asked for.
    pub fn metadata_service(&self) -> String {
        format!("http://127.0.0.1:{}", self.control)
    }

    /// The name of a fresh key.
    pub fn new_key(&self, options: Value) -> String {
        let key = unique("key");
        self.keys("POST", &format!("{key}/create"), Some(options));
        key
    }

    /// All versions of a key.
    pub fn versions(&self, key: &str) -> Vec<String> {
        let page = self.keys("GET", &format!("{key}/versions"), None);
        let kids = page["value"].as_array().expect("a list").iter().map(|item| item["kid"].as_str().expect("a kid"));
        kids.map(|kid| kid.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    /// A request of the keys API, by the administrator.
    pub fn keys(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let login = format!("{}/{TENANT}/oauth2/v2.0/token", self.address());
        let form = format!(
            "grant_type=client_credentials&client_id={ADMIN}&scope=https://localhost/.default&client_secret={SECRET}"
        );
        let login = answer(client().post(login).body(form.replace(' ', "%20")));
        let token = login["access_token"].as_str().expect("a token").to_owned();
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}/keys/{path}?api-version=7.4", self.address());
        let request = client().request(method, url).bearer_auth(token);
        answer(match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        })
    }

    /// A command of the control port.
    pub fn control(&self, command: &str, order: Value) {
        let url = format!("{}/control/{command}", self.metadata_service());
        answer(client().post(url).body(order.to_string()));
    }

    /// How often something was asked for.
    pub fn count(&self, what: &str) -> u64 {
        let counters = answer(client().get(format!("{}/control/counters", self.metadata_service())));
        counters[what].as_u64().unwrap_or_default()
    }

    /// A new application that may do everything, and who may log in as it.
    pub fn identity(&self, mut who: Value) -> String {
        let client = unique("client");
        who["client"] = json!(client);
        self.control("identity", who);
        client
    }

    /// A file with this credential.
    pub fn credential(&self, text: &str) -> PathBuf {
        let file = self.folder.path().join(unique("credential"));
        fs::write(&file, text).expect("temporary files can be written");
        file
    }

    /// The settings of the administrator's client.
    pub fn settings(&self, key: &str, route: &Route) -> Pairs {
        self.settings_of(ADMIN, SECRET, key, route)
    }

    /// The settings of a client of the administrator that goes by no proxy.
    pub fn direct(&self, key: &str) -> Pairs {
        self.direct_as(ADMIN, key)
    }

    /// The settings of a client of this application that goes by no proxy.
    pub fn direct_as(&self, client: &str, key: &str) -> Pairs {
        let login = self.login(client, SECRET, &format!("https://localhost:{}", self.port));
        [self.anonymous(key), login].concat()
    }

    /// The settings of a client that goes by no proxy, without any login.
    pub fn anonymous(&self, key: &str) -> Pairs {
        let authorities = self.folder.path().join("ca.pem").display().to_string();
        let address = format!("https://localhost:{}", self.port);
        [anonymous(key, &address), vec![("kms.ca-file".to_owned(), authorities)]].concat()
    }

    /// The settings of a client of this application.
    pub fn settings_of(&self, client: &str, secret: &str, key: &str, route: &Route) -> Pairs {
        let address = address_of(route);
        [anonymous(key, &address), self.login(client, secret, &address)].concat()
    }

    fn login(&self, client: &str, secret: &str, authority: &str) -> Pairs {
        let file = self.credential(secret).display().to_string();
        pairs([
            ("kms.azure.tenant-id", TENANT),
            ("kms.azure.client-id", client),
            ("kms.azure.client-secret-file", &file),
            ("kms.azure.authority-host", authority),
        ])
    }
}

/// The settings without any login.
pub fn anonymous(key: &str, address: &str) -> Pairs {
    pairs([("kms.provider", "azure"), ("kms.azure.vault-url", address), ("kms.azure.key-name", key)])
}

/// By this name the vault knows itself.
pub fn address_of(route: &Route) -> String {
    format!("https://localhost:{}", route.port())
}

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn client() -> Client {
    sealpoint::net::tls::install();
    Client::builder().no_proxy().build().expect("a client")
}

fn answer(request: RequestBuilder) -> Value {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (url, status, text) = runtime.block_on(async {
        let response = request.send().await.expect("the server answers");
        (response.url().clone(), response.status(), response.text().await.expect("the server answers whole"))
    });
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

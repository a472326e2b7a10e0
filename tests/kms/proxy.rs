//! The fault proxy (`servers/fault_proxy.py`): one process, a listener for each test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{Child, Missing, script, tool};

/// The process.
#[derive(Debug)]
pub struct Proxy {
    control: Mutex<BufReader<TcpStream>>,
    port: u16,
    folder: TempDir,
    _child: Child,
}

/// The name of the check.
pub const TEST: &str = "fault_proxy::does_what_it_says";

/// Faults that do not happen prove nothing.
pub fn check() {
    let proxy = Proxy::start().unwrap_or_else(|missing| std::panic::panic_any(missing));
    let port = proxy.port.to_string();
    let mut check = Command::new(tool("python"));
    check.arg(script("fault_proxy_check.py")).arg(port).arg(proxy.folder.path());
    let output = check.output().expect("the fault proxy runs by the same program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How a listener speaks.
#[derive(Debug, Clone, Copy)]
pub enum Tls {
    /// TLS 1.2 and 1.3, by the authority in [`Route::ca_file`].
    Good,
    /// By an authority that nobody was told to trust.
    UnknownIssuer,
    /// Nothing newer than TLS 1.1.
    Old,
}

impl Proxy {
    pub fn start() -> Result<Arc<Proxy>, Missing> {
        let folder = tempfile::tempdir().expect("temporary files can be made");
        let (child, port) = Child::serve("fault-proxy", |port| {
            let mut command = Command::new(tool("python"));
            command.arg(script("fault_proxy.py")).arg(port.to_string()).arg(folder.path());
            command
        })?;
        let control = TcpStream::connect(("127.0.0.1", port)).expect("it accepted a connection just now");
        Ok(Arc::new(Proxy { control: Mutex::new(BufReader::new(control)), port, folder, _child: child }))
    }

    /// A new listener in front of `upstream` (`http://127.0.0.1:1234`); without one it accepts and never answers.
    pub fn listen(self: &Arc<Proxy>, upstream: Option<&str>, tls: Tls) -> Route {
        let tls = match tls {
            Tls::Good => "good",
            Tls::UnknownIssuer => "unknown-issuer",
            Tls::Old => "tls1.1",
        };
        let answer = self.order(&json!({"op": "listen", "upstream": upstream, "tls": tls}));
        let port = answer["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("it tells the port");
        Route { proxy: Arc::clone(self), port }
    }

    fn order(&self, order: &Value) -> Value {
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        writeln!(control.get_mut(), "{order}").expect("the fault proxy takes orders");
        let mut line = String::new();
        control.read_line(&mut line).expect("the fault proxy answers");
        let answer: Value = serde_json::from_str(&line).expect("the fault proxy answers in JSON");
        assert!(answer.get("error").is_none(), "the fault proxy refuses {order}: {answer}");
        answer
    }
}

/// A listener of the proxy, and so the address of the server behind it, for one test. Closed when dropped.
#[derive(Debug)]
pub struct Route {
    proxy: Arc<Proxy>,
    port: u16,
}

impl Route {
    /// `https://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port, for a URL of another form; the certificate is also for `localhost` and `*.localhost`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority of the proxy's certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.proxy.folder.path().join("ca.pem")
    }

    /// From now on this happens to each request; `action` as `fault_proxy.py` documents it.
    pub fn inject(&self, action: Value) {
        self.fault(json!({"action": action}));
    }

    /// This happens to so many requests whose method, path and query, and `X-Amz-Target` hold `part`.
    pub fn inject_into(&self, part: &str, times: u32, action: Value) {
        self.fault(json!({"match": part, "times": times, "action": action}));
    }

    fn fault(&self, fault: Value) {
        self.proxy.order(&json!({"op": "fault", "port": self.port, "fault": fault}));
    }

    /// Everything is well again.
    pub fn clear(&self) {
        self.proxy.order(&json!({"op": "clear", "port": self.port}));
    }

    /// From now on nobody listens, and open connections are reset.
    pub fn close(&self) {
        self.proxy.order(&json!({"op": "close", "port": self.port}));
    }

    /// How many requests came for each method and path (`POST /v1/transit/encrypt/k`, `POST / TrentService.Decrypt`).
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let answer = self.proxy.order(&json!({"op": "counts", "port": self.port}));
        serde_json::from_value(answer["counts"].clone()).expect("a map of numbers")
    }

    /// How many requests came whose method, path and target hold `part`.
    pub fn count(&self, part: &str) -> u64 {
        self.counts().iter().filter(|(request, _)| request.contains(part)).map(|(_, count)| count).sum()
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}

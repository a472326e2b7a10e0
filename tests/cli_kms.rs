//! `sealpoint kms`: what can be used and what is missing, said for people and for programs.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const CLI: &str = env!("CARGO_BIN_EXE_sealpoint");

struct Fixture(TempDir);

impl Fixture {
    /// A keyring of two keys.
    fn new() -> Fixture {
        let fixture = Fixture(TempDir::new().unwrap());
        for arguments in [&["create"][..], &["add", "--key", "second"]] {
            let (verb, rest) = arguments.split_first().unwrap();
            let made = Command::new(CLI).args(["keyring", verb]).arg(fixture.path("keyring")).args(rest).output();
            assert!(made.unwrap().status.success());
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[cfg(feature = "vault")]
    fn secret_file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Over the keyring, with more lines of configuration.
    fn run(&self, arguments: &[&str], more: &str) -> (Option<i32>, String, String) {
        let keyring = self.path("keyring");
        let text = format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n{more}", keyring.display());
        fs::write(self.path("sealpoint.toml"), text).unwrap();
        let mut command = Command::new(CLI);
        command.env_clear().arg("kms").args(arguments).arg("--config").arg(self.path("sealpoint.toml"));
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

const FALLBACK: &str = "kms.fallbacks = 'other'\nkms.fallback.other.local.key = 'second'\ntenants.a.paths = '/a'\n";

#[test]
fn a_key_service_that_cannot_be_connected_does_not_keep_from_the_others() {
    let fixture = Fixture::new();
    let more = "kms.fallbacks = 'other, last'\nkms.fallback.other.local.keyring = '/nonexistent/keyring'\n\
                kms.fallback.last.local.key = 'second'\n";
    let (code, out, err) = fixture.run(&["test"], more);
    assert_eq!(code, Some(1), "{out}{err}");
    let blocks: Vec<&str> = out.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(blocks, ["default/primary local 'sealpoint'", "default/other local", "default/last local 'second'"]);
    assert_eq!((out.matches("  ok  ").count(), out.matches("  FAILED  ").count()), (2, 1), "{out}");
    assert!(err.contains("1 of what was tried failed") && err.contains("/nonexistent/keyring"), "{err}");
    let (_, out, _) = fixture.run(&["test", "--json"], more);
    let report: Value = serde_json::from_str(&out).unwrap();
    let keys = report["keys"].as_array().unwrap();
    assert!(report["ok"] == false && keys.len() == 3 && keys[1]["error"]["kind"] == "Keyring", "{out}");
}

#[test]
fn every_key_of_every_tenant_is_tried() {
    let fixture = Fixture::new();
    let (code, out, err) = fixture.run(&["test"], FALLBACK);
    assert_eq!(code, Some(0), "{err}");
    for place in ["default/primary local 'sealpoint'", "default/other local 'second'", "a/primary", "a/other"] {
        assert!(out.lines().any(|line| line.starts_with(place)), "{place} in\n{out}");
    }
    assert!(out.lines().filter(|line| line.starts_with("  ok ")).count() >= 4 && !out.contains("FAILED"), "{out}");

    let (code, out, _) = fixture.run(&["test", "--json"], FALLBACK);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["ok"].as_bool(), json["keys"].as_array().unwrap().len()), (Some(0), Some(true), 4));
    assert_eq!(json["keys"][1]["key"], "second");
    assert_eq!(json["keys"][1]["permissions"][0]["ok"], true);
}

/// A fallback in Vault, where nobody listens: at the near end of a connection, which keeps the port from others.
#[cfg(feature = "vault")]
fn dead(fixture: &Fixture) -> (String, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let token = fixture.secret_file("token", "root");
    let text = format!(
        "kms.fallbacks = 'dead'\nkms.fallback.dead.provider = 'vault'\nkms.fallback.dead.vault.address = 'http://127.0.0.1:{port}'\n\
         kms.fallback.dead.vault.key-name = 'k'\nkms.fallback.dead.vault.token-file = '{token}'\n"
    );
    (text, held)
}

#[test]
#[cfg(feature = "vault")]
fn what_is_missing_is_exit_code_1_and_named_and_the_rest_is_tried_all_the_same() {
    let fixture = Fixture::new();
    let (dead, _held) = dead(&fixture);
    let dead = format!("{dead}tenants.a.paths = '/a'\n");
    let (code, out, err) = fixture.run(&["test"], &dead);
    assert_eq!(code, Some(1));
    assert!(out.contains("  ok ") && out.contains("  FAILED  "), "{out}");
    assert!(err.contains("2 of what was tried failed; the first: ") && err.contains("/dead vault"), "{err}");

    let (code, out, _) = fixture.run(&["test", "--json"], &dead);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"], &json["keys"][0]["permissions"][0]["ok"]), (Some(1), &false.into(), &true.into()));
    let missing = &json["keys"][1]["permissions"][0];
    assert_eq!((&missing["kind"], &missing["code"]), (&"KmsUnavailable".into(), &45.into()), "{out}");
}

#[test]
#[cfg(feature = "vault")]
fn a_key_service_that_is_not_there_has_failures_and_no_figures() {
    let fixture = Fixture::new();
    let (dead, _held) = dead(&fixture);
    let (code, out, err) = fixture.run(&["bench", "--json", "--count", "2"], &dead);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["keys"][0]["wrap"]["failed"]), (Some(1), &0.into()));
    assert_eq!((&json["keys"][1]["wrap"]["failed"], &json["keys"][1]["wrap"]["p50_ms"]), (&2.into(), &Value::Null));
    assert!(err.contains("default/dead vault"), "{err}");
}

#[test]
fn each_operation_is_measured_as_often_as_asked() {
    let fixture = Fixture::new();
    let more = format!("{FALLBACK}kms.calls-per-second = 1000\n");
    let (code, out, err) = fixture.run(&["bench", "--json", "--count", "25", "--concurrency", "4"], &more);
    assert_eq!(code, Some(0), "{err}");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 2, "the default tenant's");
    for key in json["keys"].as_array().unwrap() {
        for operation in ["generate", "wrap", "unwrap"] {
            let figures = &key[operation];
            assert_eq!((&figures["calls"], &figures["failed"]), (&25.into(), &0.into()), "{out}");
            let [p50, p99, max] = ["p50_ms", "p99_ms", "max_ms"].map(|name| figures[name].as_f64().unwrap());
            assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{out}");
        }
    }
    let (code, out, _) = fixture.run(&["bench", "--tenant", "a", "--count", "3"], &more);
    assert!(code == Some(0) && out.contains("a/primary") && out.contains("p99 ms"), "{out}");
}

#[test]
fn a_wrong_request_is_exit_code_2() {
    let fixture = Fixture::new();
    let (code, _, err) = fixture.run(&["bench", "--tenant", "nobody"], "");
    assert!(code == Some(2) && err.contains("'nobody'"), "{err}");
    let (code, _, _) = fixture.run(&["bench", "--count", "0"], "");
    assert_eq!(code, Some(2));
    let (code, _, err) = fixture.run(&["test"], "kms.provder = 'x'\n");
    assert!(code == Some(2) && err.contains("did you mean"), "{err}");
}

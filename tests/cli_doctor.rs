//! `sealpoint doctor`: versions, and clocks that differ.

use std::fs;
#[cfg(feature = "vault")]
use std::io::{BufRead, BufReader, Write};
#[cfg(feature = "vault")]
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// What it finds with this configuration, and its exit code.
fn doctor(folder: &TempDir, config: &str) -> (Option<i32>, Vec<Value>) {
    fs::write(folder.path().join("sealpoint.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
    command.args(["doctor", "--json", "--config"]).arg(folder.path().join("sealpoint.toml"));
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), document["findings"].as_array().unwrap().clone())
}

fn found<'f>(findings: &'f [Value], what: &str) -> &'f Value {
    let found = findings.iter().find(|finding| finding["what"].as_str().unwrap().starts_with(what));
    found.unwrap_or_else(|| panic!("{what}: {findings:?}"))
}

#[test]
fn it_says_which_versions_meet_here() {
    let folder = TempDir::new().unwrap();
    let keyring = folder.path().join("keyring");
    let made = Command::new(env!("CARGO_BIN_EXE_sealpoint")).args(["keyring", "create"]).arg(&keyring).output();
    assert!(made.unwrap().status.success());
    let (code, findings) =
        doctor(&folder, &format!("kms.provider = 'local'\nkms.local.keyring = '{}'\n", keyring.display()));
    assert_eq!(code, Some(0), "{findings:?}");
    let version = found(&findings, "version")["remark"].as_str().unwrap().to_owned();
    let abi = sealpoint::ffi::c::SEALPOINT_ABI_VERSION;
    for said in [env!("CARGO_PKG_VERSION"), "sealed files of version 1", &format!("C interface {abi}")] {
        assert!(version.contains(said), "{version}");
    }
    let library = found(&findings, "C library")["remark"].as_str().unwrap().to_owned();
    assert!(library.contains("is here") && library.contains("2.") && library.contains("is needed"), "{library}");
    assert!(found(&findings, "clock")["remark"].as_str().unwrap().starts_with("not compared"), "{findings:?}");
}

/// A key service that refuses everything, on a day of its own.
#[cfg(feature = "vault")]
fn service(date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|stream| answer(&stream.unwrap(), date)));
    format!("http://{address}")
}

#[cfg(feature = "vault")]
fn answer(mut stream: &TcpStream, date: &str) {
    let head = BufReader::new(stream).lines().map_while(Result::ok);
    head.take_while(|line| !line.is_empty()).for_each(drop);
    let body = "{\"errors\":[\"permission denied\"]}";
    let length = body.len();
    let said = format!(
        "HTTP/1.1 403 Forbidden\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    // One that went away has what it needs.
    let _ = stream.write_all(said.as_bytes());
}

#[test]
#[cfg(feature = "vault")]
fn a_key_service_whose_clock_is_another_is_named() {
    let folder = TempDir::new().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "hvs.x").unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let address = service("Tue, 24 Nov 2020 21:00:00 GMT");
    let (code, findings) = doctor(
        &folder,
        &format!(
            "kms.provider = 'vault'\nkms.vault.address = '{address}'\nkms.vault.key-name = 'k'\n\
             kms.vault.auth = 'token'\nkms.vault.token-file = '{}'\n",
            token.display()
        ),
    );
    assert_eq!(code, Some(1));
    let clock = found(&findings, &format!("clock of {address}"));
    assert!(clock["ok"] == false && clock["error"].as_str().unwrap().contains("behind"), "{clock}");
}

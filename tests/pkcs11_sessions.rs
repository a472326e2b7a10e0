//! A PKCS#11 module is shared by all of a process: others log out, finalize it, and tokens come and go.

#![cfg(feature = "pkcs11")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use sealpoint::config::{KmsTransport, Pkcs11Config, Pkcs11Mechanism};
use sealpoint::context::EncryptionContext;
use sealpoint::error::Kind;
use sealpoint::kms::KmsClient;
use sealpoint::kms::pkcs11::Pkcs11Client;
use sealpoint::secret::Secret;
use tempfile::TempDir;
use tokio::runtime::Builder;

const MODULES: &[&str] =
    &["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"];
const FOLDER: &str = "PKCS11_SESSIONS_FOLDER";
const NAME: &str = "whatever_others_do_to_the_module_the_client_goes_on";

/// SoftHSM reads its configuration from the environment, so this runs itself again with one.
#[test]
fn whatever_others_do_to_the_module_the_client_goes_on() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return in_a_process_of_its_own(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("tokens")).unwrap();
    fs::write(path("pin"), "1234").unwrap();
    fs::write(path("softhsm2.conf"), format!("directories.tokendir = {}\n", path("tokens").display())).unwrap();
    let mut tool = Command::new("softhsm2-util");
    tool.args(["--init-token", "--free", "--label", "flink", "--pin", "1234", "--so-pin", "1234"]);
    let tool = tool.env("SOFTHSM2_CONF", path("softhsm2.conf")).output();
    assert!(tool.expect("SoftHSM 2 is missing: apt-get install softhsm2").status.success());
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", NAME, "--nocapture"]).env("SOFTHSM2_CONF", path("softhsm2.conf"));
    let output = alone.env(FOLDER, folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn in_a_process_of_its_own(folder: &Path) {
    let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists()).expect("softhsm2-util has its module");
    let config = Pkcs11Config {
        module: module.clone(),
        token_label: "flink".to_owned(),
        key_label: "state".to_owned(),
        pin_file: folder.join("pin"),
        mechanism: Pkcs11Mechanism::Auto,
    };
    let seconds = Duration::from_secs(30);
    let transport = KmsTransport { attempt_timeout: seconds, connect_timeout: seconds, ca_file: None, proxy: None };
    let created = Pkcs11Client::create_key(&config).unwrap();
    let client = Pkcs11Client::new(&config, &transport).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let context = EncryptionContext::new([("sealpoint:tenant", "a")]).unwrap();
    let secret = Secret::random(32).unwrap();
    let wrapped = runtime.block_on(client.encrypt(&secret, &context)).unwrap();
    assert_eq!(wrapped.version, created.id);
    let open = || runtime.block_on(client.decrypt(&wrapped, &context)).map(|opened| opened.expose() == secret.expose());
    assert_eq!(open(), Ok(true));

    let other = || Pkcs11::new(&module).unwrap();
    let session = other().open_ro_session(other().get_slots_with_token().unwrap()[0]).unwrap();
    session.logout().unwrap();
    assert_eq!(open(), Ok(true), "after another part of the process has logged the user out");

    drop(session);
    other().finalize().unwrap();
    assert_eq!(open(), Ok(true), "after another part of the process has finalized the module");

    let (tokens, elsewhere) = (folder.join("tokens"), folder.join("elsewhere"));
    let reload = || {
        other().finalize().unwrap();
        other().initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    };
    fs::rename(&tokens, &elsewhere).unwrap();
    fs::create_dir(&tokens).unwrap();
    let error = runtime.block_on(client.encrypt(&secret, &context)).unwrap_err();
    assert!(error.message().contains("pulled out") && !error.message().contains("create-key"), "{error}");
    reload();
    for _ in 0..2 {
        assert_eq!(open().unwrap_err().kind(), Kind::KmsUnavailable, "while the token is gone");
    }
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&elsewhere, &tokens).unwrap();
    reload();
    assert_eq!(open(), Ok(true), "after the token has come back");
}

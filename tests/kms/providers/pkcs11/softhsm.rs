//! The module, ours in front of it, and its tokens. SoftHSM reads its configuration from the environment when it is loaded, once a process, so
//! the whole suite runs with one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism as Operation;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::child::{Missing, root};
use crate::provider::{Pairs, pairs};

const CONFIGURATION: &str = "SOFTHSM2_CONF";
const PIN: &str = "87654321";

/// The token of the contract; the others are for cases of their own.
pub const TOKEN: &str = "sealpoint-contract";
pub const PIN_TOKEN: &str = "sealpoint-pin";
pub const TOOL_TOKEN: &str = "sealpoint-tool";

/// The key that our own tool has made.
pub const TOOL_KEY: &str = "made-by-our-tool";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    AesGcm,
    AesKwp,
}

impl Mechanism {
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::AesGcm => "aes-gcm",
            Mechanism::AesKwp => "aes-kwp",
        }
    }
}

/// Starts this program anew with the configuration of SoftHSM in its environment, unless it is there.
pub fn configure() {
    if std::env::var_os(CONFIGURATION).is_none() {
        let program = std::env::current_exe().expect("a program knows where it is");
        let error = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(CONFIGURATION, folder().join("softhsm2.conf"))
            .exec();
        panic!("the suite cannot start itself anew: {error}");
    }
}

fn folder() -> PathBuf {
    root().join("target/kms-softhsm")
}

pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// SoftHSM behind a module that fails on demand, with fresh tokens.
pub struct Device {
    /// Ours, for everybody in this process: locks go by the path.
    module: PathBuf,
    /// The module is used by one test at a time here; how our client does without that is what is tested.
    context: Mutex<Pkcs11>,
}

impl Device {
    /// The same for all providers, because the module is.
    pub fn start() -> Result<&'static Device, Missing> {
        static DEVICE: OnceLock<Result<Device, Missing>> = OnceLock::new();
        DEVICE.get_or_init(Device::fresh).as_ref().map_err(Clone::clone)
    }

    fn fresh() -> Result<Device, Missing> {
        let missing = || Missing("there is no SoftHSM 2 here: apt-get install softhsm2".to_owned());
        let places = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let module = places.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(missing)?;
        let tokens = folder().join("tokens");
        let _ = fs::remove_dir_all(&tokens);
        fs::create_dir_all(&tokens).expect("target is ours");
        let shim = shim(&module)?;
        let configuration = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(folder().join("softhsm2.conf"), configuration).expect("target is ours");
        fs::write(folder().join("pin"), format!("{PIN}\n")).expect("target is ours");
        for label in [TOKEN, PIN_TOKEN, TOOL_TOKEN] {
            let mut tool = Command::new("softhsm2-util");
            tool.args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN]);
            let output = tool.output().map_err(|_| missing())?;
            assert!(output.status.success(), "{output:?}");
        }
        // Before the module is loaded here: SoftHSM breaks a token that is open in one process when another one logs in.
        for succeeds in [true, false] {
            let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
            sealpoint.args(["pkcs11", "create-key", "--token-label", TOOL_TOKEN, "--key-label", TOOL_KEY]);
            let output = sealpoint.arg("--module").arg(&module).arg("--pin-file").arg(folder().join("pin")).output();
            let output = output.expect("it was built with this test");
            assert_eq!(output.status.success(), succeeds, "{output:?}");
        }
        let context = Pkcs11::new(&shim).expect("the module loads");
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => panic!("{error}"),
        }
        Ok(Device { module: shim, context: Mutex::new(context) })
    }

    pub fn pin_file(&self) -> PathBuf {
        folder().join("pin")
    }

    pub fn settings(&self, token: &str, key: &str, mechanism: Mechanism, pin_file: PathBuf) -> Pairs {
        pairs([
            ("kms.provider", "pkcs11"),
            ("kms.pkcs11.module", &self.module.display().to_string()),
            ("kms.pkcs11.token-label", token),
            ("kms.pkcs11.key-label", key),
            ("kms.pkcs11.pin-file", &pin_file.display().to_string()),
            ("kms.pkcs11.mechanism", mechanism.name()),
        ])
    }

    /// Another key of this label.
    pub fn generate(&self, token: &str, key: &str, mechanism: Mechanism, bytes: u64) {
        static LAST: Mutex<u64> = Mutex::new(0);
        let millis = {
            let mut last = LAST.lock().expect("no panic while it is held");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
            *last = now.max(*last + 1);
            *last
        };
        // As docs/KEY_SERVICES.md says that other tools should.
        let id = [b"SP", &millis.to_be_bytes()[2..], &[7; 4]].concat();
        let gcm = mechanism == Mechanism::AesGcm;
        let template = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::ValueLen(bytes.into()),
            Attribute::Label(key.as_bytes().to_vec()),
            Attribute::Id(id),
            Attribute::Encrypt(gcm),
            Attribute::Decrypt(gcm),
            Attribute::Wrap(!gcm),
            Attribute::Unwrap(!gcm),
        ];
        self.with(token, |session| session.generate_key(&Operation::AesKeyGen, &template).expect("a key is made"));
        std::thread::sleep(Duration::from_millis(2)); // the next one is younger, whoever makes it
    }

    /// One version of a key, or all.
    pub fn set_enabled(&self, key: &str, version: Option<&str>, mechanism: Mechanism, enabled: bool) {
        let template = match mechanism {
            Mechanism::AesGcm => [Attribute::Encrypt(enabled), Attribute::Decrypt(enabled)],
            Mechanism::AesKwp => [Attribute::Wrap(enabled), Attribute::Unwrap(enabled)],
        };
        self.with(TOKEN, |session| {
            for object in find(session, key, version) {
                session.update_attributes(object, &template).expect("attributes may be changed");
            }
        });
    }

    pub fn destroy(&self, key: &str, version: &str) {
        self.with(TOKEN, |session| {
            for object in find(session, key, Some(version)) {
                session.destroy_object(object).expect("keys may be destroyed");
            }
        });
    }

    /// What the token says of the newest key of this label that no one should be able to take out.
    pub fn secrecy(&self, key: &str) -> Vec<Attribute> {
        let wanted = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::NeverExtractable];
        self.with(TOKEN, |session| {
            let object = find(session, key, None).pop().expect("the key is there");
            session.get_attributes(object, &wanted).expect("it says so")
        })
    }

    /// Has this happen to each use of the keys of this label, as `shim.c` documents it; nothing any more without.
    pub fn afflict(&self, key: &str, fault: Option<&str>) {
        let (file, new) = (faults().join(key), faults().join(format!("{key}.new")));
        match fault {
            Some(fault) => fs::write(&new, fault).and_then(|()| fs::rename(&new, &file)).expect("target is ours"),
            None => fs::remove_file(&file).expect("it was afflicted"),
        }
    }

    /// How many uses of the keys of this label were held up so far.
    pub fn held_up(&self, key: &str) -> u64 {
        fs::metadata(faults().join(format!("{key}.calls"))).map_or(0, |file| file.len())
    }

    fn with<T>(&self, token: &str, work: impl FnOnce(&Session) -> T) -> T {
        let lock = sealpoint::kms::pkcs11::lock_of(&self.module);
        let _alone = lock.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let context = self.context.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let slots = context.get_slots_with_token().expect("there are slots");
        let labelled =
            |slot: &cryptoki::slot::Slot| context.get_token_info(*slot).is_ok_and(|info| info.label() == token);
        let slot = slots.into_iter().find(labelled).expect("the token is there");
        let session = context.open_rw_session(slot).expect("a session opens");
        match session.login(UserType::User, Some(&AuthPin::new(PIN.into()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => panic!("{error}"),
        }
        work(&session)
    }
}

fn faults() -> PathBuf {
    folder().join("faults")
}

/// Builds `shim.c` in front of this module.
fn shim(module: &Path) -> Result<PathBuf, Missing> {
    let _ = fs::remove_dir_all(faults());
    fs::create_dir_all(faults()).expect("target is ours");
    let shim = folder().join("shim.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-pthread"]);
    compiler.arg(format!("-DMODULE=\"{}\"", module.display()));
    compiler.arg(format!("-DFAULTS=\"{}\"", faults().display()));
    compiler.arg(root().join("tests/kms/providers/pkcs11/shim.c")).arg("-o").arg(&shim).arg("-ldl");
    let output = compiler.output();
    let output = output.map_err(|_| Missing("there is no C compiler (cc) here: apt-get install gcc".to_owned()))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(shim)
}

fn find(session: &Session, key: &str, version: Option<&str>) -> Vec<ObjectHandle> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(key.as_bytes().to_vec()),
    ];
    if let Some(version) = version {
        let byte = |at: usize| u8::from_str_radix(&version[at..at + 2], 16).expect("hex");
        template.push(Attribute::Id((0..version.len()).step_by(2).map(byte).collect()));
    }
    let found = session.find_objects(&template).expect("objects can be looked for");
    assert!(!found.is_empty(), "no key {key} {version:?}");
    found
}

//! SoftHSM 2: a PKCS#11 module that keeps its tokens in files. What is done "at the server" goes by the module itself.
//! In front of it is a module of ours that fails on demand.

mod cases;
pub mod softhsm;

use serde_json::{Value, json};

use crate::cases::Case;
use crate::child::Missing;
use crate::provider::{Pairs, Provider, Service};
use crate::proxy::Route;

use softhsm::{Device, Mechanism};

/// The same module by both mechanisms: `pkcs11` with associated data, `pkcs11-kwp` with the context bound inside.
pub struct Pkcs11(pub Mechanism);

const ONE_PROCESS: &str = "SoftHSM breaks a token that is open in one process while another one logs in";
const NO_NETWORK: &str = "a module has no network that the tests could reach";

impl Provider for Pkcs11 {
    fn name(&self) -> &'static str {
        match self.0 {
            Mechanism::AesGcm => "pkcs11",
            Mechanism::AesKwp => "pkcs11-kwp",
        }
    }

    fn server(&self) -> &'static str {
        match self.0 {
            Mechanism::AesGcm => "SoftHSM 2, AES-GCM, behind a module that fails on demand",
            Mechanism::AesKwp => "the same, AES key wrap with padding",
        }
    }

    fn start(&self) -> Result<Box<dyn Service>, Missing> {
        let device = Device::start()?;
        Ok(Box::new(Hsm { device, mechanism: self.0 }))
    }

    fn has_network(&self) -> bool {
        false
    }

    fn afflicted(&self) -> &'static [&'static str] {
        &["wrong_lengths", "latency", "silent"]
    }

    fn not_applicable(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("pending_deletion", "tokens delete keys at once"),
            ("retired_by_the_tool", ONE_PROCESS),
            ("shredded_by_the_tool", ONE_PROCESS),
            ("moves_between_providers", ONE_PROCESS),
            ("destroying_denied", "whoever has the PIN may do everything"),
            ("automatic_rotation", "a token does nothing by itself"),
            ("rate_limit", "a token does not throttle"),
            ("status_500", NO_NETWORK),
            ("status_503", NO_NETWORK),
            ("half_answer", NO_NETWORK),
            ("garbled_answer", NO_NETWORK),
            ("dropped_request", NO_NETWORK),
            ("refused", NO_NETWORK),
            ("unknown_issuer", NO_NETWORK),
            ("tls_1_1", NO_NETWORK),
            ("connecting_needs_no_network", NO_NETWORK),
            ("expired_credentials", "PINs of SoftHSM do not expire; `wrong_pin` is the case"),
            ("clock_skew", "there is only one clock"),
            ("permissions", "whoever has the PIN may do everything"),
        ]
    }

    fn own_cases(&self) -> Vec<Case> {
        match self.0 {
            Mechanism::AesGcm => cases::CASES.to_vec(),
            Mechanism::AesKwp => Vec::new(),
        }
    }
}

struct Hsm {
    device: &'static Device,
    mechanism: Mechanism,
}

impl Service for Hsm {
    fn upstream(&self) -> Option<String> {
        None
    }

    fn new_key(&self) -> String {
        let key = softhsm::unique("key");
        self.device.generate(softhsm::TOKEN, &key, self.mechanism, 32);
        key
    }

    fn settings(&self, key: &str, _: Option<&Route>) -> Pairs {
        self.device.settings(softhsm::TOKEN, key, self.mechanism, self.device.pin_file())
    }

    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        json!({"length": plaintext.len()})
    }

    fn afflict(&self, key: &str, action: Option<&Value>) {
        let fault = action.map(|action| match (&action["delay"], &action["hang"], &action["length"]) {
            (Value::Number(seconds), _, _) => format!("delay {seconds}"),
            (_, Value::Bool(true), _) => "hang".to_owned(),
            (_, _, Value::Number(length)) => format!("length {length}"),
            _ => panic!("shim.c does not do this: {action}"),
        });
        self.device.afflict(key, fault.as_deref());
    }

    fn set_enabled(&self, key: &str, enabled: bool) {
        self.device.set_enabled(key, None, self.mechanism, enabled);
    }

    fn rotate(&self, key: &str) {
        self.device.generate(softhsm::TOKEN, key, self.mechanism, 32);
    }

    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        self.device.set_enabled(key, Some(version), self.mechanism, enabled);
    }

    fn destroy_version(&self, key: &str, version: &str) {
        self.device.destroy(key, version);
    }
}

//! What the suite must know of a key service to put it through the contract.

use serde_json::{Value, json};

use crate::cases::{Case, Needs};
use crate::child::Missing;
use crate::proxy::Route;
use sealpoint::error::Kind;

/// Our own configuration: `("kms.provider", "vault")` and so on.
pub type Pairs = Vec<(String, String)>;

/// A key service that the contract is run against.
pub trait Provider: Send + Sync {
    /// As tests and the matrix name it: `aws`, `aws-local-kms`.
    fn name(&self) -> &'static str;

    /// What stands for it here, for the documentation: `moto 5`, `OpenBao 2.7, the real server`.
    fn server(&self) -> &'static str;

    /// Starts its server; called once, all tests share it.
    fn start(&self) -> Result<Box<dyn Service>, Missing>;

    /// False where clients call no server; no case that needs the fault proxy can then exist, but for those that
    /// [`afflicted`](Self::afflicted) names.
    fn has_network(&self) -> bool {
        true
    }

    /// The cases whose failures the service itself has on demand, see [`Service::afflict`].
    fn afflicted(&self) -> &'static [&'static str] {
        &[]
    }

    /// The other cases that cannot exist for it, each with the reason.
    fn not_applicable(&self) -> &'static [(&'static str, &'static str)];

    /// Why the case cannot exist for it, if so.
    fn excuse(&self, case: &Case) -> Option<&'static str> {
        let own = self.not_applicable().iter().find(|(name, _)| *name == case.name).map(|(_, why)| *why);
        let reached = self.has_network() || self.afflicted().contains(&case.name);
        let network = (!reached && case.needs == Needs::Faults).then_some("it is called without a network");
        own.or(network)
    }

    /// Cases that only it has: its logins, its own ways to fail.
    fn own_cases(&self) -> Vec<Case> {
        Vec::new()
    }
}

/// A key service that runs. What is done "at the server" goes by the server's own API or tool, never by our client, and
/// panics where it fails.
pub trait Service: Send + Sync {
    /// Where the server listens, `http://127.0.0.1:1234`; `None` where there is no network. Clients reach it through
    /// the fault proxy only.
    fn upstream(&self) -> Option<String>;

    /// Makes a fresh key of one version at the server and tells its name, as [`settings`](Self::settings) takes it.
    fn new_key(&self) -> String;

    /// The settings of a client that may do everything with this key. The suite adds `kms.ca-file` and short time-outs.
    fn settings(&self, key: &str, route: Option<&Route>) -> Pairs;

    /// A name that no key has.
    fn unknown_key(&self) -> String {
        "no-such-key".to_owned()
    }

    /// Disables the whole key at the server, or enables it again.
    fn set_enabled(&self, key: &str, enabled: bool) {
        let _ = (key, enabled);
        unreachable!("disabled_key is not applicable, or set_enabled is written");
    }

    /// Schedules the deletion of the key at the server.
    fn schedule_deletion(&self, key: &str) {
        let _ = key;
        unreachable!("pending_deletion is not applicable, or schedule_deletion is written");
    }

    /// Makes a new version current at the server.
    fn rotate(&self, key: &str) {
        let _ = key;
        unreachable!("the cases of versions are not applicable, or rotate is written");
    }

    /// Has the server rotate the key by itself, after so many days if it can, and tells after how many.
    fn rotate_every(&self, key: &str, days: u32) -> u32 {
        let _ = (key, days);
        unreachable!("automatic_rotation is not applicable, or rotate_every is written");
    }

    /// Disables a version, as our client names it, at the server, or enables it again.
    fn set_version_enabled(&self, key: &str, version: &str, enabled: bool) {
        let _ = (key, version, enabled);
        unreachable!("disabled_version is not applicable, or set_version_enabled is written");
    }

    /// Destroys a version at the server, for good.
    fn destroy_version(&self, key: &str, version: &str) {
        let _ = (key, version);
        unreachable!("destroyed_version is not applicable, or destroy_version is written");
    }

    /// What the request that unwraps is known by at the proxy: a part of `POST /path` or of its `X-Amz-Target`.
    fn unwrap_request(&self) -> &'static str {
        unreachable!("a service with a network says it");
    }

    /// The request that rewraps inside the service, where there is one.
    fn rewrap_request(&self) -> Option<&'static str> {
        None
    }

    /// The action of the proxy (`fault_proxy.py`) that stands for "slow down, come back after so many seconds".
    fn throttled(&self, seconds: u32) -> Value {
        json!({"status": 429, "headers": {"Retry-After": seconds.to_string()}, "body": "{}"})
    }

    /// True if what is said by [`throttled`](Self::throttled) holds a pause.
    fn tells_the_pause(&self) -> bool {
        true
    }

    /// True if the service draws data keys, so that a wrong length can come of that too.
    fn draws(&self) -> bool {
        false
    }

    /// The action of the proxy that puts this plaintext into the answers that carry one, checksums included.
    fn plaintext_answer(&self, plaintext: &[u8]) -> Value {
        let _ = plaintext;
        unreachable!("wrong_lengths is not applicable, or plaintext_answer is written");
    }

    /// Where there is no network: has this happen to each use of the key, an action as of the proxy; nothing any more
    /// without one.
    fn afflict(&self, key: &str, action: Option<&Value>) {
        let _ = (key, action);
        unreachable!("the provider names no afflicted case, or afflict is written");
    }

    /// The settings of a client whose credentials have expired, by what the server or the proxy says.
    fn expired(&self, key: &str, route: Option<&Route>) -> Pairs {
        let _ = (key, route);
        unreachable!("expired_credentials is not applicable, or expired is written");
    }

    /// Puts the clocks of client and server a day apart, as far as this service can tell, and says what the call must
    /// end in. By default the `Date` of each answer is off, and that must not matter.
    fn skew(&self, route: Option<&Route>) -> Result<(), Kind> {
        route.expect("clock_skew is not applicable without a network").inject(json!({"date": -86_400}));
        Ok(())
    }

    /// For each permission that [`probe`](sealpoint::kms::KmsClient::probe) tries: its name there, and the settings of
    /// an identity that lacks only it.
    fn denials(&self, key: &str, route: Option<&Route>) -> Vec<(String, Pairs)> {
        let _ = (key, route);
        unreachable!("permissions is not applicable, or denials is written");
    }

    /// An identity that may do everything with this key but destroy it: the permission for that as errors name it, and
    /// its settings.
    fn caretaker(&self, key: &str, route: Option<&Route>) -> (String, Pairs) {
        let _ = (key, route);
        unreachable!("destroying_denied is not applicable, or caretaker is written");
    }
}

/// Settings as [`Pairs`].
pub fn pairs<const N: usize>(settings: [(&str, &str); N]) -> Pairs {
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

//! Logins, local wrapping, roles, and what keys of Azure have of their own ways to go wrong.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sealpoint::error::Kind;
use sealpoint::kms::KeySpec;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::identities;
use super::server::{SECRET, Server, address_of, anonymous};
use crate::cases::{Case, Needs};
use crate::child::{root, tool};
use crate::fixture::{Fixture, fails, ok, tenant};
use crate::provider::Pairs;

pub const CASES: &[Case] = &[
    case("official_client", "Microsoft's own client takes the test server for a key vault and a Managed HSM", official),
    case(
        "wraps_here",
        "with `kms.azure.wrap-locally` no data key is wrapped by the vault, whatever the size of the key, and it opens",
        wraps_here,
    ),
    case("wraps_here_through_an_outage", "local wrapping goes on while the vault is away", wraps_here_in_an_outage),
    case(
        "wraps_here_under_a_new_version",
        "who rotates wraps under the new version at once",
        wraps_here_after_rotating,
    ),
    case("one_login", "64 data keys take one challenge, one login and one look at the key", one_login),
    case("token_is_renewed", "a token of four seconds is replaced before and after its end, unnoticed", renewed),
    case("revoked_token", "a revoked token is replaced by a new login, unnoticed", revoked),
    case("clock_of_the_vault", "a vault whose clock is a day ahead is told as such", clock),
    case("workload_identity", "a pod's identity logs in, and a wrong one is told as such", identities::workload),
    case("managed_identity", "a machine's identity logs in, and a missing one is told as such", identities::managed),
    case("throttled_login", "a login that is throttled is told as such, with the pause", throttled_login),
    case("foreign_challenge", "a vault that asks for a token of another domain gets none", foreign_challenge),
    case("wrong_types", "EC keys, signing keys and other algorithms are refused with the reason", wrong_types),
    case(
        "unknown_version",
        "a version that the key does not have is told from a key that is not there",
        unknown_version,
    ),
    case("pinned_version", "`kms.azure.key-version` stays on a version, and refuses to rotate", pinned),
    case("many_versions", "versions are listed over several pages", many_versions),
    case("dates", "outside its dates a version does not wrap, and still opens", dates),
    case("disabled_but_wrapping", "a vault that wraps under a disabled version is not let to", disabled_but_wrapping),
    case("roles", "the documented roles allow what they should and nothing else", roles),
];

pub const HSM_CASES: &[Case] = &[
    case("wrong_types", "a symmetric key of 128 bits is refused with the reason, an RSA key works", hsm_wrong_types),
    case("roles", "the documented roles allow what they should and nothing else", hsm_roles),
];

const fn case(name: &'static str, what: &'static str, run: fn(&Fixture)) -> Case {
    Case { name, what, needs: Needs::Server, run }
}

/// A server of this case alone, and the settings of its administrator's client. It is reached without the proxy.
fn alone(options: &[&str], key: Value) -> (Server, String) {
    let server = Server::start(options).expect("it started before");
    let key = server.new_key(key);
    (server, key)
}

fn rsa() -> Value {
    json!({"kty": "RSA", "key_size": 2048})
}

fn with(settings: Pairs, more: &[(&str, &str)]) -> Pairs {
    settings.into_iter().chain(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).collect()
}

fn official(_: &Fixture) {
    let run = Command::new(tool("python")).arg(root().join("tests/kms/official/azure_check.py")).output();
    let run = run.expect("it started before");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stderr).contains("\nOK"), "{}", String::from_utf8_lossy(&run.stderr));
}

fn wraps_here(fixture: &Fixture) {
    let (server, _) = alone(&[], rsa());
    for bits in [2048, 3072, 4096] {
        let key = server.new_key(json!({"kty": "RSA", "key_size": bits}));
        let settings = with(server.direct(&key), &[("kms.azure.wrap-locally", "true")]);
        let client = fixture.client(&settings);
        let (drawn, wrapped) = ok(client.data_key(&tenant("a")));
        assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), drawn);
        assert_eq!(ok(fixture.client(&server.direct(&key)).unwrap(&wrapped, &tenant("a"))), drawn);
        fails(client.unwrap(&wrapped, &tenant("b")), Kind::WrappedKey);
        ok(client.test_connection());
        assert_eq!(wrapped.version, ok(client.current_version()).id);
        assert_eq!(server.count("wrapKey"), 0, "{bits} bits");
    }
}

fn wraps_here_in_an_outage(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let client = fixture.client(&with(fixture.settings(&key), &[("kms.azure.wrap-locally", "true")]));
    ok(client.data_key(&tenant("a")));
    fixture.network().inject(json!({"status": 503}));
    let (drawn, wrapped) = ok(client.data_key(&tenant("a")));
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsUnavailable);
    fixture.network().clear();
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), drawn);
}

fn wraps_here_after_rotating(fixture: &Fixture) {
    let key = fixture.service().new_key();
    let client = fixture.client(&with(fixture.settings(&key), &[("kms.azure.wrap-locally", "true")]));
    let old = ok(client.wrap(&[7; 32], &tenant("a")));
    let rotated = ok(client.rotate());
    let new = ok(client.wrap(&[8; 32], &tenant("a")));
    assert_ne!(old.version, new.version);
    assert_eq!(new.version, rotated.id);
    assert_eq!(ok(client.unwrap(&old, &tenant("a"))), [7; 32]);
    assert_eq!(ok(client.unwrap(&new, &tenant("a"))), [8; 32]);
}

fn one_login(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let drawn = client.run(|kms| async move {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let kms = Arc::clone(&kms);
            calls.spawn(async move { kms.generate_data_key(KeySpec::Aes256, &tenant("a")).await });
        }
        calls.join_all().await
    });
    drawn.into_iter().for_each(|drawn| drop(ok(drawn)));
    let route = fixture.network();
    assert_eq!(route.count("/wrapkey"), 64);
    assert_eq!(route.count("/oauth2/"), 1, "{:?}", route.counts());
    assert_eq!(route.count(&format!("GET /keys/{key}")), 2, "{:?}", route.counts());
}

fn renewed(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    server.control("tokens", json!({"lifetime": 4}));
    let client = fixture.client(&server.direct(&key));
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let logins = server.count("log in");
    // Past the end of the token, and then into the last fifth of the next one.
    for pause in [4_200, 3_500] {
        thread::sleep(Duration::from_millis(pause));
        assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    }
    assert_eq!(server.count("log in"), logins + 2);
    assert_eq!(server.count("unauthorized"), 1, "only the challenge: no expired token was sent");
}

fn revoked(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    let client = fixture.client(&server.direct(&key));
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    let logins = server.count("log in");
    server.control("revoke", json!({}));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    ok(client.data_key(&tenant("a")));
    assert_eq!(server.count("log in"), logins + 1);
}

fn clock(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    server.control("clock", json!({"offset": 86_400}));
    let client = fixture.client(&server.direct(&key));
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Credentials);
    assert!(error.message().contains("TokenExpired") && error.message().contains("clock"), "{error}");
    server.control("clock", json!({"offset": 0}));
    ok(client.data_key(&tenant("a")));
}

fn throttled_login(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    fixture.network().inject_into("/oauth2/", 1, fixture.service().throttled(7));
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KmsThrottled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error}");
    ok(client.data_key(&tenant("a")));
}

fn foreign_challenge(fixture: &Fixture) {
    let key = fixture.service().new_key();
    // Under this name it is not in the domain that it asks for a token of.
    let elsewhere = fixture.network().url();
    let settings = fixture.settings(&key).into_iter().map(|(key, value)| match key.as_str() {
        "kms.azure.vault-url" => (key, elsewhere.clone()),
        _ => (key, value),
    });
    let client = fixture.client(&settings.collect());
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.azure.vault-url"), "{error}");
    assert_eq!(fixture.network().count("/oauth2/"), 0, "nobody logged in for it");
}

fn wrong_types(fixture: &Fixture) {
    let (server, _) = alone(&[], rsa());
    for (key, said) in [
        (json!({"kty": "EC"}), "EC"),
        (json!({"kty": "RSA", "key_ops": ["sign", "verify"]}), "key_ops"),
        (json!({"kty": "RSA", "key_ops": ["wrapKey"]}), "unwrapKey"),
    ] {
        let key = server.new_key(key);
        let client = fixture.client(&server.direct(&key));
        for outcome in [client.data_key(&tenant("a")).map(|_| ()), client.test_connection()] {
            let error = fails(outcome, Kind::Config);
            assert!(error.message().contains(said) && error.message().contains(&key), "{error}");
        }
    }
    let settings = with(server.direct(&server.new_key(rsa())), &[("kms.azure.algorithm", "a256gcm")]);
    let error = fails(fixture.client(&settings).data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.azure.algorithm"), "{error}");
    assert_eq!((server.count("wrapKey"), server.count("encrypt")), (0, 0));
}

fn unknown_version(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let mut wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    for version in ["00000000000000000000000000000000", "", "..", "../other/1", "1?x=", "%2e%2e"] {
        wrapped.version = version.to_owned();
        fails(client.unwrap(&wrapped, &tenant("a")), Kind::KeyVersionNotFound);
    }
    let asked: Vec<String> = fixture.network().counts().into_keys().filter(|path| path.contains("unwrapkey")).collect();
    assert!(asked.iter().all(|path| path.contains("/00000000000000000000000000000000/")), "{asked:?}");
}

fn pinned(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let first = ok(client.current_version()).id;
    fixture.service().rotate(&key);
    for local in ["false", "true"] {
        let more = [("kms.azure.key-version", first.as_str()), ("kms.azure.wrap-locally", local)];
        let staying = fixture.client(&with(fixture.settings(&key), &more));
        let wrapped = ok(staying.wrap(&[7; 32], &tenant("a")));
        assert_eq!((&wrapped.version, &ok(staying.current_version()).id), (&first, &first));
        assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
        let error = fails(staying.rotate(), Kind::Config);
        assert!(error.message().contains("kms.azure.key-version"), "{error}");
    }
    assert_eq!(ok(client.versions()).len(), 2);
}

fn many_versions(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    server.control("quirks", json!({"page": 2}));
    let client = fixture.client(&server.direct(&key));
    let rotated: Vec<String> = (0..4).map(|_| ok(client.rotate()).id).collect();
    let listed: Vec<String> = ok(client.versions()).into_iter().map(|version| version.id).collect();
    assert_eq!((listed.len(), listed.last()), (5, rotated.last()));
    assert!(rotated.iter().all(|version| listed.contains(version)), "{listed:?} holds {rotated:?}");
    assert_eq!(server.count("list"), 3);
}

fn dates(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    let wrapped = ok(fixture.client(&server.direct(&key)).wrap(&[7; 32], &tenant("a")));
    for (dates, said) in
        [(json!({"nbf": 4_000_000_000_u64}), "not valid yet"), (json!({"nbf": 1, "exp": 2}), "expired")]
    {
        server.keys("PATCH", &format!("{key}/{}", wrapped.version), Some(json!({"attributes": dates})));
        for local in ["false", "true"] {
            let client = fixture.client(&with(server.direct(&key), &[("kms.azure.wrap-locally", local)]));
            let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KeyDisabled);
            assert!(error.message().contains(said), "{error}");
            assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
        }
    }
}

fn disabled_but_wrapping(fixture: &Fixture) {
    let (server, key) = alone(&[], rsa());
    server.control("quirks", json!({"wrap_while_disabled": true}));
    let version = server.versions(&key).remove(0);
    server.keys("PATCH", &format!("{key}/{version}"), Some(json!({"attributes": {"enabled": false}})));
    for local in ["false", "true"] {
        let client = fixture.client(&with(server.direct(&key), &[("kms.azure.wrap-locally", local)]));
        fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KeyDisabled);
    }
    assert_eq!(server.count("wrapKey"), 0);
}

fn hsm_wrong_types(fixture: &Fixture) {
    let (server, short) = alone(&["--hsm"], json!({"kty": "oct-HSM", "key_size": 128}));
    let error = fails(fixture.client(&server.direct(&short)).data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("size of the key") && error.message().contains(&short), "{error}");
    let symmetric = server.new_key(json!({"kty": "oct-HSM", "key_size": 256}));
    let settings = with(server.direct(&symmetric), &[("kms.azure.wrap-locally", "true")]);
    let error = fails(fixture.client(&settings).data_key(&tenant("a")).map(|_| ()), Kind::Config);
    assert!(error.message().contains("kms.azure.wrap-locally"), "{error}");
    let client = fixture.client(&server.direct(&server.new_key(json!({"kty": "RSA-HSM", "key_size": 3072}))));
    let (drawn, wrapped) = ok(client.data_key(&tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), drawn);
}

fn roles(fixture: &Fixture) {
    let [task_managers, job_manager, _, _] = documented();
    each_role(fixture, alone(&[], rsa()), &task_managers, &job_manager);
}

fn hsm_roles(fixture: &Fixture) {
    let [_, _, task_managers, job_manager] = documented();
    each_role(fixture, alone(&["--hsm"], json!({"kty": "oct-HSM", "key_size": 256})), &task_managers, &job_manager);
}

fn each_role(fixture: &Fixture, (server, key): (Server, String), task_managers: &[String], job_manager: &[String]) {
    let client = |actions: &[String]| {
        let client = server.identity(json!({"secrets": [SECRET]}));
        server.control("allow", json!({"client": client, "actions": actions}));
        fixture.client(&server.direct_as(&client, &key))
    };
    let (worker, master) = (client(task_managers), client(job_manager));
    for client in [&worker, &master] {
        ok(client.test_connection());
        let (drawn, wrapped) = ok(client.data_key(&tenant("a")));
        assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), drawn);
        ok(client.current_version());
    }
    let error = fails(worker.rotate(), Kind::AccessDenied);
    assert!(error.message().contains("keys/rotate/action"), "{error}");
    let first = ok(master.current_version()).id;
    ok(master.rotate());
    assert_eq!(ok(master.versions()).len(), 2);
    fails(worker.set_version_enabled(&first, false), Kind::AccessDenied);
    fails(master.set_version_enabled(&first, false), Kind::AccessDenied);
}

/// The data actions of the roles in docs/KEY_SERVICES.md: for TaskManagers and the JobManager, of a vault and an HSM.
fn documented() -> [Vec<String>; 4] {
    let text = include_str!("../../../../docs/KEY_SERVICES.md");
    let section = text.split("\n## Azure").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let roles = section.split("```json\n").skip(1).map(|block| {
        let role: Value = serde_json::from_str(block.split("```").next().unwrap_or_default()).expect("JSON");
        let actions = role["DataActions"].as_array().or_else(|| role["permissions"][0]["dataActions"].as_array());
        actions.expect("data actions").iter().map(|action| action.as_str().expect("a text").to_owned()).collect()
    });
    roles.collect::<Vec<_>>().try_into().expect("four roles")
}

/// Seals and opens a file by the tool, in an environment of its own; what it said if it failed.
pub fn sealed_by_the_tool(settings: &Pairs, environment: &[(&str, &str)]) -> Result<(), String> {
    let folder = TempDir::new().expect("temporary files can be made");
    let path = |name: &str| folder.path().join(name);
    let toml: String = settings.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
    std::fs::write(path("sealpoint.toml"), toml).expect("temporary files can be written");
    std::fs::write(path("plain"), b"state").expect("temporary files can be written");
    for arguments in [["seal", "plain", "sealed"], ["open", "sealed", "opened"]] {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        tool.args(arguments)
            .args(["--config", "sealpoint.toml"])
            .current_dir(&folder)
            .envs(environment.iter().copied());
        let output = tool.output().expect("the tool was built with this test");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    assert_eq!(std::fs::read(path("opened")).expect("it was opened"), b"state");
    Ok(())
}

/// The settings of a client that logs in by what its environment offers.
pub fn by_environment(fixture: &Fixture, credential: &str) -> Pairs {
    let key = fixture.service().new_key();
    let address = address_of(fixture.network());
    let more = [("kms.azure.credential", credential), ("kms.azure.authority-host", address.as_str())];
    fixture.complete(&with(anonymous(&key, &address), &more), fixture.route())
}

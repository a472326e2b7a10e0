//! Logins, tokens, policies, and what Vault has of its own ways to go wrong.

use std::fs;
use std::thread;
use std::time::Duration;

use sealpoint::error::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::admin::{Admin, ROOT, documented, unique};
use super::{bao, kubernetes};
use crate::cases::tool::Tool;
use crate::cases::{Case, Needs};
use crate::child::Child;
use crate::client::Client;
use crate::fixture::{Fixture, fails, ok, tenant};
use crate::provider::{Pairs, pairs};

pub const CASES: &[Case] = &[
    case("approle", "the AppRole login works; a used-up or wrong secret id is told as such", approle),
    case("approle_lasts", "past the longest life of a token the client has logged in anew", approle_lasts),
    case("revoked_and_logged_in_again", "a revoked token is replaced by a new login, unnoticed", revoked),
    case(
        "kubernetes",
        "the Kubernetes login works; a wrong role and a wrong service account are told apart",
        kubernetes,
    ),
    case("token_is_renewed", "a renewable token outlives its first lease, though no call is made meanwhile", renewed),
    case("token_file_is_read_again", "a new token in the file is taken at once", replaced),
    case("token_without_default_policy", "a token that may not ask about itself works", without_default),
    case("policies", "the documented policies allow what they should and nothing else", policies),
    case(
        "missing_before_a_restore",
        "`sealpoint preflight` names each permission that a restore, and the checkpoints after it, would miss",
        missing_before_a_restore,
    ),
    case("no_key_is_created", "wrapping under a missing key creates none, whatever the token may do", no_upsert),
    case("a_deleted_key_stays_deleted", "a key that was deleted while it was in use is not made anew", deleted),
    case(
        "not_transit",
        "a path without a transit engine, and a namespace that is not there, are the configuration's fault",
        not_transit,
    ),
    case(
        "wrong_types",
        "keys of another type, of 128 bits, and derived ones are refused before anything is wrapped",
        wrong_types,
    ),
    case("namespace", "a key in a namespace works, and is named with it", namespace),
    case("quota", "a rate limit quota of the server is throttling", quota),
    case(
        "only_from_the_oldest_on",
        "versions that the server cannot disable or enable by themselves are said to be so",
        in_order,
    ),
    case("sealed_over_its_own_tls", "a server with TLS of its own works, and sealed it may pass", sealed),
];

const fn case(name: &'static str, what: &'static str, run: fn(&Fixture)) -> Case {
    Case { name, what, needs: Needs::Server, run }
}

fn admin(fixture: &Fixture) -> Admin {
    Admin::new(&fixture.service().upstream().expect("it has a network"))
}

/// The settings of a client of `key`, but for its login.
fn settings(fixture: &Fixture, key: &str, more: &[(&str, &str)]) -> Pairs {
    let address = fixture.network().url();
    let base = [("kms.provider", "vault"), ("kms.vault.address", address.as_str()), ("kms.vault.key-name", key)];
    base.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn round_trip(client: &Client) {
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

/// An AppRole of its own mount: the settings of a client, and the file of its secret id.
fn approle_settings(fixture: &Fixture, folder: &TempDir, key: &str, options: serde_json::Value) -> (Pairs, String) {
    let admin = admin(fixture);
    let mount = unique("approle");
    admin.post(&format!("sys/auth/{mount}"), json!({"type": "approle"}));
    let mut role = options;
    role["token_policies"] = json!([admin.policy(&documented(&[1], key))]);
    admin.post(&format!("auth/{mount}/role/flink"), role);
    let role_id = admin.get(&format!("auth/{mount}/role/flink/role-id"));
    let secret_id = admin.post(&format!("auth/{mount}/role/flink/secret-id"), json!({}));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let file = admin.credential(folder.path(), &text(&secret_id["data"]["secret_id"]));
    let role_id = text(&role_id["data"]["role_id"]);
    let login = [
        ("kms.vault.auth", "approle"),
        ("kms.vault.auth-mount", mount.as_str()),
        ("kms.vault.role-id", &role_id),
        ("kms.vault.secret-id-file", &file),
    ];
    (settings(fixture, key, &login), file)
}

fn folder() -> TempDir {
    TempDir::new().expect("temporary files can be made")
}

fn approle(fixture: &Fixture) {
    let (folder, key) = (folder(), fixture.service().new_key());
    let (settings, file) = approle_settings(fixture, &folder, &key, json!({"secret_id_num_uses": 1}));
    round_trip(&fixture.client(&settings));
    let error = fails(fixture.client(&settings).wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    assert!(error.message().contains("kms.vault.secret-id-file"), "{error}");
    fs::write(file, "not-a-secret-id").expect("it is ours");
    let error = fails(fixture.client(&settings).test_connection(), Kind::Credentials);
    assert!(!error.message().contains("not-a-secret-id"), "{error}");
}

fn approle_lasts(fixture: &Fixture) {
    let (folder, key) = (folder(), fixture.service().new_key());
    let life = json!({"token_ttl": "2s", "token_max_ttl": "4s"});
    let client = fixture.client(&approle_settings(fixture, &folder, &key, life).0);
    round_trip(&client);
    thread::sleep(Duration::from_secs(7));
    round_trip(&client);
    assert!(fixture.network().count("/login") >= 2, "{:?}", fixture.network().counts());
    assert!(fixture.network().count("/renew-self") >= 1, "{:?}", fixture.network().counts());
}

fn revoked(fixture: &Fixture) {
    let (folder, key) = (folder(), fixture.service().new_key());
    let (settings, _) = approle_settings(fixture, &folder, &key, json!({}));
    let client = fixture.client(&settings);
    round_trip(&client);
    let mount = &settings.iter().find(|(key, _)| key == "kms.vault.auth-mount").expect("it is set").1;
    admin(fixture).post(&format!("sys/leases/revoke-prefix/auth/{mount}"), json!({}));
    round_trip(&client);
    assert_eq!(fixture.network().count("/login"), 2);
}

fn kubernetes(fixture: &Fixture) {
    let (folder, key, admin) = (folder(), fixture.service().new_key(), admin(fixture));
    let reviewer = kubernetes::TokenReviewer::start();
    let mount = unique("kubernetes");
    admin.post(&format!("sys/auth/{mount}"), json!({"type": "kubernetes"}));
    let any = fs::read_to_string(fixture.network().ca_file()).expect("the proxy's authority");
    let config =
        json!({"kubernetes_host": reviewer.address(), "disable_local_ca_jwt": true, "kubernetes_ca_cert": any});
    admin.post(&format!("auth/{mount}/config"), config);
    let role = json!({
        "bound_service_account_names": "flink",
        "bound_service_account_namespaces": "streaming",
        "token_policies": [admin.policy(&documented(&[1], &key))],
    });
    admin.post(&format!("auth/{mount}/role/flink"), role);
    let client = |role: &str, account: &str| {
        let file = admin.credential(folder.path(), &kubernetes::token(account));
        let login = [
            ("kms.vault.auth", "kubernetes"),
            ("kms.vault.auth-mount", mount.as_str()),
            ("kms.vault.role", role),
            ("kms.vault.jwt-file", &file),
        ];
        fixture.client(&settings(fixture, &key, &login))
    };
    round_trip(&client("flink", "flink"));
    let error = fails(client("no-such-role", "flink").wrap(&[7; 32], &tenant("a")), Kind::Config);
    assert!(error.message().contains("kms.vault.role"), "{error}");
    let error = fails(client("flink", "somebody-else").wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    assert!(error.message().contains("kms.vault.jwt-file"), "{error}");
}

fn renewed(fixture: &Fixture) {
    let (folder, key, admin) = (folder(), fixture.service().new_key(), admin(fixture));
    let outlives = || {
        let token = admin.token(&documented(&[1], &key), json!({"ttl": "3s", "renewable": true}));
        let file = admin.credential(folder.path(), &token);
        let client = fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]));
        let before = fixture.network().count("/renew-self");
        let works = || client.wrap(&[7; 32], &tenant("a")).is_ok();
        let first = works();
        thread::sleep(Duration::from_secs(7));
        first && works() && fixture.network().count("/renew-self") >= before + 2
    };
    // A machine that stands still for a second lets a token of three die.
    assert!((0..3).any(|_| outlives()), "{:?}", fixture.network().counts());
}

fn replaced(fixture: &Fixture) {
    let (folder, key, admin) = (folder(), fixture.service().new_key(), admin(fixture));
    let (first, second) =
        (admin.token(&documented(&[1], &key), json!({})), admin.token(&documented(&[1], &key), json!({})));
    let file = admin.credential(folder.path(), &first);
    let client = fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]));
    round_trip(&client);
    admin.post("auth/token/revoke", json!({"token": first}));
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    assert!(error.message().contains("kms.vault.token-file") && !error.message().contains(&first), "{error}");
    fs::write(&file, &second).expect("it is ours");
    round_trip(&client);
    fs::remove_file(&file).expect("it is there");
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Config);
    assert!(error.message().contains(&file), "{error}");
}

fn without_default(fixture: &Fixture) {
    let (folder, key, admin) = (folder(), fixture.service().new_key(), admin(fixture));
    let token = admin.token(&documented(&[1], &key), json!({"no_default_policy": true}));
    let file = admin.credential(folder.path(), &token);
    let client = fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]));
    round_trip(&client);
    fails(client.rotate(), Kind::AccessDenied);
    ok(client.test_connection());
    assert_eq!(client.probe().len(), 3, "what may not be asked is not said");
}

fn policies(fixture: &Fixture) {
    let (folder, key, admin) = (folder(), fixture.service().new_key(), admin(fixture));
    let client = |numbers: &[usize]| {
        let file = admin.credential(folder.path(), &admin.token(&documented(numbers, &key), json!({})));
        fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]))
    };
    let (task_manager, job_manager, administrator) = (client(&[1]), client(&[2]), client(&[2, 3]));
    for client in [&task_manager, &job_manager] {
        ok(client.test_connection());
        round_trip(client);
    }
    let line = format!("path \"transit/keys/{key}/rotate\" {{ capabilities = [\"update\"] }}");
    let asked = task_manager.probe().pop().expect("something is asked for").outcome;
    for outcome in [asked, task_manager.rotate().map(drop)] {
        let error = fails(outcome, Kind::AccessDenied);
        assert!(error.message().contains(&line), "{error}");
    }
    for probe in job_manager.probe() {
        ok(probe.outcome.map_err(|error| error.at(probe.permission)));
    }
    ok(job_manager.rotate());
    fails(job_manager.set_version_enabled("1", false), Kind::AccessDenied);
    ok(administrator.set_version_enabled("1", false));
}

fn missing_before_a_restore(fixture: &Fixture) {
    let (key, _) = fixture.fresh();
    let tool = Tool::new(fixture, &key);
    tool.checkpoint("store/chk-7");
    let arguments = ["preflight", "--savepoint", &tool.path("store/chk-7")];
    assert!(tool.run(0, &arguments).contains("the restore would work"));
    for (permission, settings) in fixture.service().denials(&key, fixture.route()) {
        tool.take_settings(fixture, &settings);
        // No restore rotates.
        if permission.contains("/rotate") {
            tool.run(0, &arguments);
            continue;
        }
        let said = tool.run(3, &arguments);
        let missing: Vec<&str> = said.lines().filter(|line| line.contains("MISSING default/vault")).collect();
        assert!(missing.len() == 1 && missing[0].contains(&permission), "without {permission}: {said}");
        assert!(said.contains("the restore would not work\n"), "{said}");
        let output =
            tool.sealpoint().args(arguments).arg("--json").output().expect("the tool was built with this test");
        let report: Value = serde_json::from_slice(&output.stdout).expect("it is one document");
        assert_eq!((output.status.code(), &report["clear"]), (Some(3), &json!(false)), "{report}");
        for tried in report["permissions"].as_array().expect("a list") {
            assert_eq!(
                tried["missing"].is_string(),
                tried["permission"] == permission,
                "without {permission}: {report}"
            );
        }
    }
    // A service that is away says nothing of what it allows.
    tool.take_settings(fixture, &fixture.settings(&key));
    tool.configure("kms.attempts = 2\n");
    fixture.network().inject(fixture.service().throttled(1));
    let said = tool.run(1, &arguments);
    assert!(said.contains("could not be found out") && !said.contains("MISSING default/vault"), "{said}");
    fixture.network().clear();
}

fn no_upsert(fixture: &Fixture) {
    let (folder, admin, missing) = (folder(), admin(fixture), unique("missing"));
    let file = admin.credential(folder.path(), ROOT);
    let client = fixture.client(&settings(fixture, &missing, &[("kms.vault.token-file", &file)]));
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::KeyNotFound);
    fails(client.data_key(&tenant("a")).map(|_| ()), Kind::KeyNotFound);
    fails(client.test_connection(), Kind::KeyNotFound);
    fails(client.rotate(), Kind::KeyNotFound);
    assert_eq!(fixture.network().count("/encrypt/"), 0);
    let other = fixture.service().new_key(); // an empty list is no list
    let keys = admin.get("transit/keys?list=true");
    let keys = keys["data"]["keys"].as_array().expect("a list");
    assert!(keys.contains(&json!(other)) && !keys.contains(&json!(missing)), "{keys:?}");
}

fn deleted(fixture: &Fixture) {
    let (folder, admin, key) = (folder(), admin(fixture), fixture.service().new_key());
    let file = admin.credential(folder.path(), ROOT);
    let client = fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]));
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    admin.post(&format!("transit/keys/{key}/config"), json!({"deletion_allowed": true}));
    admin.delete(&format!("transit/keys/{key}"));
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KeyNotFound);
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::KeyNotFound);
    fails(client.unwrap(&wrapped, &tenant("a")), Kind::KeyNotFound);
}

fn not_transit(fixture: &Fixture) {
    let (folder, admin) = (folder(), admin(fixture));
    let file = admin.credential(folder.path(), ROOT);
    for (option, value) in [
        ("kms.vault.mount", "nothing/here"),
        ("kms.vault.mount", "secret"),
        ("kms.vault.mount", "sys"),
        ("kms.vault.namespace", "no-such-team"),
    ] {
        let client = fixture.client(&settings(fixture, "k", &[("kms.vault.token-file", &file), (option, value)]));
        for error in
            [fails(client.wrap(&[7; 32], &tenant("a")), Kind::Config), fails(client.test_connection(), Kind::Config)]
        {
            assert!(error.message().contains(option), "{error}");
        }
    }
}

fn wrong_types(fixture: &Fixture) {
    let (folder, admin) = (folder(), admin(fixture));
    let file = admin.credential(folder.path(), ROOT);
    for (options, said) in [
        (json!({"type": "rsa-2048"}), "rsa-2048"),
        (json!({"type": "ed25519"}), "ed25519"),
        (json!({"type": "aes128-gcm96"}), "aes128-gcm96"),
        (json!({"derived": true}), "derived"),
    ] {
        let key = admin.new_key("transit", options);
        let client = fixture.client(&settings(fixture, &key, &[("kms.vault.token-file", &file)]));
        for error in
            [fails(client.wrap(&[7; 32], &tenant("a")), Kind::Config), fails(client.test_connection(), Kind::Config)]
        {
            assert!(error.message().contains(said) && error.message().contains(&key), "{error}");
        }
    }
    assert_eq!(fixture.network().count("/encrypt/"), 0);
}

fn namespace(fixture: &Fixture) {
    let (folder, admin, team) = (folder(), admin(fixture), unique("team"));
    admin.post(&format!("sys/namespaces/{team}"), json!({}));
    let inside = admin.within(&team);
    inside.post("sys/mounts/teams/transit", json!({"type": "transit"}));
    let key = inside.new_key("teams/transit", json!({}));
    let file = admin.credential(folder.path(), ROOT);
    let more =
        [("kms.vault.token-file", file.as_str()), ("kms.vault.mount", "teams/transit"), ("kms.vault.namespace", &team)];
    let client = fixture.client(&settings(fixture, &key, &more));
    round_trip(&client);
    assert_eq!(client.kms().key_id(), format!("{team}/teams/transit/keys/{key}"));
}

fn quota(fixture: &Fixture) {
    let (folder, admin, mount) = (folder(), admin(fixture), unique("limited"));
    admin.post(&format!("sys/mounts/{mount}"), json!({"type": "transit"}));
    let key = admin.new_key(&mount, json!({}));
    let file = admin.credential(folder.path(), ROOT);
    let more = [("kms.vault.token-file", file.as_str()), ("kms.vault.mount", &mount)];
    let client = fixture.client(&settings(fixture, &key, &more));
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    admin.post("sys/quotas/config", json!({"enable_rate_limit_response_headers": true}));
    admin.post(&format!("sys/quotas/rate-limit/{mount}"), json!({"rate": 0.01, "path": mount}));
    let refused = (0..100).find_map(|_| client.unwrap(&wrapped, &tenant("a")).err()).expect("the quota holds");
    assert_eq!(refused.kind(), Kind::KmsThrottled, "{refused}");
    assert!(refused.retry_after().is_some(), "the server says how long to wait");
    admin.delete(&format!("sys/quotas/rate-limit/{mount}"));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn in_order(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let enabled = || ok(client.versions()).iter().map(|version| version.enabled).collect::<Vec<_>>();
    (0..2).for_each(|_| fixture.service().rotate(&key));
    fails(client.set_version_enabled("2", false), Kind::Unsupported);
    fails(client.set_version_enabled("3", false), Kind::Unsupported);
    ok(client.set_version_enabled("1", false));
    ok(client.set_version_enabled("2", false));
    assert_eq!(enabled(), [false, false, true]);
    fails(client.set_version_enabled("1", true), Kind::Unsupported);
    ok(client.set_version_enabled("2", true));
    ok(client.set_version_enabled("1", true));
    assert_eq!(enabled(), [true, true, true]);
    for unknown in ["0", "4", "x", "", "-1"] {
        fails(client.set_version_enabled(unknown, false), Kind::KeyVersionNotFound);
    }
}

fn sealed(fixture: &Fixture) {
    let folder = folder();
    let authorities = format!("-dev-tls-cert-dir={}", folder.path().display());
    let started = Child::serve("vault-tls", |port| bao(&folder, port, &["-dev-tls", &authorities]));
    let (_child, port) = started.unwrap_or_else(|missing| panic!("{missing}"));
    let address = format!("https://127.0.0.1:{port}");
    let admin = Admin::new(&address);
    admin.post("sys/mounts/transit", json!({"type": "transit"}));
    let key = admin.new_key("transit", json!({}));
    let file = admin.credential(folder.path(), ROOT);
    let ca_file = folder.path().join("vault-ca.pem").display().to_string();
    let settings = pairs([
        ("kms.provider", "vault"),
        ("kms.vault.address", &address),
        ("kms.vault.key-name", &key),
        ("kms.vault.token-file", &file),
        ("kms.ca-file", &ca_file),
    ]);
    let client = fixture.client(&settings);
    round_trip(&client);
    let error = fails(fixture.client(&settings[..4].to_vec()).test_connection(), Kind::Config);
    assert!(error.message().contains("kms.ca-file"), "{error}");
    admin.post("sys/seal", json!({}));
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::KmsUnavailable);
    assert!(error.message().contains("unseal"), "{error}");
}

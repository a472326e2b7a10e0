//! Who we are to Google Cloud, whose key it is, and what else can be wrong with a request or an answer.

use std::fs;
use std::path::Path;
use std::process::Command;

use sealpoint::error::Kind;
use serde_json::json;
use tempfile::TempDir;

use super::server::{Server, key_name, unique};
use super::{PERMISSIONS, settings};
use crate::cases::{Case, Needs};
use crate::child::{script, tool};
use crate::client::Client;
use crate::fixture::{Fixture, context, fails, ok, tenant};
use crate::provider::{Pairs, pairs};

pub const CASES: &[Case] = &[
    case(
        "official_client",
        "Google's own client (Python, REST) gets from this server what the reference says",
        official,
    ),
    case("token_ends_early", "a token that is refused before its time is replaced by a new one, unnoticed", ends_early),
    case(
        "workload_identity",
        "workload identity federation works; a subject token that is refused is told as such, and a better one is taken at once",
        federation,
    ),
    case(
        "metadata_server",
        "without a credentials file the machine's own account is used; its absence is told as such",
        metadata,
    ),
    case(
        "token_service_over_tls",
        "a token service with a certificate of a private authority is trusted by `SSL_CERT_FILE`, and the error says so",
        token_service_over_tls,
    ),
    case("roles", "the documented roles allow what they should and nothing else", roles),
    case(
        "credentials_file",
        "a credentials file that is missing or unusable is an error of the configuration, before any call",
        credentials_file,
    ),
    case(
        "configuration",
        "an endpoint without TLS, and names that cannot be right, are errors that name their option",
        configuration,
    ),
    case("elsewhere", "a key of another project is denied, one of another location is not found", elsewhere),
    case("wrong_purpose", "a signing key is refused, and the error names the purpose that is needed", wrong_purpose),
    case(
        "damaged_on_the_way",
        "an answer with a wrong checksum, or one that says that none was checked, is not believed",
        damaged,
    ),
    case("hsm_limit", "a context that is too long for a key in an HSM is refused with the service's reason", hsm_limit),
    case("many_versions", "versions are listed in order over several pages", many_versions),
    case(
        "lagging_rotation",
        "who rotates wraps under the new version at once, though Cloud KMS takes its time to make it the primary one",
        lagging_rotation,
    ),
    case(
        "half_a_rotation",
        "a new version that could not be made primary is told, and the old one goes on",
        half_a_rotation,
    ),
];

const fn case(name: &'static str, what: &'static str, run: fn(&Fixture)) -> Case {
    Case { name, what, needs: Needs::Server, run }
}

fn server(fixture: &Fixture) -> Server {
    Server::new(&fixture.service().upstream().expect("it has a network"))
}

/// The settings with one of them replaced.
fn but(settings: &Pairs, key: &str, value: &str) -> Pairs {
    let replaced =
        |(name, old): &(String, String)| (name.clone(), if name == key { value.to_owned() } else { old.clone() });
    settings.iter().map(replaced).collect()
}

/// A key, and the settings of a fresh account that may do this.
fn account_with(fixture: &Fixture, folder: &TempDir, permissions: &[&str]) -> (String, String, Pairs) {
    let (server, key) = (server(fixture), fixture.service().new_key());
    let account = server.account(permissions);
    let settings = settings(&key, &server.key_file(folder.path(), &account), fixture.route());
    (key, account, settings)
}

fn folder() -> TempDir {
    TempDir::new().expect("temporary files can be made")
}

fn official(_: &Fixture) {
    let check = script("../official/gcp_check.py");
    let output = Command::new(tool("python")).arg(check).output().expect("python of the environment runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn ends_early(fixture: &Fixture) {
    let folder = folder();
    let (_, account, settings) = account_with(fixture, &folder, &PERMISSIONS);
    let client = fixture.client(&settings);
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    server(fixture).control("expire_tokens", json!({"principal": account}));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    assert_eq!(fixture.network().count(":decrypt"), 2, "refused once, then let in");
    ok(client.unwrap(&wrapped, &tenant("a")));
    assert_eq!(fixture.network().count(":decrypt"), 3, "the new token is kept");
}

fn federation(fixture: &Fixture) {
    let (server, folder, key) = (server(fixture), folder(), fixture.service().new_key());
    let token = folder.path().join("token");
    let (audience, file) = federated(&server, &folder, server.address(), &token);
    let account = server.account(&PERMISSIONS);
    let known = json!({"audience": audience, "subject_token": "token of the pod", "principal": account});
    server.control("federation", known);
    fs::write(&token, "token of another pod").expect("temporary files can be written");
    let client = fixture.client(&settings(&key, &file, fixture.route()));
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Credentials);
    assert!(error.message().contains(&file) && !error.message().contains("of another pod"), "{error}");
    fs::write(&token, "token of the pod").expect("temporary files can be written");
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

/// A workload identity pool, and the credentials file of one who shows the token in this file at that address.
fn federated(server: &Server, folder: &TempDir, address: &str, token: &Path) -> (String, String) {
    let audience = format!("//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/{}", unique("pool"));
    let credentials = json!({
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{address}/v1/token"),
        "credential_source": {"file": token.display().to_string()},
    });
    let file = server.file(folder.path(), &credentials);
    (audience, file)
}

/// Where the metadata server is, the environment says.
fn metadata(fixture: &Fixture) {
    let (server, folder, key) = (server(fixture), folder(), fixture.service().new_key());
    let mut nameless = settings(&key, "-", fixture.route());
    nameless.retain(|(name, _)| name != "kms.gcp.credentials-file");
    let settings = fixture.complete(&nameless, fixture.route());
    let host = server.address().trim_start_matches("http://");
    let by = |host: &str| in_a_process(&folder, &settings, &[("GCE_METADATA_HOST", host)]);
    let nobody = by(host).unwrap_err();
    assert!(nobody.contains("application default"), "{nobody}");
    server.control("metadata", json!({"email": server.account(&PERMISSIONS[..2])}));
    assert_eq!(by(host), Ok(()));
    let silent = fixture.silent();
    let limits = [("kms.connect-timeout", "500 ms"), ("kms.attempt-timeout", "500 ms"), ("kms.timeout", "5 s")];
    let impatient = fixture.complete(&[nameless, pairs(limits)].concat(), fixture.route());
    let silence = format!("127.0.0.1:{}", silent.port());
    let error = in_a_process(&folder, &impatient, &[("GCE_METADATA_HOST", &silence)]).unwrap_err();
    assert!(error.contains("kms.attempt-timeout"), "{error}");
}

/// The library that asks for tokens trusts what the environment names, not `kms.ca-file`.
fn token_service_over_tls(fixture: &Fixture) {
    let (server, folder, key) = (server(fixture), folder(), fixture.service().new_key());
    let token = folder.path().join("token");
    fs::write(&token, "token of the pod").expect("temporary files can be written");
    let (audience, file) = federated(&server, &folder, &fixture.network().url(), &token);
    let account = server.account(&PERMISSIONS);
    let known = json!({"audience": audience, "subject_token": "token of the pod", "principal": account});
    server.control("federation", known);
    let settings = fixture.complete(&settings(&key, &file, fixture.route()), fixture.route());
    let error = in_a_process(&folder, &settings, &[]).unwrap_err();
    assert!(error.contains("SSL_CERT_FILE"), "{error}");
    let authority = fixture.network().ca_file().display().to_string();
    assert_eq!(in_a_process(&folder, &settings, &[("SSL_CERT_FILE", &authority)]), Ok(()));
}

/// Seals and opens by the command-line tool, in an environment of these variables only; what it said where it failed.
fn in_a_process(folder: &TempDir, settings: &Pairs, variables: &[(&str, &str)]) -> Result<(), String> {
    let at = |name: &str| folder.path().join(name);
    let config: String = settings.iter().map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
    fs::write(at("sealpoint.toml"), config).expect("temporary files can be written");
    fs::write(at("plain"), "state").expect("temporary files can be written");
    let (sealed, opened) = (unique("sealed"), unique("opened"));
    for arguments in [["seal", "plain", &sealed], ["open", &sealed, &opened]] {
        let mut sealpoint = Command::new(env!("CARGO_BIN_EXE_sealpoint"));
        sealpoint.args(arguments).current_dir(folder).env_clear().envs(variables.iter().copied());
        sealpoint.env("SEALPOINT_CONFIG", "sealpoint.toml").env("HOME", folder.path());
        let output = sealpoint.output().expect("the tool was built with this test");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    assert_eq!(fs::read_to_string(at(&opened)).expect("it was opened"), "state");
    Ok(())
}

fn roles(fixture: &Fixture) {
    let (task_manager, job_manager) = (documented("TaskManager"), documented("JobManager"));
    assert_eq!(job_manager, PERMISSIONS);
    let folder = folder();
    let (_, _, settings) = account_with(fixture, &folder, &task_manager);
    let client = fixture.client(&settings);
    ok(client.test_connection());
    let (drawn, wrapped) = ok(client.data_key(&tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), drawn);
    for (outcome, missing) in [
        (client.current_version().map(|_| ()), "cloudkms.cryptoKeys.get"),
        (client.versions().map(|_| ()), "cloudkms.cryptoKeyVersions.list"),
        (client.rotate().map(|_| ()), "cloudkms.cryptoKeys.get"),
        (client.set_version_enabled("1", false), "cloudkms.cryptoKeyVersions.update"),
    ] {
        let error = fails(outcome, Kind::AccessDenied);
        assert!(error.message().contains(missing), "{error}");
    }
    let (_, _, settings) = account_with(fixture, &folder, &job_manager);
    let client = fixture.client(&settings);
    ok(client.test_connection());
    let old = ok(client.current_version()).id;
    assert_ne!(ok(client.rotate()).id, old);
    fails(client.set_version_enabled(&old, false), Kind::AccessDenied);
    let everything = [job_manager, documented("version administrator")].concat();
    let (_, _, settings) = account_with(fixture, &folder, &everything);
    let client = fixture.client(&settings);
    let old = ok(client.current_version()).id;
    ok(client.rotate());
    ok(client.set_version_enabled(&old, false));
}

/// The permissions of a role in docs/KEY_SERVICES.md.
fn documented(title: &str) -> Vec<&'static str> {
    let text = include_str!("../../../../docs/KEY_SERVICES.md");
    let (_, role) = text.split_once(&format!("title: Sealpoint {title}\n")).expect("the role is documented");
    role.lines().take_while(|line| *line != "```").filter_map(|line| line.strip_prefix("- ")).collect()
}

fn credentials_file(fixture: &Fixture) {
    let (folder, good) = (folder(), fixture.settings(&fixture.service().new_key()));
    let file = |text: &str| {
        let path = folder.path().join(unique("bad"));
        fs::write(&path, text).expect("temporary files can be written");
        path.display().to_string()
    };
    for (file, said) in [
        ("/no/such/file".to_owned(), "cannot be read"),
        (file(""), "is not JSON"),
        (file("hunter2: no JSON"), "is not JSON"),
        (file("{}"), "has no \"type\""),
        (file(r#"{"type": "aws", "secret": "hunter2"}"#), "unknown type, 'aws'"),
    ] {
        let bad = fixture.complete(&but(&good, "kms.gcp.credentials-file", &file), fixture.route());
        let error = fails(Client::connect(&bad).map(|_| ()), Kind::Config);
        let text = error.message();
        assert!(text.contains("kms.gcp.credentials-file") && text.contains(&file) && text.contains(said), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let unusable = file(r#"{"type": "service_account", "private_key": "hunter2"}"#);
    let client = fixture.client(&but(&good, "kms.gcp.credentials-file", &unusable));
    let error = fails(client.wrap(&[7; 32], &tenant("a")), Kind::Config);
    assert!(error.message().contains(&unusable) && !error.message().contains("hunter2"), "{error}");
    assert!(fixture.network().counts().is_empty());
}

fn configuration(fixture: &Fixture) {
    let good = fixture.settings("state");
    for (option, value) in [
        ("kms.gcp.endpoint", "http://cloudkms.googleapis.com"),
        ("kms.gcp.endpoint", "cloudkms.googleapis.com"),
        ("kms.gcp.project", "projects/acme-flink"),
        ("kms.gcp.location", "europe west"),
        ("kms.gcp.key-ring", "../flink"),
        ("kms.gcp.key-name", "projects/p/locations/l/keyRings/r/cryptoKeys/k"),
    ] {
        let error = fails(
            Client::connect(&fixture.complete(&but(&good, option, value), fixture.route())).map(|_| ()),
            Kind::Config,
        );
        assert!(error.message().contains(option), "{error}");
    }
}

fn elsewhere(fixture: &Fixture) {
    let (key, _) = fixture.fresh();
    let good = fixture.settings(&key);
    for (option, value, kind, said) in [
        ("kms.gcp.project", "their-project", Kind::AccessDenied, "their-project"),
        ("kms.gcp.location", "us-east1", Kind::KeyNotFound, "only in its own location"),
        ("kms.gcp.location", "mars", Kind::KeyNotFound, "'mars'"),
        ("kms.gcp.key-ring", "no-such-ring", Kind::KeyNotFound, "no-such-ring"),
    ] {
        let client = fixture.client(&but(&good, option, value));
        let error = fails(client.data_key(&tenant("a")).map(|_| ()), kind);
        assert!(error.message().contains(said), "{error}");
    }
}

fn wrong_purpose(fixture: &Fixture) {
    let key = unique("signing");
    server(fixture).control("key", json!({"name": key_name(&key), "purpose": "ASYMMETRIC_SIGN"}));
    let client = fixture.client(&fixture.settings(&key));
    let (_, good) = fixture.fresh();
    let wrapped = ok(good.wrap(&[7; 32], &tenant("a")));
    for outcome in [
        client.data_key(&tenant("a")).map(|_| ()),
        client.unwrap(&wrapped, &tenant("a")).map(|_| ()),
        client.current_version().map(|_| ()),
        client.rotate().map(|_| ()),
        client.test_connection(),
    ] {
        let error = fails(outcome, Kind::Config);
        assert!(error.message().contains("ENCRYPT_DECRYPT"), "{error}");
    }
    assert_eq!(server(fixture).versions(&key), 1, "no version was made of it");
}

fn damaged(fixture: &Fixture) {
    let (_, client) = fixture.fresh();
    let wrapped = ok(client.wrap(&[7; 32], &tenant("a")));
    for (field, value) in [
        ("ciphertextCrc32c", json!("1")),
        ("ciphertext", json!("AAAA")),
        ("verifiedPlaintextCrc32c", json!(false)),
        ("verifiedAdditionalAuthenticatedDataCrc32c", json!(false)),
        ("name", json!(format!("{}/cryptoKeyVersions/1", key_name("another")))),
    ] {
        fixture.network().inject_into(":encrypt", 1, json!({"set": [[field], value]}));
        fails(client.wrap(&[7; 32], &tenant("a")), Kind::KmsUnavailable);
    }
    for (field, value) in [("plaintextCrc32c", json!("1")), ("plaintext", json!("AAAA"))] {
        fixture.network().inject_into(":decrypt", 1, json!({"set": [[field], value]}));
        fails(client.unwrap(&wrapped, &tenant("a")), Kind::KmsUnavailable);
    }
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), [7; 32]);
}

fn hsm_limit(fixture: &Fixture) {
    let key = unique("hsm");
    server(fixture).control("key", json!({"name": key_name(&key), "protection": "HSM"}));
    let client = fixture.client(&fixture.settings(&key));
    let long = "x".repeat(8_000);
    let fits = context([("a", long.as_str())]);
    let wrapped = ok(client.wrap(&[7; 32], &fits));
    assert_eq!(ok(client.unwrap(&wrapped, &fits)), [7; 32]);
    let long = "x".repeat(8_170);
    let error = fails(client.wrap(&[7; 32], &context([("a", long.as_str())])), Kind::Config);
    assert!(error.message().contains("8192 bytes"), "{error}");
}

fn many_versions(fixture: &Fixture) {
    let key = unique("rotated");
    server(fixture).control("key", json!({"name": key_name(&key), "versions": 401}));
    let client = fixture.client(&fixture.settings(&key));
    let listed: Vec<String> = ok(client.versions()).into_iter().map(|version| version.id).collect();
    assert_eq!(listed, (1..=401).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(fixture.network().count("/cryptoKeyVersions"), 3, "pages of 200");
}

fn lagging_rotation(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    let other = fixture.client(&fixture.settings(&key));
    server(fixture).control("lag", json!({"name": key_name(&key)}));
    let rotated = ok(client.rotate());
    let version_of = |client: &Client| ok(client.wrap(&[7; 32], &tenant("a"))).version;
    assert_eq!((version_of(&client), version_of(&other)), (rotated.id.clone(), "1".to_owned()));
    server(fixture).act(&key, &rotated.id, "disable");
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::KeyDisabled);
    assert_eq!(version_of(&client), "1", "it does not insist");
}

fn half_a_rotation(fixture: &Fixture) {
    let folder = folder();
    let (key, _, settings) = account_with(fixture, &folder, &PERMISSIONS[..5]);
    let client = fixture.client(&settings);
    let error = fails(client.rotate(), Kind::AccessDenied);
    let text = error.message();
    assert!(text.contains("new version 2") && text.contains("cloudkms.cryptoKeys.update"), "{text}");
    assert_eq!((ok(client.wrap(&[7; 32], &tenant("a"))).version, server(fixture).versions(&key)), ("1".to_owned(), 2));
}

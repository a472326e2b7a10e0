//! What only AWS KMS has: aliases, keys of several regions and accounts, other usages, roles.

use std::process::Command;
use std::time::Duration;

use sealpoint::error::{Kind, Result};
use serde_json::{Value, json};

use crate::cases::{Case, Needs};
use crate::child::{root, tool};
use crate::client::Client;
use crate::fixture::{Fixture, fails, ok, tenant};
use crate::provider::Pairs;

pub const CASES: &[Case] = &[
    Case {
        name: "official_client",
        what: "the server of ours is one to AWS's own client (boto3), whose model its answers keep to",
        needs: Needs::Server,
        run: official_client,
    },
    Case {
        name: "alias_moved",
        what: "an alias that moves to another key: both open here, the old one elsewhere only if the configuration lists it",
        needs: Needs::Server,
        run: alias_moved,
    },
    Case {
        name: "multi_region_key",
        what: "what a multi-region key wraps in one region opens in another with the replica there",
        needs: Needs::Server,
        run: multi_region_key,
    },
    Case {
        name: "other_usage",
        what: "keys for signing, for MACs and asymmetric ones are errors of the configuration",
        needs: Needs::Server,
        run: other_usage,
    },
    Case {
        name: "other_account",
        what: "a key of another account that gives no permission is an error that names the permission",
        needs: Needs::Server,
        run: other_account,
    },
    Case {
        name: "roles",
        what: "the IAM policies in this document allow what TaskManagers and JobManagers do, and nothing more",
        needs: Needs::Server,
        run: roles,
    },
    Case {
        name: "wrong_clock",
        what: "a signature that is refused because the clocks differ says so, and is no reason to try again",
        needs: Needs::Server,
        run: wrong_clock,
    },
    Case {
        name: "rotation_limit",
        what: "the service's limit of rotations on demand is told as such, and never used up by trying again",
        needs: Needs::Server,
        run: rotation_limit,
    },
    Case {
        name: "rotated_once",
        what: "a rotation that another began, or whose answer was lost, is waited for and not begun again",
        needs: Needs::Faults,
        run: rotated_once,
    },
    Case {
        name: "assumed_role",
        what: "kms.aws.role-arn is assumed through STS, once for many calls, and a refusal names the permission",
        needs: Needs::Server,
        run: assumed_role,
    },
    Case {
        name: "web_identity",
        what: "a role is assumed with the token file of a web identity; an expired token is told as such",
        needs: Needs::Server,
        run: web_identity,
    },
    Case {
        name: "replaced_credentials",
        what: "credentials that the service refuses are read again: a file that was replaced needs no restart",
        needs: Needs::Server,
        run: replaced_credentials,
    },
];

fn official_client(_: &Fixture) {
    let check = root().join("tests/kms/official/aws_check.py");
    let output = Command::new(tool("python")).arg(check).output().expect("the environment of the tests has Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn alias_moved(fixture: &Fixture) {
    let (old, new) = (fixture.service().new_key(), fixture.service().new_key());
    let alias = format!("alias/moved-{}", old.rsplit('/').next().unwrap_or_default());
    admin(fixture, "CreateAlias", &json!({"AliasName": alias, "TargetKeyId": old}));
    let client = fixture.client(&fixture.settings(&alias));
    let (key, under_old) = ok(client.data_key(&tenant("a")));
    assert_eq!(under_old.kek, old, "the key's own name is kept, not the alias");
    admin(fixture, "UpdateAlias", &json!({"AliasName": alias, "TargetKeyId": new}));
    let (_, under_new) = ok(client.data_key(&tenant("a")));
    assert_eq!(under_new.kek, new);
    assert_eq!(ok(client.unwrap(&under_old, &tenant("a"))), key);
    let elsewhere = fixture.client(&fixture.settings(&alias));
    let error = fails(elsewhere.unwrap(&under_old, &tenant("a")), Kind::WrappedKey);
    assert!(error.message().contains("kms.aws.open-key-ids"), "{error}");
    ok(elsewhere.unwrap(&under_new, &tenant("a")));
    let listed = fixture.client(&with(fixture.settings(&alias), "kms.aws.open-key-ids", &old));
    assert_eq!(ok(listed.unwrap(&under_old, &tenant("a"))), key);
    // Rewrapping moves it to the key that the alias stands for now.
    let moved = ok(listed.rewrap(&under_old, &tenant("a")));
    assert_eq!(moved.kek, new);
    assert_eq!(ok(elsewhere.unwrap(&moved, &tenant("a"))), key);
}

fn multi_region_key(fixture: &Fixture) {
    let made = admin(fixture, "CreateKey", &json!({"MultiRegion": true}));
    let arn = text(&made["KeyMetadata"]["Arn"]);
    admin(fixture, "ReplicateKey", &json!({"KeyId": arn, "ReplicaRegion": "us-east-1"}));
    let here = fixture.client(&fixture.settings(&arn));
    let (key, wrapped) = ok(here.data_key(&tenant("a")));
    let replica = arn.replace("eu-west-1", "us-east-1");
    let there = fixture.client(&with(fixture.settings(&replica), "kms.aws.region", "us-east-1"));
    assert!(there.kms().opens(&wrapped.kek));
    assert_eq!(ok(there.unwrap(&wrapped, &tenant("a"))), key);
    fails(there.unwrap(&wrapped, &tenant("b")), Kind::WrappedKey);
    let rewrapped = ok(there.rewrap(&wrapped, &tenant("a")));
    assert_eq!(rewrapped.kek, replica);
    assert_eq!(ok(here.unwrap(&rewrapped, &tenant("a"))), key);
    fails(there.rotate(), Kind::Unsupported);
}

fn other_usage(fixture: &Fixture) {
    for (usage, spec) in
        [("SIGN_VERIFY", "ECC_NIST_P256"), ("GENERATE_VERIFY_MAC", "HMAC_256"), ("ENCRYPT_DECRYPT", "RSA_2048")]
    {
        let made = admin(fixture, "CreateKey", &json!({"KeyUsage": usage, "KeySpec": spec}));
        let client = fixture.client(&fixture.settings(&text(&made["KeyMetadata"]["Arn"])));
        let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Config);
        assert!(error.message().contains("SYMMETRIC_DEFAULT"), "{error}");
        fails(client.test_connection(), Kind::Config);
    }
}

fn other_account(fixture: &Fixture) {
    let theirs = fixture.service().new_key().replace("111122223333", "444455556666");
    let client = fixture.client(&fixture.settings(&theirs));
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::AccessDenied);
    assert!(error.message().contains("kms:GenerateDataKey"), "{error}");
}

fn roles(fixture: &Fixture) {
    let (task_manager, job_manager) = (documented("TaskManagers draw"), documented("The JobManager looks"));
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let with_only = |actions: &[String]| {
        let access_key = format!("ONLY.{}", actions.join("."));
        let file = super::credentials(&folder, &access_key).display().to_string();
        fixture.client(&with(fixture.settings(&fixture.service().new_key()), "kms.aws.credentials-file", &file))
    };
    for (role, work) in [(&task_manager, seal_and_open as fn(&Client) -> Result<()>), (&job_manager, look_after)] {
        let client = with_only(role);
        ok(client.test_connection());
        ok(work(&client));
        for action in role {
            let others: Vec<_> = role.iter().filter(|other| *other != action).cloned().collect();
            let error = fails(work(&with_only(&others)), Kind::AccessDenied);
            assert!(error.message().contains(&format!("kms:{action}")), "without {action}: {error}");
        }
    }
    for probe in with_only(&job_manager).probe() {
        ok(probe.outcome.map_err(|error| error.at(probe.permission)));
    }
    let client = with_only(&task_manager);
    fails(client.rotate(), Kind::AccessDenied);
    fails(client.wrap(&[7; 32], &tenant("a")), Kind::AccessDenied);
    let fallback = with_only(&[task_manager, vec!["Encrypt".to_owned()]].concat());
    let wrapped = ok(fallback.wrap(&[7; 32], &tenant("a")));
    assert_eq!(ok(fallback.unwrap(&wrapped, &tenant("a"))), [7; 32]);
    fails(with_only(&job_manager).schedule_destruction(Duration::from_secs(7 * 86_400)), Kind::AccessDenied);
}

/// What a TaskManager does.
fn seal_and_open(client: &Client) -> Result<()> {
    let (drawn, wrapped) = client.data_key(&tenant("a"))?;
    assert_eq!(client.unwrap(&wrapped, &tenant("a"))?, drawn);
    Ok(())
}

/// What a JobManager does on top.
fn look_after(client: &Client) -> Result<()> {
    seal_and_open(client)?;
    let wrapped = client.wrap(&[7; 32], &tenant("a"))?;
    client.current_version()?;
    client.versions()?;
    client.automatic_rotation()?;
    let rotated = client.rotate()?;
    assert_eq!(client.rewrap(&wrapped, &tenant("a"))?.version, rotated.id);
    Ok(())
}

/// The actions of the policy that follows this sentence in docs/KEY_SERVICES.md, without `kms:`.
fn documented(sentence: &str) -> Vec<String> {
    let document = include_str!("../../../../docs/KEY_SERVICES.md");
    let (_, behind) = document.split_once("## AWS KMS\n").expect("there is such a chapter");
    let policy = behind.split_once(sentence).and_then(|(_, behind)| behind.split_once("```json\n"));
    let policy = policy.and_then(|(_, policy)| policy.split_once("```")).expect("a policy follows").0;
    let policy: Value = serde_json::from_str(policy).expect("a policy is JSON");
    let actions = policy["Statement"][0]["Action"].as_array().expect("a list of actions");
    let bare = |action: &Value| text(action).strip_prefix("kms:").expect("an action of AWS KMS").to_owned();
    actions.iter().map(bare).collect()
}

fn wrong_clock(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let file = super::credentials(&folder, "SKEWED").display().to_string();
    let client =
        fixture.client(&with(fixture.settings(&fixture.service().new_key()), "kms.aws.credentials-file", &file));
    for calls in 1..3 {
        let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Credentials);
        assert!(error.message().contains("clock"), "{error}");
        assert_eq!(fixture.network().count("TrentService.GenerateDataKey"), calls);
    }
}

fn rotation_limit(fixture: &Fixture) {
    let (key, client) = fixture.fresh();
    assert_eq!(ok(client.rotations_left()), Some(25));
    while ok(client.versions()).len() <= 25 {
        fixture.service().rotate(&key);
    }
    assert_eq!(ok(client.rotations_left()), Some(0));
    let error = fails(client.rotate(), Kind::Unsupported);
    assert!(error.message().contains("enable-key-rotation"), "{error}");
    assert_eq!(ok(client.versions()).len(), 26);
}

fn rotated_once(fixture: &Fixture) {
    let made = admin(fixture, "CreateKey", &json!({"Description": "rotates slowly"}));
    let key = text(&made["KeyMetadata"]["Arn"]);
    let client = fixture.client(&fixture.settings(&key));
    let first = ok(client.current_version());
    admin(fixture, "RotateKeyOnDemand", &json!({"KeyId": key}));
    let second = ok(client.rotate());
    fixture.network().inject_into("TrentService.RotateKeyOnDemand", 1, json!({"cut": true}));
    fails(client.rotate(), Kind::KmsUnavailable);
    let third = ok(client.rotate());
    let listed: Vec<_> = ok(client.versions()).into_iter().map(|version| version.id).collect();
    assert_eq!(listed, [first.id, second.id, third.id]);
}

fn assumed_role(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let file = folder.path().join("credentials");
    let url = fixture.network().url();
    let profile =
        format!("[default]\naws_access_key_id = FULL\naws_secret_access_key = secret-of-FULL\nendpoint_url = {url}\n");
    std::fs::write(&file, profile).expect("the folder is ours");
    let settings =
        with(fixture.settings(&fixture.service().new_key()), "kms.aws.credentials-file", &file.display().to_string());
    let role =
        |name: &str| with(settings.clone(), "kms.aws.role-arn", &format!("arn:aws:iam::111122223333:role/{name}"));
    let client = fixture.client(&role("flink"));
    let (key, wrapped) = ok(client.data_key(&tenant("a")));
    assert_eq!(ok(client.unwrap(&wrapped, &tenant("a"))), key);
    let counts = fixture.network().counts();
    assert_eq!(counts.get("POST /"), Some(&1), "STS was asked once: {counts:?}");
    let error = fails(fixture.client(&role("other")).data_key(&tenant("a")).map(|_| ()), Kind::AccessDenied);
    assert!(error.message().contains("sts:AssumeRole") && error.message().contains("role/other"), "{error}");
}

fn web_identity(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let (file, token) = (folder.path().join("credentials"), folder.path().join("token"));
    let profile = format!(
        "[default]\nrole_arn = arn:aws:iam::111122223333:role/flink\nweb_identity_token_file = {}\nendpoint_url = {}\n",
        token.display(),
        fixture.network().url()
    );
    std::fs::write(&file, profile).expect("the folder is ours");
    let settings =
        with(fixture.settings(&fixture.service().new_key()), "kms.aws.credentials-file", &file.display().to_string());
    let client = fixture.client(&settings);
    std::fs::write(&token, "expired-web-identity").expect("the folder is ours");
    let error = fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Credentials);
    assert!(error.message().contains("AssumeRoleWithWebIdentity") && error.message().contains("expired"), "{error}");
    // Kubernetes puts a fresh token into the same file.
    std::fs::write(&token, "good-web-identity").expect("the folder is ours");
    ok(client.data_key(&tenant("a")));
}

fn replaced_credentials(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let file = folder.path().join("credentials");
    let write = |access_key: &str| {
        let text =
            format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = secret-of-{access_key}\n");
        std::fs::write(&file, text).expect("the folder is ours");
    };
    write("EXPIRED");
    let settings =
        with(fixture.settings(&fixture.service().new_key()), "kms.aws.credentials-file", &file.display().to_string());
    let client = fixture.client(&settings);
    fails(client.data_key(&tenant("a")).map(|_| ()), Kind::Credentials);
    assert_eq!(fixture.network().count("TrentService.GenerateDataKey"), 1, "refused credentials are not tried twice");
    write("FULL");
    ok(client.data_key(&tenant("a")));
}

fn admin(fixture: &Fixture, operation: &str, request: &Value) -> Value {
    let upstream = fixture.service().upstream().expect("the server of ours has a network");
    let port = upstream.rsplit(':').next().and_then(|port| port.parse().ok()).expect("its address ends in a port");
    super::ask(port, super::REGION, operation, request)
}

fn with(mut settings: Pairs, key: &str, value: &str) -> Pairs {
    settings.retain(|(known, _)| known != key);
    settings.push((key.to_owned(), value.to_owned()));
    settings
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

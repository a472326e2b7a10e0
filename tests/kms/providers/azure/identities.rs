//! Identities that the environment gives: of a pod, and of a machine.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::cases::{by_environment, sealed_by_the_tool};
use super::server::{ADMIN, SUBJECT, Server, TENANT, base64url};
use crate::fixture::Fixture;

pub fn workload(fixture: &Fixture) {
    let folder = tempfile::tempdir().expect("temporary files can be made");
    let token_of = |subject: &str, expires_in: i64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let token = [json!({"alg": "RS256"}), json!({"sub": subject, "exp": now as i64 + expires_in}), json!({})];
        let token: Vec<String> = token.iter().map(|part: &Value| base64url(part.to_string().as_bytes())).collect();
        let file = folder.path().join(format!("token-{expires_in}-{}", subject.len()));
        std::fs::write(&file, token.join(".")).expect("temporary files can be written");
        file.display().to_string()
    };
    let outcome = |credential: &str, file: &str| {
        let environment =
            [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", ADMIN), ("AZURE_FEDERATED_TOKEN_FILE", file)];
        sealed_by_the_tool(&by_environment(fixture, credential), &environment)
    };
    for credential in ["workload-identity", "auto"] {
        outcome(credential, &token_of(SUBJECT, 600)).expect("it logs in");
    }
    for (file, said) in [
        (token_of("system:serviceaccount:other:other", 600), "AADSTS70021"),
        (token_of(SUBJECT, -10), "AADSTS700024"),
        ("/nonexistent/token".to_owned(), "AZURE_FEDERATED_TOKEN_FILE"),
    ] {
        let error = outcome("workload-identity", &file).expect_err(said);
        assert!(error.contains(said), "{error}");
    }
}

pub fn managed(fixture: &Fixture) {
    let server = Server::start(&[]).expect("it started before");
    let service = server.metadata_service();
    let outcome = |credential: &str, client: Option<&str>| {
        let key = server.new_key(json!({"kty": "RSA", "key_size": 2048}));
        let mut settings = fixture.complete(&server.anonymous(&key), None);
        settings.push(("kms.azure.credential".to_owned(), credential.to_owned()));
        settings.extend(client.map(|client| ("kms.azure.client-id".to_owned(), client.to_owned())));
        sealed_by_the_tool(&settings, &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &service)])
    };
    for (credential, client) in [("managed-identity", None), ("managed-identity", Some(ADMIN)), ("auto", None)] {
        outcome(credential, client).expect("it logs in");
    }
    assert!(server.count("managed identity") >= 3);
    let error = outcome("managed-identity", Some("nobody")).expect_err("nobody has no identity");
    assert!(error.contains("Identity not found") && error.contains("kms.azure.client-id"), "{error}");
}

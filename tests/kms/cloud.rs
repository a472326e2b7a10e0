//! The clouds themselves, for `make test-cloud`: the key and the credentials are the user's, and nothing is changed.

use std::process::Command;

use sealpoint::config::EncryptionConfig;
use sealpoint::config::options::{self, Default, Opt};

use crate::provider::{Pairs, Provider, Service};
use crate::proxy::Route;

/// Set to `aws`, `azure` or `gcp`, it asks for the cloud instead of the servers of the tests.
const VARIABLE: &str = "KMS_CLOUD";

const CLOUDS: &[&str] = &["aws", "azure", "gcp"];

/// The name of the check.
pub const TEST: &str = "cloud::runs_something_or_fails";

/// One key of a cloud.
#[derive(Clone)]
pub struct Cloud {
    pub provider: String,
    settings: Pairs,
}

impl Cloud {
    /// What the environment asks for. A cloud that cannot be tried is an error: nobody who asks for it wants a run of
    /// nothing.
    pub fn asked_for(providers: &[Box<dyn Provider>]) -> Result<Option<Cloud>, String> {
        let Some(provider) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let provider = provider.to_string_lossy().into_owned();
        if !CLOUDS.contains(&&*provider) {
            return Err(format!("'{provider}' is no cloud: PROVIDER is one of {}", CLOUDS.join(", ")));
        }
        if !providers.iter().any(|known| known.name() == provider) {
            return Err(format!("this build has no '{provider}': build it with the feature of that name"));
        }
        Cloud::of(provider).map(Some)
    }

    /// The key that variables such as `KMS_AWS_REGION` for `kms.aws.region` describe.
    fn of(provider: String) -> Result<Cloud, String> {
        let mut settings = vec![("kms.provider".to_owned(), provider.clone())];
        let mut missing = Vec::new();
        for option in options::ALL.iter().filter(|option| option.provider() == Some(&provider)) {
            match std::env::var(variable(option)) {
                Ok(value) if !value.trim().is_empty() => settings.push((option.key.to_owned(), value)),
                _ if matches!(option.default, Default::Required(_)) => missing.push(variable(option)),
                _ => {}
            }
        }
        let advice = "see 'Against a real cloud' in docs/KEY_SERVICES.md";
        if !missing.is_empty() {
            return Err(format!("{} must be set, to name your key: {advice}", missing.join(", ")));
        }
        if let Err(error) = EncryptionConfig::from_pairs(settings.iter().cloned()) {
            return Err(format!("{error} (KMS_AWS_REGION is the variable of kms.aws.region, and so on: {advice})"));
        }
        Ok(Cloud { provider, settings })
    }
}

fn variable(option: &Opt) -> String {
    option.key.replace(['.', '-'], "_").to_ascii_uppercase()
}

/// This program, asked for what it cannot try, says what is missing and fails.
pub fn check(providers: &[Box<dyn Provider>]) {
    let fails = |cloud: &str, variables: &[(&str, &str)], said: &[&str]| {
        let mut suite = Command::new(std::env::current_exe().expect("a program knows where it is"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KMS_")) {
            suite.env_remove(name);
        }
        suite.env(VARIABLE, cloud).envs(variables.iter().copied());
        let output = suite.output().expect("it runs already");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{cloud}: {output:?}");
        said.iter().for_each(|word| assert!(text.contains(word), "'{word}' in {text}"));
    };
    for unknown in ["nowhere", "vault", "pkcs11", ""] {
        fails(unknown, &[], &["aws, azure, gcp"]);
    }
    for (cloud, needed) in [
        ("aws", &["KMS_AWS_REGION", "KMS_AWS_KEY_ID"][..]),
        ("azure", &["KMS_AZURE_VAULT_URL", "KMS_AZURE_KEY_NAME"]),
        ("gcp", &["KMS_GCP_PROJECT", "KMS_GCP_LOCATION", "KMS_GCP_KEY_RING", "KMS_GCP_KEY_NAME"]),
    ] {
        if !providers.iter().any(|known| known.name() == cloud) {
            fails(cloud, &[], &["this build has no"]);
            continue;
        }
        fails(cloud, &[], needed);
        for last in needed {
            let others: Vec<_> = needed.iter().filter(|name| *name != last).map(|name| (*name, "https://a")).collect();
            fails(cloud, &others, &[last]);
            let empty: Vec<_> = others.iter().copied().chain([(*last, " ")]).collect();
            fails(cloud, &empty, &[last]);
        }
    }
}

impl Service for Cloud {
    fn upstream(&self) -> Option<String> {
        None
    }

    /// The user's key, each time.
    fn new_key(&self) -> String {
        String::new()
    }

    fn settings(&self, _: &str, _: Option<&Route>) -> Pairs {
        self.settings.clone()
    }
}

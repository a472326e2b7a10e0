//! The clouds themselves, for `make test-cloud`: the key and the credentials are the user's, and nothing is changed.

use sealpoint::config::options;

use crate::child::Missing;
use crate::provider::{Pairs, Service};
use crate::proxy::Route;

/// Set to `aws`, `azure` or `gcp`, it asks for the cloud instead of the servers of the tests.
pub const VARIABLE: &str = "KMS_CLOUD";

const CLOUDS: &[&str] = &["aws", "azure", "gcp"];

/// One key of a cloud.
pub struct Cloud(Pairs);

impl Cloud {
    /// The key that variables such as `KMS_AWS_REGION` for `kms.aws.region` describe.
    pub fn from_environment(provider: &str) -> Result<Box<dyn Service>, Missing> {
        if !CLOUDS.contains(&provider) {
            return Err(Missing(format!("{provider} is no cloud: PROVIDER is one of {}", CLOUDS.join(", "))));
        }
        let mut settings = vec![("kms.provider".to_owned(), provider.to_owned())];
        for option in options::ALL.iter().filter(|option| option.provider() == Some(provider)) {
            if let Ok(value) = std::env::var(variable(option.key)) {
                settings.push((option.key.to_owned(), value));
            }
        }
        if settings.len() == 1 {
            let example = variable(&format!("kms.{provider}.key-id"));
            return Err(Missing(format!(
                "no variable names the key: see docs/KEY_SERVICES.md, {example} for instance"
            )));
        }
        Ok(Box::new(Cloud(settings)))
    }
}

fn variable(key: &str) -> String {
    key.replace(['.', '-'], "_").to_ascii_uppercase()
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
        self.0.clone()
    }
}

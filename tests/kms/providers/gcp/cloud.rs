//! The service itself, with a key and credentials of the user's.

use crate::child::Missing;
use crate::provider::{Pairs, Service, pairs};
use crate::proxy::Route;

struct Cloud {
    project: String,
    location: String,
    key_ring: String,
    key_name: String,
    credentials_file: Option<String>,
}

/// The key that `SEALPOINT_TEST_GCP_*` name.
pub fn from_environment() -> Result<Box<dyn Service>, Missing> {
    let variable = |name: &str| {
        let name = format!("SEALPOINT_TEST_GCP_{name}");
        std::env::var(&name).map_err(|_| Missing(format!("{name} is not set")))
    };
    Ok(Box::new(Cloud {
        project: variable("PROJECT")?,
        location: variable("LOCATION")?,
        key_ring: variable("KEY_RING")?,
        key_name: variable("KEY_NAME")?,
        credentials_file: variable("CREDENTIALS_FILE").ok(),
    }))
}

impl Service for Cloud {
    fn upstream(&self) -> Option<String> {
        None
    }

    fn new_key(&self) -> String {
        self.key_name.clone()
    }

    fn settings(&self, key: &str, _: Option<&Route>) -> Pairs {
        let mut settings = pairs([
            ("kms.provider", "gcp"),
            ("kms.gcp.project", &self.project),
            ("kms.gcp.location", &self.location),
            ("kms.gcp.key-ring", &self.key_ring),
            ("kms.gcp.key-name", key),
        ]);
        if let Some(file) = &self.credentials_file {
            settings.extend(pairs([("kms.gcp.credentials-file", file)]));
        }
        settings
    }
}

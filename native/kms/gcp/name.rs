//! The name of a key, as Google Cloud has it: `projects/../locations/../keyRings/../cryptoKeys/..`.

use std::fmt;

use crate::config::GcpKmsConfig;
use crate::error::{Kind, Result};

/// The full name of a CryptoKey, checked: it can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    /// The key of the configuration; the error names the option whose value cannot be right.
    pub fn new(config: &GcpKmsConfig) -> Result<KeyName> {
        // A project may be named with its domain, or by its number: `example.com:flink`, `123456789012`.
        part("kms.gcp.project", &config.project, 100, "-.:")?;
        part("kms.gcp.location", &config.location, 63, "-")?;
        part("kms.gcp.key-ring", &config.key_ring, 63, "-_")?;
        part("kms.gcp.key-name", &config.key_name, 63, "-_")?;
        let GcpKmsConfig { project, location, key_ring, key_name, .. } = config;
        Ok(KeyName(format!("projects/{project}/locations/{location}/keyRings/{key_ring}/cryptoKeys/{key_name}")))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of a version of this key, out of its full name. The service may give the project's id where the
    /// configuration has its number, so the project is not compared.
    pub fn version_id<'n>(&self, version: &'n str) -> Option<&'n str> {
        let without_project = |name: &'n str| name.split_once("/locations/").map(|(_, rest)| rest);
        let (_, own) = self.0.split_once("/locations/")?;
        let id = without_project(version)?.strip_prefix(own)?.strip_prefix("/cryptoKeyVersions/")?;
        is_version_id(id).then_some(id)
    }
}

/// Versions are numbers; nothing else belongs into a path.
pub fn is_version_id(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn part(option: &str, value: &str, longest: usize, marks: &str) -> Result<()> {
    let fits = (1..=longest).contains(&value.len())
        && value.chars().all(|letter| letter.is_ascii_alphanumeric() || marks.contains(letter));
    if fits {
        return Ok(());
    }
    Err(Kind::Config.error(format_args!(
        "{option}: '{}' cannot be right: one part of projects/../locations/../keyRings/../cryptoKeys/.. is expected, such as '{}'",
        value.escape_debug(),
        value.rsplit('/').find(|last| !last.is_empty()).unwrap_or("flink").escape_debug()
    )))
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl KeyName {
        fn version(&self, id: &str) -> String {
            format!("{self}/cryptoKeyVersions/{id}")
        }
    }

    fn config(project: &str, key_name: &str) -> GcpKmsConfig {
        GcpKmsConfig {
            project: project.to_owned(),
            location: "europe-west3".to_owned(),
            key_ring: "flink".to_owned(),
            key_name: key_name.to_owned(),
            endpoint: None,
            credentials_file: None,
        }
    }

    #[test]
    fn a_name_is_put_together_and_versions_are_taken_apart() {
        let name = KeyName::new(&config("acme-flink", "state")).unwrap();
        assert_eq!(name.as_str(), "projects/acme-flink/locations/europe-west3/keyRings/flink/cryptoKeys/state");
        assert_eq!(name.version_id(&name.version("12")), Some("12"));
        let by_number = name.version("12").replace("acme-flink", "123456789012");
        assert_eq!(name.version_id(&by_number), Some("12"));
        for foreign in [name.as_str(), "", &name.version("x"), &name.version(""), &name.version("1/2")] {
            assert_eq!(name.version_id(foreign), None, "{foreign}");
        }
        let other = KeyName::new(&config("acme-flink", "state2")).unwrap();
        assert_eq!(name.version_id(&other.version("1")), None);
        assert!(KeyName::new(&config("example.com:flink", "state")).is_ok());
    }

    #[test]
    fn what_cannot_be_a_part_names_its_option_and_the_part_that_was_meant() {
        let whole = "projects/p/locations/l/keyRings/r/cryptoKeys/state";
        let error = KeyName::new(&config("acme", whole)).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().starts_with("kms.gcp.key-name: ") && error.message().ends_with("'state'"), "{error}");
        for bad in ["", "a/b", "..", "a b", "ключ", "a?b"] {
            assert!(KeyName::new(&config("acme", bad)).is_err(), "{bad}");
        }
        assert!(KeyName::new(&config("projects/acme", "state")).unwrap_err().message().contains("kms.gcp.project"));
    }
}

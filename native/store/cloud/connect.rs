//! How each cloud's store is reached, and with whose credentials: as its users expect it from the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::{ObjectStore, RetryConfig};
use reqwest::Url;

use super::http::Connector;
use super::{Need, explain};
use crate::error::{Error, Kind, Result};
use crate::store::pace::Pace;
use crate::store::{Location, Scheme, StoreOptions};

pub fn connect(location: &Location, options: &StoreOptions, pace: &Arc<Pace>) -> Result<Arc<dyn ObjectStore>> {
    let connection = Connection { location, options, pace };
    match location.kind() {
        #[cfg(feature = "s3")]
        Scheme::S3 => connection.s3(),
        #[cfg(feature = "abfs")]
        Scheme::Abfs => connection.abfs(),
        #[cfg(feature = "gs")]
        Scheme::Gs => connection.gs(),
        Scheme::File => Err(Kind::Internal.error("files are in no bucket")),
        #[allow(unreachable_patterns)]
        _ => Err(Kind::Unsupported.error(format_args!("{location}: this build reaches no such store"))),
    }
}

struct Connection<'c> {
    location: &'c Location,
    options: &'c StoreOptions,
    pace: &'c Arc<Pace>,
}

/// Ours is the only policy.
fn never() -> RetryConfig {
    RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
}

impl Connection<'_> {
    #[cfg(feature = "s3")]
    fn s3(&self) -> Result<Arc<dyn ObjectStore>> {
        use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

        let mut builder = AmazonS3Builder::new();
        for (name, value) in self.options.environment.starting_with("AWS_") {
            if let Ok(key) = name.to_ascii_lowercase().parse::<Key>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &self.options.endpoint {
            builder = builder.with_endpoint(endpoint).with_config(Key::S3Endpoint, endpoint);
        }
        let value = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
        let endpoint = value(Key::S3Endpoint).or_else(|| value(Key::Endpoint));
        let region = value(Key::Region);
        #[cfg(feature = "aws")]
        let (builder, region) = self.with_profile(builder, region)?;
        let bucket = self.location.authority();
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => {
                return Err(Kind::Config.error(format_args!(
                    "{}: no region: set AWS_REGION to the region of the bucket, or AWS_ENDPOINT_URL to the address of the store",
                    self.location
                )));
            }
        };
        let virtual_hosted =
            builder.get_config_value(&Key::VirtualHostedStyleRequest).is_some_and(|value| value == "true");
        let address = match endpoint {
            Some(endpoint) => endpoint,
            None if virtual_hosted => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let builder = builder
            .with_region(region)
            .with_bucket_name(bucket)
            .with_disable_bulk_delete(true)
            .with_retry(never())
            .with_client_options(Connector::options(self.allow_http("AWS_ALLOW_HTTP")))
            .with_http_connector(self.connector(&address, "AWS_ALLOW_HTTP")?);
        self.made(builder.build())
    }

    /// What the environment itself does not say, from the profile that it means.
    #[cfg(all(feature = "s3", feature = "aws"))]
    fn with_profile(
        &self,
        builder: object_store::aws::AmazonS3Builder,
        region: Option<String>,
    ) -> Result<(object_store::aws::AmazonS3Builder, Option<String>)> {
        use object_store::aws::AmazonS3ConfigKey as Key;

        let value = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
        let own =
            [Key::AccessKeyId, Key::SecretAccessKey, Key::WebIdentityTokenFile, Key::ContainerCredentialsRelativeUri]
                .into_iter()
                .chain([Key::ContainerCredentialsFullUri])
                .any(|key| value(key).is_some())
                || value(Key::SkipSignature).is_some_and(|skip| skip == "true" || skip == "1");
        if own && region.is_some() {
            return Ok((builder, region));
        }
        let Some(profile) = super::profile::Profile::find(self.options, region.as_deref())? else {
            if !own && self.options.environment.get("AWS_EC2_METADATA_DISABLED") == Some("true") {
                return Err(Kind::Credentials.error(format_args!(
                    "{}: the environment holds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
                    self.location
                )));
            }
            return Ok((builder, region));
        };
        let region = region.or_else(|| profile.region().map(str::to_owned));
        Ok((if own { builder } else { builder.with_credentials(Arc::new(profile)) }, region))
    }

    #[cfg(feature = "abfs")]
    fn abfs(&self) -> Result<Arc<dyn ObjectStore>> {
        use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};

        let authority = self.location.authority();
        let (container, host) = authority.split_once('@').unwrap_or((authority, ""));
        let (account, domain) = host.split_once('.').unwrap_or((host, "dfs.core.windows.net"));
        let mut builder = MicrosoftAzureBuilder::new();
        for (name, value) in self.options.environment.starting_with("AZURE_") {
            if let Ok(key) = name.to_ascii_lowercase().parse::<Key>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = self.options.environment.get("IDENTITY_ENDPOINT") {
            builder = builder.with_msi_endpoint(endpoint);
        }
        if let Some(named) = builder.get_config_value(&Key::AccountName).filter(|named| named != account) {
            let holds = [Key::AccessKey, Key::SasKey].into_iter().any(|key| builder.get_config_value(&key).is_some());
            if holds {
                return Err(Kind::Config.error(format_args!(
                    "{}: the credentials of the environment are those of account '{named}' (AZURE_STORAGE_ACCOUNT_NAME), not of '{account}'",
                    self.location
                )));
            }
        }
        let address = match self.options.endpoint.clone().or_else(|| builder.get_config_value(&Key::Endpoint)) {
            Some(endpoint) => endpoint,
            None => format!("https://{account}.{}", domain.replacen("dfs.", "blob.", 1)),
        };
        let builder = builder
            .with_account(account)
            .with_container_name(container)
            .with_endpoint(address.clone())
            .with_retry(never())
            .with_client_options(Connector::options(self.allow_http("AZURE_ALLOW_HTTP")))
            .with_http_connector(self.connector(&address, "AZURE_ALLOW_HTTP")?);
        self.made(builder.build())
    }

    #[cfg(feature = "gs")]
    fn gs(&self) -> Result<Arc<dyn ObjectStore>> {
        use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Key};

        let mut builder = GoogleCloudStorageBuilder::new();
        for (name, value) in self.options.environment.starting_with("GOOGLE_") {
            if let Ok(key) = name.to_ascii_lowercase().parse::<Key>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &self.options.endpoint {
            builder = builder.with_config(Key::BaseUrl, endpoint);
        }
        let address =
            builder.get_config_value(&Key::BaseUrl).unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
        let builder = builder
            .with_bucket_name(self.location.authority())
            .with_retry(never())
            .with_client_options(Connector::options(self.allow_http("GOOGLE_ALLOW_HTTP")))
            .with_http_connector(self.connector(&address, "GOOGLE_ALLOW_HTTP")?);
        let files =
            [("SERVICE_ACCOUNT", Key::ServiceAccount), ("APPLICATION_CREDENTIALS", Key::ApplicationCredentials)];
        // Whichever comes first is taken.
        let mut files = files.into_iter().filter_map(|(name, key)| Some((name, builder.get_config_value(&key)?)));
        if let Some((name, file)) = files.next() {
            let bad = |reason| Kind::Config.error(format_args!("{}: GOOGLE_{name} {reason}", self.location));
            check_credentials(&file).map_err(bad)?;
        }
        self.made(builder.build())
    }

    fn made<S: ObjectStore>(&self, built: object_store::Result<S>) -> Result<Arc<dyn ObjectStore>> {
        match built {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => {
                let error = explain(&error, self.location, Need::Read);
                // Nothing was sent yet: it is what the environment says.
                Err(if error.kind() == Kind::StoreUnavailable { Kind::Config.error(error.message()) } else { error })
            }
        }
    }

    fn allow_http(&self, variable: &str) -> Option<bool> {
        let said = self.options.environment.get(variable).is_some_and(|value| matches!(value, "true" | "1"));
        Some(self.options.allow_http || said)
    }

    /// Checks the address, which may hold no credentials, and is `https` unless the variable allows `http`.
    fn connector(&self, address: &str, allow_http: &str) -> Result<Connector> {
        let bad = |reason: &str| -> Error {
            Kind::Config.error(format_args!("{}: the address of the store: {reason}", self.location))
        };
        let url = Url::parse(address).map_err(|_| bad("https://host:port is expected"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it holds no user and no password"));
        }
        let host =
            url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("https://host:port is expected"))?;
        if url.scheme() == "http" && self.allow_http(allow_http) != Some(true) {
            return Err(bad(&format!("http is not allowed: give an https address, or set {allow_http}=true")));
        }
        let bundle = self.options.environment.get("AWS_CA_BUNDLE").filter(|_| self.location.kind() == Scheme::S3);
        let ca_file = self.options.ca_file.clone().or_else(|| bundle.map(Into::into));
        Ok(Connector { ca_file, pace: Arc::clone(self.pace), host: host.to_owned() })
    }
}

/// Says what is wrong with a file of credentials: errors of the library leave everybody to guess which file is meant, or quote
/// what is in it.
#[cfg(feature = "gs")]
fn check_credentials(file: &str) -> Result<(), String> {
    use serde_json::Value;

    if file.contains(['{', '\n']) {
        return Err("has to be the path of a file, and not what is in it".to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(|error| format!("is {file}, which cannot be read: {error}"))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|error| format!("is {file}, which is not JSON (line {})", error.line()))?;
    match json.get("type").and_then(Value::as_str) {
        Some("service_account" | "authorized_user") => Ok(()),
        _ if json.get("private_key").is_some() && json.get("client_email").is_some() => Ok(()),
        _ => Err(format!("is {file}, which is neither of a service account nor of a user (its \"type\")")),
    }
}

#[cfg(all(test, feature = "gs"))]
mod tests {
    use super::*;
    use crate::store::{Environment, Store};

    #[test]
    fn a_file_of_credentials_that_is_of_no_use_is_named_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, bad) = (folder.path().join("missing"), folder.path().join("bad"));
        let secret = "{\"private_key\": \"hunter2\", \"type\": \"hunter2\"}";
        std::fs::write(&bad, secret).unwrap();
        let (missing, bad) = (missing.display().to_string(), bad.display().to_string());
        for variable in ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"] {
            for (value, words) in [(&*missing, &*missing), (&bad, &bad), (secret, "the path of a file")] {
                let options =
                    StoreOptions { environment: Environment::of([(variable, value)]), ..StoreOptions::default() };
                let error = Store::open(&Location::parse("gs://bucket/state").unwrap(), &options).err().unwrap();
                let said = error.message();
                assert!(said.contains(variable) && said.contains(words) && !said.contains("hunter2"), "{error}");
            }
        }
    }
}

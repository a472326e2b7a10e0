//! AWS KMS: a symmetric key that never leaves it.

mod credentials;
mod errors;
mod keys;
mod probe;
mod transport;
mod versions;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::{BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use parking_lot::Mutex;
use zeroize::Zeroize;

use crate::config::{AwsKmsConfig, KmsTransport};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};
use crate::kms::{Destruction, KeySpec, KeyVersion, KmsClient, Probe, WrappedKey};
use crate::secret::Secret;

use credentials::AwsCredentials;
use errors::Call;
use keys::Keys;

/// What stands for the version where the service does not name the key material, as emulators do not.
const UNNAMED: &str = "unnamed";

/// The longest wrapped key that the API takes.
const MAX_WRAPPED: usize = 6144;

/// One key of AWS KMS.
pub struct AwsKmsClient {
    service: Arc<Service>,
    keys: Keys,
    /// The key material that was current when a rotation began whose end was not seen.
    rotating: Mutex<Option<String>>,
}

/// What the clients of all keys of one configuration share: connections and credentials.
struct Service {
    sdk: Client,
    credentials: Arc<AwsCredentials>,
    /// The region, or the address where one is configured.
    place: String,
}

impl AwsKmsClient {
    /// Checks the configuration; calls nobody.
    pub fn new(config: &AwsKmsConfig, transport: &KmsTransport) -> Result<AwsKmsClient> {
        let keys = Keys::new(&config.region, &config.key_id, &config.open_key_ids)?;
        Ok(AwsKmsClient { service: Arc::new(Service::new(config, transport)?), keys, rotating: Mutex::default() })
    }

    /// Another key of the same service, on the same connections and credentials.
    pub fn with_key(&self, config: &AwsKmsConfig) -> Result<AwsKmsClient> {
        let keys = Keys::new(&config.region, &config.key_id, &config.open_key_ids)?;
        Ok(AwsKmsClient { service: Arc::clone(&self.service), keys, rotating: Mutex::default() })
    }

    fn call(&self, action: &'static str) -> Call<'_> {
        Call { service: "AWS KMS", place: &self.service.place, action, on: self.keys.text() }
    }

    /// Sends a request, and once more where the service refused credentials that have been replaced since.
    async fn send<T, E, F>(
        &self,
        call: Call<'_>,
        request: impl Fn() -> F + Send + Sync,
    ) -> Result<std::result::Result<T, SdkError<E, HttpResponse>>>
    where
        T: Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let credentials = self.service.credentials.current().await.map_err(|error| error.at(call))?;
        let answer = request().await;
        let Err(failed) = &answer else { return Ok(answer) };
        let refused = errors::explain(failed, call).kind() == Kind::Credentials;
        let again = refused && self.service.credentials.instead_of(&credentials).await.is_some();
        Ok(if again { request().await } else { answer })
    }

    /// The same, any failure explained.
    async fn ask<T, E, F>(&self, call: Call<'_>, request: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let answer = self.send(call, request).await?;
        answer.map_err(|error| errors::explain(&error, call))
    }

    /// The data key, and the key material that had wrapped it.
    async fn open(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<(Secret, String)> {
        let key = self.key_to_open(wrapped)?;
        let (sdk, pairs) = (&self.service.sdk, pairs(context));
        let request = || {
            let bytes = Blob::new(wrapped.bytes.as_slice());
            sdk.decrypt().key_id(&key).ciphertext_blob(bytes).set_encryption_context(pairs.clone()).send()
        };
        let answer = self.ask(Call { on: &wrapped.kek, ..self.call("Decrypt") }, request).await?;
        let secret = secret(answer.plaintext).ok_or_else(|| self.lacks("Decrypt", "data key"))??;
        self.keys.opened_by(&wrapped.kek, answer.key_id.as_deref())?;
        Ok((secret, named(answer.key_material_id)))
    }

    fn lacks(&self, action: &'static str, what: &str) -> Error {
        Kind::Internal.error(format_args!("the answer to {} holds no {what}", self.call(action)))
    }

    /// The key to name to the service, after a look at what can be no data key that it wrapped.
    fn key_to_open(&self, wrapped: &WrappedKey) -> Result<String> {
        if wrapped.bytes.is_empty() || wrapped.bytes.len() > MAX_WRAPPED {
            return Err(Kind::WrappedKey.error(format_args!(
                "a data key wrapped by AWS KMS has 1 to {MAX_WRAPPED} bytes, not {}: it is damaged",
                wrapped.bytes.len()
            )));
        }
        self.keys.to_open(&wrapped.kek).ok_or_else(|| {
            Kind::KeyNotAllowed.error(format_args!(
                "the data key is wrapped under {}, which neither kms.aws.key-id ({}) nor kms.aws.open-key-ids allows",
                wrapped.kek.escape_debug(),
                self.keys.text()
            ))
        })
    }
}

impl Service {
    fn new(config: &AwsKmsConfig, transport: &KmsTransport) -> Result<Service> {
        if let Some(endpoint) = &config.endpoint {
            transport::check_endpoint(endpoint)?;
            if config.fips {
                return Err(Kind::Config.error(
                    "kms.aws.fips is true, but kms.aws.endpoint is set: name the FIPS endpoint there, or remove one of the two",
                ));
            }
        }
        let http = transport::http_client(transport)?;
        let credentials = Arc::new(AwsCredentials::new(config, transport, http.clone())?);
        let mut sdk = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .http_client(http)
            .retry_config(transport::no_retry())
            .timeout_config(transport::limits(transport))
            .credentials_provider(SharedCredentialsProvider::from(
                Arc::clone(&credentials) as Arc<dyn aws_credential_types::provider::ProvideCredentials>
            ))
            .identity_cache(IdentityCache::no_cache())
            // The SDK would sign with the time that the last answer bore, and so trust any proxy with it.
            .disable_clock_skew_correction(true);
        sdk.set_endpoint_url(config.endpoint.clone());
        sdk.set_use_fips(config.fips.then_some(true));
        let place = config.endpoint.clone().unwrap_or_else(|| config.region.clone());
        Ok(Service { sdk: Client::from_conf(sdk.build()), credentials, place })
    }
}

#[async_trait]
impl KmsClient for AwsKmsClient {
    fn provider(&self) -> &str {
        "aws"
    }

    fn key_id(&self) -> &str {
        self.keys.text()
    }

    fn opens(&self, kek: &str) -> bool {
        self.keys.to_open(kek).is_some()
    }

    /// The answer to Encrypt, alone of all, does not name the key material: what was wrapped is opened again at once, which
    /// tells it and proves that a fallback can be relied on.
    async fn encrypt(&self, plaintext: &Secret, context: &EncryptionContext) -> Result<WrappedKey> {
        let (sdk, pairs) = (&self.service.sdk, pairs(context));
        let request = || {
            let plaintext = Blob::new(plaintext.expose());
            sdk.encrypt().key_id(self.keys.text()).plaintext(plaintext).set_encryption_context(pairs.clone()).send()
        };
        let answer = self.ask(self.call("Encrypt"), request).await?;
        let bytes = answer.ciphertext_blob.ok_or_else(|| self.lacks("Encrypt", "wrapped key"))?.into_inner();
        let kek = self.keys.wrapped_by(answer.key_id.as_deref())?;
        let wrapped = WrappedKey { kek, version: UNNAMED.to_owned(), bytes };
        let (opened, version) = self.open(&wrapped, context).await?;
        if opened.expose() != plaintext.expose() {
            return Err(Kind::Internal.error(format_args!("{} does not unwrap what it wrapped", self.keys.text())));
        }
        Ok(WrappedKey { version, ..wrapped })
    }

    async fn decrypt(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<Secret> {
        self.open(wrapped, context).await.map(|(secret, _)| secret)
    }

    async fn generate_data_key(&self, spec: KeySpec, context: &EncryptionContext) -> Result<(Secret, WrappedKey)> {
        let (sdk, pairs) = (&self.service.sdk, pairs(context));
        let spec = match spec {
            KeySpec::Aes256 => DataKeySpec::Aes256,
        };
        let request = || {
            let request = sdk.generate_data_key().key_id(self.keys.text()).key_spec(spec.clone());
            request.set_encryption_context(pairs.clone()).send()
        };
        let answer = self.ask(self.call("GenerateDataKey"), request).await?;
        let lacks = |what| self.lacks("GenerateDataKey", what);
        let secret = secret(answer.plaintext).ok_or_else(|| lacks("data key"))??;
        let bytes = answer.ciphertext_blob.ok_or_else(|| lacks("wrapped key"))?.into_inner();
        let kek = self.keys.wrapped_by(answer.key_id.as_deref())?;
        Ok((secret, WrappedKey { kek, version: named(answer.key_material_id), bytes }))
    }

    async fn current_key_version(&self) -> Result<KeyVersion> {
        self.current().await
    }

    async fn key_versions(&self) -> Result<Vec<KeyVersion>> {
        self.versions().await
    }

    async fn rotate(&self) -> Result<KeyVersion> {
        self.rotate_on_demand().await
    }

    async fn automatic_rotation(&self) -> Result<Option<Duration>> {
        self.rotates_every().await
    }

    async fn rotations_left(&self) -> Result<Option<usize>> {
        self.rotations_on_demand_left().await
    }

    /// Inside the service: the data key does not come here.
    async fn rewrap(&self, wrapped: &WrappedKey, context: &EncryptionContext) -> Result<WrappedKey> {
        let source = self.key_to_open(wrapped)?;
        let (sdk, pairs) = (&self.service.sdk, pairs(context));
        let request = || {
            let request = sdk.re_encrypt().ciphertext_blob(Blob::new(wrapped.bytes.as_slice()));
            let request = request.source_key_id(&source).set_source_encryption_context(pairs.clone());
            let request = request.destination_key_id(self.keys.text());
            request.set_destination_encryption_context(pairs.clone()).send()
        };
        let answer = self.ask(Call { on: &wrapped.kek, ..self.call("ReEncrypt") }, request).await?;
        self.keys.opened_by(&wrapped.kek, answer.source_key_id.as_deref())?;
        let bytes = answer.ciphertext_blob.ok_or_else(|| self.lacks("ReEncrypt", "wrapped key"))?.into_inner();
        let kek = self.keys.wrapped_by(answer.key_id.as_deref())?;
        Ok(WrappedKey { kek, version: named(answer.destination_key_material_id), bytes })
    }

    fn rewraps_inside(&self) -> bool {
        true
    }

    async fn set_version_enabled(&self, version: &str, enabled: bool) -> Result<()> {
        let verb = if enabled { "enable" } else { "disable" };
        Err(Kind::Unsupported.error(format_args!(
            "AWS KMS cannot {verb} version {version} of {key} by itself, only the key with all its versions (aws kms {verb}-key)",
            key = self.keys.text()
        )))
    }

    async fn kek(&self) -> Result<String> {
        self.keys.wrapped_by(self.describe().await?.arn.as_deref())
    }

    async fn schedule_destruction(&self, after: Duration) -> Result<Destruction> {
        self.schedule_deletion(after).await
    }

    async fn probe(&self) -> Vec<Probe> {
        self.probe_all().await
    }
}

impl fmt::Debug for AwsKmsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKmsClient({}, {})", self.service.place, self.keys.text())
    }
}

fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs = || context.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    (!context.is_empty()).then(pairs)
}

/// Moves the data key out of the SDK's buffer, which is wiped.
fn secret(plaintext: Option<Blob>) -> Option<Result<Secret>> {
    let mut bytes = plaintext?.into_inner();
    let taken = Secret::take(&mut bytes).map_err(|_| {
        Kind::WrappedKey.error(format_args!("AWS KMS gave a data key of {} bytes, which none of ours has", bytes.len()))
    });
    bytes.zeroize();
    Some(taken)
}

fn named(material: Option<String>) -> String {
    material.unwrap_or_else(|| UNNAMED.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn config() -> AwsKmsConfig {
        AwsKmsConfig {
            region: "eu-west-1".to_owned(),
            key_id: "alias/flink".to_owned(),
            open_key_ids: Vec::new(),
            endpoint: None,
            fips: false,
            profile: None,
            credentials_file: None,
            role_arn: None,
        }
    }

    fn transport() -> KmsTransport {
        let (attempt_timeout, connect_timeout) = (Duration::from_secs(3), Duration::from_secs(2));
        KmsTransport { attempt_timeout, connect_timeout, ca_file: None, proxy: None }
    }

    #[test]
    fn what_can_be_seen_wrong_without_a_call_names_its_option() {
        let file = || Some(PathBuf::from("/nonexistent/file"));
        let role = |arn: &str| AwsKmsConfig { role_arn: Some(arn.to_owned()), ..config() };
        let endpoint = || Some("https://vpce.example".to_owned());
        let cases = [
            ("kms.aws.key-id", AwsKmsConfig { key_id: "flink".to_owned(), ..config() }, transport()),
            ("kms.aws.region", AwsKmsConfig { region: "Frankfurt".to_owned(), ..config() }, transport()),
            (
                "kms.aws.endpoint",
                AwsKmsConfig { endpoint: Some("http://10.0.0.1".to_owned()), ..config() },
                transport(),
            ),
            ("kms.aws.fips", AwsKmsConfig { fips: true, endpoint: endpoint(), ..config() }, transport()),
            ("kms.aws.credentials-file", AwsKmsConfig { credentials_file: file(), ..config() }, transport()),
            ("kms.aws.role-arn", role("flink"), transport()),
            ("kms.aws.role-arn", role("arn:aws:iam::111122223333:user/flink"), transport()),
            ("kms.ca-file", config(), KmsTransport { ca_file: file(), ..transport() }),
            ("kms.proxy", config(), KmsTransport { proxy: Some("socks5://u:hunter2@proxy".to_owned()), ..transport() }),
        ];
        for (option, config, transport) in cases {
            let error = AwsKmsClient::new(&config, &transport).unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{error}");
            assert!(error.message().starts_with(option) && !error.message().contains("hunter2"), "{error}");
        }
        assert!(AwsKmsClient::new(&AwsKmsConfig { fips: true, ..config() }, &transport()).is_ok());
        assert!(AwsKmsClient::new(&role("arn:aws-cn:iam::111122223333:role/path/flink"), &transport()).is_ok());
    }

    #[test]
    fn an_sdk_buffer_is_moved_out_of_and_the_length_of_a_key_is_bounded() {
        assert_eq!(secret(Some(Blob::new(vec![7; 32]))).unwrap().unwrap().expose(), [7; 32]);
        assert_eq!(secret(Some(Blob::new(vec![7; 65]))).unwrap().unwrap_err().kind(), Kind::WrappedKey);
        assert!(secret(None).is_none());
    }
}

//! Who we are to AWS: found the way AWS's own tools find it, kept until shortly before it expires, and renewed ahead.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::{Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_kms::error::{ConnectorError, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use tokio::sync::Mutex;

use crate::config::{AwsKmsConfig, KmsTransport};
use crate::error::{Error, Kind, Result};
use crate::kms::aws::errors::{self, Call};
use crate::kms::aws::transport;
use crate::kms::tls;

/// Credentials that expire sooner are renewed.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// Credentials that expire sooner are not used any more.
const LAST: Duration = Duration::from_secs(10);
/// Credentials without an end are looked up again after this time: their file may have been replaced.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);
/// How long a renewal that failed, or gave the same again, is not repeated.
const PAUSE: Duration = Duration::from_secs(30);
/// How the instance's metadata service is waited for: on other machines nothing answers at its address.
const METADATA: Duration = Duration::from_secs(1);
const SESSION: &str = "sealpoint";

/// The credentials of one configuration, shared by the clients of all its keys.
pub struct AwsCredentials {
    source: Source,
    state: Mutex<State>,
}

/// Where they come from.
struct Source {
    region: String,
    fips: bool,
    profile: Option<String>,
    credentials_file: Option<PathBuf>,
    role_arn: Option<String>,
    transport: KmsTransport,
    http: SharedHttpClient,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<(Instant, Error)>,
}

struct Held {
    credentials: Credentials,
    /// When they are looked up again, whatever their end.
    renew: Instant,
}

impl AwsCredentials {
    /// Checks what can be checked without asking anybody.
    pub fn new(config: &AwsKmsConfig, transport: &KmsTransport, http: SharedHttpClient) -> Result<AwsCredentials> {
        if let Some(path) = &config.credentials_file {
            std::fs::read(path).map_err(|error| {
                let place = path.display();
                Kind::Config.error(format_args!("kms.aws.credentials-file {place} cannot be read: {error}"))
            })?;
        }
        if let Some(role) = config.role_arn.as_ref().filter(|role| !is_role(role)) {
            return Err(Kind::Config.error(format_args!(
                "kms.aws.role-arn: '{}' is not the ARN of a role, such as arn:aws:iam::111122223333:role/flink",
                role.escape_debug()
            )));
        }
        let source = Source {
            region: config.region.clone(),
            fips: config.fips,
            profile: config.profile.clone(),
            credentials_file: config.credentials_file.clone(),
            role_arn: config.role_arn.clone(),
            transport: transport.clone(),
            http,
        };
        Ok(AwsCredentials { source, state: Mutex::default() })
    }

    /// The credentials to sign with now. Whoever else asks meanwhile waits for the same answer.
    pub async fn current(&self) -> Result<Credentials> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        let (now, wall) = (Instant::now(), SystemTime::now());
        if let Some(held) = state.held.as_ref().filter(|held| now < held.renew && lasts(&held.credentials, wall, LAST))
        {
            return Ok(held.credentials.clone());
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(when, _)| *when >= asked) {
            return Err(error.clone());
        }
        match self.source.find().await {
            Ok(found) => {
                state.failed = None;
                state.held = Some(Held { renew: next_look(&found, now, wall), credentials: found.clone() });
                Ok(found)
            }
            Err(error) => match state.held.as_mut().filter(|held| lasts(&held.credentials, wall, LAST)) {
                Some(held) => {
                    log::warn!("AWS credentials could not be renewed, those at hand are used while they last: {error}");
                    held.renew = now + PAUSE;
                    Ok(held.credentials.clone())
                }
                None => {
                    state.failed = Some((Instant::now(), error.clone()));
                    Err(error)
                }
            },
        }
    }

    /// Looks the credentials up anew, because the service refused these. `None` if that gives the same again.
    pub async fn instead_of(&self, refused: &Credentials) -> Option<Credentials> {
        let same = |held: &Held| is_same(&held.credentials, refused);
        self.state.lock().await.held.take_if(|held| same(held));
        self.current().await.ok().filter(|found| !is_same(found, refused))
    }
}

impl Source {
    async fn find(&self) -> Result<Credentials> {
        let limit = self.transport.attempt_timeout;
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => Err(Kind::KmsTimeout.error(format_args!(
                "no AWS credentials within kms.attempt-timeout ({limit:?}): whoever gives them (STS, the container's or the \
                 instance's metadata service) does not answer"
            ))),
        }
    }

    /// The chain is built anew each time, so that a file or a variable that was changed holds.
    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let base = self.base().await;
        let Some(role) = &self.role_arn else { return base.provide_credentials().await };
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .http_client(self.http.clone())
            .retry_config(transport::no_retry())
            .timeout_config(transport::limits(&self.transport))
            .credentials_provider(base.clone());
        if self.fips {
            loader = loader.use_fips(true);
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(files) = self.files() {
            loader = loader.profile_files(files);
        }
        let assumed = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&loader.load().await);
        assumed.build_from_provider(base).await.provide_credentials().await
    }

    /// Environment, profile, web identity, container, instance; the profile alone where the configuration names one.
    async fn base(&self) -> SharedCredentialsProvider {
        let config = ProviderConfig::without_region()
            .with_region(Some(Region::new(self.region.clone())))
            .with_http_client(self.http.clone())
            .with_retry_config(transport::no_retry())
            .with_timeout_config(transport::limits(&self.transport))
            .with_use_fips(self.fips.then_some(true));
        let instance = imds::Client::builder()
            .configure(&config)
            .max_attempts(1)
            .connect_timeout(METADATA)
            .read_timeout(METADATA)
            .build();
        if self.profile.is_none() && self.credentials_file.is_none() {
            let region = Region::new(self.region.clone());
            let chain = DefaultCredentialsChain::builder().region(region).imds_client(instance).configure(config);
            return SharedCredentialsProvider::new(chain.build().await);
        }
        let instance = ImdsCredentialsProvider::builder().configure(&config).imds_client(instance).build();
        let mut chosen = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .with_custom_provider("Ec2InstanceMetadata", instance);
        if let Some(profile) = &self.profile {
            chosen = chosen.profile_name(profile);
        }
        if let Some(files) = self.files() {
            chosen = chosen.profile_files(files);
        }
        SharedCredentialsProvider::new(chosen.build())
    }

    /// The shared configuration with the configured credentials file in it.
    fn files(&self) -> Option<EnvConfigFiles> {
        let builder = EnvConfigFiles::builder().include_default_config_file(true);
        Some(builder.with_file(EnvConfigFileKind::Credentials, self.credentials_file.as_ref()?).build())
    }

    /// Faults of whoever was asked may pass; that nobody has credentials for us does not.
    fn explain(&self, error: &CredentialsError) -> Error {
        if let Some(fault) = tls::fault(error) {
            return fault.at("AWS credentials");
        }
        let role = self.role_arn.as_deref().unwrap_or("the role of the environment or of the profile");
        let call = |action| Call { service: "AWS STS", place: &self.region, action, on: role };
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(failed) = cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>() {
                return errors::explain(failed, call("AssumeRole"));
            }
            if let Some(failed) = cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>() {
                return errors::explain(failed, call("AssumeRoleWithWebIdentity"));
            }
            if let Some(failed) = cause.downcast_ref::<ConnectorError>()
                && !matches!(error, CredentialsError::CredentialsNotLoaded(_))
            {
                return errors::unreachable(failed, "the source of AWS credentials", &self.region);
            }
            next = cause.source();
        }
        let looked = match (&self.profile, &self.credentials_file) {
            (None, None) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a web identity, or give the machine or pod a role"
                    .to_owned()
            }
            (profile, file) => {
                let profile = profile.as_deref().unwrap_or("default");
                let file = file.as_ref().map(|path| format!(" in {}", path.display())).unwrap_or_default();
                format!("check profile '{profile}'{file}")
            }
        };
        Kind::Credentials.error(format_args!("no AWS credentials: {}; {looked}", errors::root(error)))
    }
}

/// For the SDK, which asks with every request.
impl ProvideCredentials for AwsCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.current().await.map_err(CredentialsError::provider_error) })
    }
}

impl std::fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AwsCredentials(..)")
    }
}

fn lasts(credentials: &Credentials, now: SystemTime, longer_than: Duration) -> bool {
    credentials.expiry().is_none_or(|end| end > now + longer_than)
}

/// When to look again: before the end, and not at once again where they end soon anyway.
fn next_look(found: &Credentials, now: Instant, wall: SystemTime) -> Instant {
    let left = found.expiry().map(|end| end.duration_since(wall).unwrap_or_default());
    now + left.map_or(LOOK_AGAIN, |left| left.saturating_sub(AHEAD).max(PAUSE))
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    let parts = |of: &Credentials| {
        (of.access_key_id().to_owned(), of.secret_access_key().to_owned(), of.session_token().map(str::to_owned))
    };
    parts(one) == parts(other)
}

fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    matches!(parts[..], ["arn", _, "iam", "", account, resource]
        if account.len() == 12 && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

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
use crate::kms::CA_FILE;
use crate::kms::aws::errors::{self, Call};
use crate::kms::aws::transport;
use crate::net::tls;

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
        if let Some(fault) = tls::fault(CA_FILE, error) {
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::Command;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const INSIDE: &str = "AWS_CREDENTIALS_TEST_INSIDE";

    fn credentials() -> Arc<AwsCredentials> {
        let config = AwsKmsConfig {
            region: "eu-west-1".to_owned(),
            key_id: "alias/flink".to_owned(),
            open_key_ids: Vec::new(),
            endpoint: None,
            fips: false,
            profile: None,
            credentials_file: None,
            role_arn: None,
        };
        let transport = KmsTransport {
            attempt_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            ca_file: None,
            proxy: None,
        };
        let http = transport::http_client(&transport).unwrap();
        Arc::new(AwsCredentials::new(&config, &transport, http).unwrap())
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// Runs the test again as a process of its own, in this environment and no other of AWS; true inside of it.
    fn inside(test: &str, environment: &[(&str, &str)]) -> bool {
        if std::env::var_os(INSIDE).is_some() {
            return true;
        }
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            child.env_remove(name);
        }
        let test = format!("kms::aws::credentials::tests::{test}");
        child.args(["--exact", &test, "--nocapture"]).env(INSIDE, "1").env("HOME", home.path());
        let output = child.envs(environment.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        false
    }

    /// A container's credentials service: what each request gets, by its number; nothing is an error.
    fn container(lives: fn(u32) -> Option<Duration>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/credentials", listener.local_addr().unwrap());
        thread::spawn(move || {
            for number in 1.. {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let (status, body) = match lives(number) {
                    Some(life) => ("200 OK", answer(number, life)),
                    None => ("500 Internal Server Error", String::new()),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        address
    }

    fn answer(number: u32, life: Duration) -> String {
        let end = aws_sdk_kms::primitives::DateTime::from(SystemTime::now() + life);
        let end = end.fmt(aws_sdk_kms::primitives::DateTimeFormat::DateTime).unwrap();
        format!(r#"{{"AccessKeyId":"KEY{number}","SecretAccessKey":"hunter2","Token":"hunter3","Expiration":"{end}"}}"#)
    }

    #[test]
    fn where_nobody_gives_any_the_silence_of_the_metadata_service_is_waited_for_only_briefly() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap());
        let test = "where_nobody_gives_any_the_silence_of_the_metadata_service_is_waited_for_only_briefly";
        if inside(test, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)]) {
            // The limit of the attempt would be a time-out, and one to try again.
            let error = run(credentials().current()).unwrap_err();
            assert_eq!(error.kind(), Kind::Credentials, "{error}");
            assert!(error.message().contains("AWS_ACCESS_KEY_ID"), "{error}");
        }
    }

    #[test]
    fn all_callers_wait_for_one_answer_which_is_used_while_it_lasts_though_renewing_fails() {
        let service = container(|number| (number == 1).then_some(Duration::from_secs(3600)));
        let test = "all_callers_wait_for_one_answer_which_is_used_while_it_lasts_though_renewing_fails";
        if inside(test, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &service)]) {
            run(async {
                let credentials = credentials();
                let calls = (0..64).map(|_| {
                    let credentials = Arc::clone(&credentials);
                    async move { credentials.current().await }
                });
                let mut all = tokio::task::JoinSet::from_iter(calls);
                while let Some(given) = all.join_next().await {
                    assert_eq!(given.unwrap().unwrap().access_key_id(), "KEY1");
                }
                credentials.state.lock().await.held.as_mut().unwrap().renew = Instant::now();
                let kept = credentials.current().await.unwrap();
                assert_eq!(kept.access_key_id(), "KEY1");
                // Refused by the service, they are of no more use.
                assert!(credentials.instead_of(&kept).await.is_none());
                let error = credentials.current().await.unwrap_err();
                assert_eq!(error.kind(), Kind::Credentials, "{error}");
                assert!(!error.message().contains("hunter"), "{error}");
            });
        }
    }

    #[test]
    fn what_is_about_to_expire_is_replaced_before_it_does() {
        let service = container(|_| Some(LAST - Duration::from_secs(1)));
        if inside(
            "what_is_about_to_expire_is_replaced_before_it_does",
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &service)],
        ) {
            let credentials = credentials();
            for number in 1..4 {
                assert_eq!(run(credentials.current()).unwrap().access_key_id(), format!("KEY{number}"));
            }
        }
        let lives = |life| {
            let mut found =
                Credentials::builder().access_key_id("k").secret_access_key("s").provider_name("test").build();
            *found.expiry_mut() = life;
            let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
            next_look(&found, now, wall) - now
        };
        let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds));
        assert_eq!(lives(at(3600)), Duration::from_secs(3600) - AHEAD);
        assert_eq!(lives(at(200)), PAUSE);
        assert_eq!(lives(None), LOOK_AGAIN);
    }

    #[test]
    fn an_instance_gives_those_of_its_role() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            loop {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                let body = match request.split(' ').nth(1).unwrap_or_default() {
                    "/latest/api/token" => "session-token".to_owned(),
                    _ if !request.contains("x-aws-ec2-metadata-token: session-token") => String::new(),
                    "/latest/meta-data/iam/security-credentials/" => "flink-role".to_owned(),
                    _ => answer(1, Duration::from_secs(3600)).replacen('{', r#"{"Code":"Success","#, 1),
                };
                let length = body.len();
                let lives = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nConnection: close";
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{lives}\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        // A proxy of the environment is not asked: whoever answers there would be given the role.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", nobody.local_addr().unwrap());
        let environment =
            [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*address), ("HTTP_PROXY", &proxy), ("ALL_PROXY", &proxy)];
        if inside("an_instance_gives_those_of_its_role", &environment) {
            assert_eq!(run(credentials().current()).unwrap().access_key_id(), "KEY1");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", credentials()), "AwsCredentials(..)");
    }
}

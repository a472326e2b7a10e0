//! `sealpoint rotate`: a new version of key-encryption keys, by hand or by their age.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use sealpoint::clock::{SystemClock, utc};
use sealpoint::config::EncryptionConfig;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::keys::{KeyRotationManager, RotatedKey, Verdict};
use sealpoint::kms::KeyVersion;
use sealpoint::kms::over::{self, Jitter, Random, Surroundings};
use serde_json::{Value, json};

use crate::output::Answer;

/// Who rotates by age waits for up to so long and looks again: another may have rotated.
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// The arguments of `sealpoint rotate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint rotate --config sealpoint.toml --dry-run
  sealpoint rotate --config sealpoint.toml --if-due
  sealpoint rotate --config sealpoint.toml --tenant payments --kms primary --json

JSON: {ok, dry_run, keys: [{tenants, slot, provider, key, before, due, rotates, after, error}]}, before and after each
{version, created_at_ms}")]
pub struct Rotate {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Only the keys that wrap this tenant's data keys
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only the keys in this key service: `primary`, or one of kms.fallbacks
    #[arg(long, value_name = "NAME")]
    kms: Option<String>,
    /// Only keys that have reached key-rotation.interval-days, and that their key service does not rotate by itself
    #[arg(long)]
    if_due: bool,
    /// Say what would be rotated, and rotate nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(arguments: &Rotate) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::io("start the runtime", &error))?.block_on(rotate(arguments))
}

async fn rotate(arguments: &Rotate) -> Result<Answer> {
    let config = EncryptionConfig::load(&arguments.config)?;
    if arguments.if_due && !config.key_rotation.enabled {
        return Err(Kind::Config.error("--if-due: no key is ever due, because key-rotation.enabled is false"));
    }
    let clock = Arc::new(SystemClock);
    let clients = over::connect(&config, &Surroundings::new(clock.clone(), Arc::default()))?;
    let manager = KeyRotationManager::new(&config, &clients, clock, Arc::default());
    let mut outcomes = Vec::new();
    for key in chosen(arguments, &config, &manager)? {
        let outcome = Outcome::of(&manager, key, arguments).await;
        if !arguments.json {
            outcome.show(key);
        }
        outcomes.push((key, outcome));
    }
    let failures: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.failure.as_ref()).collect();
    if arguments.json {
        let keys: Vec<Value> = outcomes.iter().map(|(key, outcome)| outcome.json(key)).collect();
        say!("{}", json!({"ok": failures.is_empty(), "dry_run": arguments.dry_run, "keys": keys}));
    }
    for failure in &failures {
        aside!("sealpoint: {failure}");
    }
    Ok(if failures.is_empty() { Answer::Yes } else { Answer::Failed })
}

fn chosen<'m>(
    arguments: &Rotate,
    config: &EncryptionConfig,
    manager: &'m KeyRotationManager,
) -> Result<Vec<&'m RotatedKey>> {
    if let Some(tenant) = arguments.tenant.as_ref().filter(|tenant| !config.tenants.sealing().any(|one| one == *tenant))
    {
        return Err(
            Kind::InvalidArgument.error(format_args!("--tenant: nothing is sealed for a tenant '{tenant}' here"))
        );
    }
    let of_tenant = |key: &&RotatedKey| arguments.tenant.as_ref().is_none_or(|tenant| key.tenants().contains(tenant));
    let of_kms = |key: &&RotatedKey| arguments.kms.as_ref().is_none_or(|kms| key.slot() == kms);
    let keys: Vec<_> = manager.keys().iter().filter(of_tenant).filter(of_kms).collect();
    match (&arguments.kms, keys.is_empty()) {
        (Some(kms), true) => {
            Err(Kind::InvalidArgument
                .error(format_args!("--kms: '{kms}' is neither 'primary' nor one of kms.fallbacks")))
        }
        _ => Ok(keys),
    }
}

/// What became of one key.
#[derive(Default)]
struct Outcome {
    before: Option<KeyVersion>,
    verdict: Option<Verdict>,
    /// In a dry run, that it would be.
    rotates: bool,
    after: Option<KeyVersion>,
    failure: Option<Error>,
}

impl Outcome {
    async fn of(manager: &KeyRotationManager, key: &RotatedKey, arguments: &Rotate) -> Outcome {
        let mut outcome = Outcome::default();
        let done = outcome.rotate(manager, key, arguments).await;
        outcome.failure = done.err().map(|error| error.at(key));
        outcome
    }

    async fn rotate(&mut self, manager: &KeyRotationManager, key: &RotatedKey, arguments: &Rotate) -> Result<()> {
        self.look(manager, key, arguments).await?;
        if !self.rotates || arguments.dry_run {
            return Ok(());
        }
        if arguments.if_due {
            tokio::time::sleep(LONGEST_DELAY.mul_f64(Random.fraction())).await;
            self.look(manager, key, arguments).await?;
        }
        if let (true, Some(before)) = (self.rotates, &self.before) {
            self.after = Some(manager.rotate_key(key, before).await?);
        }
        Ok(())
    }

    async fn look(&mut self, manager: &KeyRotationManager, key: &RotatedKey, arguments: &Rotate) -> Result<()> {
        if !arguments.if_due {
            self.before = Some(key.client().current_key_version().await?);
            self.rotates = true;
            return Ok(());
        }
        let standing = manager.should_rotate(key).await?;
        self.verdict = Some(standing.verdict);
        self.rotates = matches!(standing.verdict, Verdict::Due | Verdict::TooOld);
        if standing.verdict == Verdict::Skewed {
            return Err(Kind::State.error(format_args!(
                "its version {} is dated into the future, {}: set the clock of this machine, or the key service's, right",
                standing.version.id,
                utc(millis(standing.version.created_at))
            )));
        }
        self.before = Some(standing.version);
        Ok(())
    }

    fn show(&self, key: &RotatedKey) {
        say!("{}/{} {} '{}'", key.tenants().join(","), key.slot(), key.client().provider(), key.client().key_id());
        if let Some(before) = &self.before {
            say!("  version {} of {}{}", before.id, utc(millis(before.created_at)), self.why());
        }
        match (&self.after, &self.failure) {
            (Some(after), _) => say!("  rotated: version {}", after.id),
            (None, Some(_)) => say!("  FAILED"),
            (None, None) if self.rotates => say!("  would be rotated"),
            (None, None) => {}
        }
    }

    fn why(&self) -> String {
        match self.verdict {
            None => String::new(),
            Some(Verdict::Young) => ": not due".to_owned(),
            Some(Verdict::Due) => ": due".to_owned(),
            Some(Verdict::TooOld) => ": past key-rotation.max-age-days".to_owned(),
            Some(Verdict::Automatic(period)) => {
                format!(": the key service rotates it by itself, every {} days", period.as_secs() / 86_400)
            }
            Some(Verdict::Skewed) => ": of unknown age".to_owned(),
        }
    }

    fn json(&self, key: &RotatedKey) -> Value {
        let version =
            |version: &KeyVersion| json!({"version": version.id, "created_at_ms": millis(version.created_at)});
        let due = self.verdict.map(|verdict| match verdict {
            Verdict::Young => "no",
            Verdict::Due => "yes",
            Verdict::TooOld => "too-old",
            Verdict::Automatic(_) => "automatic",
            Verdict::Skewed => "unknown",
        });
        json!({
            "tenants": key.tenants(), "slot": key.slot(), "provider": key.client().provider(),
            "key": key.client().key_id(), "before": self.before.as_ref().map(version), "due": due,
            "rotates": self.rotates, "after": self.after.as_ref().map(version),
            "error": self.failure.as_ref().map(Error::message),
        })
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! `sealpoint kms`: whether the configured key services can be used, and how fast they answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use sealpoint::clock::SystemClock;
use sealpoint::config::EncryptionConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::kms::over::{self, Budget, Surroundings};
use sealpoint::kms::{self, Clients, Connection, KeySpec, KmsClient, Need, Probe};
use sealpoint::secret::Secret;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::output::error_json;

/// The subcommands of `sealpoint kms`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try the permissions that the key services of every tenant need, and name what is missing
    Test(Test),
    /// Measure how long the key services take, within kms.calls-per-second
    Bench(Bench),
}

/// The arguments of `sealpoint kms test`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint kms test --config sealpoint.toml
  sealpoint kms test --config sealpoint.toml --role taskmanager --json

JSON: {ok, keys: [{tenant, slot, provider, key, permissions: [{permission, ok, code, kind, error}]}]}; in the place of key
and permissions, where nothing could be tried: error: {code, kind, error}")]
pub struct Test {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Whose permissions the configuration's credentials must have
    #[arg(long, value_enum, default_value_t = Role::Jobmanager)]
    role: Role,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Who runs with these credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Seals and opens
    Taskmanager,
    /// Looks after the key as well: lists versions, rewraps, rotates
    Jobmanager,
}

impl Role {
    /// True if this role needs it, where a data key is wrapped by so many key services.
    fn needs(self, need: Need, slots: usize) -> bool {
        match need {
            Need::Data => true,
            Need::Fallback => slots > 1 || self == Role::Jobmanager,
            Need::Care => self == Role::Jobmanager,
        }
    }
}

/// The arguments of `sealpoint kms bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint kms bench --config sealpoint.toml --count 1000 --concurrency 8
  sealpoint kms bench --config sealpoint.toml --tenant payments --json

JSON: {count, concurrency, keys: [{tenant, slot, provider, key, generate, wrap, unwrap}]}, the last three each
{calls, failed, p50_ms, p99_ms, max_ms, error}")]
pub struct Bench {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Whose keys to use; those of the default tenant unless given
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Calls of each operation
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Calls at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    concurrency: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of them.
pub fn run(command: &Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start the runtime", &error))?;
    match command {
        Command::Test(arguments) => runtime.block_on(test(arguments)),
        Command::Bench(arguments) => runtime.block_on(bench(arguments)),
    }
}

/// One key of one tenant in one key service.
pub struct Place {
    tenant: String,
    slot: String,
    pub client: Arc<dyn KmsClient>,
}

impl Place {
    pub fn name(&self) -> String {
        format!("{}/{} {} '{}'", self.tenant, self.slot, self.client.provider(), self.client.key_id())
    }

    fn json(&self) -> Value {
        json!({
            "tenant": self.tenant, "slot": self.slot, "provider": self.client.provider(), "key": self.client.key_id(),
        })
    }
}

/// The keys of these tenants, in the order of the configuration.
pub fn places(config: &EncryptionConfig, clients: &Clients, tenants: &[String]) -> Vec<Place> {
    let of_tenant = |tenant: &String| {
        let slots = config.kms_slots_of(tenant).into_iter().zip(clients.get(tenant).cloned().unwrap_or_default());
        let tenant = tenant.clone();
        slots.map(move |(slot, client)| Place { tenant: tenant.clone(), slot: slot.name, client })
    };
    tenants.iter().flat_map(of_tenant).collect()
}

async fn test(arguments: &Test) -> Result<()> {
    let config = EncryptionConfig::load(&arguments.config)?;
    // With the deadline over it: a service that never answers ends the test too.
    let connections = over::connect_each(&config, &Surroundings::new(Arc::new(SystemClock), Arc::default()));
    let mut failures: Vec<Error> = Vec::new();
    let mut out = Vec::new();
    for Connection { tenant, slot, client, .. } in connections {
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                // The others may be tried all the same.
                let name = format!("{tenant}/{} {}", slot.name, slot.provider.name());
                if !arguments.json {
                    say!("{name}\n  FAILED  {error}");
                }
                let mut entry = json!({"tenant": tenant, "slot": slot.name, "provider": slot.provider.name()});
                entry["error"] = error_json(&error);
                out.push(entry);
                failures.push(error.at(name));
                continue;
            }
        };
        let place = Place { tenant, slot: slot.name, client };
        let slots = config.kms_slots_of(&place.tenant).len();
        let mut probes = place.client.probe().await;
        probes.retain(|probe| arguments.role.needs(probe.need, slots));
        if !arguments.json {
            say!("{}", place.name());
            probes.iter().for_each(show);
        }
        let mut entry = place.json();
        entry["permissions"] = probes.iter().map(probe_json).collect();
        out.push(entry);
        let failed =
            |probe: Probe| Some(probe.outcome.err()?.at(format_args!("{}: {}", place.name(), probe.permission)));
        failures.extend(probes.into_iter().filter_map(failed));
    }
    if arguments.json {
        say!("{}", json!({"ok": failures.is_empty(), "keys": out}));
    }
    let count = failures.len();
    match failures.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(error.at(format_args!("{count} of what was tried failed; the first"))),
    }
}

fn show(probe: &Probe) {
    match &probe.outcome {
        Ok(()) => say!("  ok      {}", probe.permission),
        Err(error) => say!("  FAILED  {}: {error}", probe.permission),
    }
}

fn probe_json(probe: &Probe) -> Value {
    match &probe.outcome {
        Ok(()) => json!({"permission": probe.permission, "ok": true}),
        Err(error) => {
            let mut entry = error_json(error);
            (entry["permission"], entry["ok"]) = (probe.permission.clone().into(), false.into());
            entry
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Generate,
    Wrap,
    Unwrap,
}

impl Operation {
    const ALL: [Operation; 3] = [Operation::Generate, Operation::Wrap, Operation::Unwrap];

    fn name(self) -> &'static str {
        match self {
            Operation::Generate => "generate",
            Operation::Wrap => "wrap",
            Operation::Unwrap => "unwrap",
        }
    }
}

async fn bench(arguments: &Bench) -> Result<()> {
    let config = EncryptionConfig::load(&arguments.config)?;
    let tenant = arguments.tenant.clone().unwrap_or_else(|| config.tenants.default_tenant().to_owned());
    // The clients alone: what stands over them waits and retries, and is not what is measured.
    let clients = kms::connect(&config)?;
    let places = places(&config, &clients, std::slice::from_ref(&tenant));
    if places.is_empty() {
        return Err(Kind::InvalidArgument.error(format_args!("--tenant: '{tenant}' is not among open-tenants")));
    }
    let mut failure = None;
    let mut out = Vec::new();
    for place in places {
        if !arguments.json {
            say!("{}", place.name());
            say!("  {:<10} {:>8} {:>8} {:>10} {:>10} {:>10}", "", "calls", "failed", "p50 ms", "p99 ms", "max ms");
        }
        let budget = Budget::new(config.kms_config.calls_per_second);
        let mut entry = place.json();
        for operation in Operation::ALL {
            let timings = measure(&place.client, operation, arguments, &budget, config.kms_config.timeout).await?;
            if !arguments.json {
                timings.show(operation);
            }
            entry[operation.name()] = timings.json();
            failure = failure
                .or(timings.failure.map(|error| error.at(format_args!("{}: {}", place.name(), operation.name()))));
        }
        out.push(entry);
    }
    if arguments.json {
        say!("{}", json!({"count": arguments.count, "concurrency": arguments.concurrency, "keys": out}));
    }
    failure.map_or(Ok(()), Err)
}

/// What came of the calls of one operation.
#[derive(Debug, Default)]
struct Timings {
    /// Those that succeeded, ascending once all are in.
    taken: Vec<Duration>,
    failed: usize,
    failure: Option<Error>,
}

async fn measure(
    client: &Arc<dyn KmsClient>,
    operation: Operation,
    arguments: &Bench,
    budget: &Arc<Budget>,
    timeout: Duration,
) -> Result<Timings> {
    let left = Arc::new(AtomicUsize::new(arguments.count as usize));
    let mut workers = JoinSet::new();
    for _ in 0..arguments.concurrency {
        let (client, budget, left) = (Arc::clone(client), Arc::clone(budget), Arc::clone(&left));
        workers.spawn(async move {
            let mut timings = Timings::default();
            let context = EncryptionContext::new([("sealpoint:bench", operation.name())])?;
            let secret = Secret::random(32)?;
            let wrapped = match operation {
                Operation::Unwrap => {
                    budget.turn().await;
                    Some(client.encrypt(&secret, &context).await)
                }
                Operation::Generate | Operation::Wrap => None,
            };
            while left.try_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                budget.turn().await;
                let start = Instant::now();
                let call = async {
                    match (operation, &wrapped) {
                        (Operation::Generate, _) => client.generate_data_key(KeySpec::Aes256, &context).await.map(drop),
                        (Operation::Unwrap, Some(Ok(wrapped))) => client.decrypt(wrapped, &context).await.map(drop),
                        (Operation::Unwrap, Some(Err(error))) => Err(error.clone()),
                        (Operation::Wrap, _) | (Operation::Unwrap, None) => {
                            client.encrypt(&secret, &context).await.map(drop)
                        }
                    }
                };
                let outcome = tokio::time::timeout(timeout, call).await;
                timings.add(start.elapsed(), outcome.unwrap_or_else(|_| Err(late(timeout))));
            }
            Ok(timings)
        });
    }
    let mut all = Timings::default();
    while let Some(ended) = workers.join_next().await {
        let timings: Result<Timings> =
            ended.map_err(|_| Kind::Internal.error("the client of the key service panicked: report it"))?;
        let timings = timings?;
        all.taken.extend(timings.taken);
        all.failed += timings.failed;
        all.failure = all.failure.or(timings.failure);
    }
    all.taken.sort_unstable();
    Ok(all)
}

fn late(timeout: Duration) -> Error {
    Kind::KmsTimeout.error(format_args!("the key service did not answer within kms.timeout ({timeout:?})"))
}

impl Timings {
    fn add(&mut self, spent: Duration, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.taken.push(spent),
            Err(error) => {
                self.failed += 1;
                self.failure.get_or_insert(error);
            }
        }
    }

    /// By nearest rank; none if nothing succeeded.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let rank = (self.taken.len() * percent).div_ceil(100).max(1);
        self.taken.get(rank - 1).map(|time| time.as_secs_f64() * 1000.0)
    }

    fn show(&self, operation: Operation) {
        let figure = |percent| self.percentile(percent).map_or("-".to_owned(), |ms| format!("{ms:.3}"));
        say!(
            "  {:<10} {:>8} {:>8} {:>10} {:>10} {:>10}",
            operation.name(),
            self.taken.len() + self.failed,
            self.failed,
            figure(50),
            figure(99),
            figure(100)
        );
    }

    fn json(&self) -> Value {
        json!({
            "calls": self.taken.len() + self.failed, "failed": self.failed, "p50_ms": self.percentile(50),
            "p99_ms": self.percentile(99), "max_ms": self.percentile(100),
            "error": self.failure.as_ref().map(|error| error.message().to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let taken = (1..=200).map(Duration::from_millis).collect();
        let timings = Timings { taken, ..Timings::default() };
        assert_eq!([50, 99, 100].map(|percent| timings.percentile(percent)), [Some(100.0), Some(198.0), Some(200.0)]);
        let one = Timings { taken: vec![Duration::from_millis(7)], ..Timings::default() };
        assert_eq!([1, 50, 99, 100].map(|percent| one.percentile(percent)), [Some(7.0); 4]);
        assert_eq!(Timings::default().percentile(50), None);
    }

    #[test]
    fn a_taskmanager_needs_no_more_than_sealing_and_opening_do() {
        let needs = |role: Role, slots| [Need::Data, Need::Fallback, Need::Care].map(|need| role.needs(need, slots));
        assert_eq!(needs(Role::Taskmanager, 1), [true, false, false]);
        assert_eq!(needs(Role::Taskmanager, 2), [true, true, false]);
        assert_eq!(needs(Role::Jobmanager, 1), [true, true, true]);
    }
}

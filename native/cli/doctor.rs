//! `sealpoint doctor`: one look at everything that must be right.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use sealpoint::clock::SystemClock;
use sealpoint::config::EncryptionConfig;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::kms::clocks;
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::secret::Secret;
use sealpoint::store::{Location, Store, StoreOptions};
use serde_json::{Value, json};

use crate::kms::places;
use crate::output::{Answer, error_json};
use crate::target::Target;
use crate::versions;

/// The arguments of `sealpoint doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sealpoint doctor --config sealpoint.toml s3://bucket/checkpoints /mnt/savepoints\n\nJSON: {ok, findings: [{what, ok, remark, code, kind, error}]}"
)]
pub struct Doctor {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Stores that must be reachable: paths or URIs
    uris: Vec<String>,
}

/// An answer takes its time, and says its own in whole seconds.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// What was looked at, and what came of it: a remark, or what is wrong and what to do.
struct Finding {
    what: String,
    outcome: Result<String>,
}

/// Looks at the configuration, the memory, the key services and the stores; changes nothing.
pub fn run(arguments: &Doctor) -> Result<Answer> {
    let mut findings = vec![
        Finding { what: "version".to_owned(), outcome: Ok(versions::of_sealpoint()) },
        Finding { what: "C library".to_owned(), outcome: versions::of_the_c_library() },
        memory(),
    ];
    let config = arguments.target.config();
    findings.push(Finding {
        what: "configuration".to_owned(),
        outcome: config.as_ref().map(remarks).map_err(Error::clone),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::io("start the runtime", &error))?;
    runtime.block_on(async {
        if let Ok(config) = &config {
            key_services(config, &mut findings).await;
            findings.extend(clocks());
        }
        let options = arguments.target.store_options();
        for uri in &arguments.uris {
            findings.push(Finding { what: format!("store {uri}"), outcome: store(uri, &options).await });
        }
    });
    let well = findings.iter().all(|finding| finding.outcome.is_ok());
    if arguments.json {
        let shown: Vec<Value> = findings.iter().map(json_of).collect();
        say!("{}", json!({"ok": well, "findings": shown}));
    } else {
        findings.iter().for_each(show);
    }
    // What is wrong with the configuration is a configuration error, as everywhere.
    match config {
        Err(error) if error.kind() == Kind::Config => Err(error),
        _ => Ok(if well { Answer::Yes } else { Answer::Failed }),
    }
}

fn memory() -> Finding {
    let outcome = Secret::random(32).map(|secret| {
        let locked = if secret.is_locked() { "is locked" } else { "may be swapped out: raise the limit (ulimit -l)" };
        format!("the memory of keys {locked}")
    });
    Finding { what: "memory".to_owned(), outcome }
}

fn remarks(config: &EncryptionConfig) -> String {
    let warnings = config.warnings();
    if warnings.is_empty() { "is valid".to_owned() } else { format!("is valid; {}", warnings.join("; ")) }
}

/// Every permission that the key services of every tenant need, as `sealpoint kms test` tries them.
async fn key_services(config: &EncryptionConfig, findings: &mut Vec<Finding>) {
    let clients = match over::connect(config, &Surroundings::new(Arc::new(SystemClock), Arc::default())) {
        Ok(clients) => clients,
        Err(error) => return findings.push(Finding { what: "key services".to_owned(), outcome: Err(error) }),
    };
    for place in places(config, &clients, config.tenants.open()) {
        for probe in place.client.probe().await {
            let what = format!("{}: {}", place.name(), probe.permission);
            findings.push(Finding { what, outcome: probe.outcome.map(|()| "granted".to_owned()) });
        }
    }
}

/// The clocks of the servers that have just answered: ages of keys, tokens and signatures go by them.
fn clocks() -> Vec<Finding> {
    let heard = clocks::clocks();
    if heard.is_empty() {
        let remark = "not compared: no key service here tells its own (AWS KMS refuses what is signed minutes off)";
        return vec![Finding { what: "clock".to_owned(), outcome: Ok(remark.to_owned()) }];
    }
    let compared = heard.into_iter().map(|(server, clock)| {
        let off = clock.off.as_secs();
        let how = if clock.behind { "behind" } else { "ahead of" };
        let outcome = if clock.off <= CLOCKS_DIFFER {
            Ok("agrees with this machine's".to_owned())
        } else {
            Err(Kind::State.error(format_args!("is {off} s {how} this machine's: set both by NTP")))
        };
        Finding { what: format!("clock of {server}"), outcome }
    });
    compared.collect()
}

async fn store(uri: &str, options: &StoreOptions) -> Result<String> {
    let location = Location::parse(uri)?;
    let store = Store::open(&location, options)?;
    match store.list(&location).await.next().await {
        None => Ok("can be reached; nothing is there".to_owned()),
        Some(first) => first.map(|_| "can be listed".to_owned()),
    }
}

fn show(finding: &Finding) {
    match &finding.outcome {
        Ok(remark) => say!("ok      {}: {remark}", finding.what),
        Err(error) => say!("FAILED  {}: {error}", finding.what),
    }
}

fn json_of(finding: &Finding) -> Value {
    match &finding.outcome {
        Ok(remark) => json!({"what": finding.what, "ok": true, "remark": remark}),
        Err(error) => {
            let mut found = error_json(error);
            (found["what"], found["ok"]) = (finding.what.clone().into(), false.into());
            found
        }
    }
}

//! `sealpoint doctor`: one look at everything that must be right.

use std::sync::Arc;

use clap::Args;
use futures_util::StreamExt;
use sealpoint::clock::SystemClock;
use sealpoint::config::EncryptionConfig;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::secret::Secret;
use sealpoint::store::{Location, Store, StoreOptions};
use serde_json::{Value, json};

use crate::kms::places;
use crate::output::Answer;
use crate::target::Target;

/// The arguments of `sealpoint doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sealpoint doctor --config sealpoint.toml s3://bucket/checkpoints /mnt/savepoints")]
pub struct Doctor {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Stores that must be reachable: paths or URIs
    uris: Vec<String>,
}

/// What was looked at, and what came of it: a remark, or what is wrong and what to do.
struct Finding {
    what: String,
    outcome: Result<String>,
}

/// Looks at the configuration, the memory, the key services and the stores; changes nothing.
pub fn run(arguments: &Doctor) -> Result<Answer> {
    let mut findings = vec![Finding { what: "version".to_owned(), outcome: Ok(version()) }, memory()];
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
        }
        let options = arguments.target.store_options();
        for uri in &arguments.uris {
            findings.push(Finding { what: format!("store {uri}"), outcome: store(uri, &options).await });
        }
    });
    let well = findings.iter().all(|finding| finding.outcome.is_ok());
    if arguments.json {
        let shown: Vec<Value> = findings.iter().map(json_of).collect();
        println!("{}", json!({"ok": well, "findings": shown}));
    } else {
        findings.iter().for_each(show);
    }
    // What is wrong with the configuration is a configuration error, as everywhere.
    match config {
        Err(error) if error.kind() == Kind::Config => Err(error),
        _ => Ok(if well { Answer::Yes } else { Answer::Failed }),
    }
}

fn version() -> String {
    format!("sealpoint {} for {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
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
        Ok(remark) => println!("ok      {}: {remark}", finding.what),
        Err(error) => println!("FAILED  {}: {error}", finding.what),
    }
}

fn json_of(finding: &Finding) -> Value {
    match &finding.outcome {
        Ok(remark) => json!({"what": finding.what, "ok": true, "remark": remark}),
        Err(error) => json!({
            "what": finding.what, "ok": false, "code": error.code().0, "kind": format!("{:?}", error.kind()),
            "error": error.message(),
        }),
    }
}

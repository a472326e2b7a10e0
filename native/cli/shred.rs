//! `sealpoint shred`: the keys of a tenant destroyed, and with them all that is sealed for it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use sealpoint::clock::utc;
use sealpoint::config;
use sealpoint::error::Result;
use sealpoint::kms::Destruction;
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::report::{Options, Row};
use sealpoint::lifecycle::shred::Shredding;
use serde_json::{Value, json};

use crate::confirm::confirm;
use crate::output::{Answer, error_json};
use crate::progress::Watch;
use crate::report::{Common, plain, print_rows};
use crate::target::location;

/// How many checkpoints are named, unless all are asked for.
const NAMED: usize = 100;

/// The arguments of `sealpoint shred`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint shred --tenant payments --dry-run s3://bucket/checkpoints s3://bucket/savepoints
  sealpoint shred --tenant payments --confirm payments s3://bucket/checkpoints s3://bucket/savepoints

Says what would become unreadable, asks for the tenant's name, and has every key service of the tenant destroy its key with all
versions: at once (local, vault, pkcs11), after --after (aws), or after the time that the vault or key itself is set to
(azure, gcp). Refused where a key serves another tenant too. What lies in other places than those named is lost as well.

Exit status: 0 destroyed or scheduled; 3 that is done, but files have slots under other keys, which open them still; 1 it
failed, in whole or in part; 2 usage.

JSON: {tenant, keys: [{provider, key}], lost, kept, not_looked_into, checkpoints, outcomes: [{key, destroyed, scheduled_ms,
undo, code, kind, error}]}, lost and kept each [{provider, key, version, files, bytes}]")]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Whose keys
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// The tenant's name again, where nobody is there to type it
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// How long the key service is to wait, where it lets the caller choose: AWS KMS, 7 to 30 days
    #[arg(long, value_name = "TIME", value_parser = config::duration, default_value = "30 d")]
    after: Duration,
    /// Say what would become unreadable, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Where the tenant's files lie
    #[arg(required = true, value_name = "URI")]
    places: Vec<String>,
}

/// Destroys a tenant's keys.
pub fn run(arguments: &Arguments) -> Result<Answer> {
    let places = arguments.places.iter().map(|text| location(text)).collect::<Result<Vec<_>>>()?;
    let engine = arguments.common.target.engine()?;
    let options = Options { store: arguments.common.target.store_options(), needs: None };
    let progress = Arc::new(Progress::default());
    let watch = Watch::of(&progress, arguments.common.progress)?;
    let shredding = Shredding::plan(&engine, &arguments.tenant, &places, &options, &progress)?;
    drop(watch);
    // Whoever interrupted the look in its last moment wants no key to be destroyed.
    progress.check()?;
    if !arguments.common.json {
        print_plan(arguments, &shredding);
    }
    if arguments.dry_run {
        if arguments.common.json {
            say!("{}", in_json(&shredding, &[]));
        }
        return Ok(Answer::Yes);
    }
    confirm(&arguments.tenant, arguments.confirm.as_deref())?;
    let outcomes = shredding.destroy(&engine, arguments.after);
    if arguments.common.json {
        say!("{}", in_json(&shredding, &outcomes));
    } else {
        outcomes.iter().for_each(print_outcome);
    }
    let failed = outcomes.into_iter().find_map(|(key, outcome)| Some(outcome.err()?.at(format_args!("key {key}"))));
    match failed {
        Some(error) => Err(error),
        None if shredding.kept().next().is_some() => Ok(Answer::No),
        None => Ok(Answer::Yes),
    }
}

fn print_plan(arguments: &Arguments, shredding: &Shredding) {
    let tenant = plain(&shredding.tenant);
    for (provider, key) in shredding.keys() {
        say!("the key {provider} '{key}' of tenant '{tenant}' is to be destroyed, with all its versions");
    }
    let lost: Vec<&Row> = shredding.lost().collect();
    if lost.is_empty() {
        say!("no file of tenant '{tenant}' lies here");
    } else {
        say!("what is under it becomes unreadable, for good:");
        print_rows(&lost);
    }
    if let Some(checkpoints) = shredding.report.checkpoints_of.get(&shredding.tenant) {
        say!("among it {} checkpoints and savepoints:", checkpoints.count);
        let shown = if arguments.common.all { checkpoints.first.len() } else { checkpoints.first.len().min(NAMED) };
        checkpoints.first.iter().take(shown).for_each(|place| say!("  {}", plain(&place.to_string())));
        if checkpoints.count > shown as u64 {
            say!("  and {} more", checkpoints.count - shown as u64);
        }
    }
    let kept: Vec<&Row> = shredding.kept().collect();
    if !kept.is_empty() {
        say!("files of tenant '{tenant}' have slots under these keys too, which stay, and open them still:");
        print_rows(&kept);
    }
    let unknown = shredding.report.not_looked_into();
    if unknown > 0 {
        say!("{unknown} files, directories or sidecars could not be looked into: they may be the tenant's too");
    }
}

fn print_outcome((key, outcome): &(String, Result<Destruction>)) {
    match outcome {
        Ok(Destruction::Done) => say!("key {key} is destroyed"),
        Ok(Destruction::Scheduled { at, undo }) => {
            let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let at = at.map_or("later".to_owned(), |at| format!("at {}", utc(at.as_millis() as u64)));
            say!("key {key} opens nothing any more, and is destroyed {at}; until then it can be kept: {undo}");
        }
        Err(error) => say!("key {key} is NOT destroyed: {error}"),
    }
}

fn in_json(shredding: &Shredding, outcomes: &[(String, Result<Destruction>)]) -> Value {
    let rows = |rows: &mut dyn Iterator<Item = &Row>| -> Vec<Value> {
        let each = rows.map(|row| {
            json!({
                "provider": row.wrapping.provider, "key": row.wrapping.kek, "version": row.wrapping.version,
                "files": row.amount.files, "bytes": row.amount.bytes,
            })
        });
        each.collect()
    };
    let checkpoints = shredding.report.checkpoints_of.get(&shredding.tenant);
    let outcome = |(key, outcome): &(String, Result<Destruction>)| match outcome {
        Ok(Destruction::Done) => json!({"key": key, "destroyed": true}),
        Ok(Destruction::Scheduled { at, undo }) => {
            let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|at| at.as_millis() as u64);
            json!({"key": key, "scheduled_ms": at, "undo": undo})
        }
        Err(error) => {
            let mut outcome = error_json(error);
            outcome["key"] = json!(key);
            outcome
        }
    };
    json!({
        "tenant": shredding.tenant,
        "keys": shredding.keys().map(|(provider, key)| json!({"provider": provider, "key": key})).collect::<Vec<_>>(),
        "lost": rows(&mut shredding.lost()),
        "kept": rows(&mut shredding.kept()),
        "not_looked_into": shredding.report.not_looked_into(),
        "checkpoints": checkpoints.map_or(0, |checkpoints| checkpoints.count),
        "outcomes": outcomes.iter().map(outcome).collect::<Vec<_>>(),
    })
}

//! `sealpoint preflight`: would this restore work?

use std::sync::Arc;

use clap::Args;
use sealpoint::clock::SystemClock;
use sealpoint::error::Result;
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::lifecycle::Reach;
use sealpoint::lifecycle::preflight::{self, Preflight};
use serde_json::{Value, json};

use crate::output::{Answer, Reporting};
use crate::progress::Watch;
use crate::target::{self, Target};
use crate::verify::problems_in_json;

/// The arguments of `sealpoint preflight`.
#[derive(Debug, Args)]
#[command(after_help = "\
Run it with the configuration, as the user and on the machine that the restored job will have. It reads the head of each
file, unwraps each data key once, compares the manifest as checkpoint.manifest says, tries each permission, and changes nothing.

Exit status: 0 it would; 3 it would not, as was said; 1 it could not be found out.

Example:
  sealpoint preflight --config sealpoint.toml --savepoint s3://bucket/savepoints/savepoint-6f7c-0a1b2c

JSON: {clear, directory, files, data_keys: [{data_key, tenant, files, opens, slots: [{provider, key, version}]}],
permissions: [{tenant, provider, key, permission, missing}], problems: [{problem, code, message}]}")]
pub struct Arguments {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    reporting: Reporting,
    /// The savepoint, or checkpoint, that a job is to be restored from
    #[arg(long, value_name = "URI")]
    savepoint: String,
}

/// Finds out.
pub fn run(arguments: &Arguments) -> Result<Answer> {
    let savepoint = target::location(&arguments.savepoint)?;
    let config = arguments.target.config()?;
    let clients = over::connect(&config, &Surroundings::new(Arc::new(SystemClock), Arc::default()))?;
    let threads = arguments.reporting.threads.map(usize::from);
    let reach = Arc::new(Reach::new(arguments.target.engine()?, arguments.target.store_options(), threads));
    let watch = Watch::of(reach.progress(), arguments.reporting.progress)?;
    let found = preflight::preflight(&reach, &clients, &savepoint)?;
    drop(watch);
    if arguments.reporting.json {
        say!("{}", in_json(&found));
    } else {
        print(&found);
    }
    Ok(answer(&found))
}

fn answer(found: &Preflight) -> Answer {
    if found.is_incomplete() {
        Answer::Failed
    } else if found.is_clear() {
        Answer::Yes
    } else {
        Answer::No
    }
}

fn print(found: &Preflight) {
    say!("{}: {} files under {} data keys", found.directory, found.files, found.data_keys.len());
    for key in &found.data_keys {
        let state = if key.opens { "ok      " } else { "MISSING " };
        let slots: Vec<String> =
            key.slots.iter().map(|[provider, kek, version]| format!("{provider} '{kek}' version {version}")).collect();
        say!(
            "  {state}data key {} of tenant {}, {} files: unwrap by {}",
            key.id,
            key.tenant,
            key.files,
            slots.join(" or ")
        );
    }
    for permission in &found.permissions {
        let place = format!("{}/{} '{}'", permission.tenant, permission.provider, permission.kek);
        match &permission.missing {
            None => say!("  ok      {place}: {}", permission.name),
            Some(error) => say!("  MISSING {place}: {}: {error}", permission.name),
        }
    }
    for problem in &found.problems {
        say!("  {problem}");
    }
    let verdict = match answer(found) {
        Answer::Yes => "the restore would work",
        Answer::No => "the restore would not work",
        Answer::Failed => "whether the restore would work could not be found out",
    };
    say!("{verdict}");
}

fn in_json(found: &Preflight) -> Value {
    let keys: Vec<Value> = found
        .data_keys
        .iter()
        .map(|key| {
            let slot =
                |[provider, key, version]: &[String; 3]| json!({"provider": provider, "key": key, "version": version});
            json!({
                "data_key": key.id.to_string(), "tenant": key.tenant, "files": key.files, "opens": key.opens,
                "slots": key.slots.iter().map(slot).collect::<Vec<_>>(),
            })
        })
        .collect();
    let permissions: Vec<Value> = found
        .permissions
        .iter()
        .map(|permission| {
            json!({
                "tenant": permission.tenant, "provider": permission.provider, "key": permission.kek,
                "permission": permission.name, "missing": permission.missing,
            })
        })
        .collect();
    json!({
        "clear": found.is_clear(), "directory": found.directory.uri(), "files": found.files,
        "data_keys": keys, "permissions": permissions, "problems": problems_in_json(&found.problems),
    })
}

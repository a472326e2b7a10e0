//! `sealpoint reencrypt`: the same state under new keys.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sealpoint::config;
use sealpoint::error::Result;
use sealpoint::lifecycle::Reach;
use sealpoint::lifecycle::reencrypt::{Plan, Reencrypted};
use sealpoint::store::Location;
use serde_json::json;

use crate::output::{self, Answer, Reporting};
use crate::progress::Watch;
use crate::target::{self, Target};
use crate::verify::problems_in_json;

/// The arguments of `sealpoint reencrypt`.
#[derive(Debug, Args)]
#[command(after_help = "\
New data keys, new file keys, the same plaintext: each file is read back and compared before it counts as done, and
_metadata, without which nothing can be restored, comes last. Files that the metadata name outside SRC, such as a job's
shared files, are sealed anew into DST as well, and named there.

Run again after an interruption, it compares what is there already and goes on with the rest.

Exit status: 0 done; 3 something cannot be sealed anew, as was said; 1 it failed; 2 the arguments are wrong.

Examples:
  sealpoint reencrypt --config sealpoint.toml s3://bucket/savepoints/savepoint-6f7c-0a1b2c s3://bucket/renewed/savepoint-1
  sealpoint reencrypt --config sealpoint.toml --dry-run /checkpoints/6f7c.../chk-42 /renewed/chk-42

JSON: {source, destination, dry_run, files, sealed_bytes, written, kept, checkpoints: [URI], left_out: [URI],
problems: [{problem, code, message}]}")]
pub struct Reencrypt {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    reporting: Reporting,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for a key service that throttles or is away, without any success
    #[arg(long, value_name = "TIME", value_parser = config::duration, default_value = "3 min")]
    patience: Duration,
    /// A checkpoint, a savepoint, or a directory of sealed files
    #[arg(value_name = "SRC")]
    source: String,
    /// Where the result goes: a place that is empty, or holds what an earlier run left
    #[arg(value_name = "DST")]
    destination: String,
}

/// Seals everything anew.
pub fn run(arguments: &Reencrypt) -> Result<Answer> {
    let (source, destination) = (target::location(&arguments.source)?, target::location(&arguments.destination)?);
    let threads = arguments.reporting.threads.map(usize::from);
    let reach = Reach::new(arguments.target.engine()?, arguments.target.store_options(), threads);
    let reach = Arc::new(reach.patient(arguments.patience));
    let watch = Watch::of(reach.progress(), arguments.reporting.progress)?;
    let plan = Plan::new(&reach, &source, &destination)?;
    let (files, bytes) = plan.size();
    let left_out = plan.left_out.clone();
    let done = if arguments.dry_run {
        Reencrypted { problems: plan.problems, ..Reencrypted::default() }
    } else {
        plan.carry_out(&reach)?
    };
    drop(watch);
    if arguments.reporting.json {
        let uris = |places: &[Location]| places.iter().map(Location::uri).collect::<Vec<_>>();
        let report = json!({
            "source": source.uri(), "destination": destination.uri(), "dry_run": arguments.dry_run,
            "files": files, "sealed_bytes": bytes, "written": done.files, "kept": done.kept,
            "checkpoints": uris(&done.checkpoints), "left_out": uris(&left_out),
            "problems": problems_in_json(&done.problems),
        });
        say!("{report}");
    } else {
        for place in &left_out {
            say!("{place}: left out, no checkpoint here needs it");
        }
        for problem in &done.problems {
            say!("{problem}");
        }
        for directory in &done.checkpoints {
            say!("{directory}: whole, under new keys");
        }
        if arguments.dry_run {
            say!("{files} files, {} sealed, would be sealed anew", output::bytes(bytes));
        } else {
            say!("{} of {files} files sealed anew and compared, {} already there", done.files, done.kept);
        }
    }
    Ok(if done.problems.is_empty() { Answer::Yes } else { Answer::No })
}

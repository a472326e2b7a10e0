//! `sealpoint retire`: an old version of a key disabled, once nobody needs it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use sealpoint::clock::utc;
use sealpoint::config;
use sealpoint::engine::EncryptionEngine;
use sealpoint::error::Result;
use sealpoint::lifecycle::kek::{KekName, State};
use sealpoint::lifecycle::retire::{Candidate, settle};
use serde_json::json;

use crate::confirm::confirm;
use crate::interrupt::InOrder;
use crate::output::Answer;
use crate::report::{Common, Reported};

/// The arguments of `sealpoint retire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint retire sealpoint@3 s3://bucket/checkpoints s3://bucket/savepoints s3://bucket/ha
  sealpoint retire --undo sealpoint@3

Looks at every file first, and tries by which other slots those under the version open, as `sealpoint report --needs` does; waits
until no process seals under the version any more; looks again; then disables it in the key service. It never destroys
anything, and --undo enables the version again. Name every place that files under the key may lie in.

Exit status: 0 it is disabled; 3 it is needed, may be needed, or is the current version; 1 that failed; 2 usage.

JSON: {retired, state, words}, with what `sealpoint report --needs --json` prints where the files were looked at")]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Enable the version again
    #[arg(long, conflicts_with_all = ["force", "confirm", "settle", "dry_run"])]
    undo: bool,
    /// Disable it although files need it: its name has to be typed again
    #[arg(long)]
    force: bool,
    /// The name again, where nobody is there to type it
    #[arg(long, value_name = "KEK@VERSION", requires = "force")]
    confirm: Option<String>,
    /// How long after a rotation a process may still seal under the version before; by default twice data-key.max-age, and 3 h more with Google, 1 h with kms.azure.wrap-locally
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    settle: Option<Duration>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The version, as `sealpoint report` shows it
    #[arg(value_name = "KEK@VERSION")]
    name: KekName,
    /// Checkpoints, savepoints, or directories above them
    #[arg(required_unless_present = "undo", value_name = "URI")]
    places: Vec<String>,
}

/// Retires a version, or takes that back.
pub fn run(arguments: &Arguments) -> Result<Answer> {
    let engine = arguments.common.target.engine()?;
    let candidate = Candidate::find(&engine, &arguments.name)?;
    let name = &arguments.name;
    if arguments.undo {
        candidate.set_enabled(&engine, true)?;
        conclude(arguments, None, "enabled", &format!("{name} is enabled: what is under it opens again"));
        return Ok(Answer::Yes);
    }
    if candidate.is_current()? {
        let why = format!("{name} is the current version, under which everything new is sealed: rotate first");
        conclude(arguments, None, "current", &why);
        return Ok(Answer::No);
    }
    if !candidate.version.enabled {
        conclude(arguments, None, "disabled", &format!("{name} is disabled already"));
        return Ok(Answer::Yes);
    }
    retire(arguments, &engine, &candidate)
}

fn retire(arguments: &Arguments, engine: &Arc<EncryptionEngine>, candidate: &Candidate) -> Result<Answer> {
    let name = &arguments.name;
    // Before the long look and the wait, not after them.
    candidate.check_permission(engine)?;
    let mut reported = look(arguments, engine)?;
    if !arguments.force {
        if reported.answer() != Answer::Yes {
            conclude(arguments, Some(&reported), "needed", &format!("{name} stays enabled"));
            return Ok(Answer::No);
        }
        let quiet = candidate.quiet_from(arguments.settle.unwrap_or(settle(engine.config())), SystemTime::now())?;
        if let Ok(wait) = quiet.duration_since(SystemTime::now()) {
            let until = utc(quiet.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64);
            let why = format!("until {until} processes may seal under {name} that took a data key before the rotation");
            if arguments.dry_run {
                let why = format!("{why}: it would then be looked again, and the version be disabled");
                conclude(arguments, Some(&reported), "waiting", &why);
                return Ok(Answer::Yes);
            }
            aside!("sealpoint: {why}: waiting, then looking again (--settle)");
            std::thread::sleep(wait);
            reported = look(arguments, engine)?;
            if reported.answer() != Answer::Yes {
                conclude(arguments, Some(&reported), "needed", &format!("{name} stays enabled"));
                return Ok(Answer::No);
            }
        }
    }
    if arguments.dry_run {
        conclude(arguments, Some(&reported), "enabled", &format!("{name} would be disabled"));
        return Ok(Answer::Yes);
    }
    let mut shown = false;
    if arguments.force && reported.answer() != Answer::Yes {
        if !arguments.common.json {
            reported.print();
            shown = true;
        }
        let confirmed = confirm(&name.to_string(), arguments.confirm.as_deref());
        reported.or_closed(arguments.common.json, confirmed)?;
    }
    let json = arguments.common.json;
    // What follows is not to end between disabling the version and seeing that it was right: nobody would look again.
    let _in_order = reported.or_closed(json, InOrder::by(&Arc::default()))?;
    if arguments.force {
        reported.or_closed(json, candidate.set_enabled(engine, false))?;
    } else if let Some((other, state)) = reported.or_closed(json, candidate.disable(engine, &reported.report))? {
        let what = match state {
            State::Unknown => "could not be asked about again",
            State::Disabled => "was disabled meanwhile",
            State::Gone | State::NotConfigured => "is gone meanwhile",
            State::Current | State::Enabled => "opens them",
        };
        let why = format!(
            "{other}, which opens files in its stead, {what}: {name} is enabled again; ask once more who needs it"
        );
        conclude(arguments, Some(&reported), "needed", &why);
        return Ok(Answer::No);
    }
    let done = format!("{name} is disabled; `sealpoint retire --undo {name}` enables it again");
    conclude(arguments, (!shown).then_some(&reported), "disabled", &done);
    Ok(Answer::Yes)
}

fn look(arguments: &Arguments, engine: &Arc<EncryptionEngine>) -> Result<Reported> {
    Reported::new(engine, &arguments.common, &arguments.places, Some(arguments.name.clone()))
}

fn conclude(arguments: &Arguments, reported: Option<&Reported>, state: &str, words: &str) {
    let outcome = json!({"retired": arguments.name.to_string(), "state": state, "words": words});
    match (reported, arguments.common.json) {
        (Some(reported), true) => reported.print_json(outcome),
        (None, true) => say!("{outcome}"),
        (Some(reported), false) => {
            reported.print();
            say!("{words}");
        }
        (None, false) => say!("{words}"),
    }
}

//! `sealpoint recover`: after a key fell into other hands.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sealpoint::clock::SystemClock;
use sealpoint::config;
use sealpoint::error::{Kind, Result};
use sealpoint::kms::over::{self, Surroundings};
use sealpoint::lifecycle::Reach;
use sealpoint::lifecycle::kek::KekName;
use sealpoint::lifecycle::recover::{self, Exposure};
use sealpoint::lifecycle::reencrypt::{Plan, Reencrypted};
use sealpoint::store::Location;
use serde_json::{Value, json};

use crate::output::{self, Answer, Reporting};
use crate::progress::Watch;
use crate::target::{self, Target};
use crate::verify::problems_in_json;

/// The arguments of `sealpoint recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
Says what the key can open, rotates it unless that is done already, and seals every place that holds anything under it anew
below DST, under its name. Nothing is deleted: restore from DST, and then delete the old state, which stays readable for
whoever has the key. A version that a data key was rewrapped by leaves no trace where the .sealpoint-keys was deleted since:
without a version, all that was ever under the key counts. Refused are a place where nothing is sealed, and a key or a version
that nothing there is under and no configured key service has.

Exit status: 0 all is under new keys; 3 something could not be sealed anew, as was said; 1 it failed.

Example:
  sealpoint recover --config sealpoint.toml --compromised flink-state@3 --to s3://bucket/recovered \\
      s3://bucket/savepoints/savepoint-6f7c-0a1b2c s3://bucket/ha

JSON: {compromised, dry_run, exposed: [{place, data_keys, files, sealed_bytes, problems}], rotated: [{key, version}],
renewed: [{source, destination, written, kept, problems}]}, problems: [{problem, code, message}]")]
pub struct Recover {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    reporting: Reporting,
    /// The key, or its version, as files name it
    #[arg(long, value_name = "KEK[@VERSION]")]
    compromised: String,
    /// Where the state under new keys goes
    #[arg(long, value_name = "DST", required_unless_present = "dry_run")]
    to: Option<String>,
    /// How long to wait for a key service that throttles or is away, without any success
    #[arg(long, value_name = "TIME", value_parser = config::duration, default_value = "3 min")]
    patience: Duration,
    /// Say what the key can open, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Checkpoints, savepoints, or directories of sealed files
    #[arg(value_name = "URI", required = true)]
    uris: Vec<String>,
}

/// Recovers from the loss of a key.
pub fn run(arguments: &Recover) -> Result<Answer> {
    let compromised: KekName = arguments.compromised.parse()?;
    let roots = arguments.uris.iter().map(|uri| target::location(uri)).collect::<Result<Vec<_>>>()?;
    let names: std::collections::BTreeSet<&str> = roots.iter().map(Location::name).collect();
    if names.len() < roots.len() {
        return Err(Kind::InvalidArgument.error("two of the places have one name: recover them one after the other"));
    }
    let to = arguments.to.as_deref().map(target::location).transpose()?;
    let reach = reach(arguments)?;
    let watch = Watch::of(reach.progress(), arguments.reporting.progress)?;
    let exposed = roots.iter().map(|root| recover::exposure(&reach, &compromised, root)).collect::<Result<Vec<_>>>()?;
    recover::check_known(&reach, &compromised, &exposed)?;
    drop(watch);
    // Whoever interrupted the look in its last moment wants nothing to be rotated.
    reach.check()?;
    if !arguments.reporting.json {
        exposed.iter().for_each(|exposure| show(exposure, &compromised));
    }
    let mut report = Report { exposed, rotated: Vec::new(), renewed: Vec::new() };
    if let (Some(to), false) = (to, arguments.dry_run) {
        report.rotated = rotate(arguments, &reach, &compromised)?;
        drop(reach);
        // An engine of its own: the other one has data keys in hand that the old version wrapped.
        report.renew(arguments, &compromised, &to)?;
    }
    if arguments.reporting.json {
        say!("{}", report.json(&compromised, arguments.dry_run));
    } else if !arguments.dry_run {
        report.print();
    }
    let problems = report.exposed.iter().any(|exposure| !exposure.problems.is_empty())
        || report.renewed.iter().any(|(_, _, done)| !done.problems.is_empty());
    Ok(if problems { Answer::No } else { Answer::Yes })
}

fn reach(arguments: &Recover) -> Result<Arc<Reach>> {
    let threads = arguments.reporting.threads.map(usize::from);
    let reach = Reach::new(arguments.target.engine()?, arguments.target.store_options(), threads);
    Ok(Arc::new(reach.patient(arguments.patience)))
}

/// Makes a new version of the key the current one wherever the compromised one still is. What was rotated, and to what.
fn rotate(arguments: &Recover, reach: &Reach, compromised: &KekName) -> Result<Vec<(String, String)>> {
    let config = arguments.target.config()?;
    let clients = over::connect(&config, &Surroundings::new(Arc::new(SystemClock), Arc::default()))?;
    let Some(version) = &compromised.version else { return Ok(Vec::new()) };
    let mut rotated: Vec<(String, String)> = Vec::new();
    reach.engine().wait(async {
        for client in clients.values().flatten() {
            let kek = client.kek().await?;
            if kek != compromised.kek || rotated.iter().any(|(done, _)| *done == kek) {
                continue;
            }
            if client.current_key_version().await?.id == *version {
                rotated.push((kek, client.rotate().await?.id));
            }
        }
        Ok(rotated)
    })
}

struct Report {
    exposed: Vec<Exposure>,
    rotated: Vec<(String, String)>,
    renewed: Vec<(Location, Location, Reencrypted)>,
}

impl Report {
    fn renew(&mut self, arguments: &Recover, compromised: &KekName, to: &Location) -> Result<()> {
        let reach = reach(arguments)?;
        let watch = Watch::of(reach.progress(), arguments.reporting.progress)?;
        for exposure in self.exposed.iter().filter(|exposure| exposure.files > 0) {
            let target = to.join(exposure.root.name());
            recover::check_sealing(&reach, compromised, &target)?;
            let done = Plan::new(&reach, &exposure.root, &target)?.carry_out(&reach)?;
            self.renewed.push((exposure.root.clone(), target, done));
        }
        drop(watch);
        Ok(())
    }

    fn print(&self) {
        for (kek, version) in &self.rotated {
            say!("{kek}: rotated, version {version} is current");
        }
        for (root, target, done) in &self.renewed {
            for problem in &done.problems {
                say!("{problem}");
            }
            match done.problems.len() {
                0 => say!(
                    "{target}: {} files under new keys; {root} is still readable for whoever has the key",
                    done.files + done.kept
                ),
                count => say!("{target}: not whole, {count} files could not be sealed anew"),
            }
        }
    }

    fn json(&self, compromised: &KekName, dry_run: bool) -> Value {
        let exposed: Vec<Value> = self
            .exposed
            .iter()
            .map(|exposure| {
                json!({
                    "place": exposure.root.uri(), "data_keys": exposure.data_keys, "files": exposure.files,
                    "sealed_bytes": exposure.bytes, "problems": problems_in_json(&exposure.problems),
                })
            })
            .collect();
        let rotated: Vec<Value> =
            self.rotated.iter().map(|(kek, version)| json!({"key": kek, "version": version})).collect();
        let renewed: Vec<Value> = self
            .renewed
            .iter()
            .map(|(root, target, done)| {
                json!({
                    "source": root.uri(), "destination": target.uri(), "written": done.files, "kept": done.kept,
                    "problems": problems_in_json(&done.problems),
                })
            })
            .collect();
        json!({
            "compromised": compromised.to_string(), "dry_run": dry_run,
            "exposed": exposed, "rotated": rotated, "renewed": renewed,
        })
    }
}

fn show(exposure: &Exposure, compromised: &KekName) {
    say!(
        "{}: {} files under {} data keys that {compromised} opens, {} sealed",
        exposure.root,
        exposure.files,
        exposure.data_keys,
        output::bytes(exposure.bytes)
    );
    for problem in &exposure.problems {
        say!("  {problem}");
    }
}

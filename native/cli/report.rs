//! `sealpoint report`: what is sealed under which keys, and whether one of them is still needed.

use std::fmt::Display;
use std::sync::Arc;

use clap::Args;
use sealpoint::clock::utc;
use sealpoint::error::Result;
use sealpoint::lifecycle::Few;
use sealpoint::lifecycle::kek::KekName;
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::report::{self, Amount, Needed, Needs, Options, Row};
use sealpoint::store::Location;
use serde_json::{Value, json};

use crate::output::{Answer, bytes, error_json};
use crate::progress::Watch;
use crate::target::{Target, location};

/// How many files of a kind are named, unless all are asked for.
const NAMED: u64 = 100;

/// The arguments of `sealpoint report`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint report s3://bucket/checkpoints s3://bucket/savepoints
  sealpoint report --needs sealpoint@3 /var/flink/checkpoints && echo nobody needs it
  sealpoint report --json s3://bucket/checkpoints | jq '.rows[] | select(.state == \"enabled\")'

The answer holds for the places that are named: name every place that files under the key may lie in, savepoints and
high-availability storage too. Exit status: 0 reported, or nobody needs the key; 3 it is needed, or may be; 1 something could
not be read; 2 usage.

JSON: {rows: [{tenant, provider, key, version, state, data_keys, in_heads, in_sidecars, sole, ...}], tenants: [{tenant, ...}],
checkpoints, not_sealed, foreign, unreadable, unfinished, unopenable, unread_checkpoints, broken_sidecars, silent_key_services,
gone}, ... and sole being {files, bytes, live_files, oldest_ms, newest_ms}, and the lists {count, first}. With --needs also
needed_files: [{file, bytes, live}], which come first, and needs: {name, needed, known, files, spared, proven_slots,
unproven: [{example, error, ...}]}; if it breaks off after the first of these files, failed: {code, kind, error} takes the
place of the rest")]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Ask whether this version of a key, or the whole key, may be disabled
    #[arg(long, value_name = "KEK[@VERSION]")]
    needs: Option<KekName>,
    /// Checkpoints, savepoints, or directories above them
    #[arg(required = true, value_name = "URI")]
    places: Vec<String>,
}

/// What `report`, `retire` and `shred` have in common.
#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    pub target: Target,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Name every file that needs the key, and up to a thousand of each other kind; a hundred of each by default
    #[arg(long)]
    pub all: bool,
    /// Show on standard error how far it is, even if that is no terminal
    #[arg(long)]
    pub progress: bool,
}

/// Reports.
pub fn run(arguments: &Arguments) -> Result<Answer> {
    let engine = arguments.common.target.engine()?;
    let reported = Reported::new(&engine, &arguments.common, &arguments.places, arguments.needs.clone())?;
    if arguments.common.json {
        reported.print_json(json!({}));
    } else {
        reported.print();
    }
    Ok(reported.answer())
}

/// A report with the files that need the key that was asked about, some of them printed already.
pub struct Reported {
    /// What was found.
    pub report: report::Report,
    all: bool,
    named: u64,
}

impl Reported {
    /// Makes it, and prints the files that need the key as they are found.
    pub fn new(
        engine: &Arc<sealpoint::engine::EncryptionEngine>,
        common: &Common,
        places: &[String],
        needs: Option<KekName>,
    ) -> Result<Reported> {
        let places = places.iter().map(|text| location(text)).collect::<Result<Vec<_>>>()?;
        let options = Options { store: common.target.store_options(), needs };
        let progress = Arc::new(Progress::default());
        let watch = Watch::of(&progress, common.progress)?;
        let mut named = 0;
        let name = |needed: Needed<'_>| {
            if common.all || named < NAMED {
                print_needed(&needed, common.json, named);
                named += 1;
            }
            Ok(())
        };
        let report = report::report(engine, &places, &options, &progress, name);
        let report = report.inspect_err(|error| close(common.json && named > 0, error))?;
        drop(watch);
        let reported = Reported { report, all: common.all, named };
        // What was interrupted in its last moment was interrupted: `retire` goes by it.
        reported.or_closed(common.json, progress.check())?;
        Ok(reported)
    }

    /// What comes after it and before it is printed: a failure ends the document that was begun.
    pub fn or_closed<T>(&self, json: bool, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| close(json && self.named > 0, error))
    }

    /// What the exit status says.
    pub fn answer(&self) -> Answer {
        match &self.report.needs {
            Some(needs) if !needs.nobody() || self.report.is_partial() => Answer::No,
            None if self.report.is_partial() || !self.report.unread_checkpoints.is_empty() => Answer::Failed,
            Some(_) | None => Answer::Yes,
        }
    }

    /// All of it, for people.
    pub fn print(&self) {
        let needs = self.report.needs.as_ref();
        let name = needs.and_then(|needs| needs.name.as_ref());
        let asked = |row: &&Row| name.is_none_or(|name| name.names(&row.wrapping));
        let rows: Vec<&Row> = self.report.rows.iter().filter(asked).collect();
        if !rows.is_empty() {
            print_rows(&rows);
        }
        let sealed = self.report.sealed();
        say!(
            "{} sealed files of {} tenants, {}; {} of them belong to {} completed checkpoints and savepoints",
            sealed.files,
            self.report.tenants.len(),
            bytes(sealed.bytes),
            sealed.live,
            self.report.checkpoints
        );
        self.print_lists();
        if let Some(needs) = needs {
            self.print_needs(needs);
        }
    }

    fn print_lists(&self) {
        let report = &self.report;
        let places = |list: &Few<Location>| list.first.iter().map(Location::to_string).collect::<Vec<_>>();
        let errors = |list: &Few<sealpoint::Error>| list.first.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (count, named, what) in [
            (report.plain.count, places(&report.plain), "files are not sealed"),
            (
                report.foreign.count,
                errors(&report.foreign),
                "files are sealed in a way that this version does not know",
            ),
            (report.unreadable.count, errors(&report.unreadable), "files or directories could not be read"),
            (
                report.unfinished.count,
                places(&report.unfinished),
                "files end in their head: being written, or never finished",
            ),
            (
                report.unopenable.count,
                places(&report.unopenable),
                "sealed files are under no version that a configured key service says is enabled",
            ),
            (
                report.unread_checkpoints.count,
                errors(&report.unread_checkpoints),
                "checkpoints could not be read: which files they need is not known",
            ),
            (report.broken_sidecars.count, errors(&report.broken_sidecars), "sidecars could not be read"),
        ] {
            if count == 0 {
                continue;
            }
            say!("{count} {what}:");
            let shown = if self.all { named.len() } else { named.len().min(NAMED as usize) };
            named.iter().take(shown).for_each(|name| say!("  {}", plain(name)));
            if count > shown as u64 {
                say!("  and {} more", count - shown as u64);
            }
        }
        for error in &report.silent {
            say!("a key service did not say what its versions are: {error}");
        }
        if report.gone > 0 {
            say!("{} files went away meanwhile", report.gone);
        }
    }

    fn print_needs(&self, needs: &Needs) {
        if needs.needed.files > self.named {
            say!("and {} more need it (--all names them)", needs.needed.files - self.named);
        }
        for unproven in &needs.unproven {
            say!(
                "needed by {} files such as {}: another slot is said to open them, but does not: {}",
                unproven.amount.files,
                unproven.example,
                unproven.error
            );
        }
        let name = needs.name.as_ref().map(|name| plain(&name.to_string())).unwrap_or_default();
        if !needs.nobody() {
            say!(
                "{name} is needed by {} files, {} of them of completed checkpoints: `sealpoint rewrap` these places, or delete what is no longer used, and ask again",
                needs.needed.files + needs.unproven.iter().map(|unproven| unproven.amount.files).sum::<u64>(),
                needs.needed.live + needs.unproven.iter().map(|unproven| unproven.amount.live).sum::<u64>(),
            );
        } else if self.report.is_partial() {
            say!(
                "whether {name} is needed cannot be said: not every file and sidecar could be looked into (see above); `sealpoint rewrap` mends sidecars"
            );
        } else {
            say!(
                "nobody needs {name} here: {} files under it open otherwise too, which was seen with each of their {} sets of slots",
                needs.spared.files,
                needs.proven
            );
        }
    }

    /// All of it, for programs, with these further fields.
    pub fn print_json(&self, more: Value) {
        let report = &self.report;
        let mut object = json!({
            "rows": report.rows.iter().map(row_json).collect::<Vec<_>>(),
            "tenants": report.tenants.iter().map(|(tenant, amount)| {
                let mut value = amount_json(amount);
                value["tenant"] = json!(tenant);
                value
            }).collect::<Vec<_>>(),
            "checkpoints": report.checkpoints,
            "not_sealed": few_json(&report.plain),
            "foreign": few_json(&report.foreign),
            "unreadable": few_json(&report.unreadable),
            "unfinished": few_json(&report.unfinished),
            "unopenable": few_json(&report.unopenable),
            "unread_checkpoints": few_json(&report.unread_checkpoints),
            "broken_sidecars": few_json(&report.broken_sidecars),
            "silent_key_services": report.silent.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "gone": report.gone,
        });
        if let Some(needs) = &report.needs {
            let unproven = needs.unproven.iter().map(|unproven| {
                let mut value = amount_json(&unproven.amount);
                value["example"] = json!(unproven.example.to_string());
                value["error"] = json!(unproven.error.to_string());
                value
            });
            object["needs"] = json!({
                "name": needs.name.as_ref().map(ToString::to_string),
                "needed": !needs.nobody(),
                "known": !report.is_partial(),
                "files": amount_json(&needs.needed),
                "spared": amount_json(&needs.spared),
                "proven_slots": needs.proven,
                "unproven": unproven.collect::<Vec<_>>(),
            });
        }
        if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
            object.extend(more);
        }
        // The files that need the key came first, as they were found.
        let rest = object.to_string();
        match (self.report.needs.is_some(), self.named) {
            (false, _) => say!("{rest}"),
            (true, 0) => say!("{{\"needed_files\":[],{}", &rest[1..]),
            (true, _) => say!("],{}", &rest[1..]),
        }
    }
}

/// A document that was begun has an end whatever happens.
fn close(begun: bool, error: &sealpoint::Error) {
    if begun {
        say!("],\"failed\":{}}}", error_json(error));
    }
}

fn print_needed(needed: &Needed<'_>, json: bool, before: u64) {
    let Needed { file, live } = needed;
    let place = &file.object.location;
    if json {
        let start = if before == 0 { "{\"needed_files\":[" } else { "," };
        say!("{start}{}", json!({"file": place.to_string(), "bytes": file.object.size, "live": live}));
    } else {
        let whose = if *live { "a completed checkpoint's" } else { "in no completed checkpoint" };
        say!("needed by {} ({whose})", plain(&place.to_string()));
    }
}

/// What a file says of itself, fit to be shown: nobody has verified it.
pub fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

/// The rows as a table.
pub fn print_rows(rows: &[&Row]) {
    const HEAD: [&str; 9] =
        ["tenant", "key", "version", "state", "data keys", "files", "live", "only this opens", "size"];
    let mut lines: Vec<Vec<String>> = vec![HEAD.iter().map(|head| (*head).to_owned()).chain(["made".into()]).collect()];
    for row in rows {
        let made = |ms: Option<u64>| ms.map_or("-".to_owned(), utc);
        lines.push(vec![
            plain(&row.tenant),
            plain(&format!("{}:{}", row.wrapping.provider, row.wrapping.kek)),
            plain(&row.wrapping.version),
            row.state.name().to_owned(),
            row.data_keys.to_string(),
            row.amount.files.to_string(),
            row.amount.live.to_string(),
            row.sole.files.to_string(),
            bytes(row.amount.bytes),
            format!("{} to {}", made(row.amount.oldest_ms), made(row.amount.newest_ms)),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            4.. => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        say!("{}  {}", cells.collect::<Vec<_>>().join("  "), line[HEAD.len()]);
    }
}

fn row_json(row: &Row) -> Value {
    let mut value = amount_json(&row.amount);
    let more = json!({
        "tenant": row.tenant, "provider": row.wrapping.provider, "key": row.wrapping.kek,
        "version": row.wrapping.version, "state": row.state.name(), "data_keys": row.data_keys,
        "in_heads": row.in_heads, "in_sidecars": row.in_sidecars, "sole": amount_json(&row.sole),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn amount_json(amount: &Amount) -> Value {
    json!({
        "files": amount.files, "bytes": amount.bytes, "live_files": amount.live, "oldest_ms": amount.oldest_ms,
        "newest_ms": amount.newest_ms,
    })
}

fn few_json<T: Display>(few: &Few<T>) -> Value {
    json!({"count": few.count, "first": few.first.iter().map(ToString::to_string).collect::<Vec<_>>()})
}

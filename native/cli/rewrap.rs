//! `sealpoint rewrap`: data keys under a new version of a key, or under another key, without touching the files.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sealpoint::config;
use sealpoint::error::{Error, Kind, Result};
use sealpoint::keys;
use sealpoint::lifecycle::progress::Progress;
use sealpoint::lifecycle::rewrap::{Options, Report, rewrap};

use crate::output::Answer;
use crate::progress::Watch;
use crate::target::{Target, location};

/// The arguments of `sealpoint rewrap`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sealpoint rewrap s3://bucket/checkpoints s3://bucket/savepoints
  sealpoint rewrap --dry-run --json /var/flink/checkpoints
  sealpoint rewrap --to other-region s3://bucket/checkpoints

May run while jobs checkpoint, and again at any time: what is done is not done again. Files stay as they are; the new
wraps are put beside them, into .sealpoint-keys. Exit status: 0 done, 1 something failed (and is listed), 2 usage.

JSON: {dry_run, files: {sealed, plain, unfinished, gone}, plain: [URI], data_keys: {all, renewed, current, vanished, failed},
versions: [{provider, key, version, data_keys}], sidecars: [URI], sidecars_written, entries_dropped, notes, failed,
failures: [{location, files, code, error}]}")]
pub struct Rewrap {
    #[command(flatten)]
    target: Target,
    /// Wrap by this one of the configured keys only: primary, or the name of a fallback; by all of them by default
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Wrap anew too what says it is under the current versions
    #[arg(long)]
    again: bool,
    /// The most calls a second to key services
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    kms_rate: Option<u32>,
    /// How long to wait for a key service that throttles or is away, without any success
    #[arg(long, value_name = "TIME", value_parser = config::duration, default_value = "3 min")]
    patience: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show on standard error how far it is, even if that is no terminal
    #[arg(long)]
    progress: bool,
    /// Checkpoints, savepoints, directories above them, or single files
    #[arg(required = true, value_name = "URI")]
    places: Vec<String>,
}

/// Rewraps.
pub fn run(arguments: &Rewrap) -> Result<Answer> {
    let places = arguments.places.iter().map(|text| location(text)).collect::<Result<Vec<_>>>()?;
    let options = Options {
        target: arguments.to.clone().map_or(keys::Target::All, keys::Target::Client),
        dry_run: arguments.dry_run,
        again: arguments.again,
        kms_rate: arguments.kms_rate,
        store: arguments.target.store_options(),
        patience: arguments.patience,
    };
    let engine = arguments.target.engine()?;
    let progress = Arc::new(Progress::default());
    let watch = Watch::of(&progress, arguments.progress)?;
    let report = rewrap(&engine, &places, &options, &progress)?;
    drop(watch);
    if arguments.json {
        say!("{}", report.json());
    } else {
        show(&report);
    }
    if report.is_complete() { Ok(Answer::Yes) } else { Err(incomplete(&report)) }
}

fn show(report: &Report) {
    let (would, were) = if report.dry_run { ("to renew", "to be written") } else { ("renewed", "written") };
    say!(
        "{} sealed files under {} data keys: {} {would}, {} current, {} failed",
        report.sealed,
        report.data_keys,
        report.renewed,
        report.current,
        report.failed()
    );
    for (by, count) in &report.versions {
        say!("  {count} now under {by}");
    }
    for sidecar in &report.sidecars.first {
        say!("  wrote {sidecar}");
    }
    more(report.sidecars.more(), &format!("sidecars {were}"));
    if report.dropped > 0 {
        say!("  {} entries that no file needs any more", report.dropped);
    }
    if report.unfinished > 0 {
        say!("  {} files have no whole head yet: they are being written, or their writer died", report.unfinished);
    }
    for note in &report.notes.first {
        aside!("sealpoint: {note}");
    }
    for file in &report.plain.first {
        aside!("sealpoint: {file} is not sealed");
    }
    more(report.plain.more(), "files are not sealed");
    for failure in &report.failures.first {
        let also = if failure.files > 1 { format!(" ({} files)", failure.files) } else { String::new() };
        let (place, error) = (failure.location.to_string(), failure.error.message());
        let error = error.strip_prefix(&format!("{place}: ")).unwrap_or(error);
        aside!("sealpoint: {place}{also}: {error}");
    }
    more(report.failures.more(), "failures");
}

fn more(count: u64, of: &str) {
    if count > 0 {
        aside!("sealpoint: and {count} more {of}");
    }
}

fn incomplete(report: &Report) -> Error {
    Kind::Io.error(format_args!(
        "{} of {} data keys were not renewed, {} failures in all: put right what is listed and run the same again",
        report.failed(),
        report.data_keys,
        report.failures.count
    ))
}

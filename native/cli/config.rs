//! `sealpoint config`: what a configuration amounts to, and what can be configured.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use sealpoint::Result;
use sealpoint::config::{EncryptionConfig, reference};
use sealpoint::metrics;
use serde_json::{Map, json};

use crate::output;

/// The subcommands of `sealpoint config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a TOML file, overridden by SEALPOINT_* variables, and print the policy that it amounts to
    #[command(
        visible_alias = "show",
        after_help = "Examples:
  sealpoint config check sealpoint.toml
  SEALPOINT_CACHE_TTL='5 min' sealpoint config show --json sealpoint.toml | jq .options

JSON: {options: {name: {value, set}}, warnings: [text]}"
    )]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The file
        file: PathBuf,
    },
    /// Print docs/CONFIG.md: every key, its values and its default
    #[command(after_help = "Example:\n  sealpoint config reference | less")]
    Reference,
    /// Print docs/METRICS.md: every metric and what it says
    #[command(after_help = "Example:\n  sealpoint config metrics | grep latency")]
    Metrics,
}

/// Runs one of them.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Check { json, file } => check(&file, json),
        Command::Reference => output::write(reference::markdown().as_bytes()),
        Command::Metrics => output::write(metrics::markdown().as_bytes()),
    }
}

fn check(file: &Path, in_json: bool) -> Result<()> {
    let config = EncryptionConfig::load(file)?;
    if in_json {
        let options = config.effective().into_iter();
        let options = options.map(|option| (option.key.to_string(), json!({"value": option.value, "set": option.set})));
        say!("{}", json!({"options": options.collect::<Map<_, _>>(), "warnings": config.warnings()}));
        return Ok(());
    }
    for effective in config.effective() {
        let origin = if effective.set { "" } else { "   # default" };
        say!("{} = {:?}{origin}", effective.key, effective.value);
    }
    for warning in config.warnings() {
        aside!("sealpoint: warning: {warning}");
    }
    Ok(())
}

//! `sealpoint config`: what a configuration amounts to, and what can be configured.

use std::path::PathBuf;

use clap::Subcommand;
use sealpoint::Result;
use sealpoint::config::{EncryptionConfig, reference};
use sealpoint::metrics;

/// The subcommands of `sealpoint config`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a TOML file, overridden by SEALPOINT_* variables, and print the policy that it amounts to
    #[command(visible_alias = "show")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print docs/CONFIG.md: every key, its values and its default
    Reference,
    /// Print docs/METRICS.md: every metric and what it says
    Metrics,
}

/// Runs one of them.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Check { file } => check(&file),
        Command::Reference => {
            print!("{}", reference::markdown());
            Ok(())
        }
        Command::Metrics => {
            print!("{}", metrics::markdown());
            Ok(())
        }
    }
}

fn check(file: &std::path::Path) -> Result<()> {
    let config = EncryptionConfig::load(file)?;
    for effective in config.effective() {
        let origin = if effective.set { "" } else { "   # default" };
        println!("{} = {:?}{origin}", effective.key, effective.value);
    }
    for warning in config.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

//! The command-line tool: one file a subcommand.

#![deny(clippy::unwrap_used, clippy::panic)]

mod config;
mod files;
mod keyring;
mod kms;
#[cfg(feature = "pkcs11")]
mod pkcs11;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sealpoint::error::Kind;

/// Envelope encryption of everything Apache Flink persists.
#[derive(Debug, Parser)]
#[command(name = "sealpoint", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration, or print what can be configured
    #[command(subcommand)]
    Config(config::Command),
    /// Make, show and rotate a local keyring
    #[command(subcommand)]
    Keyring(keyring::Command),
    /// Try the configured key services, and measure them
    #[command(subcommand)]
    Kms(kms::Command),
    /// Make a key on a hardware security module
    #[cfg(feature = "pkcs11")]
    #[command(subcommand)]
    Pkcs11(pkcs11::Command),
    /// Seal one file
    Seal(files::Seal),
    /// Open one sealed file, or verify it
    Open(files::Open),
    /// Show what the heads of sealed files say, without any key and unverified
    Inspect(files::Inspect),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Config(command) => config::run(command),
        Command::Keyring(command) => keyring::run(command),
        Command::Kms(command) => kms::run(&command),
        #[cfg(feature = "pkcs11")]
        Command::Pkcs11(command) => pkcs11::run(command),
        Command::Seal(arguments) => files::seal(&arguments),
        Command::Open(arguments) => files::open(&arguments),
        Command::Inspect(arguments) => files::inspect(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sealpoint: {error}");
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

/// 2 says that the request was wrong, 1 that carrying it out failed.
fn exit_code(kind: Kind) -> u8 {
    if matches!(kind, Kind::Config | Kind::InvalidArgument | Kind::Unsupported) { 2 } else { 1 }
}

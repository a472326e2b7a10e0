//! The command-line tool: one file a subcommand.

#![deny(clippy::unwrap_used, clippy::panic)]

#[macro_use]
mod output;

mod config;
mod confirm;
mod doctor;
mod inspect;
mod interrupt;
mod keyring;
mod kms;
mod log;
mod open;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod preflight;
mod progress;
mod recover;
mod reencrypt;
mod reference;
mod report;
mod retire;
mod rewrap;
mod rotate;
mod seal;
mod shell;
mod shred;
mod single;
mod target;
mod verify;
mod versions;

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use sealpoint::error::Kind;

use crate::output::Answer;

/// The one table of them: `--help`, the manual page and docs/OPERATIONS.md.
const EXIT_CODES: &str = "Exit codes:
  0  done, or the answer is yes
  1  it failed, or not all of it could be done
  2  the usage or the configuration is wrong
  3  the answer is no
  130, 143  interrupted (Ctrl-C, SIGTERM): nothing is half-written
  141  nobody reads the output any more (only of what changes nothing)";

/// Envelope encryption of everything Apache Flink persists.
#[derive(Debug, Parser)]
#[command(name = "sealpoint", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Say more on standard error: -v what happens, -vv and -vvv all of it
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say so much: off, error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        global = true,
        env = "SEALPOINT_LOG",
        default_value = "warn",
        hide_env_values = true
    )]
    log: ::log::LevelFilter,
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
    /// Rotate key-encryption keys: make a new version the current one
    Rotate(rotate::Rotate),
    /// Seal one file
    Seal(seal::Seal),
    /// Open one sealed file, or verify it
    Open(open::Open),
    /// Show what the heads of sealed files say, without any key and unverified
    Inspect(inspect::Inspect),
    /// Wrap the data keys of sealed files anew, under the current version of a key or under another key
    Rewrap(rewrap::Rewrap),
    /// Find out whether a restore would work, before the job that runs is stopped
    Preflight(preflight::Arguments),
    /// After a key fell into other hands: rotate it, and seal what it opens anew
    Recover(recover::Recover),
    /// Seal a checkpoint or savepoint anew, under new keys, at another place
    Reencrypt(reencrypt::Reencrypt),
    /// Verify every file of a checkpoint, a savepoint, or a job's checkpoints
    Verify(verify::Verify),
    /// Report what is sealed under which keys, and whether one of them is still needed
    Report(report::Arguments),
    /// Disable an old version of a key, once nobody needs it
    Retire(retire::Arguments),
    /// Destroy a tenant's keys, and with them all that is sealed for it
    Shred(shred::Arguments),
    /// Look at everything that must be right: configuration, memory, key services, stores
    Doctor(doctor::Doctor),
    /// Print the completions of this command line for a shell
    Completions(shell::Completions),
    /// Print the manual page
    Man(shell::Man),
}

fn main() -> ExitCode {
    let done = |()| Answer::Yes;
    let arguments = Arguments::parse();
    log::install(arguments.log, arguments.verbose);
    if arguments.command.changes() {
        output::go_on();
    }
    let result = interrupt::install().and_then(|()| match arguments.command {
        Command::Config(command) => config::run(command).map(done),
        Command::Keyring(command) => keyring::run(command).map(done),
        Command::Kms(command) => kms::run(&command).map(done),
        #[cfg(feature = "pkcs11")]
        Command::Pkcs11(command) => pkcs11::run(command).map(done),
        Command::Seal(arguments) => seal::run(&arguments).map(done),
        Command::Open(arguments) => open::run(&arguments).map(done),
        Command::Inspect(arguments) => inspect::run(&arguments).map(done),
        Command::Rewrap(arguments) => rewrap::run(&arguments),
        Command::Rotate(arguments) => rotate::run(&arguments),
        Command::Preflight(arguments) => preflight::run(&arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Reencrypt(arguments) => reencrypt::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Retire(arguments) => retire::run(&arguments),
        Command::Shred(arguments) => shred::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, Arguments::command()).map(done),
        Command::Man(arguments) => shell::man(&arguments, Arguments::command(), EXIT_CODES).map(done),
    });
    if let Err(error) = &result {
        aside!("sealpoint: {error}");
    }
    match (result, interrupt::code()) {
        (Ok(Answer::Yes), _) if output::is_lost() => Answer::Failed.into(),
        // It was done before it was interrupted.
        (Ok(Answer::Yes), _) => ExitCode::SUCCESS,
        (_, Some(code)) => code.into(),
        (Ok(answer), None) => answer.into(),
        (Err(error), None) => exit_code(error.kind()).into(),
    }
}

impl Command {
    /// True if it may change keys or files, and not only say something.
    fn changes(&self) -> bool {
        match self {
            Command::Keyring(_)
            | Command::Rotate(_)
            | Command::Seal(_)
            | Command::Open(_)
            | Command::Rewrap(_)
            | Command::Recover(_)
            | Command::Reencrypt(_)
            | Command::Retire(_)
            | Command::Shred(_) => true,
            #[cfg(feature = "pkcs11")]
            Command::Pkcs11(_) => true,
            Command::Config(_)
            | Command::Kms(_)
            | Command::Inspect(_)
            | Command::Preflight(_)
            | Command::Verify(_)
            | Command::Report(_)
            | Command::Doctor(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }
}

/// 2 says that the request was wrong, 1 that carrying it out failed.
fn exit_code(kind: Kind) -> u8 {
    if matches!(kind, Kind::Config | Kind::InvalidArgument | Kind::Unsupported) { 2 } else { 1 }
}

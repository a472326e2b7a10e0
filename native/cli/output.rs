//! How commands answer: an exit code, and bytes for people.

use std::process::ExitCode;

use clap::Args;
use sealpoint::error::Error;
use serde_json::{Value, json};

/// What a command has to say, besides errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, or yes: 0.
    Yes,
    /// It could not be done, or not all of it, as was said: 1.
    Failed,
    /// The answer is no: 3.
    No,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::Yes => 0,
            Answer::Failed => 1,
            Answer::No => 3,
        })
    }
}

/// How a command over many files reports.
#[derive(Debug, Args)]
pub struct Reporting {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show on standard error how far it is, even if that is no terminal
    #[arg(long)]
    pub progress: bool,
    /// Work on so many files at once; two a processor by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// An error, for programs.
pub fn error_json(error: &Error) -> Value {
    json!({"code": error.code().0, "kind": format!("{:?}", error.kind()), "error": error.message()})
}

/// So many bytes, for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rfind(|(power, _)| count >> (10 * power) > 0).map_or(0, |(power, _)| power);
    if unit == 0 {
        format!("{count} bytes")
    } else {
        format!("{:.1} {}", count as f64 / (1_u64 << (10 * unit)) as f64, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_the_unit_that_people_use() {
        for (count, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(bytes(count), text);
        }
        assert!(bytes(u64::MAX).ends_with(" TiB"));
    }
}

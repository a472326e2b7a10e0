//! How commands answer: an exit code, and bytes for people.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::{self, ExitCode};

use clap::Args;
use sealpoint::error::{Error, Result};
use serde_json::{Value, json};

/// The exit code once nobody reads the output any more: that of a process which SIGPIPE ended, as shells tell it.
const UNREAD: i32 = 141;

/// Says a line on standard output, as [`write`] writes.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(format_args!($($argument)*))
    };
}

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

/// Writes to standard output. If nobody reads it any more (`| head`), the process ends here, without a word: whatever is
/// under way must bear that, as it bears `kill -9`.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(UNREAD),
        outcome => outcome.map_err(|error| Error::io("write the output", &error)),
    }
}

/// What `say!` does.
pub fn line(text: fmt::Arguments<'_>) {
    if let Err(error) = write(format!("{text}\n").as_bytes()) {
        eprintln!("sealpoint: {error}");
        process::exit(1);
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

//! How commands answer: an exit code, and bytes for people.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use clap::Args;
use sealpoint::error::{Error, Result};
use serde_json::{Value, json};

/// The exit code once nobody reads the output any more: that of a process which SIGPIPE ended, as shells tell it.
const UNREAD: i32 = 141;

/// The command changes something: it goes on to its end, whoever listens.
static GOES_ON: AtomicBool = AtomicBool::new(false);
/// Something that was said could not be written.
static LOST: AtomicBool = AtomicBool::new(false);

/// Says a line on standard output. If nobody reads it any more (`| head`), a command that only looks ends here, without a word.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(format_args!($($argument)*))
    };
}

/// Says a line on standard error. That it cannot be written is no reason to do less.
macro_rules! aside {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($argument)*);
    }};
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

/// Whoever listens, this command goes on: it is not to end between one change and the next.
pub fn go_on() {
    GOES_ON.store(true, SeqCst);
}

/// True if not everything that was said could be written, and somebody might still have read it.
pub fn is_lost() -> bool {
    LOST.load(SeqCst)
}

/// Writes to standard output what the command is there to write. If nobody reads it any more, the process ends here.
pub fn write(bytes: &[u8]) -> Result<()> {
    match put(bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(UNREAD),
        outcome => outcome.map_err(|error| Error::io("write the output", &error)),
    }
}

/// What `say!` does.
pub fn line(text: fmt::Arguments<'_>) {
    match put(format!("{text}\n").as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            if !GOES_ON.load(SeqCst) {
                process::exit(UNREAD);
            }
        }
        Err(error) => {
            if !LOST.swap(true, SeqCst) {
                aside!("sealpoint: cannot write the output: {error}");
            }
        }
    }
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
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

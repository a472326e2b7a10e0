//! How commands answer: an exit code, bytes for people, and progress where somebody looks.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use sealpoint::error::{Error, Result};
use sealpoint::lifecycle::Reach;
use sealpoint::lifecycle::tally::Count;

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

/// Shows how far an operation is for as long as this lives.
pub struct Progress {
    stop: Sender<()>,
    shown: Option<thread::JoinHandle<()>>,
}

impl Progress {
    /// On a terminal, or where it was asked for.
    pub fn of(reach: &Arc<Reach>, reporting: &Reporting) -> Progress {
        const PACE: Duration = Duration::from_millis(500);
        let (stop, stopped) = channel::<()>();
        let terminal = std::io::stderr().is_terminal();
        let reach = Arc::clone(reach);
        let shown = (terminal || reporting.progress).then(|| {
            thread::spawn(move || {
                let start = Instant::now();
                while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    let line = line(reach.tally().count(), start.elapsed());
                    let end = if terminal { '\r' } else { '\n' };
                    let _ = write!(std::io::stderr(), "{line:<79}{end}");
                }
                if terminal {
                    let _ = write!(std::io::stderr(), "{:79}\r", "");
                }
            })
        });
        Progress { stop, shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(shown) = self.shown.take() {
            let _ = shown.join();
        }
    }
}

fn line(count: Count, spent: Duration) -> String {
    let rate = count.bytes as f64 / spent.as_secs_f64().max(0.001);
    let mut line = format!("{} of {} files, {}", count.files, count.of_files, bytes(count.bytes));
    line += &format!(", {}/s", bytes(rate as u64));
    if count.of_bytes > count.bytes && rate >= 1.0 {
        line += &format!(", about {} s left", ((count.of_bytes - count.bytes) as f64 / rate).ceil());
    }
    line
}

/// Has Ctrl-C and SIGTERM end the operation in order; a second one ends the process at once.
pub fn stop_on_signal(reach: &Reach) -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_default(signal, reach.stopped())
            .and_then(|_| flag::register(signal, reach.stopped()))
            .map_err(|error| Error::io("handle signals", &error))?;
    }
    Ok(())
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

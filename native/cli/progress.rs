//! A long operation, watched: how far it is, on standard error, and what a signal does to it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sealpoint::error::Result;
use sealpoint::lifecycle::progress::{Progress, Step};

use crate::interrupt::InOrder;
use crate::output::bytes;

const PACE: Duration = Duration::from_millis(500);

/// Watches it for as long as this lives.
pub struct Watch {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    _in_order: InOrder,
}

impl Watch {
    /// Shows how far it is on a terminal, or where that was asked for; ends it in order at a signal.
    pub fn of(progress: &Arc<Progress>, asked: bool) -> Result<Watch> {
        let in_order = InOrder::by(&progress.stopped())?;
        let (stop, stopped) = channel::<()>();
        let (progress, terminal) = (Arc::clone(progress), std::io::stderr().is_terminal());
        // That a line of progress cannot be written is no reason to do less.
        let say = move |line: &str, end: &str| drop(write!(std::io::stderr(), "{line:<79}{end}"));
        let thread = (terminal || asked).then(|| {
            thread::spawn(move || {
                let end = if terminal { "\r" } else { "\n" };
                while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    let step = progress.step();
                    say(&line(&step, step.since.elapsed()), end);
                }
                if terminal {
                    say("", "\r");
                }
            })
        });
        Ok(Watch { stop, thread, _in_order: in_order })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The rate and the time left go by bytes where these are counted.
fn line(step: &Step, spent: Duration) -> String {
    let Step { doing, unit, done, total, .. } = step;
    let per_second = |count: u64| count as f64 / spent.as_secs_f64().max(0.001);
    let mut line = format!("{doing}:");
    if !unit.is_empty() {
        let of = if *total > 0 { format!(" of {}", total.max(done)) } else { String::new() };
        line += &format!(" {done}{of} {unit},");
    }
    let (rate, left) = if step.bytes > 0 || step.of_bytes > 0 {
        line += &format!(" {}, {}/s", bytes(step.bytes), bytes(per_second(step.bytes) as u64));
        (per_second(step.bytes), step.of_bytes.saturating_sub(step.bytes))
    } else {
        line += &format!(" {:.0}/s", per_second(*done));
        (per_second(*done), total.saturating_sub(*done))
    };
    if left > 0 && rate > 0.0 {
        line += &format!(", about {:.0} s left", (left as f64 / rate).ceil());
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_line_has_the_rate_and_where_it_can_be_known_the_time_left() {
        let step = |(done, total), (bytes, of_bytes)| Step {
            doing: "reading",
            unit: "files",
            done,
            total,
            bytes,
            of_bytes,
            since: Instant::now(),
        };
        let after = |step: &Step| line(step, Duration::from_secs(10));
        let none = (0, 0);
        assert_eq!(after(&step((50, 0), none)), "reading: 50 files, 5/s");
        assert_eq!(after(&step((50, 100), none)), "reading: 50 of 100 files, 5/s, about 10 s left");
        assert_eq!(after(&step((100, 100), none)), "reading: 100 of 100 files, 10/s");
        assert_eq!(after(&step((0, 100), none)), "reading: 0 of 100 files, 0/s");
        assert_eq!(after(&step((110, 100), none)), "reading: 110 of 110 files, 11/s", "more came meanwhile");
        let by_bytes = after(&step((1, 4), (10 << 20, 40 << 20)));
        assert_eq!(by_bytes, "reading: 1 of 4 files, 10.0 MiB, 1.0 MiB/s, about 30 s left");
        let one = Step { unit: "", ..step(none, (10 << 20, 0)) };
        assert_eq!(after(&one), "reading: 10.0 MiB, 1.0 MiB/s");
    }
}

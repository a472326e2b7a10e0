//! How far a long operation is, on standard error.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sealpoint::lifecycle::progress::{Progress, Step};

const PACE: Duration = Duration::from_millis(500);

/// Shows it for as long as this lives.
pub struct Shown {
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    /// On a terminal, or where it was asked for.
    pub fn of(progress: &Arc<Progress>, asked: bool) -> Shown {
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
        Shown { stop, thread }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn line(step: &Step, spent: Duration) -> String {
    let Step { doing, unit, done, total, .. } = step;
    let rate = *done as f64 / spent.as_secs_f64().max(0.001);
    if *total == 0 {
        return format!("{doing}: {done} {unit}, {rate:.0}/s");
    }
    let mut line = format!("{doing}: {done} of {total} {unit}, {rate:.0}/s");
    if rate > 0.0 && done < total {
        line += &format!(", about {:.0} s left", ((total - done) as f64 / rate).ceil());
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_line_has_the_rate_and_where_it_can_be_known_the_time_left() {
        let step = |done, total| Step { doing: "reading", unit: "files", done, total, since: Instant::now() };
        let after = |step: &Step| line(step, Duration::from_secs(10));
        assert_eq!(after(&step(50, 0)), "reading: 50 files, 5/s");
        assert_eq!(after(&step(50, 100)), "reading: 50 of 100 files, 5/s, about 10 s left");
        assert_eq!(after(&step(100, 100)), "reading: 100 of 100 files, 10/s");
        assert_eq!(after(&step(0, 100)), "reading: 0 of 100 files, 0/s");
    }
}

//! Asking a key service again for as long as it may come back: what takes hours should not end at a minute's throttling.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::error::Result;

/// How long it is unless somebody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(180);

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How soon a pause ends in which somebody gives up.
const NOTICED: Duration = Duration::from_millis(100);

/// For how long, from the last success of anyone who shares it on, failures that may pass are not believed.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    since: Mutex<Option<Instant>>,
}

impl Patience {
    pub fn new(limit: Duration) -> Patience {
        Patience { limit, since: Mutex::default() }
    }

    /// The outcome of `work`, repeated with growing pauses while its failure may pass and patience lasts.
    pub async fn with<T>(&self, mut work: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.after(work().await, &mut pause) {
                ControlFlow::Break(outcome) => return outcome,
                ControlFlow::Continue(wait) => sleep(wait).await,
            }
        }
    }

    /// The same on a thread that may wait, until `check` fails.
    pub fn blocking<T>(&self, check: impl Fn() -> Result<()>, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let mut pause = FIRST_PAUSE;
        loop {
            let mut wait = match self.after(work(), &mut pause) {
                ControlFlow::Break(outcome) => return outcome,
                ControlFlow::Continue(wait) => wait,
            };
            while !wait.is_zero() {
                check()?;
                let part = wait.min(NOTICED);
                thread::sleep(part);
                wait -= part;
            }
            check()?;
        }
    }

    /// Whether that is the outcome, or after which pause to try again.
    fn after<T>(&self, outcome: Result<T>, pause: &mut Duration) -> ControlFlow<Result<T>, Duration> {
        let error = match outcome {
            Err(error) if error.may_pass() => error,
            outcome => {
                *self.since.lock() = None;
                return ControlFlow::Break(outcome);
            }
        };
        let since = *self.since.lock().get_or_insert_with(Instant::now);
        let wait = error.retry_after().unwrap_or_default().max(*pause);
        if since.elapsed() + wait > self.limit {
            return ControlFlow::Break(Err(error));
        }
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        ControlFlow::Continue(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// The outcome of a service that fails until so many seconds have passed, and how many seconds that took.
    fn run(patience: &Patience, fails_for: u64, kind: Kind) -> (Result<()>, u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let work = async || match start.elapsed() < Duration::from_secs(fails_for) {
                true => Err(kind.error("not now")),
                false => Ok(()),
            };
            let outcome = patience.with(work).await;
            (outcome, start.elapsed().as_secs())
        })
    }

    #[test]
    fn a_minute_of_throttling_is_sat_out_and_what_cannot_pass_is_not() {
        let patience = Patience::new(Duration::from_secs(180));
        let (outcome, took) = run(&patience, 60, Kind::KmsThrottled);
        assert!(outcome.is_ok() && (60..=70).contains(&took), "{outcome:?} after {took}");
        assert_eq!(run(&patience, 60, Kind::KeyDisabled).1, 0);
    }

    #[test]
    fn whoever_waits_may_be_told_to_give_up_and_none_means_none() {
        let away = || Err::<(), _>(Kind::KmsUnavailable.error("away"));
        let given_up = || Err(Kind::State.error("interrupted"));
        let patience = Patience::new(Duration::from_secs(3600));
        assert_eq!(patience.blocking(given_up, away).unwrap_err().kind(), Kind::State);
        let mut tries = 0;
        let third = || {
            tries += 1;
            if tries < 3 { away() } else { Ok(()) }
        };
        patience.blocking(|| Ok(()), third).unwrap();
        assert_eq!(Patience::new(Duration::ZERO).blocking(|| Ok(()), away).unwrap_err().kind(), Kind::KmsUnavailable);
    }

    #[test]
    fn patience_ends_for_all_who_share_it() {
        let patience = Patience::new(Duration::from_secs(180));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let took = runtime.block_on(async {
            let start = Instant::now();
            for _ in 0..100 {
                let error = patience.with(async || Err::<(), _>(Kind::KmsUnavailable.error("away"))).await.unwrap_err();
                assert_eq!(error.kind(), Kind::KmsUnavailable);
            }
            start.elapsed().as_secs()
        });
        assert!((170..=180).contains(&took), "{took}: not once for each");
    }
}

//! At most so many requests a second, so that one command does not slow down a job that uses the same bucket.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A tenth of a second's worth at once, then evenly. Those who wait are served in order.
#[derive(Debug)]
pub struct Pace {
    apart: Option<Duration>,
    /// When the next request is due if it waits its turn.
    next: Mutex<Option<Instant>>,
}

/// How much may be made up for.
const SAVED: Duration = Duration::from_millis(100);

impl Pace {
    /// So many requests a second; `None` for as many as there are.
    pub fn new(per_second: Option<u32>) -> Pace {
        let apart = per_second.map(|rate| Duration::from_secs(1) / rate.max(1));
        Pace { apart, next: Mutex::default() }
    }

    /// Waits until the next request may be made.
    pub async fn turn(&self) {
        let Some(apart) = self.apart else { return };
        let due = {
            let mut next = self.next.lock();
            let now = Instant::now();
            let earliest = now.checked_sub(SAVED.saturating_sub(apart)).unwrap_or(now);
            let due = next.map_or(earliest, |next| next.max(earliest));
            *next = Some(due + apart);
            due
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// When each of so many requests was let through, in milliseconds.
    fn times(per_second: Option<u32>, requests: usize) -> Vec<u128> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let pace = Arc::new(Pace::new(per_second));
            let start = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..requests {
                let pace = Arc::clone(&pace);
                tasks.spawn(async move {
                    pace.turn().await;
                    start.elapsed().as_millis()
                });
            }
            let mut times = tasks.join_all().await;
            times.sort_unstable();
            times
        })
    }

    #[test]
    fn requests_are_let_through_evenly() {
        assert_eq!(times(Some(50), 8), [0, 0, 0, 0, 0, 20, 40, 60]);
        assert_eq!(times(Some(2), 3), [0, 500, 1000]);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        assert_eq!(times(None, 1000), [0; 1000]);
    }
}

//! At most so many calls a second, so that one process cannot use up what the whole account may do.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Around, Call, deadline};
use crate::error::{Kind, Result};
use crate::metrics::EncryptionMetrics;

/// `kms.calls-per-second` of one key service: a second's worth at once, then evenly. Those who wait are served in order.
#[derive(Debug)]
pub struct Budget {
    per_second: u32,
    /// When the next call is due if it waits its turn; lies in the past while calls are saved up.
    next: Mutex<Option<Instant>>,
}

impl Budget {
    /// So many calls a second; at least one.
    pub fn new(per_second: u32) -> Arc<Budget> {
        Arc::new(Budget { per_second: per_second.max(1), next: Mutex::default() })
    }

    /// Waits until the next call may be made, for as long as it takes.
    pub async fn turn(&self) {
        if let Ok(wait) = self.take(|_| true) {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long the next call has to wait; its turn is taken unless that is longer than `allowed` says.
    fn take(&self, allowed: impl FnOnce(Duration) -> bool) -> Result<Duration, Duration> {
        let now = Instant::now();
        let apart = Duration::from_secs(1) / self.per_second;
        let mut next = self.next.lock();
        // No more than a second's worth is saved up, this call included.
        let saved = Duration::from_secs(1) - apart;
        let earliest = now.checked_sub(saved).unwrap_or(now);
        let due = next.map_or(earliest, |next| next.max(earliest));
        let wait = due.saturating_duration_since(now);
        if !allowed(wait) {
            return Err(wait);
        }
        *next = Some(due + apart);
        Ok(wait)
    }
}

/// Takes each call out of a budget.
#[derive(Debug)]
pub struct Budgeted {
    budget: Arc<Budget>,
    metrics: Arc<EncryptionMetrics>,
}

impl Budgeted {
    pub fn new(budget: Arc<Budget>, metrics: Arc<EncryptionMetrics>) -> Budgeted {
        Budgeted { budget, metrics }
    }
}

impl Around for Budgeted {
    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        match self.budget.take(deadline::allows) {
            Ok(Duration::ZERO) => {}
            Ok(wait) => {
                self.metrics.kms_budget_waits.add(1);
                tokio::time::sleep(wait).await;
            }
            Err(wait) => {
                self.metrics.kms_budget_waits.add(1);
                let error = Kind::KmsThrottled.error(format_args!(
                    "this process makes no more than kms.calls-per-second = {} calls to {}, and the next one could only be made in {wait:.1?}, after kms.timeout: raise one of the two, or open fewer files at once",
                    self.budget.per_second,
                    call.service(),
                ));
                return Err(error.after(Some(wait)));
            }
        }
        call.make().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::KmsClient;
    use crate::kms::over::testing::{Fixed, Scripted, paused};
    use crate::kms::over::{deadline::Deadline, over, retry::Retry};

    /// When each call was made, in milliseconds, and the outcomes of all.
    fn burst(calls: usize, per_second: u32, timeout: Duration) -> (Vec<u128>, Vec<Result<()>>, u64) {
        let metrics = Arc::new(EncryptionMetrics::default());
        let script = Scripted::new([]);
        let client = over(
            Arc::clone(&script) as Arc<dyn KmsClient>,
            Budgeted::new(Budget::new(per_second), Arc::clone(&metrics)),
        );
        let client = over(client, Retry::new(4, Arc::new(Fixed(0.0)), Arc::clone(&metrics)));
        let client = over(client, Deadline::new(timeout));
        paused(async move {
            let start = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..calls {
                let client = Arc::clone(&client);
                tasks.spawn(async move { client.key_versions().await.map(drop) });
            }
            let outcomes = tasks.join_all().await;
            let at = script.times().iter().map(|time| (*time - start).as_millis()).collect();
            (at, outcomes, metrics.kms_budget_waits.get())
        })
    }

    #[test]
    fn a_burst_is_let_through_up_to_a_second_s_worth_and_then_evenly() {
        let (at, outcomes, waits) = burst(9, 5, Duration::from_secs(10));
        assert_eq!(at, [0, 0, 0, 0, 0, 200, 400, 600, 800]);
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(waits, 4);
    }

    #[test]
    fn what_could_not_be_made_in_time_is_refused_at_once_and_said_to_be_ours() {
        let (at, outcomes, _) = burst(20, 5, Duration::from_millis(900));
        assert_eq!(at, [0, 0, 0, 0, 0, 200, 400, 600, 800], "no one waits for nothing, or twice");
        let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 11);
        for error in refused {
            assert_eq!((error.kind(), error.retry_after()), (Kind::KmsThrottled, Some(Duration::from_secs(1))));
            assert!(error.message().contains("kms.calls-per-second = 5"), "{error}");
        }
    }

    #[test]
    fn what_was_not_used_is_saved_up_for_a_second_only() {
        let budget = Budget::new(5);
        paused(async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let waits: Vec<_> = (0..7).map(|_| budget.take(|_| true).unwrap().as_millis()).collect();
            assert_eq!(waits, [0, 0, 0, 0, 0, 200, 400]);
            tokio::time::sleep(Duration::from_millis(800)).await;
            let waits: Vec<_> = (0..4).map(|_| budget.take(|_| true).unwrap().as_millis()).collect();
            assert_eq!(waits, [0, 0, 200, 400], "of the four that came in two were owed");
        });
    }
}

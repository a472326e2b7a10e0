//! Further attempts where a failure may pass, after a random pause that grows.

use std::sync::Arc;
use std::time::Duration;

use super::{Around, Call, Jitter, Operation, deadline, full_jitter};
use crate::error::Result;
use crate::metrics::EncryptionMetrics;

/// The bound of the first pause; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// `kms.attempts`. The one policy for all providers: the retries of their own clients are off.
#[derive(Debug)]
pub struct Retry {
    attempts: u32,
    jitter: Arc<dyn Jitter>,
    metrics: Arc<EncryptionMetrics>,
}

impl Retry {
    pub fn new(attempts: u32, jitter: Arc<dyn Jitter>, metrics: Arc<EncryptionMetrics>) -> Retry {
        Retry { attempts, jitter, metrics }
    }
}

impl Around for Retry {
    /// A service that says when to come back is not asked before, and not at all if that is after the deadline.
    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        // What cannot be undone may have happened though its answer was lost: whoever asked for it looks first.
        let once = matches!(call.operation, Operation::Rotate | Operation::ScheduleDestruction);
        let attempts = if once { 1 } else { self.attempts };
        let mut made = 1;
        loop {
            let error = match call.make().await {
                Err(error) if error.may_pass() => error,
                outcome => return outcome,
            };
            let pause = full_jitter(FIRST_PAUSE, LONGEST_PAUSE, made, &*self.jitter);
            let pause = pause.saturating_add(error.retry_after().unwrap_or_default());
            if made >= attempts || !deadline::allows(pause) {
                return Err(if made > 1 {
                    error.at(format_args!("{made} attempts failed, the last one"))
                } else {
                    error
                });
            }
            made += 1;
            self.metrics.kms_retries.add(1);
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::error::{Error, Kind};
    use crate::kms::KmsClient;
    use crate::kms::over::testing::{Fixed, Scripted, paused};
    use crate::kms::over::{deadline::Deadline, over};

    /// What became of one operation, after how many attempts, and when each began, in milliseconds.
    fn run(
        script: &Arc<Scripted>,
        attempts: u32,
        call: impl AsyncFnOnce(Arc<dyn KmsClient>) -> Result<()> + 'static,
    ) -> (Result<()>, Vec<u128>, u64) {
        let metrics = Arc::new(EncryptionMetrics::default());
        let retry = Retry::new(attempts, Arc::new(Fixed(0.5)), Arc::clone(&metrics));
        let client = over(Arc::clone(script) as Arc<dyn KmsClient>, retry);
        let client = over(client, Deadline::new(Duration::from_secs(10)));
        let calls = Arc::clone(script);
        let (outcome, at) = paused(async move {
            let start = Instant::now();
            let outcome = call(client).await;
            (outcome, calls.times().iter().map(|time| (*time - start).as_millis()).collect())
        });
        (outcome, at, metrics.kms_retries.get())
    }

    async fn test(client: Arc<dyn KmsClient>) -> Result<()> {
        client.key_versions().await.map(drop)
    }

    #[test]
    fn what_may_pass_is_tried_again_after_pauses_that_grow() {
        for kind in [Kind::KmsUnavailable, Kind::KmsThrottled, Kind::KmsTimeout] {
            let (outcome, at, retries) = run(&Scripted::new([Err(kind), Err(kind), Err(kind)]), 4, test);
            assert_eq!((outcome, at, retries), (Ok(()), vec![0, 50, 150, 350], 3));
        }
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.error("").may_pass()) {
            let (outcome, at, _) = run(&Scripted::new([Err(kind)]), 4, test);
            assert_eq!((outcome.unwrap_err().kind(), at.len()), (kind, 1));
        }
    }

    #[test]
    fn the_attempts_are_counted_and_the_last_failure_is_the_one_told() {
        let script = Scripted::new([Err(Kind::KmsThrottled), Err(Kind::KmsTimeout), Err(Kind::KmsUnavailable), Ok(())]);
        let (outcome, at, _) = run(&script, 3, test);
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), at.len()), (Kind::KmsUnavailable, 3));
        assert!(error.message().starts_with("3 attempts failed, the last one: "), "{error}");
    }

    #[test]
    fn the_service_says_when_to_come_back() {
        let asked = Kind::KmsThrottled.error("slow down").after(Some(Duration::from_secs(2)));
        let (outcome, at, _) = run(&Scripted::errors([asked.clone(), asked]), 4, test);
        assert_eq!((outcome, at), (Ok(()), vec![0, 2050, 4150]));
    }

    #[test]
    fn it_is_not_waited_for_what_comes_after_the_deadline() {
        let asked = Kind::KmsThrottled.error("slow down").after(Some(Duration::from_secs(11)));
        let (outcome, at, _) = run(&Scripted::errors([asked.clone()]), 4, test);
        assert_eq!((outcome, at), (Err::<(), Error>(asked), vec![0]));
    }

    #[test]
    fn what_cannot_be_undone_is_not_repeated_by_itself() {
        let script = Scripted::new([Err(Kind::KmsTimeout)]);
        let (outcome, at, _) = run(&script, 4, async |client| client.rotate().await.map(drop));
        assert_eq!((outcome.unwrap_err().kind(), at.len()), (Kind::KmsTimeout, 1));
        let script = Scripted::new([Err(Kind::KmsTimeout)]);
        let destroy = async |client: Arc<dyn KmsClient>| client.schedule_destruction(Duration::ZERO).await.map(drop);
        let (outcome, at, _) = run(&script, 4, destroy);
        assert_eq!((outcome.unwrap_err().kind(), at.len()), (Kind::KmsTimeout, 1));
    }
}

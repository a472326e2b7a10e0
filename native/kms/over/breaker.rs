//! A service that does not answer is left alone for a while, so that its callers fail at once instead of one by one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Around, Call, Jitter, deadline};
use crate::clock::{Clock, utc};
use crate::error::{Error, Kind, Result};
use crate::metrics::EncryptionMetrics;

/// After so many operations in a row without an answer, retries included, the service is left alone.
const FAILURES: u32 = 3;
/// How long; doubled with each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Closed, open, half open. Any answer closes it, a refusal too: "access denied" is no outage, and a service that
/// throttles is there (the budget and the retries slow us down).
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    jitter: Arc<dyn Jitter>,
    metrics: Arc<EncryptionMetrics>,
}

/// What is known of the operations since the last answer.
#[derive(Debug, Default)]
struct State {
    failures: u32,
    since_ms: u64,
    last: Option<Error>,
    /// Open until then; afterwards one call at a time may try.
    until: Option<Instant>,
    pause: Duration,
    probing: bool,
}

impl Breaker {
    pub fn new(clock: Arc<dyn Clock>, jitter: Arc<dyn Jitter>, metrics: Arc<EncryptionMetrics>) -> Breaker {
        Breaker { state: Mutex::default(), clock, jitter, metrics }
    }

    /// The right to make a call, unless the service is to be left alone.
    fn admit<T>(&self, call: &Call<'_, T>) -> Result<Admitted<'_>> {
        let mut state = self.state.lock();
        let Some(until) = state.until else { return Ok(Admitted::new(self, false)) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && !state.probing {
            state.probing = true;
            return Ok(Admitted::new(self, true));
        }
        let again =
            if left.is_zero() { "until a call that is under way ends".to_owned() } else { format!("for {left:.1?}") };
        let error = Kind::KmsUnavailable.error(format_args!(
            "{} has not answered since {} and is not asked {again}: make it answer (its last failure: {})",
            call.service(),
            utc(state.since_ms),
            state.last.as_ref().map_or("none", Error::message)
        ));
        Err(error.after(Some(left)))
    }

    fn answered(&self) {
        let mut state = self.state.lock();
        if state.until.is_some() {
            log::info!("a key service answers again; it had not since {}", utc(state.since_ms));
        }
        *state = State::default();
    }

    fn failed(&self, error: Error) {
        let now_ms = self.clock.wall_ms();
        let mut state = self.state.lock();
        if state.failures == 0 {
            state.since_ms = now_ms;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES || state.until.is_some() && !state.probing {
            state.last = Some(error);
            return;
        }
        if state.until.is_none() {
            self.metrics.kms_breaker_openings.add(1);
            log::warn!("a key service is left alone for a while after {} failures: {error}", state.failures);
        }
        state.pause = if state.pause.is_zero() { FIRST_PAUSE } else { (state.pause * 2).min(LONGEST_PAUSE) };
        // From half the pause on, so that a thousand processes do not all come back at once.
        let spread = state.pause.mul_f64(0.5 + self.jitter.fraction() / 2.0);
        state.until = Some(Instant::now() + spread);
        state.probing = false;
        state.last = Some(error);
    }
}

impl Around for Breaker {
    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        let admitted = self.admit(&call)?;
        let outcome = call.make().await;
        admitted.end(outcome.as_ref().err());
        outcome
    }
}

/// A call under way, which ends in one way or another.
struct Admitted<'b> {
    breaker: &'b Breaker,
    deadline: Option<Instant>,
    probe: bool,
    ended: bool,
}

impl Admitted<'_> {
    fn new(breaker: &Breaker, probe: bool) -> Admitted<'_> {
        Admitted { breaker, deadline: deadline::current(), probe, ended: false }
    }

    fn end(mut self, error: Option<&Error>) {
        self.ended = true;
        match error {
            Some(error) if matches!(error.kind(), Kind::KmsUnavailable | Kind::KmsTimeout) => {
                self.breaker.failed(error.clone());
            }
            Some(_) | None => self.breaker.answered(),
        }
    }
}

impl Drop for Admitted<'_> {
    /// A call that was dropped at its deadline got no answer; one that nobody wanted any more says nothing.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.breaker.failed(Kind::KmsTimeout.error("no answer within kms.timeout"));
        } else if self.probe {
            self.breaker.state.lock().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::KmsClient;
    use crate::kms::over::testing::{Fixed, Scripted, Still, paused};
    use crate::kms::over::{deadline::Deadline, over};

    fn breaker_over(script: &Arc<Scripted>) -> (Arc<dyn KmsClient>, Arc<EncryptionMetrics>) {
        let metrics = Arc::new(EncryptionMetrics::default());
        let breaker = Breaker::new(Arc::new(Still), Arc::new(Fixed(0.999)), Arc::clone(&metrics));
        (over(Arc::clone(script) as Arc<dyn KmsClient>, breaker), metrics)
    }

    async fn kind(client: &Arc<dyn KmsClient>) -> Option<Kind> {
        client.key_versions().await.err().map(|error| error.kind())
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_fails_fast_with_the_reason() {
        let down = Err(Kind::KmsUnavailable);
        let script = Scripted::new([down, Ok(()), down, Err(Kind::KmsTimeout), down]);
        let (client, metrics) = breaker_over(&script);
        paused(async move {
            for _ in 0..5 {
                let _ = client.key_versions().await;
            }
            assert_eq!(metrics.kms_breaker_openings.get(), 1);
            for _ in 0..100 {
                let error = client.key_versions().await.unwrap_err();
                assert_eq!(error.kind(), Kind::KmsUnavailable);
                for word in ["'scripted' (key 'k')", "since 2027-01-15 08:00:00 UTC", "its last failure: scripted"] {
                    assert!(error.message().contains(word), "'{error}' says {word}");
                }
                assert!(error.retry_after().unwrap() > Duration::from_millis(900));
            }
            assert_eq!(script.times().len(), 5, "not asked while open");
        });
    }

    #[test]
    fn one_call_probes_after_the_pause_and_closes_it_or_doubles_the_pause() {
        let down = Err(Kind::KmsUnavailable);
        let script = Scripted::new([down, down, down, down, Ok(())]);
        let (client, _) = breaker_over(&script);
        paused(async move {
            for _ in 0..3 {
                let _ = client.key_versions().await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(kind(&client).await, down.err(), "the probe");
            assert_eq!(script.times().len(), 4);
            tokio::time::sleep(Duration::from_millis(1900)).await;
            assert_eq!(kind(&client).await, Some(Kind::KmsUnavailable));
            assert_eq!(script.times().len(), 4, "the pause has doubled");
            tokio::time::sleep(Duration::from_millis(100)).await;
            script.takes(Duration::from_millis(10));
            let (probe, other) = (kind(&client), async {
                tokio::task::yield_now().await;
                kind(&client).await
            });
            let both = both(probe, other).await;
            assert_eq!(both, (None, Some(Kind::KmsUnavailable)), "one probes, the other fails fast");
            assert_eq!(kind(&client).await, None, "closed");
        });
    }

    #[test]
    fn a_refusal_never_opens_it_and_neither_does_throttling() {
        for refusal in Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::KmsUnavailable | Kind::KmsTimeout)) {
            let script = Scripted::new([Err(refusal); 20]);
            let (client, metrics) = breaker_over(&script);
            paused(async move {
                for _ in 0..20 {
                    assert_eq!(kind(&client).await, Some(refusal));
                }
                assert_eq!((script.times().len(), metrics.kms_breaker_openings.get()), (20, 0));
            });
        }
    }

    #[test]
    fn calls_that_are_left_at_their_deadline_count_and_those_that_nobody_wants_do_not() {
        let script = Scripted::new([]);
        script.takes(Duration::from_secs(3600));
        let (client, _) = breaker_over(&script);
        let patient = over(client, Deadline::new(Duration::from_secs(5)));
        paused(async move {
            for _ in 0..10 {
                let dropped = tokio::time::timeout(Duration::from_secs(1), patient.key_versions()).await;
                assert!(dropped.is_err());
            }
            for _ in 0..3 {
                assert_eq!(kind(&patient).await, Some(Kind::KmsTimeout));
            }
            assert_eq!(kind(&patient).await, Some(Kind::KmsUnavailable), "open by now");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let dropped = tokio::time::timeout(Duration::from_secs(1), patient.key_versions()).await;
            assert!(dropped.is_err(), "a probe that nobody wants any more");
            assert_eq!(kind(&patient).await, Some(Kind::KmsTimeout), "the next one probes");
        });
    }

    async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
        let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
        let (mut a, mut b) = (None, None);
        std::future::poll_fn(|cx| {
            use std::task::Poll::{Pending, Ready};
            if a.is_none()
                && let Ready(value) = one.as_mut().poll(cx)
            {
                a = Some(value);
            }
            if b.is_none()
                && let Ready(value) = other.as_mut().poll(cx)
            {
                b = Some(value);
            }
            match (a.take(), b.take()) {
                (Some(x), Some(y)) => Ready((x, y)),
                (x, y) => {
                    (a, b) = (x, y);
                    Pending
                }
            }
        })
        .await
    }
}

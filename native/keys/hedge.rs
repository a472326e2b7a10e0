//! Asking several in order, where a slow or dead one must not hold up the rest.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;

use crate::error::{Error, Kind, Result};

/// One of those who can be asked.
pub type Ask<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The first success, and by which of them. Each is asked once the one before it has failed, or has not answered for
/// `after`; `hedged` is called for each but the first. Who was asked and is not needed any more goes on unheard, so that
/// a circuit breaker over it learns the outcome. The failures of all, in their order, where none succeeds.
pub async fn first_success<T: Send + 'static>(
    asks: Vec<Ask<T>>,
    after: Duration,
    hedged: impl Fn(),
) -> Result<(usize, T), Vec<(usize, Error)>> {
    let mut asks = asks.into_iter().enumerate();
    let mut asked: JoinSet<Result<T>> = JoinSet::new();
    let mut order: Vec<(Id, usize)> = Vec::new();
    let mut failures = Vec::new();
    loop {
        if let Some((at, ask)) = asks.next() {
            if at > 0 {
                hedged();
            }
            order.push((asked.spawn(ask).id(), at));
        }
        // Whoever is left waits for the next answer; whoever is last, for as long as it takes.
        let answer = if asks.len() > 0 {
            match timeout(after, asked.join_next_with_id()).await {
                Ok(answer) => answer,
                Err(_) => continue,
            }
        } else {
            asked.join_next_with_id().await
        };
        let at = |id: Id| order.iter().find(|(known, _)| *known == id).map_or(0, |(_, at)| *at);
        match answer {
            Some(Ok((id, Ok(value)))) => {
                asked.detach_all();
                return Ok((at(id), value));
            }
            Some(Ok((id, Err(error)))) => failures.push((at(id), error)),
            Some(Err(error)) => failures.push((at(error.id()), died(&error))),
            None => {
                failures.sort_by_key(|(at, _)| *at);
                return Err(failures);
            }
        }
    }
}

/// What a task that died reports: by its own panic, or with its runtime.
pub fn died(error: &JoinError) -> Error {
    if error.is_panic() {
        Kind::Internal.error("the client of the key service panicked: see the log, and report it")
    } else {
        Kind::State.error("the engine is closed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::time::{Instant, sleep};

    use super::*;

    const AFTER: Duration = Duration::from_millis(100);

    /// Outcomes, each after so many milliseconds; and how many of them came about in the end.
    fn asks(script: &[(u64, Result<(), Kind>)], ended: &Arc<AtomicUsize>) -> Vec<Ask<()>> {
        let ask = |(takes, outcome): &(u64, Result<(), Kind>)| -> Ask<()> {
            let (takes, outcome, ended) = (Duration::from_millis(*takes), *outcome, Arc::clone(ended));
            Box::pin(async move {
                sleep(takes).await;
                ended.fetch_add(1, SeqCst);
                outcome.map_err(|kind| kind.error(format_args!("after {takes:?}")))
            })
        };
        script.iter().map(ask).collect()
    }

    /// Who succeeded, or the kinds of failure in order; after how long; how many were asked beyond the first, and how
    /// many ended.
    fn run(script: &[(u64, Result<(), Kind>)]) -> (Result<usize, Vec<Kind>>, u128, usize, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (ended, hedges) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
            let start = Instant::now();
            let outcome = first_success(asks(script, &ended), AFTER, || _ = hedges.fetch_add(1, SeqCst)).await;
            let took = start.elapsed().as_millis();
            sleep(Duration::from_secs(60)).await;
            let outcome = outcome.map(|(at, ())| at);
            let outcome = outcome.map_err(|failures| failures.iter().map(|(_, error)| error.kind()).collect());
            (outcome, took, hedges.load(SeqCst), ended.load(SeqCst))
        })
    }

    const DOWN: Result<(), Kind> = Err(Kind::KmsUnavailable);
    const DENIED: Result<(), Kind> = Err(Kind::AccessDenied);

    #[test]
    fn one_that_answers_in_time_is_the_only_one_asked() {
        assert_eq!(run(&[(99, Ok(())), (1, Ok(()))]), (Ok(0), 99, 0, 1));
    }

    #[test]
    fn a_slow_one_is_overtaken_and_goes_on_unheard() {
        assert_eq!(run(&[(500, Ok(())), (20, Ok(())), (1, Ok(()))]), (Ok(1), 120, 1, 2));
        assert_eq!(run(&[(110, Ok(())), (20, Ok(()))]), (Ok(0), 110, 1, 2), "it may still be first");
    }

    #[test]
    fn a_failure_starts_the_next_at_once() {
        for failure in [DOWN, DENIED] {
            assert_eq!(run(&[(7, failure), (5, Ok(()))]), (Ok(1), 12, 1, 2));
        }
        assert_eq!(run(&[(150, DOWN), (400, DOWN), (5, Ok(()))]), (Ok(2), 155, 2, 3), "by either, whichever is first");
    }

    #[test]
    fn without_a_success_every_failure_is_told_in_order() {
        let all = run(&[(300, DOWN), (10, DENIED), (10, DOWN)]);
        assert_eq!(all, (Err(vec![Kind::KmsUnavailable, Kind::AccessDenied, Kind::KmsUnavailable]), 300, 2, 3));
        assert_eq!(run(&[]).0, Err(vec![]));
    }

    #[test]
    fn a_panic_is_a_failure_like_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let panics = || -> Ask<u8> { Box::pin(async { panic!("as the test wants") }) };
            let good: Ask<u8> = Box::pin(async { Ok(7) });
            assert_eq!(first_success(vec![panics(), good], AFTER, || {}).await.unwrap(), (1, 7));
            let failures = first_success(vec![panics()], AFTER, || {}).await.unwrap_err();
            assert_eq!((failures[0].0, failures[0].1.kind()), (0, Kind::Internal));
        });
    }
}

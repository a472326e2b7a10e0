//! The longest that a whole operation may take. What is beneath knows how much of it is left.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Around, Call};
use crate::error::{Kind, Result};

tokio::task_local! {
    static DEADLINE: Instant;
}

/// When the operation that this task works on must be over; none outside of a [`Deadline`].
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// True if there is time for a pause of this length, and something after it.
pub fn allows(pause: Duration) -> bool {
    current().is_none_or(|deadline| Instant::now() + pause < deadline)
}

/// `kms.timeout`.
#[derive(Debug)]
pub struct Deadline(Duration);

impl Deadline {
    pub fn new(timeout: Duration) -> Deadline {
        Deadline(timeout)
    }
}

impl Around for Deadline {
    const AROUND_PROBES: bool = true;

    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        let deadline = Instant::now() + self.0;
        // A call that gives up at its deadline by itself knows better why: it is polled first.
        timeout_at(deadline, DEADLINE.scope(deadline, call.make())).await.unwrap_or_else(|_| {
            Err(Kind::KmsTimeout.error(format_args!(
                "{} did not answer within kms.timeout ({:?})",
                call.service(),
                self.0
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kms::KmsClient;
    use crate::kms::over::over;
    use crate::kms::over::testing::{Scripted, paused};

    #[test]
    fn a_call_is_left_at_the_deadline_and_not_before() {
        let client = |takes| {
            let script = Scripted::new([]);
            script.takes(Duration::from_millis(takes));
            over(script, Deadline::new(Duration::from_millis(500)))
        };
        paused(async move {
            client(499).key_versions().await.unwrap();
            let start = Instant::now();
            let error = client(501).key_versions().await.unwrap_err();
            assert_eq!((error.kind(), start.elapsed()), (Kind::KmsTimeout, Duration::from_millis(500)));
            assert!(error.message().contains("kms.timeout (500ms)"), "{error}");
            assert!(error.message().contains("'scripted' (key 'k')"), "{error}");
        });
    }

    #[test]
    fn what_is_beneath_knows_what_is_left() {
        let script = Scripted::new([]);
        let client = over(Arc::clone(&script) as Arc<dyn KmsClient>, Deadline::new(Duration::from_secs(7)));
        paused(async move {
            assert!(current().is_none() && allows(Duration::MAX / 4));
            let now = Instant::now();
            client.key_versions().await.unwrap();
            assert_eq!(script.deadlines(), [Some(now + Duration::from_secs(7))]);
        });
    }
}

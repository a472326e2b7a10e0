//! The longest that one attempt may take.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Around, Call, deadline};
use crate::error::{Kind, Result};

/// `kms.attempt-timeout`, and never past the deadline of the operation.
#[derive(Debug)]
pub struct Attempt(Duration);

impl Attempt {
    pub fn new(timeout: Duration) -> Attempt {
        Attempt(timeout)
    }
}

impl Around for Attempt {
    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        let start = Instant::now();
        let end = start + self.0;
        let end = deadline::current().map_or(end, |deadline| deadline.min(end));
        timeout_at(end, call.make()).await.unwrap_or_else(|_| {
            Err(Kind::KmsTimeout.error(format_args!(
                "{} did not answer an attempt within {:.0?} (kms.attempt-timeout is {:?})",
                call.service(),
                end - start,
                self.0
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::over::over;
    use crate::kms::over::testing::{Scripted, paused};

    #[test]
    fn an_attempt_ends_at_its_own_limit_or_with_the_operation() {
        for (timeout, limit) in [(10_000, 300), (200, 200)] {
            let script = Scripted::new([]);
            script.takes(Duration::from_secs(3600));
            let client = over(script, Attempt::new(Duration::from_millis(300)));
            let client = over(client, deadline::Deadline::new(Duration::from_millis(timeout)));
            paused(async move {
                let start = Instant::now();
                let error = client.key_versions().await.unwrap_err();
                assert_eq!((error.kind(), start.elapsed()), (Kind::KmsTimeout, Duration::from_millis(limit)));
                assert!(
                    error.message().contains(&format!("within {limit}ms (kms.attempt-timeout is 300ms)")),
                    "{error}"
                );
            });
        }
    }
}

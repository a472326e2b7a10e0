//! How many operations there were, how long they took, and how they failed.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Around, Call};
use crate::error::Result;
use crate::metrics::EncryptionMetrics;

/// Counts whole operations, as their callers see them.
#[derive(Debug)]
pub struct Measured(Arc<EncryptionMetrics>);

impl Measured {
    pub fn new(metrics: Arc<EncryptionMetrics>) -> Measured {
        Measured(metrics)
    }
}

impl Around for Measured {
    async fn around<T: Send>(&self, call: Call<'_, T>) -> Result<T> {
        let start = Instant::now();
        let outcome = call.make().await;
        self.0.kms_call_duration.observe(start.elapsed());
        outcome.inspect_err(|error| self.0.kms_failed(error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Kind;
    use crate::kms::over::over;
    use crate::kms::over::testing::{Scripted, paused};

    #[test]
    fn calls_are_timed_and_failures_counted_by_kind() {
        let metrics = Arc::new(EncryptionMetrics::default());
        let script = Scripted::new([Ok(()), Err(Kind::KmsThrottled), Err(Kind::AccessDenied), Err(Kind::KmsThrottled)]);
        script.takes(Duration::from_millis(40));
        let client = over(script, Measured::new(Arc::clone(&metrics)));
        paused(async move {
            for _ in 0..4 {
                let _ = client.key_versions().await;
            }
        });
        assert_eq!((metrics.kms_call_duration.count(), metrics.kms_errors.get()), (4, 3));
        let text = metrics.text();
        for line in [
            "heliosdb_kms_call_duration_seconds_sum 0.16",
            "heliosdb_kms_errors_by_kind_total{kind=\"KmsThrottled\"} 2",
            "heliosdb_kms_errors_by_kind_total{kind=\"AccessDenied\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}

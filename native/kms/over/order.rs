//! What the order of the decorators in [`stack`](super::stack) is for: each test fails if two of them change places.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::testing::{Fixed, Scripted, Still, paused};
use super::{Budget, Surroundings, stack};
use crate::config::EncryptionConfig;
use crate::context::EncryptionContext;
use crate::error::Kind;
use crate::kms::{KmsClient, WrappedKey};
use crate::metrics::EncryptionMetrics;

/// Everything over this script, with four attempts and a deadline of 10 s.
fn stacked(script: &Arc<Scripted>) -> (Arc<dyn KmsClient>, Arc<EncryptionMetrics>) {
    let settings = [
        ("kms.provider", "local"),
        ("kms.local.keyring", "/keyring"),
        ("kms.attempts", "4"),
        ("kms.timeout", "10 s"),
        ("kms.attempt-timeout", "3 s"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let limits = EncryptionConfig::from_pairs(settings).unwrap().kms_config;
    let metrics = Arc::new(EncryptionMetrics::default());
    let around = Surroundings { clock: Arc::new(Still), metrics: Arc::clone(&metrics), jitter: Arc::new(Fixed(0.5)) };
    let client = Arc::clone(script) as Arc<dyn KmsClient>;
    (stack(client, &limits, Budget::new(limits.calls_per_second), &around), metrics)
}

#[test]
fn the_breaker_counts_operations_and_not_their_attempts() {
    let script = Scripted::new([Err(Kind::KmsUnavailable); 100]);
    let (client, metrics) = stacked(&script);
    paused(async move {
        for (attempts, openings) in [(4, 0), (8, 0), (12, 1), (12, 1)] {
            assert_eq!(client.key_versions().await.unwrap_err().kind(), Kind::KmsUnavailable);
            assert_eq!((script.times().len(), metrics.kms_breaker_openings.get()), (attempts, openings));
        }
    });
}

#[test]
fn a_deadline_that_runs_out_is_an_operation_that_failed() {
    let script = Scripted::new([]);
    script.takes(Duration::from_secs(1));
    let (client, metrics) = stacked(&script);
    let wrapped = WrappedKey { kek: "k".into(), version: "1".into(), bytes: vec![1] };
    paused(async move {
        let context = EncryptionContext::default();
        // Whoever came first makes the call for both, and stands still: only the deadline is left to the other one.
        let mut first = client.decrypt(&wrapped, &context);
        std::future::poll_fn(|task| {
            assert!(first.as_mut().poll(task).is_pending());
            Poll::Ready(())
        })
        .await;
        let error = client.decrypt(&wrapped, &context).await.unwrap_err();
        assert_eq!(error.kind(), Kind::KmsTimeout);
        assert!(error.message().contains("within kms.timeout (10s)"), "{error}");
        assert_eq!((metrics.kms_errors.get(), metrics.kms_call_duration.count()), (1, 1));
        drop(first);
        assert_eq!((metrics.kms_errors.get(), metrics.kms_call_duration.count()), (1, 1), "nobody wanted it any more");
    });
}

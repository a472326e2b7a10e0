//! What happened, in numbers: counters, gauges and histograms, and their Prometheus text. No lock is taken on the way of
//! a byte.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::{Error, Kind};

mod labelled;

pub use labelled::Labelled;

/// Declares [`EncryptionMetrics`] and [`ALL`] from one list.
macro_rules! metrics {
    ($($field:ident: $type:ident = $name:literal, $help:literal;)*) => {
        /// The numbers of one engine. Every method may be called from any thread.
        #[derive(Debug, Default)]
        pub struct EncryptionMetrics {
            $(#[doc = $help] pub $field: $type,)*
        }

        /// Every metric, in the order of the text.
        pub static ALL: &[Metric] = &[$(Metric { name: $name, kind: $type::KIND, help: $help }),*];

        impl EncryptionMetrics {
            /// All of them in the Prometheus text format, version 0.0.4.
            pub fn text(&self) -> String {
                let mut out = String::with_capacity(8 * 1024);
                $(head(&mut out, $name, $type::KIND, $help);
                self.$field.write(&mut out, $name);)*
                out
            }
        }
    };
}

metrics! {
    encryptions: Counter = "heliosdb_checkpoint_encryption_total", "Files sealed to their end.";
    decryptions: Counter = "heliosdb_checkpoint_decryption_total", "Files opened.";
    encryption_duration: Histogram = "heliosdb_checkpoint_encryption_duration_seconds", "Time spent sealing a file, without the time to write it.";
    decryption_duration: Histogram = "heliosdb_checkpoint_decryption_duration_seconds", "Time spent opening what was read of a file, without the time to read it.";
    kms_call_duration: Histogram = "heliosdb_kms_call_duration_seconds", "Time that an operation of a key service took, with its retries, failed ones included.";
    key_rotations: Counter = "heliosdb_key_rotation_total", "Changes of the key-encryption key's version that this process took up for new data keys.";
    key_versions_in_use: Labelled = "heliosdb_key_version_in_use", "1 for the version of each key-encryption key that wraps the data key which this process seals under, as the label `version`.";
    key_age_seconds: Labelled = "heliosdb_key_age_seconds", "Age of the current version of each key-encryption key by its key service, as of the coordinator's last look; other processes do not look.";
    key_rotations_made: Counter = "heliosdb_key_rotations_made_total", "Versions of key-encryption keys that this process had its key services make.";
    key_rotations_due: Counter = "heliosdb_key_rotations_due_total", "Checks of the coordinator that found a key-encryption key due to be rotated, which it may not or could not do.";
    key_rotation_failures: Counter = "heliosdb_key_rotation_failures_total", "Rotations that failed, and checks that could not find out whether one is due.";
    encryption_errors: Counter = "heliosdb_encryption_errors_total", "Failures to seal.";
    decryption_errors: Counter = "heliosdb_decryption_errors_total", "Failures to open, of any kind.";
    auth_failures: Counter = "heliosdb_auth_failures_total", "Files or wrapped keys that failed verification: damaged, tampered with, or under another key.";
    encrypted_bytes: Counter = "heliosdb_checkpoint_encrypted_bytes_total", "Plaintext bytes sealed.";
    decrypted_bytes: Counter = "heliosdb_checkpoint_decrypted_bytes_total", "Plaintext bytes opened.";
    kms_errors: Counter = "heliosdb_kms_errors_total", "Operations of the key services that failed, after their retries.";
    kms_errors_by_kind: ByKind = "heliosdb_kms_errors_by_kind_total", "The same, by the kind of their last failure.";
    kms_retries: Counter = "heliosdb_kms_retries_total", "Further attempts of operations whose failure might pass.";
    kms_budget_waits: Counter = "heliosdb_kms_budget_waits_total", "Calls that had to wait for `kms.calls-per-second`, or were refused by it.";
    kms_breaker_openings: Counter = "heliosdb_kms_breaker_openings_total", "Times that a key service was left alone for a while because it did not answer.";
    kms_hedges: Counter = "heliosdb_kms_hedges_total", "Times that the next key service was asked because the one before was slow or failed.";
    data_keys_incomplete: Gauge = "heliosdb_data_keys_incomplete", "Data keys in use that not every configured key service has wrapped yet.";
    data_keys_completed: Counter = "heliosdb_data_keys_completed_total", "Data keys that the last missing key service has wrapped in the end.";
    data_keys_drawn: Counter = "heliosdb_data_keys_drawn_total", "Data keys drawn for sealing.";
    data_key_failures: Counter = "heliosdb_data_key_failures_total", "Draws of a data key that failed.";
    data_keys_waited: Counter = "heliosdb_data_keys_waited_total", "Times that sealing had to wait for a data key: the first one of a tenant, or one past a bound.";
    epochs_late: Counter = "heliosdb_epochs_late_total", "New epochs that went on with the data key of the one before, because the next was not there yet.";
    outage_seconds_left: Gauge = "heliosdb_outage_seconds_left", "Seconds for which sealing may go on without an answer of the key service, as of the last call to it.";
    cache_hits: Counter = "heliosdb_key_cache_hits_total", "Data keys found unwrapped in the cache.";
    cache_negative_hits: Counter = "heliosdb_key_cache_negative_hits_total", "Refusals of the key service found in the cache.";
    cache_misses: Counter = "heliosdb_key_cache_misses_total", "Data keys that had to be unwrapped by the key service.";
    cache_joins: Counter = "heliosdb_key_cache_joins_total", "Openers that waited for a call already under way instead of making their own.";
    cache_evictions: Counter = "heliosdb_key_cache_evictions_total", "Data keys dropped from the cache to make room.";
}

/// One metric of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it counts.
    pub help: &'static str,
}

impl EncryptionMetrics {
    /// A file was sealed to its end.
    pub fn sealed(&self, spent: Duration, bytes: u64) {
        self.encryptions.add(1);
        self.encryption_duration.observe(spent);
        self.encrypted_bytes.add(bytes);
    }

    /// A file that was opened is closed.
    pub fn opened(&self, spent: Duration, bytes: u64) {
        self.decryptions.add(1);
        self.decryption_duration.observe(spent);
        self.decrypted_bytes.add(bytes);
    }

    /// Sealing failed.
    pub fn sealing_failed(&self, _error: &Error) {
        self.encryption_errors.add(1);
    }

    /// An operation of a key service failed.
    pub fn kms_failed(&self, error: &Error) {
        self.kms_errors.add(1);
        self.kms_errors_by_kind.add(error.kind());
    }

    /// Opening failed, at the head, the data key or a frame.
    pub fn opening_failed(&self, error: &Error) {
        self.decryption_errors.add(1);
        if matches!(error.kind(), Kind::Integrity | Kind::WrappedKey) {
            self.auth_failures.add(1);
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    const KIND: &'static str = "counter";

    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn write(&self, out: &mut String, name: &str) {
        line(out, name, "", self.get());
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    const KIND: &'static str = "gauge";

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Raises it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Lowers it, by no more than it was raised.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn write(&self, out: &mut String, name: &str) {
        line(out, name, "", self.get());
    }
}

/// A number for each kind of failure, as the label `kind`; those that never happened are left out.
#[derive(Debug, Default)]
pub struct ByKind([AtomicU64; Kind::ALL.len()]);

impl ByKind {
    const KIND: &'static str = "counter";

    fn add(&self, kind: Kind) {
        if let Some(at) = Kind::ALL.iter().position(|known| *known == kind) {
            self.0[at].fetch_add(1, Relaxed);
        }
    }

    /// How often this kind of failure happened.
    pub fn get(&self, kind: Kind) -> u64 {
        let at = Kind::ALL.iter().position(|known| *known == kind);
        at.map_or(0, |at| self.0[at].load(Relaxed))
    }

    fn write(&self, out: &mut String, name: &str) {
        for kind in Kind::ALL.into_iter().filter(|kind| self.get(*kind) > 0) {
            line(out, name, &format!("{{kind=\"{kind:?}\"}}"), self.get(kind));
        }
    }
}

/// The upper bounds of the buckets, in microseconds: from a cached 4 KiB file to a key service that times out.
const BOUNDS: [u64; 18] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one above.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    const KIND: &'static str = "histogram";

    /// Counts one event that took so long.
    pub fn observe(&self, spent: Duration) {
        let bucket = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < spent);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many events were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }

    fn write(&self, out: &mut String, name: &str) {
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Relaxed);
            line(out, name, &format!("_bucket{{le=\"{}\"}}", *bound as f64 / 1e6), below);
        }
        let all = below + self.buckets[BOUNDS.len()].load(Relaxed);
        line(out, name, "_bucket{le=\"+Inf\"}", all);
        line(out, name, "_sum", self.nanoseconds.load(Relaxed) as f64 / 1e9);
        line(out, name, "_count", all);
    }
}

/// docs/METRICS.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\n<!-- Written by `sealpoint config metrics`; a test compares it with the code. Do not edit. -->\n\n\
         Each process counts for itself. Durations are in seconds.\n\n| Name | Type | What it says |\n| --- | --- | --- |\n",
    );
    for metric in ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{}` | {} | {} |", metric.name, metric.kind, metric.help);
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, suffix: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{suffix} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nine_specified_names_are_there_with_the_types_that_their_suffixes_say() {
        for (name, kind) in [
            ("heliosdb_checkpoint_encryption_total", "counter"),
            ("heliosdb_checkpoint_decryption_total", "counter"),
            ("heliosdb_checkpoint_encryption_duration_seconds", "histogram"),
            ("heliosdb_checkpoint_decryption_duration_seconds", "histogram"),
            ("heliosdb_kms_call_duration_seconds", "histogram"),
            ("heliosdb_key_rotation_total", "counter"),
            ("heliosdb_encryption_errors_total", "counter"),
            ("heliosdb_decryption_errors_total", "counter"),
            ("heliosdb_auth_failures_total", "counter"),
        ] {
            assert!(ALL.iter().any(|metric| metric.name == name && metric.kind == kind), "{name}");
        }
        assert!(ALL.iter().all(|metric| metric.name.starts_with("heliosdb_")));
    }

    #[test]
    fn the_text_is_prometheus_and_its_buckets_add_up() {
        let metrics = EncryptionMetrics::default();
        metrics.sealed(Duration::from_micros(10), 100);
        metrics.sealed(Duration::from_micros(11), 50);
        metrics.sealed(Duration::from_secs(60), 1);
        let text = metrics.text();
        for line in [
            "# TYPE heliosdb_checkpoint_encryption_total counter",
            "heliosdb_checkpoint_encryption_total 3",
            "heliosdb_checkpoint_encrypted_bytes_total 151",
            "heliosdb_checkpoint_encryption_duration_seconds_bucket{le=\"0.00001\"} 1",
            "heliosdb_checkpoint_encryption_duration_seconds_bucket{le=\"0.000025\"} 2",
            "heliosdb_checkpoint_encryption_duration_seconds_bucket{le=\"30\"} 2",
            "heliosdb_checkpoint_encryption_duration_seconds_bucket{le=\"+Inf\"} 3",
            "heliosdb_checkpoint_encryption_duration_seconds_sum 60.000021",
            "heliosdb_checkpoint_encryption_duration_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn only_failed_verification_counts_as_an_authentication_failure() {
        let metrics = EncryptionMetrics::default();
        for kind in [Kind::Integrity, Kind::WrappedKey, Kind::KmsTimeout, Kind::Truncated] {
            metrics.opening_failed(&kind.error("x"));
        }
        assert_eq!((metrics.decryption_errors.get(), metrics.auth_failures.get()), (4, 2));
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads a file")]
    fn the_committed_table_is_what_the_code_says() {
        let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md")).unwrap();
        assert!(committed == markdown(), "docs/METRICS.md is stale: run `sealpoint config metrics > docs/METRICS.md`");
    }
}

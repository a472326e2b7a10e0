//! The table of everything that can be set. It drives parsing, the errors and docs/CONFIG.md.

use crate::config::EncryptionAlgorithm::{Aes256CbcHmac, Aes256Gcm};

/// One key, or one family of keys where the name holds a `<placeholder>`.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt {
    /// The key, without the prefix `sealpoint.`.
    pub key: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// What holds when it is not set.
    pub default: Default,
    /// A value, for errors and the reference.
    pub example: &'static str,
    /// What it does, one paragraph of Markdown.
    pub doc: &'static str,
    /// The version that brought it.
    pub since: &'static str,
}

/// What the values of an option look like; limits are inclusive.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count(u64, u64),
    /// A number and a unit of time; limits in milliseconds.
    Duration(u64, u64),
    /// Bytes, with or without a unit.
    Size(u64, u64),
    /// Bytes, a power of two.
    PowerOfTwo(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, separated by commas.
    Choices(&'static [&'static str]),
    /// Any text but the empty one.
    Text,
    /// Texts separated by commas.
    List,
    /// A path of this machine.
    Path,
}

/// What holds when an option is not set.
#[derive(Debug, PartialEq, Eq)]
pub enum Default {
    /// This value.
    Value(&'static str),
    /// What the words say.
    Derived(&'static str),
    /// Nothing: it is optional.
    None,
    /// It must be set (under the condition that the words give).
    Required(&'static str),
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const MIB: u64 = 1024 * 1024;

macro_rules! options {
    ($($name:ident = $key:literal, $kind:expr, $default:expr, $example:literal, $since:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub static $name: Opt =
            Opt { key: $key, kind: $kind, default: $default, example: $example, doc: $doc, since: $since };)*
        /// Every option, in the order of the reference.
        pub static ALL: &[&Opt] = &[$(&$name),*];
    };
}

options! {
    ENABLED = "enabled", Kind::Flag, Default::Value("true"), "true", "0.1",
        "Whether new files are sealed. With `false` nothing new is protected, and every start says so; sealed files are still opened.";
    ALGORITHM = "algorithm", Kind::Choice(ALGORITHMS), Default::Value("aes-256-gcm"), "aes-256-gcm", "0.1",
        "The authenticated cipher suite that new files are sealed with.";
    ALLOWED_ALGORITHMS = "allowed-algorithms", Kind::Choices(ALGORITHMS), Default::Derived("the value of `algorithm`"),
        "aes-256-gcm, aes-256-cbc-hmac", "0.1",
        "The suites that files may have to be opened. Must hold the value of `algorithm`.";
    CHUNK_SIZE = "chunk-size", Kind::PowerOfTwo(4096, MIB), Default::Value("16 kb"), "64 kb", "0.1",
        "Plaintext bytes a chunk, the unit that is verified before a byte of it is released. Larger chunks make small reads at random places dearer.";
    TENANT = "tenant", Kind::Text, Default::Value("default"), "payments", "0.1",
        "Whose the files are that no `tenants.<name>.paths` claims.";
    TENANT_PATHS = "tenants.<name>.paths", Kind::List, Default::None, "s3://state/payments, s3://state/refunds", "0.1",
        "The path prefixes of this tenant's files, whole path components each. The longest prefix wins. Not settable by the environment.";
    TENANT_KEY = "tenants.<name>.key", Kind::Text, Default::Derived("the provider's key"), "payments", "0.1",
        "The key-encryption key of this tenant in the provider. Not settable by the environment.";
    OPEN_TENANTS = "open-tenants", Kind::List, Default::Derived("`tenant` and every `tenants.<name>`"), "payments, refunds", "0.1",
        "The tenants whose files this process may open. Files of others are refused whatever they say about themselves.";
    ENCRYPTION_CONTEXT = "encryption-context.<key>", Kind::Text, Default::None, "production", "0.1",
        "A pair that every data key and file is bound to; what was sealed under other pairs cannot be opened. Keys that begin with `sealpoint:` are ours. Not secret. Not settable by the environment.";
    KMS_PROVIDER = "kms.provider", Kind::Choice(PROVIDERS), Default::Required(""), "local", "0.1",
        "The key service that holds the key-encryption keys. `local` is a keyring file, for trying out and for tests.";
    KMS_TIMEOUT = "kms.timeout", Kind::Duration(100, 10 * 60 * SECOND), Default::Value("10 s"), "30 s", "0.1",
        "The longest that one call to the key service may take.";
    KMS_LOCAL_KEYRING = "kms.local.keyring", Kind::Path, Default::Required("with `kms.provider: local`"), "/etc/sealpoint/keyring.json", "0.1",
        "The keyring file. Make one with `sealpoint keyring create <path>`.";
    KMS_LOCAL_KEY = "kms.local.key", Kind::Text, Default::Value("sealpoint"), "sealpoint", "0.1",
        "The name of the key in the keyring.";
    KMS_LOCAL_PASSPHRASE_FILE = "kms.local.passphrase-file", Kind::Path, Default::None, "/run/secrets/sealpoint-passphrase", "0.1",
        "The file that holds the keyring's passphrase, if it was created with one. One newline at its end is ignored.";
    KMS_AWS_REGION = "kms.aws.region", Kind::Text, Default::Required("with `kms.provider: aws`"), "eu-central-1", "0.1",
        "The region of the AWS KMS key. Parsed and checked; the provider itself is not in this version.";
    KMS_AWS_KEY_ID = "kms.aws.key-id", Kind::Text, Default::Required("with `kms.provider: aws`"), "alias/flink-state", "0.1",
        "Id, ARN or alias of the AWS KMS key.";
    KMS_AZURE_VAULT_URL = "kms.azure.vault-url", Kind::Text, Default::Required("with `kms.provider: azure`"), "https://flink.vault.azure.net", "0.1",
        "The address of the Azure key vault. Parsed and checked; the provider itself is not in this version.";
    KMS_AZURE_KEY_NAME = "kms.azure.key-name", Kind::Text, Default::Required("with `kms.provider: azure`"), "flink-state", "0.1",
        "The name of the key in the vault.";
    KMS_AZURE_KEY_VERSION = "kms.azure.key-version", Kind::Text, Default::Derived("the newest"), "0123456789abcdef", "0.1",
        "A version of the key to stay on.";
    KMS_GCP_PROJECT = "kms.gcp.project", Kind::Text, Default::Required("with `kms.provider: gcp`"), "acme-flink", "0.1",
        "The project of the Google Cloud KMS key. Parsed and checked; the provider itself is not in this version.";
    KMS_GCP_LOCATION = "kms.gcp.location", Kind::Text, Default::Required("with `kms.provider: gcp`"), "europe-west3", "0.1",
        "The location of the key ring.";
    KMS_GCP_KEY_RING = "kms.gcp.key-ring", Kind::Text, Default::Required("with `kms.provider: gcp`"), "flink", "0.1",
        "The name of the key ring.";
    KMS_GCP_KEY_NAME = "kms.gcp.key-name", Kind::Text, Default::Required("with `kms.provider: gcp`"), "state", "0.1",
        "The name of the key.";
    DATA_KEY_SCOPE = "data-key.scope", Kind::Choice(&["checkpoint", "interval"]), Default::Value("checkpoint"), "interval", "0.1",
        "When a process takes a fresh data key: with each checkpoint that it writes, or by time alone. The key is drawn one checkpoint ahead, so that none waits for it; a rotation of the key-encryption key therefore shows from the second checkpoint on. `interval` makes fewer calls to the key service where checkpoints are frequent.";
    DATA_KEY_INTERVAL = "data-key.interval", Kind::Duration(SECOND, 365 * DAY), Default::Value("10 min"), "1 h", "0.1",
        "How long a data key seals with `data-key.scope: interval`.";
    DATA_KEY_MAX_AGE = "data-key.max-age", Kind::Duration(SECOND, 365 * DAY), Default::Value("24 h"), "12 h", "0.1",
        "The most time that a data key seals, whatever the scope. A successor is taken `outage.seal-for` earlier where the key service answers, so that an outage never meets this bound first.";
    DATA_KEY_MAX_FILES = "data-key.max-files", Kind::Count(1, 1 << 48), Default::Value("1000000"), "100000", "0.1",
        "The most files sealed under one data key. A successor is taken at three quarters of it where the key service answers.";
    DATA_KEY_MAX_BYTES = "data-key.max-bytes", Kind::Size(MIB, 1 << 60), Default::Value("16 tb"), "1 tb", "0.1",
        "The most plaintext bytes sealed under one data key. A successor is taken at three quarters of it where the key service answers.";
    CACHE_MAX_KEYS = "cache.max-keys", Kind::Count(1, 1_000_000), Default::Value("100"), "1000", "0.1",
        "The most unwrapped data keys kept in memory for one tenant.";
    CACHE_TTL = "cache.ttl", Kind::Duration(SECOND, 365 * DAY), Default::Value("1 h"), "15 min", "0.1",
        "How long an unwrapped data key is kept before the key service is asked for it again.";
    CACHE_NEGATIVE_TTL = "cache.negative-ttl", Kind::Duration(0, HOUR), Default::Value("5 s"), "1 s", "0.1",
        "How long a refusal of the key service is remembered. Time-outs, throttling and unavailability are never remembered.";
    OUTAGE_SEAL_FOR = "outage.seal-for", Kind::Duration(0, 30 * DAY), Default::Value("1 h"), "4 h", "0.1",
        "How long sealing goes on with the current data key while the key service gives no new one, from the first call that it left unanswered or refused. After that checkpoints are declined with an error that says since when and why. Must be shorter than `data-key.max-age`.";
    KEY_ROTATION_ENABLED = "key-rotation.enabled", Kind::Flag, Default::Value("true"), "true", "0.1",
        "Whether the age of the key-encryption key matters. In this version nothing rotates by itself: `sealpoint keyring rotate` does.";
    KEY_ROTATION_INTERVAL_DAYS = "key-rotation.interval-days", Kind::Count(1, 36_500), Default::Value("30"), "30", "0.1",
        "The age, in days, at which the key-encryption key is rotated. Must not exceed `key-rotation.max-age-days`. Not acted on in this version.";
    KEY_ROTATION_MAX_AGE_DAYS = "key-rotation.max-age-days", Kind::Count(1, 36_500), Default::Value("90"), "90", "0.1",
        "The age, in days, past which the key-encryption key must not wrap any more. Not acted on in this version.";
    KEY_ROTATION_AUTO_ROTATE = "key-rotation.auto-rotate", Kind::Flag, Default::Value("true"), "true", "0.1",
        "Whether the coordinator rotates the key-encryption key at its interval, or only says that it is due. Not acted on in this version.";
    AUDIT_ENABLED = "audit.enabled", Kind::Flag, Default::Value("false"), "false", "0.1",
        "The audit log. Not in this version: `true` is refused.";
    FIPS_MODE = "fips-mode", Kind::Flag, Default::Value("false"), "false", "0.1",
        "Only FIPS 140-3 validated cryptography. Not in this build: `true` is refused.";
    REQUIRE_SEALED = "require-sealed", Kind::Flag, Default::Value("false"), "true", "0.1",
        "On Flink: a directory that state may be written to unsealed stops the start, instead of a warning, and no plaintext checkpoint or savepoint is restored. A job can make it stricter, never looser.";
    RESTORE_PLAINTEXT = "restore-plaintext", Kind::Flag, Default::Value("false"), "true", "0.1",
        "On Flink, with `require-sealed: true`: a checkpoint or savepoint that is not sealed may be restored all the same, with a warning. Nothing proves who wrote it, so set it for the one restore that brings in state from before Sealpoint, in the job's own configuration. Without `require-sealed` such a restore is allowed, with the same warning.";
    JNI_ARRAYS = "jni.arrays", Kind::Choice(&["auto", "critical", "direct"]), Default::Value("auto"), "direct", "0.1",
        "On the JVM: how bytes cross to the library. `auto` takes critical sections from JDK 22 on, where they pin regions, and `direct` below, where they would hold up the garbage collector: each frame is copied to native memory and back.";
}

const ALGORITHMS: &[&str] = &[Aes256Gcm.name(), Aes256CbcHmac.name()];
const PROVIDERS: &[&str] = &["local", "aws", "azure", "gcp"];

impl Opt {
    /// The option that a key belongs to, and what stands for its placeholder.
    pub fn find(key: &str) -> Option<(&'static Opt, Option<&str>)> {
        ALL.iter().find_map(|option| option.matches(key).map(|name| (*option, name)))
    }

    /// The key of a family with `name` for the placeholder.
    pub fn key_of(&self, name: &str) -> String {
        match self.family() {
            Some((front, back)) => format!("{front}{name}{back}"),
            None => self.key.to_owned(),
        }
    }

    /// `SEALPOINT_KMS_TIMEOUT` for `kms.timeout`; families have none, because names cannot be told from the rest.
    pub fn variable(&self) -> Option<String> {
        let name = || format!("SEALPOINT_{}", self.key.replace(['.', '-'], "_").to_ascii_uppercase());
        self.family().is_none().then(name)
    }

    fn matches<'k>(&self, key: &'k str) -> Option<Option<&'k str>> {
        match self.family() {
            Some((front, back)) => {
                let name = key.strip_prefix(front)?.strip_suffix(back)?;
                (!name.is_empty()).then_some(Some(name))
            }
            None => (key == self.key).then_some(None),
        }
    }

    fn family(&self) -> Option<(&'static str, &'static str)> {
        let (front, rest) = self.key.split_once('<')?;
        let (_, back) = rest.split_once('>')?;
        Some((front, back))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_options_share_a_key_or_a_variable() {
        let keys: HashSet<_> = ALL.iter().map(|option| option.key).collect();
        assert_eq!(keys.len(), ALL.len());
        let variables: Vec<_> = ALL.iter().filter_map(|option| option.variable()).collect();
        assert_eq!(variables.iter().collect::<HashSet<_>>().len(), variables.len());
    }

    #[test]
    fn a_key_is_found_with_what_stands_for_the_placeholder() {
        assert_eq!(Opt::find("kms.timeout"), Some((&KMS_TIMEOUT, None)));
        assert_eq!(Opt::find("tenants.a.b.paths"), Some((&TENANT_PATHS, Some("a.b"))));
        assert_eq!(Opt::find("encryption-context.env"), Some((&ENCRYPTION_CONTEXT, Some("env"))));
        assert_eq!(Opt::find("tenants..paths"), None);
        assert_eq!(Opt::find("tenants.paths"), None);
        assert_eq!(TENANT_KEY.key_of("a"), "tenants.a.key");
    }

    #[test]
    fn variables_follow_the_keys() {
        assert_eq!(DATA_KEY_MAX_AGE.variable().as_deref(), Some("SEALPOINT_DATA_KEY_MAX_AGE"));
        assert_eq!(TENANT_PATHS.variable(), None);
    }
}

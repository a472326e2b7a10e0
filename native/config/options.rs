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
    TENANT_KEY = "tenants.<name>.key", Kind::List, Default::Derived("the provider's key"), "payments", "0.1",
        "The key-encryption key of this tenant in the provider. With `kms.fallbacks` one key that has this name in all of them, or one for the provider and each fallback in their order, separated by commas. Not settable by the environment.";
    OPEN_TENANTS = "open-tenants", Kind::List, Default::Derived("`tenant` and every `tenants.<name>`"), "payments, refunds", "0.1",
        "The tenants whose files this process may open. Files of others are refused whatever they say about themselves.";
    ENCRYPTION_CONTEXT = "encryption-context.<key>", Kind::Text, Default::None, "production", "0.1",
        "A pair that every data key and file is bound to; what was sealed under other pairs cannot be opened. Keys that begin with `sealpoint:` are ours. Not secret. Not settable by the environment.";
    KMS_PROVIDER = "kms.provider", Kind::Choice(PROVIDERS), Default::Required(""), "local", "0.1",
        "The key service that holds the key-encryption keys. `local` is a keyring file, for trying out and for tests.";
    KMS_TIMEOUT = "kms.timeout", Kind::Duration(100, 10 * 60 * SECOND), Default::Value("10 s"), "30 s", "0.1",
        "The longest that one operation of the key service may take, with all its attempts and the pauses between them.";
    KMS_ATTEMPT_TIMEOUT = "kms.attempt-timeout", Kind::Duration(50, 10 * 60 * SECOND), Default::Derived("3 s, or `kms.timeout` where that is shorter"), "5 s", "0.1",
        "The longest that one attempt may take. Must not exceed `kms.timeout`.";
    KMS_CONNECT_TIMEOUT = "kms.connect-timeout", Kind::Duration(50, 10 * 60 * SECOND), Default::Derived("2 s, or `kms.attempt-timeout` where that is shorter"), "1 s", "0.1",
        "The longest that it may take to connect. Must not exceed `kms.attempt-timeout`.";
    KMS_ATTEMPTS = "kms.attempts", Kind::Count(1, 20), Default::Value("4"), "6", "0.1",
        "The most attempts of one operation. Only throttling, time-outs and unavailability are tried again, after a random pause that grows, or the one that the service asked for.";
    KMS_CALLS_PER_SECOND = "kms.calls-per-second", Kind::Count(1, 100_000), Default::Value("50"), "10", "0.1",
        "The most calls a second that this process makes to each key service. What exceeds it waits, within `kms.timeout`.";
    KMS_CA_FILE = "kms.ca-file", Kind::Path, Default::Derived("the certificates of the system"), "/etc/sealpoint/ca.pem", "0.1",
        "Certificates (PEM) of the authorities to trust when a key service is called, instead of the system's.";
    KMS_PROXY = "kms.proxy", Kind::Text, Default::Derived("`HTTPS_PROXY` and `NO_PROXY` of the environment"), "http://proxy.internal:3128", "0.1",
        "The proxy that key services are called through.";
    KMS_FALLBACKS = "kms.fallbacks", Kind::List, Default::None, "frankfurt, vault", "0.1",
        "Further key services (another region, another provider) that every data key is wrapped under too, in the order in which they are asked for it. Each name has its `kms.fallback.<name>.*` keys. At most seven.";
    KMS_FALLBACK = "kms.fallback.<name>.<key>", Kind::Text, Default::Derived("the value of `kms.<key>`"), "eu-central-1", "0.1",
        "What `kms.<key>` is for this fallback, where `<key>` is `provider`, `ca-file`, `proxy` or any key of a provider, such as `aws.region`. What is not set is as for the primary key service. Not settable by the environment.";
    KMS_REQUIRE = "kms.require", Kind::Choice(&["one", "all"]), Default::Value("one"), "all", "0.1",
        "With `kms.fallbacks`: how many of the key services must have wrapped a data key before it seals. With `one` the others are made up for as soon as they answer, and counted meanwhile; files sealed until then open by fewer.";
    KMS_HEDGE_AFTER = "kms.hedge-after", Kind::Duration(10, 10 * 60 * SECOND), Default::Value("1 s"), "300 ms", "0.1",
        "With `kms.fallbacks`: how long an unwrap waits for one key service before it asks the next one as well.";
    KMS_LOCAL_KEYRING = "kms.local.keyring", Kind::Path, Default::Required("with `kms.provider: local`"), "/etc/sealpoint/keyring.json", "0.1",
        "The keyring file. Make one with `sealpoint keyring create <path>`.";
    KMS_LOCAL_KEY = "kms.local.key", Kind::Text, Default::Value("sealpoint"), "sealpoint", "0.1",
        "The name of the key in the keyring.";
    KMS_LOCAL_PASSPHRASE_FILE = "kms.local.passphrase-file", Kind::Path, Default::None, "/run/secrets/sealpoint-passphrase", "0.1",
        "The file that holds the keyring's passphrase, if it was created with one. One newline at its end is ignored.";
    KMS_AWS_REGION = "kms.aws.region", Kind::Text, Default::Required("with `kms.provider: aws`"), "eu-central-1", "0.1",
        "The region of the AWS KMS key.";
    KMS_AWS_KEY_ID = "kms.aws.key-id", Kind::Text, Default::Required("with `kms.provider: aws`"), "alias/flink-state", "0.1",
        "Id, ARN or alias of the AWS KMS key: a symmetric one for encryption.";
    KMS_AWS_OPEN_KEY_IDS = "kms.aws.open-key-ids", Kind::List, Default::None, "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "0.1",
        "ARNs of further keys whose data keys may be opened: those that an alias pointed at before, for instance.";
    KMS_AWS_ENDPOINT = "kms.aws.endpoint", Kind::Text, Default::Derived("the region's own"), "https://vpce-0a1b2c3d.kms.eu-central-1.vpce.amazonaws.com", "0.1",
        "The address of AWS KMS: of a VPC endpoint, for instance. Plain `http` is for loopback addresses only.";
    KMS_AWS_FIPS = "kms.aws.fips", Kind::Flag, Default::Value("false"), "true", "0.1",
        "Whether the FIPS 140 endpoints of the region are called.";
    KMS_AWS_PROFILE = "kms.aws.profile", Kind::Text, Default::Derived("`AWS_PROFILE`, or `default`"), "flink", "0.1",
        "The profile of the shared AWS configuration to take credentials from.";
    KMS_AWS_CREDENTIALS_FILE = "kms.aws.credentials-file", Kind::Path, Default::Derived("the usual one"), "/run/secrets/aws-credentials", "0.1",
        "The shared credentials file. Without it the default chain holds: environment, profile, web identity, container, instance.";
    KMS_AWS_ROLE_ARN = "kms.aws.role-arn", Kind::Text, Default::None, "arn:aws:iam::111122223333:role/flink-state", "0.1",
        "A role to assume with those credentials.";
    KMS_AZURE_VAULT_URL = "kms.azure.vault-url", Kind::Text, Default::Required("with `kms.provider: azure`"), "https://flink.vault.azure.net", "0.1",
        "The address of the key vault or Managed HSM.";
    KMS_AZURE_KEY_NAME = "kms.azure.key-name", Kind::Text, Default::Required("with `kms.provider: azure`"), "flink-state", "0.1",
        "The name of the key in the vault.";
    KMS_AZURE_KEY_VERSION = "kms.azure.key-version", Kind::Text, Default::Derived("the newest"), "0123456789abcdef0123456789abcdef", "0.1",
        "A version of the key to stay on.";
    KMS_AZURE_ALGORITHM = "kms.azure.algorithm", Kind::Choice(&["auto", "rsa-oaep-256", "a256gcm"]), Default::Value("auto"), "rsa-oaep-256", "0.1",
        "How data keys are wrapped: RSA-OAEP-256 by an RSA key, or AES-256-GCM by a symmetric key of a Managed HSM. `auto` goes by the type of the key.";
    KMS_AZURE_WRAP_LOCALLY = "kms.azure.wrap-locally", Kind::Flag, Default::Value("false"), "true", "0.1",
        "Whether data keys are wrapped on this machine, with the public half of the RSA key: sealing then makes no call to the vault.";
    KMS_AZURE_CREDENTIAL = "kms.azure.credential", Kind::Choice(&["auto", "client-secret", "managed-identity", "workload-identity"]), Default::Value("auto"), "managed-identity", "0.1",
        "Who we are to Azure. `auto` is a client secret where one is configured, else workload identity where Kubernetes offers it, else managed identity.";
    KMS_AZURE_TENANT_ID = "kms.azure.tenant-id", Kind::Text, Default::Derived("`AZURE_TENANT_ID` of the environment"), "72f988bf-86f1-41af-91ab-2d7cd011db47", "0.1",
        "The directory (tenant) of the application.";
    KMS_AZURE_CLIENT_ID = "kms.azure.client-id", Kind::Text, Default::Derived("`AZURE_CLIENT_ID` of the environment"), "11111111-2222-3333-4444-555555555555", "0.1",
        "The application, or the user-assigned managed identity.";
    KMS_AZURE_CLIENT_SECRET_FILE = "kms.azure.client-secret-file", Kind::Path, Default::None, "/run/secrets/azure-client-secret", "0.1",
        "The file that holds the application's secret.";
    KMS_AZURE_AUTHORITY_HOST = "kms.azure.authority-host", Kind::Text, Default::Derived("`AZURE_AUTHORITY_HOST` of the environment, or `https://login.microsoftonline.com`"), "https://login.microsoftonline.us", "0.1",
        "Where tokens are asked for; sovereign clouds have their own.";
    KMS_GCP_PROJECT = "kms.gcp.project", Kind::Text, Default::Required("with `kms.provider: gcp`"), "acme-flink", "0.1",
        "The project of the Google Cloud KMS key.";
    KMS_GCP_LOCATION = "kms.gcp.location", Kind::Text, Default::Required("with `kms.provider: gcp`"), "europe-west3", "0.1",
        "The location of the key ring.";
    KMS_GCP_KEY_RING = "kms.gcp.key-ring", Kind::Text, Default::Required("with `kms.provider: gcp`"), "flink", "0.1",
        "The name of the key ring.";
    KMS_GCP_KEY_NAME = "kms.gcp.key-name", Kind::Text, Default::Required("with `kms.provider: gcp`"), "state", "0.1",
        "The name of the key.";
    KMS_GCP_ENDPOINT = "kms.gcp.endpoint", Kind::Text, Default::Value("https://cloudkms.googleapis.com"), "https://cloudkms-flink.p.googleapis.com", "0.1",
        "The address of Cloud KMS: of a private endpoint, for instance. Plain `http` is for loopback addresses only.";
    KMS_GCP_CREDENTIALS_FILE = "kms.gcp.credentials-file", Kind::Path, Default::Derived("application default credentials"), "/run/secrets/gcp-credentials.json", "0.1",
        "The credentials file: of a service account, or of workload identity federation.";
    KMS_VAULT_ADDRESS = "kms.vault.address", Kind::Text, Default::Required("with `kms.provider: vault`"), "https://vault.internal:8200", "0.1",
        "The address of HashiCorp Vault or OpenBao. Plain `http` is for loopback addresses only.";
    KMS_VAULT_MOUNT = "kms.vault.mount", Kind::Text, Default::Value("transit"), "transit", "0.1",
        "Where the transit engine is mounted.";
    KMS_VAULT_KEY_NAME = "kms.vault.key-name", Kind::Text, Default::Required("with `kms.provider: vault`"), "flink-state", "0.1",
        "The name of the key. It must exist: it is never created by sealing.";
    KMS_VAULT_NAMESPACE = "kms.vault.namespace", Kind::Text, Default::None, "platform", "0.1",
        "The namespace of the mount.";
    KMS_VAULT_AUTH = "kms.vault.auth", Kind::Choice(&["token", "approle", "kubernetes"]), Default::Value("token"), "kubernetes", "0.1",
        "How to log in.";
    KMS_VAULT_AUTH_MOUNT = "kms.vault.auth-mount", Kind::Text, Default::Derived("the name of the login method"), "kubernetes-prod", "0.1",
        "Where the login method is mounted.";
    KMS_VAULT_TOKEN_FILE = "kms.vault.token-file", Kind::Path, Default::Derived("`VAULT_TOKEN` of the environment"), "/run/secrets/vault-token", "0.1",
        "With `kms.vault.auth: token`: the file that holds the token. It is read again when it changes.";
    KMS_VAULT_ROLE_ID = "kms.vault.role-id", Kind::Text, Default::Required("with `kms.vault.auth: approle`"), "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8", "0.1",
        "With `kms.vault.auth: approle`: the role id.";
    KMS_VAULT_SECRET_ID_FILE = "kms.vault.secret-id-file", Kind::Path, Default::Required("with `kms.vault.auth: approle`"), "/run/secrets/vault-secret-id", "0.1",
        "With `kms.vault.auth: approle`: the file that holds the secret id.";
    KMS_VAULT_ROLE = "kms.vault.role", Kind::Text, Default::Required("with `kms.vault.auth: kubernetes`"), "flink", "0.1",
        "With `kms.vault.auth: kubernetes`: the role to log in as.";
    KMS_VAULT_JWT_FILE = "kms.vault.jwt-file", Kind::Path, Default::Value("/var/run/secrets/kubernetes.io/serviceaccount/token"), "/var/run/secrets/tokens/vault", "0.1",
        "With `kms.vault.auth: kubernetes`: the file that holds the service account's token.";
    KMS_PKCS11_MODULE = "kms.pkcs11.module", Kind::Path, Default::Required("with `kms.provider: pkcs11`"), "/usr/lib/softhsm/libsofthsm2.so", "0.1",
        "The PKCS#11 module: a shared library that this process loads, so it must be trusted as much as the process itself.";
    KMS_PKCS11_TOKEN_LABEL = "kms.pkcs11.token-label", Kind::Text, Default::Required("with `kms.provider: pkcs11`"), "flink", "0.1",
        "The label of the token, by which its slot is found.";
    KMS_PKCS11_KEY_LABEL = "kms.pkcs11.key-label", Kind::Text, Default::Required("with `kms.provider: pkcs11`"), "flink-state", "0.1",
        "The label of the AES-256 key; its versions share it.";
    KMS_PKCS11_PIN_FILE = "kms.pkcs11.pin-file", Kind::Path, Default::Required("with `kms.provider: pkcs11`"), "/run/secrets/hsm-pin", "0.1",
        "The file that holds the user's PIN. A PIN that was refused is never tried again by this process: tokens lock.";
    KMS_PKCS11_MECHANISM = "kms.pkcs11.mechanism", Kind::Choice(&["auto", "aes-gcm", "aes-kwp"]), Default::Value("auto"), "aes-kwp", "0.1",
        "How data keys are wrapped. `auto` is AES-GCM where the module has it, else AES key wrap with padding.";
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
        "Whether the coordinator, on Flink the JobManager, looks after the age of the key-encryption keys of every tenant and key service. The age is the key service's word; it is looked at about once an hour. TaskManagers need nothing for it.";
    KEY_ROTATION_INTERVAL_DAYS = "key-rotation.interval-days", Kind::Count(1, 36_500), Default::Value("30"), "30", "0.1",
        "The age, in days, at which a key-encryption key is rotated, unless its key service is set to do that by itself. Must not exceed `key-rotation.max-age-days`.";
    KEY_ROTATION_MAX_AGE_DAYS = "key-rotation.max-age-days", Kind::Count(1, 36_500), Default::Value("90"), "90", "0.1",
        "The age, in days, past which nothing more is sealed under a key-encryption key: the coordinator rotates it before it seals again or, where it may not or cannot, refuses to seal, so that checkpoints are declined with the reason. Does not apply where the key service is set to rotate by itself.";
    KEY_ROTATION_AUTO_ROTATE = "key-rotation.auto-rotate", Kind::Flag, Default::Value("true"), "true", "0.1",
        "Whether the coordinator rotates a key-encryption key at its interval. With `false` it only says in its log and its metrics that the key is due: `sealpoint rotate` rotates by hand.";
    STORE_CA_FILE = "store.ca-file", Kind::Path, Default::Derived("the certificates of the system"), "/etc/sealpoint/ca.pem", "0.1",
        "Certificates (PEM) of the authorities to trust when the command line reaches an object store (S3, Azure Storage, Google Cloud Storage), instead of the system's. Flink's own file systems have their own options.";
    STORE_REQUESTS_PER_SECOND = "store.requests-per-second", Kind::Count(1, 100_000), Default::Derived("no limit"), "200", "0.1",
        "The most requests a second that the command line makes to one bucket, so that it does not slow down the jobs that use it.";
    AUDIT_ENABLED = "audit.enabled", Kind::Flag, Default::Value("false"), "false", "0.1",
        "The audit log. Not in this version: `true` is refused.";
    FIPS_MODE = "fips-mode", Kind::Flag, Default::Value("false"), "false", "0.1",
        "Only FIPS 140-3 validated cryptography. Not in this build: `true` is refused.";
    REQUIRE_SEALED = "require-sealed", Kind::Flag, Default::Value("false"), "true", "0.1",
        "On Flink: a directory that state may be written to unsealed stops the start, instead of a warning, and no plaintext checkpoint or savepoint is restored. A job can make it stricter, never looser.";
    RESTORE_PLAINTEXT = "restore-plaintext", Kind::Flag, Default::Value("false"), "true", "0.1",
        "On Flink, with `require-sealed: true`: a checkpoint or savepoint that is not sealed may be restored all the same, with a warning. Nothing proves who wrote it, so set it for the one restore that brings in state from before Sealpoint, in the job's own configuration. Without `require-sealed` such a restore is allowed, with the same warning.";
    CHECKPOINT_MANIFEST = "checkpoint.manifest", Kind::Choice(&["none", "write", "require"]), Default::Value("none"), "require", "0.1",
        "On Flink: whether checkpoints and savepoints have a manifest, by which a state file that was replaced by an older one of its name is noticed. With `write` the JobManager writes one when it completes a checkpoint, or fails that checkpoint, and compares one that is there before it restores from it; with `require` it also refuses to restore where there is none. A job can make it stricter, never looser.";
    JNI_ARRAYS = "jni.arrays", Kind::Choice(&["auto", "critical", "direct"]), Default::Value("auto"), "direct", "0.1",
        "On the JVM: how bytes cross to the library. `auto` takes critical sections from JDK 22 on, where they pin regions, and `direct` below, where they would hold up the garbage collector: each frame is copied to native memory and back.";
}

const ALGORITHMS: &[&str] = &[Aes256Gcm.name(), Aes256CbcHmac.name()];
/// The key services, as `kms.provider` names them.
pub const PROVIDERS: &[&str] = &["local", "aws", "azure", "gcp", "vault", "pkcs11"];
/// What leads the keys of a fallback.
const FALLBACK: &str = "kms.fallback.";

impl Opt {
    /// The option that a key belongs to, and what stands for its placeholder.
    /// A key of a fallback belongs to the option that it overrides, and its placeholder is the fallback's name.
    pub fn find(key: &str) -> Option<(&'static Opt, Option<&str>)> {
        if let Some((fallback, rest)) = key.strip_prefix(FALLBACK).and_then(|rest| rest.split_once('.')) {
            let option = ALL.iter().find(|option| option.key.strip_prefix("kms.") == Some(rest) && option.of_slot());
            return option.filter(|_| !fallback.is_empty()).map(|option| (*option, Some(fallback)));
        }
        ALL.iter().find_map(|option| option.matches(key).map(|name| (*option, name)))
    }

    /// The key that overrides this one for a fallback: `kms.fallback.dr.aws.region` for `kms.aws.region`.
    pub fn key_of_fallback(&self, fallback: &str) -> String {
        format!("{FALLBACK}{fallback}.{}", self.key.strip_prefix("kms.").unwrap_or(self.key))
    }

    /// The provider that the option belongs to: `aws` for `kms.aws.region`.
    pub fn provider(&self) -> Option<&'static str> {
        let (provider, _) = self.key.strip_prefix("kms.")?.split_once('.')?;
        PROVIDERS.contains(&provider).then_some(provider)
    }

    /// True for what may differ from one key service to the next.
    fn of_slot(&self) -> bool {
        self.provider().is_some() || [&KMS_PROVIDER, &KMS_CA_FILE, &KMS_PROXY].contains(&self)
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
        assert_eq!(Opt::find("kms.fallback.dr.aws.region"), Some((&KMS_AWS_REGION, Some("dr"))));
        assert_eq!(Opt::find("kms.fallback.dr.provider"), Some((&KMS_PROVIDER, Some("dr"))));
        assert_eq!(KMS_AWS_REGION.key_of_fallback("dr"), "kms.fallback.dr.aws.region");
        for key in ["kms.fallback.dr.timeout", "kms.fallback.dr.aws", "kms.fallback..provider", "kms.fallback.dr"] {
            assert_eq!(Opt::find(key), None, "{key}");
        }
    }

    #[test]
    fn variables_follow_the_keys() {
        assert_eq!(DATA_KEY_MAX_AGE.variable().as_deref(), Some("SEALPOINT_DATA_KEY_MAX_AGE"));
        assert_eq!(TENANT_PATHS.variable(), None);
    }
}

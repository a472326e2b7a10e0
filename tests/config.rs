//! Every mistake in a configuration is one clear error that names the key; docs/CONFIG.md is what the code says.

use std::time::Duration;

use sealpoint::config::{
    DataKeyScope, EncryptionAlgorithm, EncryptionConfig, KmsProvider, LocalHsmConfig, Require, Settings, reference,
};
use sealpoint::error::Kind;

const BASE: [(&str, &str); 2] = [("kms.provider", "local"), ("kms.local.keyring", "/etc/keyring.json")];

fn with(pairs: &[(&str, &str)]) -> Result<EncryptionConfig, sealpoint::Error> {
    EncryptionConfig::from_pairs(BASE.iter().chain(pairs).copied())
}

/// The error names each of these words.
fn refused(pairs: &[(&str, &str)], words: &[&str]) {
    let error = with(pairs).expect_err(&format!("{pairs:?} is refused"));
    assert_eq!(error.kind(), Kind::Config, "{error}");
    for word in words {
        assert!(error.message().contains(word), "'{error}' names {word}");
    }
}

#[test]
fn two_keys_are_enough_and_the_rest_has_the_specified_defaults() {
    let config = with(&[]).unwrap();
    assert!(config.enabled);
    assert_eq!(config.algorithm, EncryptionAlgorithm::Aes256Gcm);
    assert_eq!(config.allowed_algorithms, [EncryptionAlgorithm::Aes256Gcm]);
    assert_eq!(config.chunk_size, 16 * 1024);
    assert_eq!(config.cache.max_keys, 100);
    assert_eq!(config.outage.seal_for, Duration::from_secs(3600));
    assert_eq!(config.data_key.scope, DataKeyScope::Checkpoint);
    assert_eq!(config.key_rotation, sealpoint::config::KeyRotationPolicy::default());
    assert_eq!((config.key_rotation.interval_days, config.key_rotation.max_age_days), (30, 90));
    let KmsProvider::LocalHsm(LocalHsmConfig::Keyring(local)) = &config.kms_provider else {
        panic!("local is the keyring")
    };
    assert_eq!(local.key, "sealpoint");
}

#[test]
fn no_configuration_says_what_to_write() {
    let error = EncryptionConfig::from_pairs(Vec::<(String, String)>::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("kms.provider is missing"), "{error}");
    assert!(error.message().contains("sealpoint.kms.provider: local"), "{error}");
    let error = EncryptionConfig::from_pairs([("kms.provider", "local")]).unwrap_err();
    assert!(error.message().contains("kms.local.keyring is missing"), "{error}");
    let error = EncryptionConfig::from_toml_file("/no/such/sealpoint.toml".as_ref()).unwrap_err();
    assert!(error.message().contains("/no/such/sealpoint.toml"), "{error}");
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    refused(&[("kms.tiemout", "3 s")], &["'kms.tiemout'", "did you mean 'kms.timeout'?"]);
    refused(&[("chunksize", "16kb")], &["'chunksize'", "'chunk-size'"]);
    refused(&[("sealpoint.kms.timeout", "3 s")], &["without the prefix", "'kms.timeout'"]);
    refused(&[("zzzzzzzz", "1")], &["'zzzzzzzz'", "sealpoint config reference"]);
    refused(&[("kms.timeout", "3 s"), ("kms.timeout", "4 s")], &["kms.timeout", "twice"]);
}

#[test]
fn a_value_of_the_wrong_form_or_out_of_range_is_an_error_that_names_its_key() {
    refused(&[("enabled", "yes")], &["enabled", "'yes'", "true or false"]);
    refused(&[("kms.timeout", "30")], &["kms.timeout", "unit"]);
    refused(&[("kms.timeout", "1 ms")], &["kms.timeout", "between 100 ms and 10 min"]);
    refused(&[("chunk-size", "10000")], &["chunk-size", "power of two"]);
    refused(&[("chunk-size", "2 kb")], &["chunk-size", "between 4 kb and 1 mb"]);
    refused(&[("algorithm", "aes-256-gmc")], &["algorithm", "did you mean aes-256-gcm?"]);
    refused(&[("cache.max-keys", "0")], &["cache.max-keys", "between 1 and"]);
    refused(&[("tenant", " ")], &["tenant"]);
    refused(&[("tenants.a.paths", "/x,,/y")], &["tenants.a.paths"]);
    refused(&[("encryption-context.sealpoint:tenant", "x")], &["encryption-context.sealpoint:tenant"]);
    let error = EncryptionConfig::from_pairs([("kms.provider", "locla")]).unwrap_err();
    assert!(error.message().contains("did you mean local?"), "{error}");
}

#[test]
fn contradictions_name_both_keys() {
    refused(&[("enabled", "false"), ("require-sealed", "true")], &["enabled is false", "require-sealed is true"]);
    refused(&[("kms.aws.region", "x")], &["kms.aws.region", "kms.provider"]);
    refused(&[("data-key.interval", "1 h")], &["data-key.interval", "data-key.scope"]);
    refused(&[("outage.seal-for", "24 h")], &["data-key.max-age", "outage.seal-for"]);
    refused(
        &[("data-key.scope", "interval"), ("data-key.interval", "30 h")],
        &["data-key.interval", "data-key.max-age"],
    );
    refused(
        &[("key-rotation.interval-days", "91")],
        &["key-rotation.interval-days is 91", "key-rotation.max-age-days is 90"],
    );
    refused(&[("allowed-algorithms", "aes-256-cbc-hmac")], &["allowed-algorithms", "algorithm"]);
    refused(&[("open-tenants", "b"), ("tenant", "a")], &["open-tenants", "tenant", "'a'"]);
    refused(&[("tenants.a.paths", "/x"), ("tenants.b.paths", "file:///x/")], &["tenants.a.paths", "tenants.b.paths"]);
}

#[test]
fn what_this_version_lacks_is_refused_and_not_ignored() {
    for key in ["audit.enabled", "fips-mode"] {
        let error = with(&[(key, "true")]).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.message().contains(key), "{error}");
        assert!(with(&[(key, "false")]).is_ok());
    }
}

#[test]
fn toml_tables_dotted_keys_and_pairs_say_the_same() {
    let pairs =
        with(&[("data-key.max-files", "7"), ("open-tenants", "default,b"), ("require-sealed", "true")]).unwrap();
    let toml = r#"
        require-sealed = true
        open-tenants = ["default", "b"]
        data-key.max-files = 7
        [kms]
        provider = "local"
        local.keyring = "/etc/keyring.json"
    "#;
    assert_eq!(EncryptionConfig::from_toml(toml).unwrap(), pairs);
    let error = EncryptionConfig::from_toml("kms = [").unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(EncryptionConfig::from_toml("open-tenants = [1]").unwrap_err().message().contains("open-tenants"));
}

#[test]
fn the_environment_overrides_and_may_complete_the_file() {
    let settings = Settings::from_toml("kms.provider = 'local'\nkms.timeout = '3 s'").unwrap();
    let environment = [("SEALPOINT_KMS_LOCAL_KEYRING", "/k"), ("SEALPOINT_KMS_TIMEOUT", "4 s"), ("HOME", "/root")];
    let config = settings.clone().with_environment(environment).unwrap().resolve().unwrap();
    assert_eq!(config.kms_config.timeout, Duration::from_secs(4));
    let error = settings.clone().with_environment([("SEALPOINT_KMS_TIMEOUTS", "4 s")]).unwrap_err();
    assert!(error.message().contains("did you mean SEALPOINT_KMS_TIMEOUT?"), "{error}");
    let error = settings.clone().with_environment([("SEALPOINT_KMS_TIMEOUT", "4")]).unwrap_err();
    assert!(error.message().contains("SEALPOINT_KMS_TIMEOUT"), "{error}");
    let kubernetes = [
        ("SEALPOINT_SERVICE_HOST", "10.0.0.1"),
        ("SEALPOINT_SERVICE_PORT_HTTP", "80"),
        ("SEALPOINT_PORT", "tcp://10.0.0.1:80"),
        ("SEALPOINT_UI_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(settings.clone().with_environment(kubernetes).unwrap(), settings);
}

#[test]
fn a_tenant_has_its_own_key_of_the_same_provider() {
    let config = with(&[("tenants.a.key", "kek-a"), ("tenants.a.paths", "s3://b/a")]).unwrap();
    let key = |tenant| match &config.kms_slots_of(tenant)[..] {
        [slot] => match &slot.provider {
            KmsProvider::LocalHsm(LocalHsmConfig::Keyring(keyring)) => keyring.key.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!((key("a").as_str(), key("default").as_str()), ("kek-a", "sealpoint"));
    assert_eq!(config.tenants.of_path("sealed+s3://b/a/chk-1/x"), "a");
}

#[test]
fn a_policy_survives_serde() {
    let config = with(&[("kms.timeout", "3 s"), ("tenants.a.b.key", "k")]).unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<EncryptionConfig>(&text).unwrap(), config);
    assert!(serde_json::from_str::<EncryptionConfig>(r#"{"kms.provider": "locl"}"#).is_err());
}

#[test]
fn the_committed_reference_is_what_the_code_says() {
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG.md")).unwrap();
    assert!(
        committed == reference::markdown(),
        "docs/CONFIG.md is stale: run `sealpoint config reference > docs/CONFIG.md`"
    );
}

#[test]
fn every_option_is_read_and_every_example_holds() {
    for option in sealpoint::config::options::ALL {
        let key = option.key_of("a");
        if key.starts_with("kms.fallback") {
            continue; // read with a fallback: a test of its own
        }
        if key.starts_with("kms.") && !key.starts_with("kms.local.") && key.matches('.').count() == 2 {
            continue; // of another provider: the next test
        }
        let mut pairs: Vec<(&str, &str)> = BASE.into_iter().filter(|(base, _)| *base != key).collect();
        pairs.push((&key, option.example));
        if key == "data-key.interval" {
            pairs.push(("data-key.scope", "interval"));
        }
        if key == "open-tenants" {
            pairs.push(("tenant", "payments"));
        }
        EncryptionConfig::from_pairs(pairs).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

/// The examples of a provider's keys, those of the login that `kms.vault.auth` does not name left out.
fn examples(provider: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = sealpoint::config::options::ALL.iter().filter(move |option| option.provider() == Some(provider));
    let other_logins = ["kms.vault.token-file", "kms.vault.role-id", "kms.vault.secret-id-file"];
    own.filter(move |option| !other_logins.contains(&option.key)).map(|option| (option.key, option.example))
}

#[test]
fn each_provider_is_read_with_its_own_keys() {
    for provider in sealpoint::config::options::PROVIDERS {
        let config = EncryptionConfig::from_pairs(examples(provider).chain([("kms.provider", *provider)])).unwrap();
        assert_eq!(config.kms_provider.name(), *provider);
    }
}

#[test]
fn a_fallback_differs_from_the_primary_in_what_is_set() {
    let config = EncryptionConfig::from_toml(
        r#"
        tenants.a.key = "alias/a"
        tenants.b.key = ["alias/b", "alias/b-dr", "b"]
        [kms]
        provider = "aws"
        aws = { region = "eu-central-1", key-id = "alias/flink", profile = "flink" }
        fallbacks = ["dr", "onsite"]
        require = "all"
        ca-file = "/ca.pem"
        [kms.fallback.dr]
        aws.region = "eu-west-1"
        [kms.fallback.onsite]
        provider = "vault"
        ca-file = "/vault.pem"
        vault = { address = "https://vault:8200", key-name = "flink" }
        "#,
    )
    .unwrap();
    assert_eq!(config.kms_config.require, Require::All);
    let slots = config.kms_slots_of("default");
    assert_eq!(slots.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>(), ["primary", "dr", "onsite"]);
    let [KmsProvider::AwsKms(primary), KmsProvider::AwsKms(dr), KmsProvider::Vault(onsite)] =
        [0, 1, 2].map(|at| slots[at].provider.clone())
    else {
        panic!("{slots:?}")
    };
    assert_eq!((primary.region.as_str(), dr.region.as_str()), ("eu-central-1", "eu-west-1"));
    assert_eq!((dr.key_id.as_str(), dr.profile.as_deref()), ("alias/flink", Some("flink")));
    assert_eq!(onsite.key_name, "flink");
    let ca = |at: usize| slots[at].transport.ca_file.clone().unwrap();
    assert_eq!([ca(0), ca(1), ca(2)].map(|path| path.display().to_string()), ["/ca.pem", "/ca.pem", "/vault.pem"]);
    let keys = |tenant| {
        let slots = config.kms_slots_of(tenant).into_iter();
        let keys = slots.map(|slot| match slot.provider {
            KmsProvider::AwsKms(aws) => aws.key_id,
            KmsProvider::Vault(vault) => vault.key_name,
            other => panic!("{other:?}"),
        });
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys("a"), ["alias/a", "alias/a", "alias/a"]);
    assert_eq!(keys("b"), ["alias/b", "alias/b-dr", "b"]);
}

#[test]
fn mistakes_in_fallbacks_are_named() {
    let dr = ("kms.fallback.dr.local.key", "other");
    refused(&[dr], &["kms.fallback.dr.local.key", "kms.fallbacks does not list 'dr'"]);
    refused(&[("kms.fallbacks", "dx"), dr], &["did you mean 'dx'?"]);
    refused(&[("kms.fallbacks", "dr")], &["kms.fallbacks lists 'dr'", "kms.fallback.dr.*"]);
    refused(&[("kms.fallbacks", "dr, dr"), dr], &["kms.fallbacks", "twice"]);
    refused(&[("kms.fallbacks", "a,b,c,d,e,f,g,h")], &["kms.fallbacks", "8 names are more than 7"]);
    refused(&[("kms.fallbacks", "primary")], &["'primary' cannot be the name"]);
    refused(
        &[("kms.fallbacks", "dr"), ("kms.fallback.dr.aws.region", "x")],
        &["kms.fallback.dr.aws.region is set", "kms.fallback.dr.provider is 'local'"],
    );
    refused(
        &[("kms.fallbacks", "dr"), ("kms.fallback.dr.provider", "aws")],
        &["kms.fallback.dr.aws.region is missing"],
    );
    refused(&[("kms.fallbacks", "dr"), ("kms.fallback.dr.timeout", "1 s")], &["kms.fallback.dr.timeout"]);
    refused(
        &[("kms.fallbacks", "dr"), dr, ("tenants.a.key", "x,y,z")],
        &["tenants.a.key holds 3 keys", "2 key services"],
    );
}

#[test]
fn times_of_a_call_lie_within_each_other() {
    let times = |pairs: &[(&str, &str)]| {
        let config = with(pairs).unwrap().kms_config;
        [config.timeout, config.transport.attempt_timeout, config.transport.connect_timeout]
            .map(|time| time.as_millis())
    };
    assert_eq!(times(&[]), [10_000, 3_000, 2_000]);
    assert_eq!(times(&[("kms.timeout", "1 s")]), [1_000, 1_000, 1_000]);
    assert_eq!(times(&[("kms.attempt-timeout", "500 ms")]), [10_000, 500, 500]);
    refused(&[("kms.attempt-timeout", "11 s")], &["kms.attempt-timeout is 11 s", "kms.timeout is 10 s"]);
    refused(&[("kms.connect-timeout", "4 s")], &["kms.connect-timeout is 4 s", "kms.attempt-timeout is 3 s"]);
}

#[test]
fn a_login_of_vault_takes_its_own_keys() {
    let vault = |pairs: &[(&'static str, &'static str)]| {
        let base = [("kms.provider", "vault"), ("kms.vault.address", "https://v:8200"), ("kms.vault.key-name", "k")];
        EncryptionConfig::from_pairs(base.iter().chain(pairs).copied()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(vault(&[]), Ok(()));
    let error = vault(&[("kms.vault.auth", "approle"), ("kms.vault.role-id", "r")]).unwrap_err();
    assert!(error.contains("kms.vault.secret-id-file is missing"), "{error}");
    let error = vault(&[("kms.vault.role", "r")]).unwrap_err();
    assert!(error.contains("kms.vault.role is set") && error.contains("kms.vault.auth is 'token'"), "{error}");
}

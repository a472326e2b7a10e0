//! What settings mean together: defaults filled in, contradictions refused.

mod kms;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::options::{self, Default, Opt};
use crate::config::{
    CacheConfig, CheckpointManifest, DataKeyPolicy, DataKeyScope, EncryptionAlgorithm, EncryptionConfig, JniArrays,
    KeyRotationPolicy, OutagePolicy, Settings, StoreConfig, TenantConfig, Tenants, value,
};
use crate::context::EncryptionContext;
use crate::error::{Error, Kind, Result};

pub fn resolve(settings: Settings) -> Result<EncryptionConfig> {
    let read = Reader { settings: &settings, fallback: None };
    let algorithm = algorithm(read.choice(&options::ALGORITHM)?)?;
    let outage = OutagePolicy { seal_for: read.duration(&options::OUTAGE_SEAL_FOR)? };
    let config = EncryptionConfig {
        enabled: enabled(&read)?,
        algorithm,
        allowed_algorithms: allowed_algorithms(&read, algorithm)?,
        chunk_size: chunk_size(&read)?,
        tenants: tenants(&read)?,
        encryption_context: encryption_context(&read)?,
        kms_provider: kms::provider(&read)?,
        kms_fallbacks: kms::fallbacks(&read)?,
        kms_config: kms::config(&read)?,
        data_key: data_key(&read, &outage)?,
        cache: CacheConfig {
            max_keys: usize::try_from(read.count(&options::CACHE_MAX_KEYS)?).unwrap_or(usize::MAX),
            ttl: read.duration(&options::CACHE_TTL)?,
            negative_ttl: read.duration(&options::CACHE_NEGATIVE_TTL)?,
        },
        outage,
        key_rotation: key_rotation(&read)?,
        store: StoreConfig {
            ca_file: read.optional(&options::STORE_CA_FILE).map(PathBuf::from),
            requests_per_second: match read.optional(&options::STORE_REQUESTS_PER_SECOND) {
                None => None,
                Some(_) => u32::try_from(read.count(&options::STORE_REQUESTS_PER_SECOND)?).ok(),
            },
        },
        audit_logging: not_in_this_version(&read, &options::AUDIT_ENABLED)?,
        fips_mode: not_in_this_version(&read, &options::FIPS_MODE)?,
        require_sealed: read.flag(&options::REQUIRE_SEALED)?,
        restore_plaintext: read.flag(&options::RESTORE_PLAINTEXT)?,
        checkpoint_manifest: match read.choice(&options::CHECKPOINT_MANIFEST)? {
            "write" => CheckpointManifest::Write,
            "require" => CheckpointManifest::Require,
            _ => CheckpointManifest::None,
        },
        jni_arrays: match read.choice(&options::JNI_ARRAYS)? {
            "critical" => JniArrays::Critical,
            "direct" => JniArrays::Direct,
            _ => JniArrays::Auto,
        },
        settings: settings.clone(),
    };
    Ok(config)
}

fn enabled(read: &Reader) -> Result<bool> {
    let enabled = read.flag(&options::ENABLED)?;
    if !enabled && read.flag(&options::REQUIRE_SEALED)? {
        return Err(contradiction("enabled is false", "require-sealed is true", "remove one of the two"));
    }
    Ok(enabled)
}

fn algorithm(name: &str) -> Result<EncryptionAlgorithm> {
    let known = EncryptionAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name.trim());
    known.ok_or_else(|| Kind::Config.error(format_args!("unknown algorithm '{name}'")))
}

fn allowed_algorithms(read: &Reader, sealing: EncryptionAlgorithm) -> Result<Vec<EncryptionAlgorithm>> {
    let Some(names) = read.list(&options::ALLOWED_ALGORITHMS)? else { return Ok(vec![sealing]) };
    let mut allowed = names.iter().map(|name| algorithm(name)).collect::<Result<Vec<_>>>()?;
    allowed.sort();
    allowed.dedup();
    if !allowed.contains(&sealing) {
        return Err(Kind::Config.error(format_args!(
            "{} leaves out '{}', the value of {}: this process could not open its own files",
            options::ALLOWED_ALGORITHMS.key,
            sealing.name(),
            options::ALGORITHM.key
        )));
    }
    Ok(allowed)
}

fn chunk_size(read: &Reader) -> Result<u32> {
    let bytes = read.size(&options::CHUNK_SIZE)?;
    u32::try_from(bytes).map_err(|_| Kind::Config.error(format_args!("{} is too large", options::CHUNK_SIZE.key)))
}

fn tenants(read: &Reader) -> Result<Tenants> {
    let mut named: BTreeMap<&str, TenantConfig> = BTreeMap::new();
    let empty = |name: &str| TenantConfig { name: name.to_owned(), paths: Vec::new(), keys: Vec::new() };
    for (name, text) in read.family(&options::TENANT_PATHS) {
        named.entry(name).or_insert_with(|| empty(name)).paths =
            value::list(text).map_err(|reason| bad(&options::TENANT_PATHS.key_of(name), &reason))?;
    }
    for (name, text) in read.family(&options::TENANT_KEY) {
        named.entry(name).or_insert_with(|| empty(name)).keys =
            value::list(text).map_err(|reason| bad(&options::TENANT_KEY.key_of(name), &reason))?;
    }
    Tenants::new(read.text(&options::TENANT)?, named.into_values().collect(), read.list(&options::OPEN_TENANTS)?)
}

fn encryption_context(read: &Reader) -> Result<EncryptionContext> {
    let pairs: Vec<_> = read.family(&options::ENCRYPTION_CONTEXT).collect();
    if let Some((key, _)) = pairs.iter().find(|(key, _)| key.starts_with("sealpoint:")) {
        return Err(bad(&options::ENCRYPTION_CONTEXT.key_of(key), "keys that begin with 'sealpoint:' are ours"));
    }
    EncryptionContext::new(pairs)
}

fn data_key(read: &Reader, outage: &OutagePolicy) -> Result<DataKeyPolicy> {
    let scope = match read.choice(&options::DATA_KEY_SCOPE)? {
        "interval" => DataKeyScope::Interval(read.duration(&options::DATA_KEY_INTERVAL)?),
        _ if read.settings.get(options::DATA_KEY_INTERVAL.key).is_some() => {
            return Err(contradiction(
                "data-key.interval is set",
                "data-key.scope is 'checkpoint'",
                "set data-key.scope to 'interval', or remove data-key.interval",
            ));
        }
        _ => DataKeyScope::Checkpoint,
    };
    let max_age = read.duration(&options::DATA_KEY_MAX_AGE)?;
    if max_age <= outage.seal_for {
        return Err(contradiction(
            &format!("data-key.max-age is {}", show(max_age)),
            &format!("outage.seal-for is {}", show(outage.seal_for)),
            "no data key could seal through such an outage: make data-key.max-age the longer one",
        ));
    }
    if let DataKeyScope::Interval(interval) = scope
        && interval > max_age
    {
        return Err(contradiction(
            &format!("data-key.interval is {}", show(interval)),
            &format!("data-key.max-age is {}", show(max_age)),
            "make data-key.interval the shorter one",
        ));
    }
    let max_files = read.count(&options::DATA_KEY_MAX_FILES)?;
    Ok(DataKeyPolicy { scope, max_age, max_files, max_bytes: read.size(&options::DATA_KEY_MAX_BYTES)? })
}

fn key_rotation(read: &Reader) -> Result<KeyRotationPolicy> {
    let days = |option| Ok::<_, Error>(u32::try_from(read.count(option)?).unwrap_or(u32::MAX));
    let policy = KeyRotationPolicy {
        enabled: read.flag(&options::KEY_ROTATION_ENABLED)?,
        interval_days: days(&options::KEY_ROTATION_INTERVAL_DAYS)?,
        max_age_days: days(&options::KEY_ROTATION_MAX_AGE_DAYS)?,
        auto_rotate: read.flag(&options::KEY_ROTATION_AUTO_ROTATE)?,
    };
    if policy.interval_days > policy.max_age_days {
        return Err(contradiction(
            &format!("key-rotation.interval-days is {}", policy.interval_days),
            &format!("key-rotation.max-age-days is {}", policy.max_age_days),
            "make the interval the shorter one",
        ));
    }
    Ok(policy)
}

fn not_in_this_version(read: &Reader, option: &'static Opt) -> Result<bool> {
    if read.flag(option)? {
        return Err(Kind::Unsupported
            .error(format_args!("{} is not in this version: remove it or set it to false", option.key)));
    }
    Ok(false)
}

/// Reads options by their kind, with their defaults.
#[derive(Clone, Copy)]
struct Reader<'s> {
    settings: &'s Settings,
    /// The fallback whose own keys go before the common ones.
    fallback: Option<&'s str>,
}

impl<'s> Reader<'s> {
    fn get(&self, option: &'static Opt) -> Option<&'s str> {
        let own = self.fallback.and_then(|fallback| self.settings.get(&option.key_of_fallback(fallback)));
        own.or_else(|| self.settings.get(option.key))
    }

    fn raw(&self, option: &'static Opt) -> Result<&'s str> {
        if let Some(text) = self.get(option) {
            return Ok(text);
        }
        match option.default {
            Default::Value(text) => Ok(text),
            Default::Required(when) => Err(self.missing(option, when)),
            Default::Derived(_) | Default::None => Err(self.missing(option, "")),
        }
    }

    fn flag(&self, option: &'static Opt) -> Result<bool> {
        value::flag(self.raw(option)?).map_err(|reason| bad(option.key, &reason))
    }

    fn count(&self, option: &'static Opt) -> Result<u64> {
        value::count(self.raw(option)?, 0, u64::MAX).map_err(|reason| bad(option.key, &reason))
    }

    fn duration(&self, option: &'static Opt) -> Result<Duration> {
        value::duration(self.raw(option)?, 0, u64::MAX).map_err(|reason| bad(option.key, &reason))
    }

    fn size(&self, option: &'static Opt) -> Result<u64> {
        value::size(self.raw(option)?, 0, u64::MAX).map_err(|reason| bad(option.key, &reason))
    }

    fn choice(&self, option: &'static Opt) -> Result<&'s str> {
        self.raw(option).map(str::trim)
    }

    fn text(&self, option: &'static Opt) -> Result<String> {
        self.raw(option).map(|text| text.trim().to_owned())
    }

    fn optional(&self, option: &'static Opt) -> Option<String> {
        self.get(option).map(|text| text.trim().to_owned())
    }

    fn list(&self, option: &'static Opt) -> Result<Option<Vec<String>>> {
        let list = self.get(option).map(value::list).transpose();
        list.map_err(|reason| bad(option.key, &reason))
    }

    /// What stands for the placeholder, and the text, of every key of a family.
    fn family(&self, family: &'static Opt) -> impl Iterator<Item = (&'s str, &'s str)> {
        self.settings.pairs().filter_map(move |(key, text)| match Opt::find(key)? {
            (option, Some(name)) if option == family => Some((name, text)),
            _ => None,
        })
    }

    fn missing(&self, option: &'static Opt, when: &str) -> Error {
        let key = self.fallback.map_or_else(|| option.key.to_owned(), |fallback| option.key_of_fallback(fallback));
        let when = when.replace('`', "");
        let when = if when.is_empty() { String::new() } else { format!(" (it is required {when})") };
        Kind::Config.error(format_args!(
            "{key} is missing{when}: set it, for example {key} = \"{example}\" in sealpoint.toml, or sealpoint.{key}: {example} in Flink's configuration",
            example = option.example
        ))
    }
}

fn bad(key: &str, reason: &str) -> Error {
    Kind::Config.error(format_args!("{key}: {reason}"))
}

fn contradiction(one: &str, other: &str, advice: &str) -> Error {
    Kind::Config.error(format_args!("{one}, but {other}: {advice}"))
}

fn show(duration: Duration) -> String {
    value::show_duration(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

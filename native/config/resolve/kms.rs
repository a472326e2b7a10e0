//! The key services: each provider's own keys, and the fallbacks that differ from the primary one in some of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Reader, bad, contradiction, show};
use crate::config::options::{self, Default, Opt};
use crate::config::{
    AwsKmsConfig, AzureAlgorithm, AzureCredential, AzureKeyVaultConfig, GcpKmsConfig, KeyringConfig, KmsConfig,
    KmsProvider, KmsSlot, KmsTransport, LocalHsmConfig, Pkcs11Config, Pkcs11Mechanism, Require, VaultAuth, VaultConfig,
    value,
};
use crate::error::{Kind, Result};

/// The slots section of a file holds eight.
const MOST_FALLBACKS: usize = 7;
const ATTEMPT: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(2);

pub fn provider(read: &Reader) -> Result<KmsProvider> {
    let provider = read.choice(&options::KMS_PROVIDER)?;
    refuse_keys_of_other_providers(read, provider)?;
    Ok(match provider {
        "aws" => KmsProvider::AwsKms(aws(read)?),
        "azure" => KmsProvider::AzureKeyVault(azure(read)?),
        "gcp" => KmsProvider::GcpKms(gcp(read)?),
        "vault" => KmsProvider::Vault(vault(read)?),
        "pkcs11" => KmsProvider::LocalHsm(LocalHsmConfig::Pkcs11(pkcs11(read)?)),
        _ => KmsProvider::LocalHsm(LocalHsmConfig::Keyring(keyring(read)?)),
    })
}

pub fn fallbacks(read: &Reader) -> Result<Vec<KmsSlot>> {
    let names = read.list(&options::KMS_FALLBACKS)?.unwrap_or_default();
    check_names(read, &names)?;
    check_keys_of_tenants(read, names.len())?;
    names.iter().map(|name| fallback(read, name)).collect()
}

fn fallback(read: &Reader, name: &str) -> Result<KmsSlot> {
    let own = Reader { fallback: Some(name), ..*read };
    Ok(KmsSlot { name: name.to_owned(), provider: provider(&own)?, transport: transport(&own)? })
}

pub fn config(read: &Reader) -> Result<KmsConfig> {
    let count = |option| Ok::<_, crate::error::Error>(u32::try_from(read.count(option)?).unwrap_or(u32::MAX));
    Ok(KmsConfig {
        timeout: read.duration(&options::KMS_TIMEOUT)?,
        attempts: count(&options::KMS_ATTEMPTS)?,
        calls_per_second: count(&options::KMS_CALLS_PER_SECOND)?,
        hedge_after: read.duration(&options::KMS_HEDGE_AFTER)?,
        require: if read.choice(&options::KMS_REQUIRE)? == "all" { Require::All } else { Require::One },
        transport: transport(read)?,
    })
}

fn transport(read: &Reader) -> Result<KmsTransport> {
    let timeout = read.duration(&options::KMS_TIMEOUT)?;
    let attempt_timeout = within(read, &options::KMS_ATTEMPT_TIMEOUT, ATTEMPT, &options::KMS_TIMEOUT, timeout)?;
    let connect_timeout =
        within(read, &options::KMS_CONNECT_TIMEOUT, CONNECT, &options::KMS_ATTEMPT_TIMEOUT, attempt_timeout)?;
    Ok(KmsTransport {
        attempt_timeout,
        connect_timeout,
        ca_file: read.optional(&options::KMS_CA_FILE).map(PathBuf::from),
        proxy: read.optional(&options::KMS_PROXY),
    })
}

/// A time that must not exceed another one, and does not by default.
fn within(
    read: &Reader,
    option: &'static Opt,
    default: Duration,
    outer: &'static Opt,
    most: Duration,
) -> Result<Duration> {
    if read.get(option).is_none() {
        return Ok(default.min(most));
    }
    let set = read.duration(option)?;
    if set > most {
        return Err(contradiction(
            &format!("{} is {}", option.key, show(set)),
            &format!("{} is {}", outer.key, show(most)),
            "make the outer one the longer",
        ));
    }
    Ok(set)
}

fn aws(read: &Reader) -> Result<AwsKmsConfig> {
    Ok(AwsKmsConfig {
        region: read.text(&options::KMS_AWS_REGION)?,
        key_id: read.text(&options::KMS_AWS_KEY_ID)?,
        open_key_ids: read.list(&options::KMS_AWS_OPEN_KEY_IDS)?.unwrap_or_default(),
        endpoint: read.optional(&options::KMS_AWS_ENDPOINT),
        fips: read.flag(&options::KMS_AWS_FIPS)?,
        profile: read.optional(&options::KMS_AWS_PROFILE),
        credentials_file: read.optional(&options::KMS_AWS_CREDENTIALS_FILE).map(PathBuf::from),
        role_arn: read.optional(&options::KMS_AWS_ROLE_ARN),
    })
}

fn azure(read: &Reader) -> Result<AzureKeyVaultConfig> {
    let config = AzureKeyVaultConfig {
        vault_url: read.text(&options::KMS_AZURE_VAULT_URL)?,
        key_name: read.text(&options::KMS_AZURE_KEY_NAME)?,
        key_version: read.optional(&options::KMS_AZURE_KEY_VERSION),
        algorithm: match read.choice(&options::KMS_AZURE_ALGORITHM)? {
            "rsa-oaep-256" => AzureAlgorithm::RsaOaep256,
            "a256gcm" => AzureAlgorithm::A256Gcm,
            _ => AzureAlgorithm::Auto,
        },
        wrap_locally: read.flag(&options::KMS_AZURE_WRAP_LOCALLY)?,
        credential: match read.choice(&options::KMS_AZURE_CREDENTIAL)? {
            "client-secret" => AzureCredential::ClientSecret,
            "managed-identity" => AzureCredential::ManagedIdentity,
            "workload-identity" => AzureCredential::WorkloadIdentity,
            _ => AzureCredential::Auto,
        },
        tenant_id: read.optional(&options::KMS_AZURE_TENANT_ID),
        client_id: read.optional(&options::KMS_AZURE_CLIENT_ID),
        client_secret_file: read.optional(&options::KMS_AZURE_CLIENT_SECRET_FILE).map(PathBuf::from),
        authority_host: read.optional(&options::KMS_AZURE_AUTHORITY_HOST),
    };
    if config.wrap_locally && config.algorithm == AzureAlgorithm::A256Gcm {
        return Err(contradiction(
            "kms.azure.wrap-locally is true",
            "kms.azure.algorithm is 'a256gcm'",
            "only an RSA key has a public half: remove one of the two",
        ));
    }
    Ok(config)
}

fn gcp(read: &Reader) -> Result<GcpKmsConfig> {
    Ok(GcpKmsConfig {
        project: read.text(&options::KMS_GCP_PROJECT)?,
        location: read.text(&options::KMS_GCP_LOCATION)?,
        key_ring: read.text(&options::KMS_GCP_KEY_RING)?,
        key_name: read.text(&options::KMS_GCP_KEY_NAME)?,
        endpoint: read.optional(&options::KMS_GCP_ENDPOINT),
        credentials_file: read.optional(&options::KMS_GCP_CREDENTIALS_FILE).map(PathBuf::from),
    })
}

fn vault(read: &Reader) -> Result<VaultConfig> {
    let auth = match read.choice(&options::KMS_VAULT_AUTH)? {
        "approle" => VaultAuth::AppRole,
        "kubernetes" => VaultAuth::Kubernetes,
        _ => VaultAuth::Token,
    };
    let config = VaultConfig {
        address: read.text(&options::KMS_VAULT_ADDRESS)?,
        mount: read.text(&options::KMS_VAULT_MOUNT)?,
        key_name: read.text(&options::KMS_VAULT_KEY_NAME)?,
        namespace: read.optional(&options::KMS_VAULT_NAMESPACE),
        auth,
        auth_mount: read.optional(&options::KMS_VAULT_AUTH_MOUNT),
        token_file: read.optional(&options::KMS_VAULT_TOKEN_FILE).map(PathBuf::from),
        role_id: read.optional(&options::KMS_VAULT_ROLE_ID),
        secret_id_file: read.optional(&options::KMS_VAULT_SECRET_ID_FILE).map(PathBuf::from),
        role: read.optional(&options::KMS_VAULT_ROLE),
        jwt_file: PathBuf::from(read.text(&options::KMS_VAULT_JWT_FILE)?),
    };
    let of_logins = [
        (VaultAuth::Token, &options::KMS_VAULT_TOKEN_FILE),
        (VaultAuth::AppRole, &options::KMS_VAULT_ROLE_ID),
        (VaultAuth::AppRole, &options::KMS_VAULT_SECRET_ID_FILE),
        (VaultAuth::Kubernetes, &options::KMS_VAULT_ROLE),
        (VaultAuth::Kubernetes, &options::KMS_VAULT_JWT_FILE),
    ];
    for (login, option) in of_logins {
        let required = matches!(option.default, Default::Required(_));
        match read.get(option) {
            Some(_) if login != auth => {
                return Err(contradiction(
                    &format!("{} is set", option.key),
                    &format!("kms.vault.auth is '{}'", read.choice(&options::KMS_VAULT_AUTH)?),
                    "remove one of the two",
                ));
            }
            None if login == auth && required => read.text(option).map(drop)?,
            _ => {}
        }
    }
    Ok(config)
}

fn pkcs11(read: &Reader) -> Result<Pkcs11Config> {
    Ok(Pkcs11Config {
        module: PathBuf::from(read.text(&options::KMS_PKCS11_MODULE)?),
        token_label: read.text(&options::KMS_PKCS11_TOKEN_LABEL)?,
        key_label: read.text(&options::KMS_PKCS11_KEY_LABEL)?,
        pin_file: PathBuf::from(read.text(&options::KMS_PKCS11_PIN_FILE)?),
        mechanism: match read.choice(&options::KMS_PKCS11_MECHANISM)? {
            "aes-gcm" => Pkcs11Mechanism::AesGcm,
            "aes-kwp" => Pkcs11Mechanism::AesKwp,
            _ => Pkcs11Mechanism::Auto,
        },
    })
}

fn keyring(read: &Reader) -> Result<KeyringConfig> {
    Ok(KeyringConfig {
        keyring: PathBuf::from(read.text(&options::KMS_LOCAL_KEYRING)?),
        key: read.text(&options::KMS_LOCAL_KEY)?,
        passphrase_file: read.optional(&options::KMS_LOCAL_PASSPHRASE_FILE).map(PathBuf::from),
    })
}

/// `kms.aws.region` beside `kms.provider: local` is a mistake in one of the two.
fn refuse_keys_of_other_providers(read: &Reader, provider: &str) -> Result<()> {
    let foreign = read.settings.pairs().map(|(key, _)| key).find(|key| {
        let Some((option, fallback)) = Opt::find(key) else { return false };
        fallback == read.fallback && option.provider().is_some_and(|owner| owner != provider)
    });
    match foreign {
        Some(key) => Err(contradiction(
            &format!("{key} is set"),
            &format!(
                "{} is '{provider}'",
                read.fallback.map_or_else(
                    || options::KMS_PROVIDER.key.to_owned(),
                    |fallback| options::KMS_PROVIDER.key_of_fallback(fallback)
                )
            ),
            "remove one of the two",
        )),
        None => Ok(()),
    }
}

/// Each fallback has a name of its own and keys of its own, and no keys belong to a fallback that is not listed.
fn check_names(read: &Reader, names: &[String]) -> Result<()> {
    let key = options::KMS_FALLBACKS.key;
    if names.len() > MOST_FALLBACKS {
        return Err(bad(key, &format!("{} names are more than {MOST_FALLBACKS}", names.len())));
    }
    let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    if distinct.len() < names.len() {
        return Err(bad(key, "a name is listed twice"));
    }
    if let Some(name) = names.iter().find(|name| name.contains('.') || *name == KmsSlot::PRIMARY) {
        return Err(bad(
            key,
            &format!("'{name}' cannot be the name of a fallback: it has a dot in it, or is '{}'", KmsSlot::PRIMARY),
        ));
    }
    let set = || {
        read.settings.pairs().filter_map(|(key, _)| match Opt::find(key) {
            Some((option, Some(fallback))) if option.key_of_fallback(fallback) == key => Some((key, fallback)),
            _ => None,
        })
    };
    if let Some((set, name)) = set().find(|(_, name)| !distinct.contains(name)) {
        let nearest = value::nearest(name, distinct.iter().copied());
        let advice = nearest
            .map_or_else(|| format!("add it to {key}, or remove the key"), |name| format!("did you mean '{name}'?"));
        return Err(contradiction(&format!("{set} is set"), &format!("{key} does not list '{name}'"), &advice));
    }
    match names.iter().find(|name| !set().any(|(_, fallback)| fallback == *name)) {
        Some(name) => Err(contradiction(
            &format!("{key} lists '{name}'"),
            &format!("no kms.fallback.{name}.* key is set"),
            "it would be the primary key service once more: say what differs",
        )),
        None => Ok(()),
    }
}

/// A tenant has one key for all key services, or one for each.
fn check_keys_of_tenants(read: &Reader, fallbacks: usize) -> Result<()> {
    for (tenant, text) in read.family(&options::TENANT_KEY) {
        let key = options::TENANT_KEY.key_of(tenant);
        let count = value::list(text).map_err(|reason| bad(&key, &reason))?.len();
        if count != 1 && count != fallbacks + 1 {
            return Err(Kind::Config.error(format_args!(
                "{key} holds {count} keys, but there are {} key services: give one key for all of them, or one for each",
                fallbacks + 1
            )));
        }
    }
    Ok(())
}

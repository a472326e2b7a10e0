//! `sealpoint pkcs11`: keys on a hardware security module.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sealpoint::Result;
use sealpoint::config::{Pkcs11Config, Pkcs11Mechanism};
use sealpoint::kms::pkcs11::Pkcs11Client;
use serde_json::json;

/// The subcommands of `sealpoint pkcs11`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the first version of a key, which never leaves the token; an existing key is never touched
    CreateKey(KeyArguments),
}

/// Which key of which token.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sealpoint pkcs11 create-key --module /usr/lib/softhsm/libsofthsm2.so --token-label flink --key-label flink-state \\
      --pin-file /run/secrets/hsm-pin

JSON: {token, key, version, state}")]
pub struct KeyArguments {
    /// The PKCS#11 module: a shared library that is loaded, so trust it
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// The label of the token
    #[arg(long, value_name = "LABEL")]
    token_label: String,
    /// The label of the key
    #[arg(long, value_name = "LABEL")]
    key_label: String,
    /// The file that holds the user's PIN
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// What the key is for, as kms.pkcs11.mechanism will say
    #[arg(long, value_enum, default_value = "auto")]
    mechanism: Mechanism,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mechanism {
    Auto,
    AesGcm,
    AesKwp,
}

pub fn run(command: Command) -> Result<()> {
    match command {
        Command::CreateKey(key) => {
            let config = Pkcs11Config {
                module: key.module,
                token_label: key.token_label,
                key_label: key.key_label,
                pin_file: key.pin_file,
                mechanism: match key.mechanism {
                    Mechanism::Auto => Pkcs11Mechanism::Auto,
                    Mechanism::AesGcm => Pkcs11Mechanism::AesGcm,
                    Mechanism::AesKwp => Pkcs11Mechanism::AesKwp,
                },
            };
            let version = Pkcs11Client::create_key(&config)?;
            let (token, label) = (&config.token_label, &config.key_label);
            if key.json {
                say!("{}", json!({"token": token, "key": label, "version": version.id, "state": "created"}));
            } else {
                say!("{token}/{label} version {}", version.id);
            }
        }
    }
    Ok(())
}

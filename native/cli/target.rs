//! What every command over a store of checkpoints takes: a configuration, and how stores are reached.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::error::Result;
use sealpoint::store::{Location, StoreOptions};

/// The configuration and the stores.
#[derive(Debug, Args)]
pub struct Target {
    /// The configuration
    #[arg(long, env = "SEALPOINT_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    stores: Stores,
}

/// How stores are reached. Credentials come from the environment, as each cloud's users expect.
#[derive(Debug, Args)]
pub struct Stores {
    /// Where the store of objects is, instead of the cloud's own address
    #[arg(long, value_name = "URL")]
    store_endpoint: Option<String>,
    /// Reach the store over http as well, in the clear
    #[arg(long)]
    store_allow_http: bool,
    /// Certificates (PEM) to trust in the store, instead of the system's
    #[arg(long, value_name = "FILE")]
    store_ca_file: Option<PathBuf>,
    /// The most requests a second to the store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    store_rate: Option<u32>,
}

impl Target {
    /// The configuration.
    pub fn config(&self) -> Result<EncryptionConfig> {
        EncryptionConfig::load(&self.config)
    }

    /// An engine under it.
    pub fn engine(&self) -> Result<Arc<EncryptionEngine>> {
        EncryptionEngine::open(self.config()?)
    }

    /// How stores are reached: as the configuration says, unless the command line says otherwise.
    pub fn store_options(&self) -> StoreOptions {
        // A configuration that cannot be read is told where it is needed.
        let configured = self.config().map(|config| StoreOptions::of(&config)).unwrap_or_default();
        self.stores.options(configured)
    }
}

impl Stores {
    /// As `configured`, unless the command line says otherwise.
    pub fn options(&self, configured: StoreOptions) -> StoreOptions {
        StoreOptions {
            endpoint: self.store_endpoint.clone(),
            allow_http: self.store_allow_http,
            ca_file: self.store_ca_file.clone().or(configured.ca_file),
            requests_per_second: self.store_rate.or(configured.requests_per_second),
            environment: configured.environment,
        }
    }
}

/// A path or URI given as an argument.
pub fn location(text: &str) -> Result<Location> {
    Location::parse(text)
}

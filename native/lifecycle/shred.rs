//! Shred: the keys of one tenant are destroyed, and with them all that was ever sealed for it.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::EncryptionEngine;
use crate::error::{Error, Kind, Result};
use crate::keys::Wrapping;
use crate::kms::Destruction;
use crate::lifecycle::kek::{Kek, Keks, State};
use crate::lifecycle::progress::Progress;
use crate::lifecycle::report::{self, Options, Report, Row};
use crate::store::Location;

/// What shredding a tenant would do.
#[derive(Debug)]
pub struct Shredding {
    /// Whose keys.
    pub tenant: String,
    /// What lies in the places that were looked at.
    pub report: Report,
    keks: Vec<Arc<Kek>>,
}

impl Shredding {
    /// Looks what it would do. Refuses a tenant whose keys serve others too, by the configuration or by what lies there.
    pub fn plan(
        engine: &Arc<EncryptionEngine>,
        tenant: &str,
        roots: &[Location],
        options: &Options,
        progress: &Progress,
    ) -> Result<Shredding> {
        let all = engine.wait(Keks::ask(engine.keys().clients()));
        let keks = all.of(tenant).to_vec();
        if keks.is_empty() {
            let tenants = engine.config().tenants.open().join(", ");
            return Err(Kind::InvalidArgument
                .error(format_args!("there is no tenant '{tenant}' in the configuration, only {tenants}")));
        }
        for kek in &keks {
            refuse_shared(tenant, kek, &all)?;
        }
        let report = report::report(engine, roots, options, progress, |_| Ok(()))?;
        let shredding = Shredding { tenant: tenant.to_owned(), report, keks };
        match shredding.report.rows.iter().find(|row| row.tenant != tenant && shredding.destroys(&row.wrapping)) {
            Some(row) => Err(shared(tenant, &row.wrapping.kek, &row.tenant, "has files under it")),
            None => Ok(shredding),
        }
    }

    /// The keys, as files name them, and whose they are.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keks.iter().map(|kek| (kek.client.provider(), kek.name.as_deref().unwrap_or(kek.client.key_id())))
    }

    /// What the tenant has under them.
    pub fn lost(&self) -> impl Iterator<Item = &Row> {
        self.report.rows.iter().filter(|row| row.tenant == self.tenant && self.destroys(&row.wrapping))
    }

    /// What the tenant has under keys that stay: whoever has those can open it afterwards as well.
    pub fn kept(&self) -> impl Iterator<Item = &Row> {
        let stays = |row: &&Row| row.state != State::Gone && !self.destroys(&row.wrapping);
        self.report.rows.iter().filter(|row| row.tenant == self.tenant).filter(stays)
    }

    /// Destroys each of the keys, or has that scheduled; what came of each, by its name.
    pub fn destroy(&self, engine: &EncryptionEngine, after: Duration) -> Vec<(String, Result<Destruction>)> {
        let destroy = |kek: &Arc<Kek>| engine.wait(kek.client.schedule_destruction(after));
        let named = self.keys().map(|(provider, name)| format!("{provider} '{name}'"));
        named.zip(&self.keks).map(|(name, kek)| (name, destroy(kek))).collect()
    }

    fn destroys(&self, wrapping: &Wrapping) -> bool {
        self.keks.iter().any(|kek| kek.is(wrapping))
    }
}

/// Refuses a key that another tenant is configured with, or could be for all that is known.
fn refuse_shared(tenant: &str, kek: &Kek, all: &Keks) -> Result<()> {
    let name = kek.name.as_ref().map_err(Error::clone)?;
    for (other, theirs) in all.all().filter(|(other, _)| *other != tenant) {
        if theirs.client.provider() != kek.client.provider() {
            continue;
        }
        if theirs.name.as_ref().map_err(|error| error.clone().at(format_args!("tenant '{other}'")))? == name {
            return Err(shared(tenant, name, other, "is configured with it"));
        }
    }
    Ok(())
}

fn shared(tenant: &str, kek: &str, other: &str, how: &str) -> Error {
    Kind::State.error(format_args!(
        "key '{kek}' of tenant '{tenant}' cannot be destroyed: tenant '{other}' {how}; give one of them a key of its own (tenants.<name>.key) and re-encrypt what it has"
    ))
}

//! New wraps for data keys that files are sealed under: by the current versions of the configured keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::context::EncryptionContext;
use crate::envelope::limits::MAX_SLOT_COUNT;
use crate::envelope::{DataKeyId, Head, Slot, encode_slots, slots};
use crate::error::{Error, Kind, Result};
use crate::keys::service::{self, KeyService};
use crate::kms::over::Budget;
use crate::kms::{KmsClient, WrappedKey};
use crate::secret::Secret;

/// By which of a tenant's configured keys its data keys are to be wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By all of them.
    All,
    /// By the one of this name: `primary`, or a fallback's.
    Client(String),
}

/// Wraps data keys anew. Each key service is asked for its current version once. All of it runs on the runtime thread.
pub struct Renewal {
    service: Arc<KeyService>,
    /// Which of a tenant's clients are meant; all of them if none.
    only: Option<usize>,
    budget: Option<Arc<Budget>>,
    versions: Mutex<CurrentVersions>,
}

/// By tenant, and number of its client.
type CurrentVersions = HashMap<(String, usize), Arc<OnceCell<String>>>;

/// A data key in new slots, each of which was seen to give it.
#[derive(Debug)]
pub struct Renewed {
    /// The encoding of its slots, fit for a head or a sidecar.
    pub section: Vec<u8>,
    /// By what it was wrapped.
    pub versions: Vec<Wrapping>,
    id: DataKeyId,
    /// What was wrapped anew, and what was there and stays.
    slots: (Vec<Slot>, Vec<Slot>),
    data_key: Arc<Secret>,
}

/// What a data key is wrapped by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wrapping {
    /// The key service.
    pub provider: String,
    /// The key-encryption key in it.
    pub kek: String,
    /// The version of that key.
    pub version: String,
}

impl Renewal {
    pub(super) fn new(service: Arc<KeyService>, target: Target, budget: Option<Arc<Budget>>) -> Result<Renewal> {
        let only = match target {
            Target::All => None,
            Target::Client(name) => Some(service.names().iter().position(|known| *known == name).ok_or_else(|| {
                Kind::InvalidArgument.error(format_args!(
                    "no key service is configured under the name '{}': there are {}; see kms.fallbacks",
                    name.escape_debug(),
                    service.names().join(", ")
                ))
            })?),
        };
        Ok(Renewal { service, only, budget, versions: Mutex::default() })
    }

    /// Refuses a file whose data key this process must not, or could not, unwrap.
    pub fn admits(&self, head: &Head) -> Result<()> {
        self.service.policy.check_binding(head)
    }

    /// True if these slots, as far as they can be believed, need no renewal.
    pub async fn is_current(&self, tenant: &str, slots: &[Slot]) -> Result<bool> {
        for (at, client) in self.targets(tenant)? {
            let current = self.current_version(tenant, at, client).await?;
            if !slots.iter().any(|slot| is_own(slot, client) && slot.version == current) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The data key of these slots, of which `section` is the encoding, wrapped anew: inside the service where it can do that
    /// and has wrapped the key before, else by what it is. Slots of other keys stay, older versions of the same key go. Nothing
    /// is given out unless each new slot was unwrapped again and gave the same key.
    pub async fn renew(&self, id: DataKeyId, tenant: &str, slots: &[Slot], section: &[u8]) -> Result<Renewed> {
        let targets = self.targets(tenant)?;
        let context = self.service.policy.wrapping_context(id, tenant)?;
        let unwrapped = self.service.unwrap_any(id, tenant, slots, section.to_vec(), self.budget.as_ref()).await;
        let data_key = unwrapped?.shared_secret();
        let mut renewed = Vec::new();
        for (_, client) in targets {
            renewed.push(self.wrap(client, &data_key, slots, &context).await.map_err(|error| at(error, client))?);
        }
        let kept: Vec<Slot> = slots.iter().filter(|slot| !is_among(&renewed, slot)).cloned().collect();
        let slots = [&renewed[..], &kept].concat();
        if slots.len() > MAX_SLOT_COUNT {
            return Err(too_many(&slots));
        }
        let section = encode_slots(&slots, id, &data_key)?;
        let versions = renewed.iter().map(Wrapping::of).collect();
        Ok(Renewed { section, versions, id, slots: (renewed, kept), data_key })
    }

    async fn wrap(
        &self,
        client: &Arc<dyn KmsClient>,
        data_key: &Secret,
        slots: &[Slot],
        context: &EncryptionContext,
    ) -> Result<Slot> {
        let own = slots.iter().find(|slot| client.rewraps_inside() && is_own(slot, client));
        let inside = match own {
            Some(own) => {
                self.turn().await;
                match client.rewrap(&wrapped_key(own), context).await {
                    // The version that wrapped it may be gone: another slot gave the key.
                    Err(error) if !error.may_pass() => None,
                    outcome => Some(outcome?),
                }
            }
            None => None,
        };
        let wrapped = match inside {
            Some(wrapped) => wrapped,
            None => {
                self.turn().await;
                client.encrypt(data_key, context).await?
            }
        };
        if !client.opens(&wrapped.kek) {
            return Err(Kind::WrappedKey.error(format_args!(
                "the data key came back wrapped by '{}', which is not the configured key",
                wrapped.kek.escape_debug()
            )));
        }
        self.turn().await;
        let opened = client.decrypt(&wrapped, context).await.map_err(|error| error.at("what it wrapped anew"))?;
        service::check_length(&opened, &**client)?;
        constant_time::verify_slices_are_equal(opened.expose(), data_key.expose())
            .map_err(|_| Kind::WrappedKey.error("what it wrapped anew gives another data key than the one before"))?;
        Ok(service::slot(client, wrapped))
    }

    async fn current_version(&self, tenant: &str, number: usize, client: &Arc<dyn KmsClient>) -> Result<String> {
        let cell = Arc::clone(self.versions.lock().entry((tenant.to_owned(), number)).or_default());
        let ask = || async {
            self.turn().await;
            client.current_key_version().await.map(|version| version.id).map_err(|error| at(error, client))
        };
        cell.get_or_try_init(ask).await.cloned()
    }

    fn targets(&self, tenant: &str) -> Result<impl Iterator<Item = (usize, &Arc<dyn KmsClient>)>> {
        self.service.policy.check_tenant(tenant)?;
        let clients = self.service.clients_of(tenant).iter().enumerate();
        Ok(clients.filter(|(at, _)| self.only.is_none_or(|only| only == *at)))
    }

    async fn turn(&self) {
        if let Some(budget) = &self.budget {
            budget.turn().await;
        }
    }
}

impl Renewed {
    /// True if a holder of the data key wrote these slots.
    pub fn proves(&self, section: &[u8]) -> bool {
        slots::verify(section, self.id, &self.data_key).is_ok()
    }

    /// Its section, joined with another one that is in its place by now, if that one is genuine: somebody else may have
    /// renewed the data key by other keys meanwhile. What was wrapped anew here stands; of what only stayed, the other's.
    pub fn joined(&self, other: &[u8]) -> Result<Vec<u8>> {
        let genuine = slots::verify(other, self.id, &self.data_key).and_then(|()| slots::parse(other));
        let Ok(mut theirs) = genuine else { return Ok(self.section.clone()) };
        let (renewed, kept) = &self.slots;
        theirs.retain(|slot| !is_among(renewed, slot));
        let kept: Vec<Slot> = kept.iter().filter(|slot| !is_among(&theirs, slot)).cloned().collect();
        let slots = [&renewed[..], &theirs, &kept].concat();
        if slots.len() > MAX_SLOT_COUNT {
            Ok(self.section.clone())
        } else {
            encode_slots(&slots, self.id, &self.data_key)
        }
    }
}

impl Wrapping {
    /// What wrapped this slot.
    pub fn of(slot: &Slot) -> Wrapping {
        Wrapping { provider: slot.provider.clone(), kek: slot.kek.clone(), version: slot.version.clone() }
    }
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' version {}", self.provider, self.kek.escape_debug(), self.version.escape_debug())
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("only", &self.only).finish_non_exhaustive()
    }
}

fn is_own(slot: &Slot, client: &Arc<dyn KmsClient>) -> bool {
    slot.provider == client.provider() && client.opens(&slot.kek)
}

/// True if one of these slots is of the same key-encryption key.
fn is_among(slots: &[Slot], slot: &Slot) -> bool {
    slots.iter().any(|other| other.provider == slot.provider && other.kek == slot.kek)
}

fn wrapped_key(slot: &Slot) -> WrappedKey {
    WrappedKey { kek: slot.kek.clone(), version: slot.version.clone(), bytes: slot.wrapped.clone() }
}

fn at(error: Error, client: &Arc<dyn KmsClient>) -> Error {
    error.at(service::name(Some(client)))
}

fn too_many(slots: &[Slot]) -> Error {
    let keys: Vec<_> = slots.iter().map(|slot| Wrapping::of(slot).to_string()).collect();
    Kind::InvalidArgument.error(format_args!(
        "a data key takes at most {MAX_SLOT_COUNT} wraps, and this one would have {}: {}; re-encrypt the files under it to be rid of the older ones",
        slots.len(),
        keys.join(", ")
    ))
}

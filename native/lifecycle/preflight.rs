//! Whether a restore would work, found out before the job that runs is stopped: by this configuration, these credentials,
//! and these keys.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::Checkpoint;
use super::manifest::Manifest;
use super::problem::{Problem, What};
use super::reach::Reach;
use super::sealed_file::{ENDS, SealedFile};
use super::sidecars::Within;
use crate::config::CheckpointManifest;
use crate::envelope::{DataKeyId, Head};
use crate::error::{Kind, Result};
use crate::flink::METADATA;
use crate::kms::{Clients, Need};
use crate::store::{Location, Object};

/// What a preflight found.
#[derive(Debug)]
pub struct Preflight {
    /// The checkpoint's directory.
    pub directory: Location,
    /// The files that it needs, `_metadata` included.
    pub files: u64,
    /// Each data key that must be unwrapped: one call of each process that reads a file under it.
    pub data_keys: Vec<DataKeyUse>,
    /// What each key service lets the configured credentials do.
    pub permissions: Vec<Permission>,
    /// What stands in the way.
    pub problems: Vec<Problem>,
}

/// A data key, and what is sealed under it.
#[derive(Debug)]
pub struct DataKeyUse {
    /// Which.
    pub id: DataKeyId,
    /// Whose.
    pub tenant: String,
    /// The key service, the key and the version of each slot that the files have for it.
    pub slots: Vec<[String; 3]>,
    /// How many of the files are under it.
    pub files: u64,
    /// Whether it was unwrapped.
    pub opens: bool,
}

/// A permission that a restore, and the checkpoints after it, need.
#[derive(Debug)]
pub struct Permission {
    /// The tenant whose key it is.
    pub tenant: String,
    /// The key service.
    pub provider: String,
    /// The key in it.
    pub kek: String,
    /// The permission, as the provider calls it.
    pub name: String,
    /// Why it is missing, if it is.
    pub missing: Option<String>,
}

/// Tries whatever a restore of this checkpoint or savepoint would need, and changes nothing. Its manifest is compared as a
/// JobManager of the same configuration would.
pub fn preflight(reach: &Reach, clients: &Clients, checkpoint: &Location) -> Result<Preflight> {
    let directory = match checkpoint.name() {
        METADATA => checkpoint.parent().unwrap_or_else(|| checkpoint.clone()),
        _ => checkpoint.clone(),
    };
    let metadata = directory.join(METADATA);
    let object = reach.stat(&metadata)?.ok_or_else(|| {
        Kind::NotFound
            .error(format_args!("{metadata}: there is no such file: give the directory of a checkpoint or savepoint"))
    })?;
    let mut found =
        Preflight { directory, files: 1, data_keys: Vec::new(), permissions: Vec::new(), problems: Vec::new() };
    let (mut keys, mut opened) = (Keys::default(), Vec::new());
    match Checkpoint::load(reach, &object) {
        Ok(checkpoint) => {
            keys.add(&checkpoint.metadata_head, true);
            found.files += checkpoint.files.len() as u64;
            found.problems = checkpoint.problems;
            reach.progress().begin("reading heads", "files", checkpoint.files.len() as u64);
            opened.push(Opened::of(metadata, object.size, &checkpoint.metadata_head));
            reach.parallel(
                checkpoint.files.keys(),
                |place| (place, look(reach, place)),
                |(place, (head, problem))| {
                    reach.progress().add(1);
                    if let Some((size, head)) = &head {
                        keys.add(head, problem.is_none());
                        if problem.is_none() {
                            opened.push(Opened::of(place.clone(), *size, head));
                        }
                    }
                    found.problems.extend(problem);
                    Ok(())
                },
            )?;
            let mut within = Within::new(reach);
            found.problems.extend(opened.iter().filter_map(|file| within.check(&file.place, file.data_key_id)));
        }
        // Which other files there are, nobody can know.
        Err(problem) => {
            if let Ok(head) = SealedFile::head(reach, &object) {
                keys.add(&head, false);
            }
            found.problems.push(problem);
        }
    }
    found.problems.extend(by_manifest(reach, &found.directory, &opened));
    found.data_keys = keys.0.into_values().collect();
    let tenants: BTreeSet<&str> = found.data_keys.iter().map(|key| key.tenant.as_str()).collect();
    found.permissions = reach.engine().wait(permissions(clients, &tenants, &mut found.problems));
    found.problems.sort_by(|a, b| a.error.message().cmp(b.error.message()));
    Ok(found)
}

impl Preflight {
    /// True if nothing stands in the way.
    pub fn is_clear(&self) -> bool {
        self.problems.is_empty() && self.is_permitted()
    }

    /// True if nothing that was found stands in the way, but not everything could be found out.
    pub fn is_incomplete(&self) -> bool {
        let unchecked = self.problems.iter().all(|problem| problem.what == What::Unchecked);
        unchecked && self.is_permitted() && !self.is_clear()
    }

    fn is_permitted(&self) -> bool {
        self.permissions.iter().all(|permission| permission.missing.is_none())
    }
}

/// A file whose head was opened.
struct Opened {
    place: Location,
    data_key_id: DataKeyId,
    sealed_len: u64,
    /// By which a manifest knows the file.
    commitment: [u8; 32],
}

impl Opened {
    fn of(place: Location, sealed_len: u64, head: &Head) -> Opened {
        Opened { place, data_key_id: head.bound.data_key_id, sealed_len, commitment: *head.commitment() }
    }
}

/// Why a JobManager of this configuration would refuse the checkpoint by its manifest, or because there is none.
fn by_manifest(reach: &Reach, directory: &Location, opened: &[Opened]) -> Vec<Problem> {
    let policy = reach.engine().config().checkpoint_manifest;
    if policy == CheckpointManifest::None {
        return Vec::new();
    }
    match Manifest::read(reach, directory) {
        Ok(Some(manifest)) => {
            let check = |file: &Opened| manifest.check(directory, &file.place, file.sealed_len, &file.commitment);
            opened.iter().filter_map(check).collect()
        }
        Ok(None) if policy == CheckpointManifest::Require => vec![Manifest::missing(directory)],
        Ok(None) => Vec::new(),
        Err(problem) => vec![problem],
    }
}

#[derive(Default)]
struct Keys(BTreeMap<DataKeyId, DataKeyUse>);

impl Keys {
    fn add(&mut self, head: &Head, opens: bool) {
        let id = head.bound.data_key_id;
        let slots = || head.slots.iter().map(|slot| [slot.provider.clone(), slot.kek.clone(), slot.version.clone()]);
        let tenant = head.bound.tenant.clone();
        let key =
            self.0.entry(id).or_insert_with(|| DataKeyUse { id, tenant, slots: slots().collect(), files: 0, opens });
        key.files += 1;
        key.opens |= opens;
    }
}

/// The length and the head of a file, opened: its data key is asked for once, however many files are under it.
fn look(reach: &Reach, place: &Location) -> (Option<(u64, Head)>, Option<Problem>) {
    let object: Object = match reach.stat(place) {
        Ok(Some(object)) => object,
        Ok(None) => {
            let error = Kind::NotFound.error(format_args!("{place}: the metadata name it, and there is no such file"));
            return (None, Some(What::Missing.problem(error)));
        }
        Err(error) => return (None, Some(error.into())),
    };
    match SealedFile::open(reach, &object, ENDS) {
        Ok(file) => (Some((object.size, file.head)), None),
        Err(problem) => (SealedFile::head(reach, &object).ok().map(|head| (object.size, head)), Some(problem)),
    }
}

/// What sealing and opening for these tenants need of each of their key services. That one did not answer says nothing of
/// what it allows, and is a problem.
async fn permissions(clients: &Clients, tenants: &BTreeSet<&str>, problems: &mut Vec<Problem>) -> Vec<Permission> {
    let mut found = Vec::new();
    for tenant in tenants {
        let clients = clients.get(*tenant).map_or(&[][..], Vec::as_slice);
        for client in clients {
            for probe in client.probe().await {
                let needed = match probe.need {
                    Need::Data => true,
                    Need::Fallback => clients.len() > 1,
                    Need::Care => false,
                };
                if !needed {
                    continue;
                }
                let missing = match probe.outcome {
                    Err(error) if error.may_pass() => {
                        let place = format_args!("{} '{}': {}", client.provider(), client.key_id(), probe.permission);
                        problems.push(What::Unchecked.problem(error.at(place)));
                        continue;
                    }
                    outcome => outcome.err().map(|error| error.message().to_owned()),
                };
                found.push(Permission {
                    tenant: (*tenant).to_owned(),
                    provider: client.provider().to_owned(),
                    kek: client.key_id().to_owned(),
                    name: probe.permission,
                    missing,
                });
            }
        }
    }
    found
}

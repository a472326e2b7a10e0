//! After a key-encryption key fell into other hands: what it can open, and the same state under keys that it cannot.

use std::collections::BTreeSet;

use futures_util::StreamExt;

use super::checkpoint::Checkpoint;
use super::kek::{Kek, KekName, Keks};
use super::problem::{Problem, What};
use super::reach::Reach;
use super::survey::{Count, Found, is_keyless, look, survey};
use crate::envelope::{DataKeyId, Head, Parsed, Slot, sidecar};
use crate::error::{Kind, Result};
use crate::flink::METADATA;
use crate::keys::Wrapping;
use crate::store::{Location, Object};

/// What lies at or below a place, and could be opened by whoever has the key.
#[derive(Debug)]
pub struct Exposure {
    /// The place.
    pub root: Location,
    /// The data keys that the compromised key wraps, or may once have wrapped: whoever unwrapped one has it for good. A data
    /// key that was rewrapped by that key counts whatever its version now: an earlier sidecar may have had the compromised one.
    pub data_keys: u64,
    /// The files sealed under them.
    pub files: u64,
    /// Their sealed bytes.
    pub bytes: u64,
    /// Files of which it could not be found out.
    pub problems: Vec<Problem>,
    /// What data keys there are wrapped by, the compromised key or not.
    wrappings: BTreeSet<Wrapping>,
}

/// Looks at the head of every file at or below `root`, and of those that checkpoints there need from elsewhere, and at the
/// sidecars. Refuses a place where nothing is, or nothing is sealed: it is the wrong one.
pub fn exposure(reach: &Reach, compromised: &KekName, root: &Location) -> Result<Exposure> {
    let mut found = Exposure {
        root: root.clone(),
        data_keys: 0,
        files: 0,
        bytes: 0,
        problems: Vec::new(),
        wrappings: BTreeSet::new(),
    };
    reach.progress().begin("listing", "files", 0);
    let mut files = 0;
    // The two kinds of file that say something of others.
    let listed = reach.list_some(root, |object| {
        reach.progress().add(1);
        files += u64::from(!is_keyless(object));
        [METADATA, sidecar::FILE_NAME].contains(&object.location.name())
    })?;
    let elsewhere = elsewhere(reach, root, &listed, &mut found.problems);
    let beside = beside(reach, compromised, &listed, &elsewhere, &mut found)?;
    drop(listed);
    let mut exposed: BTreeSet<DataKeyId> = BTreeSet::new();
    let mut count = |file: Found| match file {
        Found::Sealed(sealed) => {
            let id = sealed.head.bound.data_key_id;
            found.wrappings.extend(sealed.head.slots.iter().map(Wrapping::of));
            if sealed.head.slots.iter().any(|slot| wraps(compromised, slot)) || beside.contains(&id) {
                exposed.insert(id);
                found.files += 1;
                found.bytes += sealed.object.size;
            }
        }
        Found::Plain(object) => found.problems.push(plain(&object)),
        Found::Foreign(object, error) => found.problems.push(What::Foreign.problem(error.at(&object.location))),
        Found::Unreadable(_, error) => found.problems.push(error.into()),
        // Nothing can be read of it by anybody.
        Found::Unfinished(_) | Found::Gone(_) => {}
    };
    let (store, mut place) = (reach.store(root)?, Count::default());
    reach.progress().begin("reading heads", "files", files + elsewhere.len() as u64);
    reach.wait(async {
        let mut found = survey(&store, std::slice::from_ref(root));
        while let Some(file) = found.next().await {
            reach.progress().add(1);
            place.add(&file);
            count(file);
        }
        Ok(())
    })?;
    for place in &elsewhere {
        reach.progress().add(1);
        if let Some(object) = reach.stat(place)? {
            count(reach.engine().wait(look(&reach.store(place)?, object)));
        }
    }
    let partial = found.not_looked_into().next().is_some();
    place.check(root, partial, partial)?;
    found.data_keys = exposed.len() as u64;
    found.problems.sort_by(|a, b| a.error.message().cmp(b.error.message()));
    Ok(found)
}

impl Exposure {
    /// Problems that may hide more: what is in clear hides nothing.
    fn not_looked_into(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.what != What::Plaintext)
    }
}

/// Refuses a key, or a version of one, that no configured key service has and that nothing in these places is under: of a
/// name that is mistyped, nothing is exposed anywhere.
pub fn check_known(reach: &Reach, compromised: &KekName, exposed: &[Exposure]) -> Result<()> {
    let wrappings = || exposed.iter().flat_map(|exposure| &exposure.wrappings);
    if wrappings().any(|wrapping| compromised.names(wrapping)) {
        return Ok(());
    }
    let keks = reach.wait(async { Ok(Keks::ask(reach.engine().keys().clients()).await) })?;
    // Of a key that is gone, or whose service does not answer, what the files say has to do: what was rewrapped may have been
    // under any of its versions.
    let answers = |kek: &Kek| kek.name.as_ref().is_ok_and(|name| *name == compromised.kek) && kek.versions.is_ok();
    if !keks.all().any(|(_, kek)| answers(kek)) && exposed.iter().any(|exposure| exposure.files > 0) {
        return Ok(());
    }
    keks.check_known(compromised, wrappings()).map_err(|error| {
        match exposed.iter().find_map(|exposure| exposure.not_looked_into().next()) {
            // It may be under it.
            Some(problem) => {
                error.kind().error(format_args!("{error}; not everything could be looked into: {problem}"))
            }
            None => error,
        }
    })
}

/// The files that the checkpoints among these need, and that do not lie at or below `root`: those that a job's share.
fn elsewhere(reach: &Reach, root: &Location, listed: &[Object], problems: &mut Vec<Problem>) -> BTreeSet<Location> {
    let mut files = BTreeSet::new();
    for metadata in listed.iter().filter(|object| object.location.name() == METADATA) {
        match Checkpoint::load(reach, metadata) {
            Ok(checkpoint) => files.extend(checkpoint.files.into_keys().filter(|place| place.below(root).is_none())),
            Err(problem) => problems.push(problem),
        }
    }
    files
}

/// Refuses to seal at this place as long as what is sealed there could be opened with the compromised key.
pub fn check_sealing(reach: &Reach, compromised: &KekName, place: &Location) -> Result<()> {
    let uri = place.uri();
    let sealing = reach.with_key(|| reach.engine().sealer(&uri, None))?;
    let Parsed::Complete(head) = Head::parse(sealing.head())? else {
        return Err(Kind::Internal.error("a head was sealed that does not parse: report it"));
    };
    match head.slots.iter().find(|slot| wraps(compromised, slot)) {
        None => Ok(()),
        Some(slot) => Err(Kind::Config.error(format_args!(
            "new data keys would still be wrapped by {} version '{}', which is compromised: {}",
            slot.kek,
            slot.version,
            if compromised.version.is_some() {
                "rotate it in its key service"
            } else {
                "configure another key (kms.*, kms.fallbacks) to seal under, and this one as a fallback no more than to open by"
            }
        ))),
    }
}

/// The data keys that a sidecar in reach of these files has under the compromised key, or may have had.
fn beside(
    reach: &Reach,
    compromised: &KekName,
    listed: &[Object],
    elsewhere: &BTreeSet<Location>,
    found: &mut Exposure,
) -> Result<BTreeSet<DataKeyId>> {
    let listed = listed.iter().map(|object| object.location.clone());
    let mut places: BTreeSet<Location> = listed.filter(|place| place.name() == sidecar::FILE_NAME).collect();
    let mut directories = BTreeSet::from([found.root.clone()]);
    for place in elsewhere.iter().chain([&found.root]) {
        let parent = place.parent();
        directories.extend(parent.as_ref().and_then(Location::parent));
        directories.extend(parent);
    }
    places.extend(directories.into_iter().map(|directory| directory.join(sidecar::FILE_NAME)));
    let any_version = KekName { version: None, ..compromised.clone() };
    let mut ids = BTreeSet::new();
    for place in places {
        let Some(bytes) = reach.small(&place)? else { continue };
        let (entries, sound) = sidecar::salvage(&bytes);
        found.problems.extend(sound.err().map(|error| Problem::from(error.at(&place))));
        found.wrappings.extend(entries.iter().flat_map(|entry| &entry.slots).map(Wrapping::of));
        let under = entries.iter().filter(|entry| entry.slots.iter().any(|slot| wraps(&any_version, slot)));
        ids.extend(under.map(|entry| entry.data_key_id));
    }
    Ok(ids)
}

fn wraps(kek: &KekName, slot: &Slot) -> bool {
    kek.names(&Wrapping::of(slot))
}

fn plain(object: &Object) -> Problem {
    What::Plaintext
        .problem(Kind::NotSealed.error(format_args!("{}: it is in clear, and needs no key", object.location)))
}

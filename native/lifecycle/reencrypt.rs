//! The same state under new keys: every file of checkpoints and savepoints sealed anew at another place, from which Flink
//! restores.

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, Length, SEALED, place};
use super::problem::{Problem, What};
use super::reach::Reach;
use super::sealed_file::{SealedFile, THROUGH};
use super::sealed_writer::{Digest, Digesting, SealedWriter, each_block};
use super::survey::OURS;
use crate::envelope::Head;
use crate::error::{Error, Kind, Result};
use crate::flink::{self, METADATA, Reference};
use crate::store::{Location, Object};

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    source: Location,
    target: Location,
    /// The files to seal anew, without `_metadata`.
    files: Vec<Copy>,
    /// `_metadata` of each checkpoint, written when all else is there.
    metadata: Vec<Object>,
    /// Files that no checkpoint there needs: they are left out.
    pub left_out: Vec<Location>,
    /// What cannot be sealed anew.
    pub problems: Vec<Problem>,
}

#[derive(Debug)]
struct Copy {
    from: Object,
    to: Location,
    length: Length,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Reencrypted {
    /// Files that were sealed anew.
    pub files: u64,
    /// Files that an earlier run had sealed, compared again.
    pub kept: u64,
    /// Directories of checkpoints and savepoints that can be restored from now.
    pub checkpoints: Vec<Location>,
    /// What could not be sealed anew, and why: no checkpoint that needs it was written.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// Looks at what lies at or below `source`, and at what lies at `target` already: nothing, or what an earlier run left.
    pub fn new(reach: &Reach, source: &Location, target: &Location) -> Result<Plan> {
        let source =
            if source.name() == METADATA { source.parent().unwrap_or_else(|| source.clone()) } else { source.clone() };
        check_apart(&source, target)?;
        let listed = reach.list(&source)?;
        if listed.is_empty() {
            return Err(Kind::NotFound.error(format_args!("{source}: there is no file at or below it")));
        }
        let (metadata, others): (Vec<Object>, Vec<Object>) = listed
            .into_iter()
            .filter(|object| !object.location.name().starts_with(OURS))
            .partition(|object| object.location.name() == METADATA);
        let mut plan = Plan {
            source,
            target: target.clone(),
            files: Vec::new(),
            metadata,
            left_out: Vec::new(),
            problems: Vec::new(),
        };
        plan.find_files(reach, others)?;
        plan.check_target(reach)?;
        let (files, bytes) = plan.size();
        reach.progress().begin_bytes("sealing anew", "files", files, bytes);
        Ok(plan)
    }

    /// How many files there are to seal anew, and the sealed bytes in them.
    pub fn size(&self) -> (u64, u64) {
        let sizes = self.files.iter().map(|copy| copy.from.size).chain(self.metadata.iter().map(|object| object.size));
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    /// Seals everything anew, or what an earlier run left to do. Ends at the first failure of a store or a key service; goes
    /// on past files that cannot be opened, but writes no `_metadata` then.
    pub fn carry_out(self, reach: &Reach) -> Result<Reencrypted> {
        let mut done = Reencrypted { problems: self.problems.clone(), ..Reencrypted::default() };
        reach.parallel(&self.files, |copy| copy.carry_out(reach), |result| done.add(reach, result))?;
        if !done.problems.is_empty() {
            return Ok(done);
        }
        let write = |object| self.write_metadata(reach, object).map(|kept| (kept, object));
        reach.parallel(&self.metadata, write, |result| {
            done.checkpoints.extend(result.as_ref().ok().and_then(|(_, object)| self.moved(&object.location).parent()));
            done.add(reach, result.map(|(kept, _)| kept))
        })?;
        done.checkpoints.sort();
        Ok(done)
    }

    fn find_files(&mut self, reach: &Reach, others: Vec<Object>) -> Result<()> {
        if self.metadata.is_empty() {
            // No checkpoint: high-availability records, say. Every file counts.
            let copy = |from: Object| Copy { to: self.moved(&from.location), from, length: Length::Any };
            self.files = others.into_iter().map(copy).collect();
            return Ok(());
        }
        let mut needs: BTreeMap<Location, Length> = BTreeMap::new();
        let mut problems = Vec::new();
        reach.parallel(
            &self.metadata,
            |object| Checkpoint::load(reach, object),
            |checkpoint| {
                match checkpoint {
                    Ok(checkpoint) => {
                        problems.extend(checkpoint.problems);
                        for (place, length) in checkpoint.files {
                            let known = needs.entry(place.clone()).or_insert(length);
                            *known = known.and(length).ok_or_else(|| {
                                Kind::Malformed
                                    .error(format_args!("two checkpoints name {place} with different lengths"))
                            })?;
                        }
                    }
                    Err(problem) if problem.what == What::Unchecked => return Err(unfinished(problem.error)),
                    Err(problem) => problems.push(problem),
                }
                Ok(())
            },
        )?;
        self.problems = problems;
        let (here, left_out): (Vec<Object>, Vec<Object>) =
            others.into_iter().partition(|object| needs.contains_key(&object.location));
        self.left_out = left_out.into_iter().map(|object| object.location).collect();
        // Both are in order.
        let mut here = here.into_iter().peekable();
        for (place, length) in needs {
            let object = match here.next_if(|object| object.location == place) {
                Some(object) => Some(object),
                None => reach.stat(&place)?,
            };
            match object {
                Some(from) => self.files.push(Copy { to: self.moved(&place), from, length }),
                None => self.problems.push(What::Missing.problem(
                    Kind::NotFound.error(format_args!("{place}: the metadata name it, and there is no such file")),
                )),
            }
        }
        Ok(())
    }

    /// Refuses a target that holds anything that this plan would not write, and a plan that would write two files as one.
    fn check_target(&self, reach: &Reach) -> Result<()> {
        let mut expected: Vec<&Location> = self.files.iter().map(|copy| &copy.to).collect();
        expected.sort();
        if let Some(pair) = expected.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Kind::Unsupported.error(format_args!(
                "two files would both become {}: re-encrypt the checkpoints one by one, each to a place of its own",
                pair[0]
            )));
        }
        let metadata: Vec<Location> = self.metadata.iter().map(|object| self.moved(&object.location)).collect();
        for object in reach.list(&self.target)? {
            let place = &object.location;
            let ours = place.name().starts_with(OURS);
            if !ours && expected.binary_search(&place).is_err() && !metadata.contains(place) {
                // It may be what a checkpoint needs whose metadata could not be read just now.
                if let Some(problem) = self.problems.first() {
                    return Err(problem.error.clone());
                }
                return Err(Kind::InvalidArgument.error(format_args!(
                    "{place} is in the way: {} must be empty, or hold what an earlier run of the same command left",
                    self.target
                )));
            }
        }
        // An earlier run wrote it whole, and last: any other one is somebody's checkpoint.
        let check = |object| self.check_metadata(reach, object);
        reach.parallel(&self.metadata, check, |result| result.map_err(|problem| problem.error))
    }

    /// Refuses to replace a `_metadata` at the target which is not that of this checkpoint.
    fn check_metadata(&self, reach: &Reach, object: &Object) -> Result<(), Problem> {
        let to = self.moved(&object.location);
        let Some(present) = reach.stat(&to)? else { return Ok(()) };
        let mut expected = Digesting::default();
        if self.relocate(reach, object, &mut expected).is_err() {
            // Then it is a problem of this plan, and no `_metadata` is written.
            return Ok(());
        }
        let expected = expected.finish();
        let why = match Digest::read(reach, &present) {
            Ok((found, _)) if found == expected => return Ok(()),
            Ok(_) => "it is another checkpoint's".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Problem::from(Kind::InvalidArgument.error(format_args!("{to} is in the way, and is not replaced: {why}"))))
    }

    /// Where a file goes: below the target as it lay below the source; else as it lay below the source's parent, which is
    /// where a job's shared files are; else by its whole path.
    fn moved(&self, place: &Location) -> Location {
        let outer = self.source.parent();
        let below = place.below(&self.source).or_else(|| outer.as_ref().and_then(|outer| place.below(outer)));
        match below {
            Some(names) => self.target.join(names),
            None => self.target.join("elsewhere").join(place.authority()).join(place.key()),
        }
    }

    /// What a reference says at the new place; nothing if the file lies beside its metadata there as well.
    fn renamed(&self, directory: &Location, reference: &Reference) -> Result<Option<String>> {
        if reference.relative {
            return Ok(None);
        }
        let place = place(directory, reference)?;
        Ok(Some(format!("{SEALED}{}", self.moved(&place))))
    }

    /// Writes the `_metadata` with the new places in it; the head of the old one.
    fn relocate(&self, reach: &Reach, object: &Object, sink: &mut dyn std::io::Write) -> Result<Head, Problem> {
        let directory = object.location.parent().unwrap_or_else(|| object.location.clone());
        let mut file = SealedFile::open(reach, object, THROUGH)?;
        flink::relocate(file.reader(), sink, |reference| self.renamed(&directory, reference))
            .map_err(|error| error.at(&object.location))?;
        Ok(file.head)
    }

    /// True if an earlier run had written it.
    fn write_metadata(&self, reach: &Reach, object: &Object) -> Result<bool, Problem> {
        let to = self.moved(&object.location);
        if let Some(present) = reach.stat(&to)? {
            let mut expected = Digesting::default();
            let head = self.relocate(reach, object, &mut expected)?;
            let expected = expected.finish();
            if finished(reach, &present, &expected, &head) {
                return Ok(true);
            }
        }
        let mut writer = SealedWriter::new(reach, &to, Some(METADATA))?;
        let head = self.relocate(reach, object, &mut writer)?;
        check_tenant(&head, writer.head(), &to)?;
        let ours = *writer.head().commitment();
        compare(reach, &to, &writer.finish()?, &ours)?;
        reach.progress().add_bytes(object.size);
        Ok(false)
    }
}

impl Reencrypted {
    fn add(&mut self, reach: &Reach, result: Result<bool, Problem>) -> Result<()> {
        reach.progress().add(1);
        match result {
            Ok(true) => self.kept += 1,
            Ok(false) => self.files += 1,
            // The store, the key service, an interruption: the next file would fare no better.
            Err(problem) if problem.what == What::Unchecked => return Err(unfinished(problem.error)),
            Err(problem) => self.problems.push(problem),
        }
        Ok(())
    }
}

/// What ended it, and how it goes on.
fn unfinished(error: Error) -> Error {
    match error.kind() {
        // An interruption says so itself.
        Kind::State => error,
        kind => kind.error(format_args!(
            "{}; what is done stays: once that is put right, run the same again, and it goes on where it was",
            error.message()
        )),
    }
}

impl Copy {
    /// True if an earlier run had done it.
    fn carry_out(&self, reach: &Reach) -> Result<bool, Problem> {
        if let Some(present) = reach.stat(&self.to)? {
            let mut source = SealedFile::open(reach, &self.from, THROUGH)?;
            let mut expected = Digesting::default();
            self.read(&mut source, |block| {
                reach.progress().add_bytes(block.len() as u64);
                std::io::Write::write_all(&mut expected, block).map_err(|error| Error::io("digest", &error))
            })?;
            if finished(reach, &present, &expected.finish(), &source.head) {
                return Ok(true);
            }
        }
        let mut source = SealedFile::open(reach, &self.from, THROUGH)?;
        let mut writer = SealedWriter::new(reach, &self.to, source.head.bound.subject.as_deref())?;
        check_tenant(&source.head, writer.head(), &self.to)?;
        self.read(&mut source, |block| {
            reach.progress().add_bytes(block.len() as u64);
            writer.append(block)
        })?;
        let ours = *writer.head().commitment();
        compare(reach, &self.to, &writer.finish()?, &ours)?;
        Ok(false)
    }

    /// Reads what a checkpoint needs of the file. One that Flink merged others into may have no end: it is given one where
    /// what can be verified ends.
    fn read(&self, source: &mut SealedFile<'_>, each: impl FnMut(&[u8]) -> Result<()>) -> Result<(), Problem> {
        let from = &self.from.location;
        let named =
            |error: Error| Problem::from(if error.message().contains(from.name()) { error } else { error.at(from) });
        let read = each_block(source, each);
        let length = source.position();
        match (read, self.length) {
            (Err(error), Length::AtLeast(least)) if error.kind() == Kind::Truncated && length >= least => Ok(()),
            (Err(error), _) => Err(named(error)),
            (Ok(()), Length::Exactly(expected)) if length != expected => Err(wrong_length(from, length, expected)),
            (Ok(()), Length::AtLeast(least)) if length < least => Err(wrong_length(from, length, least)),
            (Ok(()), _) => Ok(()),
        }
    }
}

fn wrong_length(place: &Location, length: u64, expected: u64) -> Problem {
    let what = if length < expected { What::Truncated } else { What::Length };
    what.problem(
        Kind::Integrity.error(format_args!("{place}: it holds {length} bytes, and the metadata need {expected}")),
    )
}

/// True if the file that is there already holds this, under other keys than `old`, and under those that a file would be
/// given now. What cannot be read is not finished.
fn finished(reach: &Reach, present: &Object, expected: &Digest, old: &Head) -> bool {
    let Ok((found, head)) = Digest::read(reach, present) else { return false };
    let Ok(now) = reach.engine().sealer(&present.location.uri(), None) else { return false };
    let Ok(crate::envelope::Parsed::Complete(now)) = Head::parse(now.head()) else { return false };
    let keys = |head: &Head| -> Vec<[String; 3]> {
        head.slots.iter().map(|slot| [slot.provider.clone(), slot.kek.clone(), slot.version.clone()]).collect()
    };
    found == *expected
        && head.bound.data_key_id != old.bound.data_key_id
        && head.bound.subject == old.bound.subject
        && head.bound.tenant == old.bound.tenant
        && keys(&head) == keys(&now)
}

/// Reads back what was written, and removes it if it is not the same. What somebody else has written there since, whose
/// head has another commitment than `ours`, is left to them.
fn compare(reach: &Reach, place: &Location, written: &Digest, ours: &[u8; 32]) -> Result<()> {
    let gone = || Kind::Io.error(format_args!("{place} was written and is gone"));
    let why = match Digest::read(reach, &reach.stat(place)?.ok_or_else(gone)?) {
        Ok((found, _)) if found == *written => return Ok(()),
        Ok(_) => "it opens, and holds something else".to_owned(),
        Err(error) => match error.kind() {
            Kind::Truncated | Kind::Integrity | Kind::Malformed | Kind::NotSealed => error.message().to_owned(),
            _ => return Err(error),
        },
    };
    let now = reach.stat(place)?.ok_or_else(gone)?;
    if SealedFile::head(reach, &now).is_ok_and(|head| head.commitment() != ours) {
        return Err(Kind::Io.error(format_args!("{place}: somebody else writes there at the same time ({why})")));
    }
    reach.engine().wait(reach.store(place)?.delete(place))?;
    Err(Kind::Io
        .error(format_args!("{place}: the store gives back other bytes than were written; they were removed ({why})")))
}

/// The tenant of a file is part of its state's protection: it is not changed by moving the file.
fn check_tenant(old: &Head, new: &Head, place: &Location) -> Result<()> {
    let (old, new) = (&old.bound.tenant, &new.bound.tenant);
    if old == new {
        return Ok(());
    }
    Err(Kind::Config.error(format_args!(
        "{place} belongs to tenant '{new}', and the file to '{old}': choose another target, or set tenants.{old}.paths"
    )))
}

fn check_apart(source: &Location, target: &Location) -> Result<()> {
    if source.below(target).is_some() || target.below(source).is_some() {
        return Err(Kind::InvalidArgument
            .error(format_args!("{target} and {source} lie in one another: the result needs a place of its own")));
    }
    Ok(())
}

//! One report being made.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_util::StreamExt;

use super::beside::Beside;
use super::live::Live;
use super::tally::{Amount, Tallies};
use super::{Needed, Needs, Report, Unproven};
use crate::engine::EncryptionEngine;
use crate::envelope::sidecar::Entry;
use crate::envelope::{Head, Opener, Slot};
use crate::error::{Kind, Result};
use crate::flink::METADATA;
use crate::keys::Wrapping;
use crate::lifecycle::kek::{KekName, Keks};
use crate::lifecycle::progress::Progress;
use crate::lifecycle::survey::{Count, Found, PARALLEL, Sealed, survey};
use crate::store::{Location, Store};

/// What is known so far.
pub struct Work<'e> {
    engine: &'e EncryptionEngine,
    asked: Option<KekName>,
    pub keks: Keks,
    pub live: Live,
    tallies: Tallies,
    /// What lies at or below each place.
    places: HashMap<Location, Count>,
    /// By which other slots those under the key that was asked about are to be opened, by a hash of all their slots: what
    /// opens in one directory need not in another, though it has the same names there.
    others: HashMap<u64, Others>,
    hash: RandomState,
    report: Report,
}

/// Files that have the very same slots under one data key.
struct Others {
    head: Head,
    beside: Vec<Arc<Entry>>,
    example: Location,
    amount: Amount,
}

impl<'e> Work<'e> {
    pub fn new(engine: &'e EncryptionEngine, keks: Keks, asked: Option<KekName>) -> Work<'e> {
        let needs = asked.as_ref().map(|_| Needs::default());
        let report = Report { needs, ..Report::default() };
        Work {
            engine,
            asked,
            keks,
            live: Live::default(),
            tallies: Tallies::default(),
            places: HashMap::new(),
            others: HashMap::new(),
            hash: RandomState::new(),
            report,
        }
    }

    /// Looks at every file at or below `roots`.
    pub async fn look(
        &mut self,
        store: &Store,
        roots: &[Location],
        progress: &Progress,
        each: &mut impl FnMut(Needed<'_>) -> Result<()>,
    ) -> Result<()> {
        let beside = Beside::new(store);
        let with_slots = |found: Found| async {
            let slots = match &found {
                Found::Sealed(sealed) => beside.of(&sealed.object.location, sealed.head.bound.data_key_id).await,
                _ => Vec::new(),
            };
            (found, slots)
        };
        let mut found = survey(store, roots).map(with_slots).buffer_unordered(PARALLEL);
        while let Some((found, slots)) = found.next().await {
            progress.add(1);
            self.count(&found, roots);
            match found {
                Found::Sealed(sealed) => self.sealed(&sealed, &slots, each)?,
                Found::Plain(object) => self.report.plain.push(object.location),
                Found::Foreign(_, error) => self.report.foreign.push(error),
                Found::Unfinished(object) => self.report.unfinished.push(object.location),
                Found::Gone(_) => self.report.gone += 1,
                Found::Unreadable(_, error) => self.report.unreadable.push(error),
            }
        }
        drop(found);
        self.report.broken_sidecars.append(beside.broken());
        Ok(())
    }

    fn count(&mut self, found: &Found, roots: &[Location]) {
        let Some(location) = found.location() else { return };
        for root in roots.iter().filter(|root| location.below(root).is_some()) {
            self.places.entry(root.clone()).or_default().add(found);
        }
    }

    fn sealed(
        &mut self,
        file: &Sealed,
        beside: &[Arc<Entry>],
        each: &mut impl FnMut(Needed<'_>) -> Result<()>,
    ) -> Result<()> {
        let (bound, location) = (&file.head.bound, &file.object.location);
        let (size, live) = (file.object.size, self.live.needs(location));
        let own = wrappings(&file.head.slots);
        let others: Vec<Wrapping> = beside.iter().flat_map(|entry| wrappings(&entry.slots)).collect();
        let opens = |wrapping: &Wrapping| self.keks.state(&bound.tenant, wrapping).opens();
        let asked = |wrapping: &Wrapping| self.asked.as_ref().is_some_and(|name| name.names(wrapping));
        let all = || own.iter().chain(&others);
        let (under_it, opened) = (all().any(asked), all().any(opens));
        let opened_otherwise = all().any(|wrapping| !asked(wrapping) && opens(wrapping));
        if !opened {
            self.report.unopenable.push(location.clone());
        }
        if location.name() == METADATA {
            let directory = location.parent().unwrap_or_else(|| location.clone());
            self.report.checkpoints_of.entry(bound.tenant.clone()).or_default().push(directory);
        }
        let group = self.tallies.group(bound.data_key_id, &bound.tenant, own, others);
        self.tallies.add(group, size, bound.created_at_ms, live);
        let Some(needs) = self.report.needs.as_mut().filter(|_| under_it) else { return Ok(()) };
        if opened_otherwise {
            needs.spared.add(size, bound.created_at_ms, live);
            let sections: Vec<&[u8]> = beside.iter().map(|entry| entry.section.as_slice()).collect();
            let alike = self.hash.hash_one((group, file.head.slots_section(), sections));
            let others = self.others.entry(alike).or_insert_with(|| {
                let (head, beside, example) = (file.head.clone(), beside.to_vec(), location.clone());
                Others { head, beside, example, amount: Amount::default() }
            });
            others.amount.add(size, bound.created_at_ms, live);
            return Ok(());
        }
        needs.needed.add(size, bound.created_at_ms, live);
        each(Needed { file, live })
    }

    /// The report, once every store was looked at.
    pub fn finish(mut self, roots: &[Location], progress: &Progress) -> Result<Report> {
        self.check_places(roots)?;
        self.check_asked()?;
        self.prove(progress)?;
        Ok(Report {
            rows: self.tallies.rows(&self.keks),
            tenants: self.tallies.tenants(),
            silent: self.keks.silent(),
            checkpoints: self.live.checkpoints,
            unread_checkpoints: self.live.unread,
            ..self.report
        })
    }

    /// Nobody needs a key where nothing is.
    fn check_places(&self, roots: &[Location]) -> Result<()> {
        let (unlisted, partial) = (self.report.unreadable.count > 0, self.report.is_partial());
        let count = |root| self.places.get(root).copied().unwrap_or_default();
        roots.iter().try_for_each(|root| count(root).check(root, unlisted, partial))
    }

    /// Nobody needs a key that does not exist.
    fn check_asked(&self) -> Result<()> {
        let Some(name) = &self.asked else { return Ok(()) };
        let rows = self.tallies.rows(&self.keks);
        self.keks.check_known(name, rows.iter().map(|row| &row.wrapping))
    }

    /// Sees that what is said to open by another slot does, once for all files that have the same slots.
    fn prove(&mut self, progress: &Progress) -> Result<()> {
        let (Some(name), Some(needs)) = (&self.asked, &mut self.report.needs) else { return Ok(()) };
        needs.name = Some(name.clone());
        progress.begin("unwrapping by other slots", "data keys", self.others.len() as u64);
        for others in self.others.values() {
            progress.check()?;
            match others.prove(self.engine, name) {
                Ok(()) => needs.proven += 1,
                Err(error) => {
                    needs.unproven.push(Unproven { example: others.example.clone(), amount: others.amount, error });
                }
            }
            progress.add(1);
        }
        needs.unproven.sort_by(|a, b| a.example.cmp(&b.example));
        Ok(())
    }
}

impl Others {
    /// Unwraps the data key by the file's own slots, then by those beside it, none of them under this key.
    fn prove(&self, engine: &EncryptionEngine, but: &KekName) -> Result<()> {
        let own = (&self.head.slots, self.head.slots_section());
        let beside = self.beside.iter().map(|entry| (&entry.slots, entry.section.as_slice()));
        let mut failure = None;
        for (slots, section) in std::iter::once(own).chain(beside) {
            let slots: Vec<Slot> = slots.iter().filter(|slot| !but.names(&wrapping(slot))).cloned().collect();
            if slots.is_empty() {
                continue;
            }
            let opened = engine.keys().unwrap_again(&self.head, &slots, section);
            match opened.and_then(|key| Opener::new(&self.head, key.secret())) {
                Ok(_) => return Ok(()),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Kind::Internal.error("a file without other slots was said to have some")))
    }
}

fn wrappings(slots: &[Slot]) -> Vec<Wrapping> {
    slots.iter().map(wrapping).collect()
}

fn wrapping(slot: &Slot) -> Wrapping {
    Wrapping { provider: slot.provider.clone(), kek: slot.kek.clone(), version: slot.version.clone() }
}

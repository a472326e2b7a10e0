//! Frame boundaries that readers of irregular files came past, so that the next seek need not walk from the first frame.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::head::COMMITMENT;
use super::layout::Place;

/// What openers of the same files tell each other about where frames begin.
///
/// Files are told apart by the commitment in their heads, which an opener has proven before it asks: it follows from
/// data key, salt and everything bound, so that no two files share one, wherever they lie and whatever they are called.
///
/// A place is told only after a walk that passed it ended in a frame that verified. It is a hint all the same, and
/// nothing is believed because of it: what is released must verify under the file's key at the index and the offset
/// counted from there, and an opener that is led astray walks again from what it has verified itself.
///
/// Memory is bounded: [`FILES`](Self::FILES) files, the one used longest ago making room, and [`PLACES`](Self::PLACES)
/// places each, spread over the whole file; 4 MiB at the very most.
#[derive(Debug)]
pub struct Waypoints {
    spacing: u64,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    trails: HashMap<[u8; COMMITMENT], (u64, Trail)>,
    uses: u64,
}

impl Waypoints {
    /// The most files remembered.
    pub const FILES: usize = 256;
    /// The most places remembered of a file.
    pub const PLACES: usize = 512;
    /// The plaintext bytes that two places lie apart, at least; in a file too long for [`PLACES`](Self::PLACES) of them
    /// twice as many, or four times, and so on.
    pub const SPACING: u64 = 256 * 1024;

    /// As the default, but with places as close together as this.
    pub fn with_spacing(spacing: u64) -> Waypoints {
        Waypoints { spacing, files: Mutex::default() }
    }

    /// How far apart places lie, at least.
    pub(super) fn spacing(&self) -> u64 {
        self.spacing
    }

    /// A trail for places that are not proven yet.
    pub(super) fn trail(&self) -> Trail {
        Trail::new(self.spacing)
    }

    /// The last place known before this offset in the plaintext, or at it.
    pub(super) fn before(&self, file: &[u8; COMMITMENT], plaintext: u64) -> Option<Place> {
        let mut files = self.files.lock();
        let now = files.tick();
        let (used, trail) = files.trails.get_mut(file)?;
        *used = now;
        trail.before(plaintext)
    }

    /// Remembers these places.
    pub(super) fn add(&self, file: &[u8; COMMITMENT], places: &[Place]) {
        let mut files = self.files.lock();
        let now = files.tick();
        if files.trails.len() >= Self::FILES && !files.trails.contains_key(file) {
            files.make_room();
        }
        let (used, trail) = files.trails.entry(*file).or_insert_with(|| (now, Trail::new(self.spacing)));
        *used = now;
        places.iter().for_each(|place| trail.add(*place));
    }

    /// Forgets a file whose places led astray.
    pub(super) fn forget(&self, file: &[u8; COMMITMENT]) {
        self.files.lock().trails.remove(file);
    }
}

impl Default for Waypoints {
    fn default() -> Waypoints {
        Waypoints::with_spacing(Self::SPACING)
    }
}

impl Files {
    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }

    fn make_room(&mut self) {
        let oldest = self.trails.iter().min_by_key(|(_, (used, _))| *used).map(|(file, _)| *file);
        if let Some(file) = oldest {
            self.trails.remove(&file);
        }
    }
}

/// Places of one file, in order and some way apart.
#[derive(Debug)]
pub(super) struct Trail {
    spacing: u64,
    places: Vec<Place>,
}

impl Trail {
    fn new(spacing: u64) -> Trail {
        Trail { spacing, places: Vec::new() }
    }

    /// Adds a place, unless others near it will do as well.
    pub(super) fn add(&mut self, place: Place) {
        let at = self.places.partition_point(|known| known.plaintext <= place.plaintext);
        let near =
            |other: Option<&Place>| other.is_some_and(|other| other.plaintext.abs_diff(place.plaintext) < self.spacing);
        if near(at.checked_sub(1).and_then(|before| self.places.get(before))) || near(self.places.get(at)) {
            return;
        }
        self.places.insert(at, place);
        if self.places.len() > Waypoints::PLACES {
            self.thin_out();
        }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
    }

    fn before(&self, plaintext: u64) -> Option<Place> {
        let behind = self.places.partition_point(|known| known.plaintext <= plaintext);
        behind.checked_sub(1).and_then(|at| self.places.get(at)).copied()
    }

    fn thin_out(&mut self) {
        while self.places.len() > Waypoints::PLACES {
            self.spacing = self.spacing.saturating_mul(2);
            let mut last: Option<u64> = None;
            self.places.retain(|place| {
                let keep = last.is_none_or(|last| place.plaintext - last >= self.spacing);
                if keep {
                    last = Some(place.plaintext);
                }
                keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(plaintext: u64) -> Place {
        Place { file: plaintext + 100, index: plaintext, plaintext, irregular: true }
    }

    #[test]
    fn the_last_place_before_an_offset_is_found() {
        let waypoints = Waypoints::with_spacing(10);
        let file = [1; COMMITMENT];
        assert_eq!(waypoints.before(&file, u64::MAX), None);
        waypoints.add(&file, &[place(50), place(20), place(90), place(55), place(41), place(50)]);
        for (target, found) in
            [(0, None), (19, None), (20, Some(20)), (49, Some(20)), (89, Some(50)), (u64::MAX, Some(90))]
        {
            assert_eq!(waypoints.before(&file, target).map(|place| place.plaintext), found, "before {target}");
        }
        assert_eq!(waypoints.before(&[2; COMMITMENT], 99), None, "another file");
        waypoints.forget(&file);
        assert_eq!(waypoints.before(&file, 99), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "long, and nothing for Miri to see")]
    fn a_long_file_keeps_few_places_all_over_it() {
        let mut trail = Trail::new(1);
        let length = 100_000;
        (0..length).rev().for_each(|plaintext| trail.add(place(plaintext)));
        assert!(trail.places.len() <= Waypoints::PLACES);
        let gaps = trail.places.windows(2).map(|pair| pair[1].plaintext - pair[0].plaintext);
        let longest = gaps.max().unwrap();
        assert!(longest <= 4 * length / Waypoints::PLACES as u64, "a gap of {longest}");
        let (first, last) = (trail.places.first().unwrap().plaintext, trail.places.last().unwrap().plaintext);
        assert!(first <= longest && length - last <= longest, "from {first} to {last}");
    }

    #[test]
    fn the_file_used_longest_ago_makes_room() {
        let waypoints = Waypoints::default();
        let file = |number: usize| {
            let mut file = [0; COMMITMENT];
            file[..8].copy_from_slice(&number.to_be_bytes());
            file
        };
        (0..Waypoints::FILES).for_each(|number| waypoints.add(&file(number), &[place(1)]));
        assert!(waypoints.before(&file(0), 1).is_some());
        waypoints.add(&file(Waypoints::FILES), &[place(1)]);
        assert!(waypoints.before(&file(0), 1).is_some(), "it was used");
        assert!(waypoints.before(&file(1), 1).is_none(), "it was not");
        assert_eq!(waypoints.files.lock().trails.len(), Waypoints::FILES);
    }
}

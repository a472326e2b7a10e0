//! An attacker who writes the file: whatever the bytes, readers refuse or release what was sealed, and never panic.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cases;
mod sealed_files;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use sealpoint::envelope::{Head, Opener, Parsed, Waypoints, sidecar, slots};

use sealed_files::{ALGORITHMS, Buffers, Reader, data_key, head, is_refusal, plaintext, seal_whole};

const CHUNK: usize = 4096;

/// What the attacker does to a file, any number of times.
#[derive(Debug, Clone)]
enum Attack {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
    /// Puts a whole frame, or the end, in another's place.
    Move(Index, Index),
    /// Says that a frame has another length, or is an end.
    Prefix(Index, u32),
}

fn an_attack() -> impl Strategy<Value = Attack> {
    use Attack::{Cut, Flip, Insert, Move, Prefix, Remove, Repeat};
    let at = any::<Index>;
    let prefix = prop_oneof![
        0..5000u32,
        Just(CHUNK as u32),
        Just(u32::MAX),
        Just(0x8000_0000),
        Just(0xc000_0000),
        Just(0x7fff_ffff),
        any::<u32>(),
    ];
    prop_oneof![
        1 => (at(), 1..=255u8).prop_map(|(at, bits)| Flip(at, bits)),
        1 => at().prop_map(Cut),
        1 => (at(), at()).prop_map(|(from, to)| Remove(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Repeat(from, to)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..60)).prop_map(|(at, bytes)| Insert(at, bytes)),
        3 => (at(), at()).prop_map(|(from, to)| Move(from, to)),
        3 => (at(), prefix).prop_map(|(at, value)| Prefix(at, value)),
    ]
}

impl Attack {
    /// `frames` are the ranges of the frames and the end in the file as it was sealed.
    fn apply(&self, file: &mut Vec<u8>, frames: &[std::ops::Range<usize>]) {
        if file.is_empty() {
            return;
        }
        let range = |from: &Index, to: &Index| {
            let (a, b) = (from.index(file.len()), to.index(file.len()));
            a.min(b)..a.max(b)
        };
        match self {
            Attack::Flip(at, bits) => {
                let at = at.index(file.len());
                file[at] ^= bits;
            }
            Attack::Cut(at) => file.truncate(at.index(file.len())),
            Attack::Remove(from, to) => drop(file.drain(range(from, to))),
            Attack::Repeat(from, to) => {
                let range = range(from, to);
                let copy = file[range.clone()].to_vec();
                drop(file.splice(range.end..range.end, copy));
            }
            Attack::Insert(at, bytes) => {
                let at = at.index(file.len());
                drop(file.splice(at..at, bytes.iter().copied()));
            }
            Attack::Move(from, to) => {
                let (from, to) = (&frames[from.index(frames.len())], &frames[to.index(frames.len())]);
                if let Some(frame) = file.get(from.clone()).map(<[u8]>::to_vec)
                    && to.end <= file.len()
                {
                    drop(file.splice(to.clone(), frame));
                }
            }
            Attack::Prefix(at, value) => {
                let start = frames[at.index(frames.len())].start;
                if let Some(prefix) = file.get_mut(start..start + 4) {
                    prefix.copy_from_slice(&value.to_be_bytes());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases::cases(600))]

    #[test]
    fn whatever_is_done_to_a_file_no_wrong_byte_leaves_it(
        cbc in any::<bool>(),
        in_place in any::<bool>(),
        parts in prop::collection::vec(prop_oneof![1..60usize, Just(CHUNK), 1..6000usize], 1..6),
        attacks in prop::collection::vec(an_attack(), 1..4),
        steps in prop::collection::vec(prop_oneof![
            1 => (0..30_000u64).prop_map(Some),
            2 => Just(None),
        ], 1..12),
        buffer in 0..30_000usize,
    ) {
        let plain = plaintext(parts.iter().sum());
        let mut rest = &plain[..];
        let parts: Vec<&[u8]> = parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
        let sealed = seal_whole(ALGORITHMS[usize::from(cbc)], 4096, &parts);
        let mut file = sealed.clone();
        let frames = frames(&sealed, &parts);
        attacks.iter().for_each(|attack| attack.apply(&mut file, &frames));

        let Ok(mut reader) = Reader::new(&file, &data_key(), buffer) else {
            return Ok(());
        };
        reader.buffers = if in_place { Buffers::InPlace } else { Buffers::OutOfPlace };
        if let Ok(length) = reader.verify_end() {
            prop_assert_eq!(length, plain.len() as u64);
        }
        let mut position = 0;
        let mut refused = false;
        for step in steps {
            if let Some(to) = step {
                reader.seek(to);
                position = usize::try_from(to).unwrap();
            }
            match reader.read(usize::MAX) {
                Ok(Some(bytes)) => {
                    prop_assert_eq!(Some(&bytes[..]), plain.get(position..position + bytes.len()));
                    position += bytes.len();
                }
                Ok(None) => prop_assert!(position >= plain.len(), "a false end at {}", position),
                Err(error) => {
                    prop_assert!(is_refusal(&error), "{:?}", error);
                    refused = true;
                }
            }
        }
        // Read to its end, a changed file is always refused.
        let mut reader = Reader::new(&file, &data_key(), buffer).unwrap();
        let whole = reader.read_to_end();
        prop_assert_eq!(whole.ok(), (file == sealed).then_some(plain));
        prop_assert!(!refused || file != sealed);
    }

    /// What readers of one copy of a file found out about its frames misleads no reader of another: at worst the hints
    /// are of no use.
    #[test]
    fn no_hint_from_a_changed_copy_makes_a_wrong_byte_or_spoils_the_file(
        cbc in any::<bool>(),
        in_place in any::<bool>(),
        spacing in 1..200u64,
        parts in prop::collection::vec(prop_oneof![1..60usize, 1..6000usize], 3..8),
        attacks in prop::collection::vec(an_attack(), 1..4),
        targets in prop::collection::vec((any::<bool>(), any::<Index>()), 1..16),
    ) {
        let plain = plaintext(parts.iter().sum());
        let mut rest = &plain[..];
        let parts: Vec<&[u8]> = parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
        let sealed = seal_whole(ALGORITHMS[usize::from(cbc)], 4096, &parts);
        let mut changed = sealed.clone();
        let frames = frames(&sealed, &parts);
        attacks.iter().for_each(|attack| attack.apply(&mut changed, &frames));

        let waypoints = Arc::new(Waypoints::with_spacing(spacing));
        for (intact, target) in targets {
            let target = target.index(plain.len());
            let file = if intact { &sealed } else { &changed };
            let Ok(mut reader) = Reader::new(file, &data_key(), 0).and_then(|reader| reader.sharing(&waypoints)) else {
                prop_assert!(!intact);
                continue;
            };
            reader.buffers = if in_place { Buffers::InPlace } else { Buffers::OutOfPlace };
            reader.seek(target as u64);
            match reader.read_to_end() {
                Ok(bytes) => prop_assert!(bytes == plain[target..], "from {}", target),
                Err(error) => prop_assert!(!intact && is_refusal(&error), "{:?}", error),
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic_or_ask_for_much(
        start in prop_oneof![Just(b"SEALPNT\n\x01\x01\0\0".to_vec()), Just(b"SEALKEY\n\x01\0\0\0".to_vec()), Just(vec![])],
        lengths in prop::collection::vec(prop_oneof![0..200u32, any::<u32>()], 0..3),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut bytes = start;
        lengths.iter().for_each(|length| bytes.extend_from_slice(&length.to_be_bytes()));
        bytes.extend_from_slice(&rest);
        match Head::parse(&bytes) {
            Ok(Parsed::NeedMore(total)) => prop_assert!(total > bytes.len() && total <= 20 + 16_384 + 65_536 + 56),
            Ok(Parsed::Complete(head)) => prop_assert!(Opener::new(&head, &data_key()).is_err()),
            Err(error) => prop_assert!(is_refusal(&error)),
        }
        if let Err(error) = sidecar::decode(&bytes) {
            prop_assert!(is_refusal(&error));
        }
        if let Err(error) = slots::parse(&rest) {
            prop_assert!(is_refusal(&error));
        }
    }

    /// The head as an attacker would bend it: near enough to be parsed.
    #[test]
    fn no_bent_head_opens(flips in prop::collection::vec((any::<Index>(), 1..=255u8), 1..4)) {
        let file = seal_whole(ALGORITHMS[0], 4096, &[b"some state"]);
        let length = head(&file).unwrap().len();
        let mut bent = file.clone();
        flips.iter().for_each(|(at, bits)| bent[at.index(length)] ^= bits);
        let opened = sealed_files::open_whole(&bent, &data_key());
        prop_assert_eq!(opened.is_ok(), bent == file);
    }
}

/// Where each frame and the end lie.
fn frames(file: &[u8], parts: &[&[u8]]) -> Vec<std::ops::Range<usize>> {
    let head = head(file).unwrap();
    let layout = Opener::new(&head, &data_key()).unwrap().layout();
    let mut at = head.len();
    let mut ranges: Vec<_> = parts
        .iter()
        .flat_map(|part| part.chunks(CHUNK))
        .map(|chunk| {
            let start = at;
            at += layout.frame_len(chunk.len());
            start..at
        })
        .collect();
    ranges.push(at..file.len());
    ranges
}

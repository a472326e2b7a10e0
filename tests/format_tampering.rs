//! Whatever is done to a sealed file, it is refused, and what was released before is what was sealed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod sealed_files;

use std::sync::Arc;

use sealpoint::config::EncryptionAlgorithm;
use sealpoint::envelope::{Layout, Opener, Waypoints};
use sealpoint::error::{Kind, Result};

use sealed_files::{
    ALGORITHMS, Buffers, Reader, data_key, head, is_refusal, open_whole, options, plaintext, seal_parts, seal_whole,
    sealer, secret, slots,
};

/// Three frames that differ in length, so that the file is small and irregular.
const PARTS: [usize; 3] = [37, 5, 20];

fn parts(plain: &[u8]) -> Vec<&[u8]> {
    let mut rest = plain;
    PARTS.iter().map(|len| rest.split_off(..*len).unwrap()).collect()
}

fn small(algorithm: EncryptionAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let plain = plaintext(PARTS.iter().sum());
    let file = seal_whole(algorithm, 4096, &parts(&plain));
    (file, plain)
}

/// Opens in both ways, from the start, from the middle and from the end; every way must refuse or, before it comes upon
/// the damage, release the right bytes. Reading it all must always refuse.
fn assert_refused(file: &[u8], plain: &[u8], what: &str) {
    for buffers in [Buffers::OutOfPlace, Buffers::InPlace] {
        for from in [0, plain.len() / 2, plain.len()] {
            let error = refusal(file, plain, buffers, from);
            assert!(from > 0 || error.is_some(), "{what}: read to the end ({buffers:?})");
        }
    }
}

fn refusal(file: &[u8], plain: &[u8], buffers: Buffers, from: usize) -> Option<Kind> {
    let read = || -> Result<()> {
        let mut reader = Reader::new(file, &data_key(), 0)?;
        reader.buffers = buffers;
        reader.seek(from as u64);
        let mut position = from;
        while let Some(bytes) = reader.read(usize::MAX)? {
            assert_eq!(bytes, plain[position..position + bytes.len()], "wrong bytes were released");
            position += bytes.len();
        }
        assert_eq!(position, plain.len(), "a wrong end was believed");
        Ok(())
    };
    read().err().map(|error| {
        assert!(is_refusal(&error), "{error:?}");
        error.kind()
    })
}

#[test]
fn a_truncated_file_is_rejected_at_every_length() {
    for algorithm in ALGORITHMS {
        let (file, plain) = small(algorithm);
        assert_eq!(refusal(&file, &plain, Buffers::OutOfPlace, 0), None);
        for length in 0..file.len() {
            assert_refused(&file[..length], &plain, &format!("{algorithm:?} cut to {length}"));
            assert_eq!(refusal(&file[..length], &plain, Buffers::InPlace, 0), Some(Kind::Truncated), "cut to {length}");
        }
    }
}

#[test]
fn every_single_bit_flip_is_rejected() {
    for algorithm in ALGORITHMS {
        let (file, plain) = small(algorithm);
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_refused(&bad, &plain, &format!("{algorithm:?} bit {bit}"));
        }
    }
}

#[test]
fn every_byte_after_the_end_is_rejected() {
    for algorithm in ALGORITHMS {
        let (file, plain) = small(algorithm);
        for extra in [&[0][..], &[0xff; 36], &file] {
            let longer = [&file[..], extra].concat();
            assert_refused(&longer, &plain, "trailing bytes");
            let mut reader = Reader::new(&longer, &data_key(), 0).unwrap();
            let ended = reader.verify_end();
            assert!(ended.is_err(), "the length of a longer file was believed");
        }
        // A reader that is given only the file, and learns of the rest afterwards.
        let head = head(&file).unwrap();
        let mut opener = Opener::new(&head, &data_key()).unwrap();
        assert!(opener.open(&file[head.len()..], &mut [0; 4096]).unwrap().ended);
        assert_eq!(opener.eof(b"x").unwrap_err().kind(), Kind::Integrity);
    }
}

#[test]
fn frames_left_out_repeated_or_swapped_are_rejected() {
    for algorithm in ALGORITHMS {
        for chunk in [4096, 20] {
            let plain = plaintext(3 * chunk);
            let parts: Vec<&[u8]> = plain.chunks(chunk).collect();
            let file = seal_whole(algorithm, 4096, &parts);
            let (head, [a, b, c], end) = cut_up(&file, chunk);
            for (what, frames) in [
                ("first left out", vec![b, c]),
                ("middle left out", vec![a, c]),
                ("last left out", vec![a, b]),
                ("all left out", vec![]),
                ("repeated", vec![a, b, b, c]),
                ("last repeated", vec![a, b, c, c]),
                ("swapped", vec![b, a, c]),
                ("last two swapped", vec![a, c, b]),
            ] {
                assert_refused(&[head, &frames.concat(), end].concat(), &plain, what);
            }
        }
    }
}

#[test]
fn parts_of_another_file_are_rejected() {
    for algorithm in ALGORITHMS {
        let plain = plaintext(60);
        let parts: Vec<&[u8]> = plain.chunks(20).collect();
        // The same data key, the same content: only the files differ.
        let (ours, theirs) = (seal_whole(algorithm, 4096, &parts), seal_whole(algorithm, 4096, &parts));
        let (head, [a, b, c], end) = cut_up(&ours, 20);
        let (their_head, [_, their_b, _], their_end) = cut_up(&theirs, 20);
        assert_refused(&[head, a, their_b, c, end].concat(), &plain, "a frame of another file");
        assert_refused(&[head, a, b, c, their_end].concat(), &plain, "the end of another file");
        assert_refused(&[their_head, a, b, c, end].concat(), &plain, "the head of another file");
        let salt = head.len() - 56;
        assert_refused(
            &[&head[..salt], &their_head[salt..], a, b, c, end].concat(),
            &plain,
            "the salt of another file",
        );
        // The end of the same file at an earlier point in its life.
        let mut shorter = sealer(algorithm, 4096);
        let mut file = seal_parts(&mut shorter, &parts[..1]);
        let early = file.len();
        file.resize(early + shorter.layout().end_len, 0);
        shorter.finish(&mut file[early..]).unwrap();
        assert_refused(&[head, a, b, c, &file[early..]].concat(), &plain, "an end of one frame after three");
    }
}

#[test]
fn slots_of_somebody_without_the_data_key_are_rejected() {
    use sealpoint::envelope::{Slot, encode_slots};
    for algorithm in ALGORITHMS {
        let (file, _) = small(algorithm);
        let head = head(&file).unwrap();
        let theirs = Slot { kek: "attackers".into(), ..head.slots[0].clone() };
        let forged = encode_slots(&[theirs], head.bound.data_key_id, &secret([9; 32])).unwrap();
        let start = head.len() - 56 - head.slots_section().len();
        let mut bad = [&file[..start], &forged, &file[head.len() - 56..]].concat();
        bad[16..20].copy_from_slice(&(forged.len() as u32).to_be_bytes());
        assert_eq!(open_whole(&bad, &data_key()).unwrap_err().kind(), Kind::Integrity);
        // Rewrapping by a holder of the data key changes nothing else.
        let rewrapped =
            encode_slots(&[head.slots[0].clone(), head.slots[0].clone()], head.bound.data_key_id, &data_key());
        let rewrapped = rewrapped.unwrap();
        let mut good = [&file[..start], &rewrapped, &file[head.len() - 56..]].concat();
        good[16..20].copy_from_slice(&(rewrapped.len() as u32).to_be_bytes());
        open_whole(&good, &data_key()).unwrap();
    }
}

#[test]
fn another_data_key_is_rejected_before_any_frame() {
    for algorithm in ALGORITHMS {
        let (file, _) = small(algorithm);
        let error = Opener::new(&head(&file).unwrap(), &secret([9; 32])).err().unwrap();
        assert_eq!(error.kind(), Kind::Integrity);
        for len in [0, 16, 31, 33, 64] {
            let short = sealpoint::secret::Secret::take(&mut vec![1; len]).unwrap();
            assert!(Opener::new(&head(&file).unwrap(), &short).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_renamed_file_is_rejected_where_it_has_a_subject() {
    let mut options = options(EncryptionAlgorithm::Aes256Gcm, 4096);
    for (subject, name, holds) in [(Some("a"), "a", true), (Some("a"), "b", false), (None, "b", true)] {
        options.subject = subject.map(str::to_owned);
        let sealer =
            sealpoint::envelope::Sealer::new(&data_key(), sealed_files::data_key_id(), &slots(), &options).unwrap();
        let head = head(sealer.head()).unwrap();
        assert_eq!(head.bound.check_subject(name).is_ok(), holds);
    }
}

/// Which check failed must not show: same kind, same words, whatever was wrong with the frame.
#[test]
fn all_failures_of_a_frame_look_alike() {
    for algorithm in ALGORITHMS {
        let (file, _) = small(algorithm);
        let head = head(&file).unwrap();
        let layout = Opener::new(&head, &data_key()).unwrap().layout();
        let frame = layout.frame_len(PARTS[0]);
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..frame {
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[head.len() + at] ^= 1 << bit;
                // The bits of the prefix that make the frame seem longer than the file cut it short instead.
                if let Err(error) = open_whole(&bad, &data_key())
                    && (at >= 4 || error.kind() == Kind::Integrity)
                {
                    seen.insert((error.kind().code().0, error.to_string()));
                }
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(20, "frame 0 failed verification".to_owned())]);
    }
}

#[test]
fn a_frame_that_fails_leaves_no_plaintext_in_the_buffer() {
    for algorithm in ALGORITHMS {
        let plain = vec![0x5a; 4096];
        let file = seal_whole(algorithm, 4096, &[&plain]);
        let head = head(&file).unwrap();
        let mut bad = file[head.len()..].to_vec();
        let layout = Opener::new(&head, &data_key()).unwrap().layout();
        bad[layout.front + 4096 + 3] ^= 1;
        let mut out = vec![0; 4096];
        assert!(Opener::new(&head, &data_key()).unwrap().open(&bad, &mut out).is_err());
        assert!(Opener::new(&head, &data_key()).unwrap().open_in_place(&mut bad).is_err());
        for buffer in [&out, &bad] {
            assert!(!buffer.windows(8).any(|window| window == [0x5a; 8]), "{algorithm:?}");
        }
    }
}

#[test]
fn an_opener_that_met_a_failure_stays_closed() {
    for algorithm in ALGORITHMS {
        let (mut file, plain) = small(algorithm);
        let body = head(&file).unwrap().len();
        file[body + 30] ^= 1;
        let mut reader = Reader::new(&file, &data_key(), 0).unwrap();
        let first = reader.read(1).unwrap_err();
        reader.seek(plain.len() as u64 - 1);
        assert_eq!(reader.read(1).unwrap_err(), first);
        assert_eq!(reader.verify_end().unwrap_err(), first);
        assert_eq!(reader.opener.eof(&[]).unwrap_err(), first);
    }
}

/// A length is believed only with the end that proves it, and only for a file of the right size.
#[test]
fn the_length_is_verified_before_it_is_used() {
    for algorithm in ALGORITHMS {
        for chunk in [4096, 20] {
            let plain = plaintext(3 * chunk);
            let file = seal_whole(algorithm, 4096, &plain.chunks(chunk).collect::<Vec<_>>());
            let open = |file: &[u8]| Reader::new(file, &data_key(), 0).unwrap().verify_end();
            assert_eq!(open(&file).unwrap(), plain.len() as u64);
            let (head, [a, b, c], end) = cut_up(&file, chunk);
            for bad in [
                [head, a, b, end].concat(),
                [head, a, b, c, c, end].concat(),
                [head, end].concat(),
                [head, a, b, c, &end[1..]].concat(),
                [head, a, b, c].concat(),
                [head, &end[1..]].concat(),
                head.to_vec(),
            ] {
                assert!(is_refusal(&open(&bad).unwrap_err()));
            }
            for bit in 0..end.len() * 8 {
                let mut bad = file.clone();
                let at = file.len() - end.len() + bit / 8;
                bad[at] ^= 1 << (bit % 8);
                assert!(is_refusal(&open(&bad).unwrap_err()), "bit {bit}");
            }
        }
    }
}

/// Two prefixes changed so that they make up for each other: a walk past them ends in a frame that verifies, and what it
/// passed between them is no boundary of the file as it was sealed.
#[test]
fn a_false_hint_costs_a_walk_and_no_more() {
    for algorithm in ALGORITHMS {
        let plain = plaintext(5 * 24);
        let parts: Vec<&[u8]> = plain.chunks(24).collect();
        let file = seal_whole(algorithm, 4096, &parts);
        let (start, frame) = (head(&file).unwrap().len(), Layout::new(algorithm, 4096).frame_len(24));
        // As long as it was, and wrong in between: what the third frame gains the fourth one loses.
        let mut changed = file.clone();
        changed[start + 2 * frame + 3] += 16;
        let moved = start + 3 * frame + 16;
        changed[moved..moved + 4].copy_from_slice(&8u32.to_be_bytes());

        for buffers in [Buffers::OutOfPlace, Buffers::InPlace] {
            let waypoints = Arc::new(Waypoints::with_spacing(1));
            let read_from = |file: &[u8], target: usize| {
                let mut reader = Reader::new(file, &data_key(), 0)?.sharing(&waypoints)?;
                reader.buffers = buffers;
                reader.seek(target as u64);
                reader.read_to_end()
            };
            assert_eq!(read_from(&changed, 4 * 24).unwrap(), plain[4 * 24..], "the walk goes past the change");
            assert_eq!(read_from(&file, 3 * 24 + 20).unwrap(), plain[3 * 24 + 20..], "the false hint lies before this");
            assert_eq!(read_from(&changed, 4 * 24).unwrap(), plain[4 * 24..]);
            assert!(is_refusal(&read_from(&changed, 2 * 24).unwrap_err()), "what was changed is refused as ever");
            assert_eq!(read_from(&file, 2 * 24).unwrap(), plain[2 * 24..]);
        }
    }
}

fn cut_up(file: &[u8], chunk: usize) -> (&[u8], [&[u8]; 3], &[u8]) {
    let head = head(file).unwrap();
    let layout = Layout::new(head.algorithm, head.bound.chunk_size);
    let (head, body) = file.split_at(head.len());
    let (frames, end) = body.split_at(3 * layout.frame_len(chunk));
    let mut frames = frames.chunks(layout.frame_len(chunk));
    (head, [(); 3].map(|()| frames.next().unwrap()), end)
}

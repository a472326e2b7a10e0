//! Whatever is written, in whatever parts, reads back as the plain bytes: in order, and from any offset.

mod cases;
mod sealed_files;

use std::sync::Arc;

use proptest::prelude::*;
use sealpoint::envelope::Waypoints;
use sealpoint::error::Kind;

use sealed_files::{ALGORITHMS, Buffers, Reader, data_key, open_whole, plaintext, seal_parts, seal_whole, sealer};

const CHUNK: usize = 4096;

#[test]
fn files_of_every_interesting_length_read_back() {
    for algorithm in ALGORITHMS {
        for len in [0, 1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 5] {
            let plain = plaintext(len);
            let file = seal_whole(algorithm, 4096, &[&plain]);
            assert!(open_whole(&file, &data_key()).unwrap() == plain, "{algorithm:?}, {len} bytes");
        }
    }
}

#[test]
fn every_chunk_size_reads_back() {
    for algorithm in ALGORITHMS {
        for log2 in 12..=20 {
            let plain = plaintext((2 << log2) + 77);
            let file = seal_whole(algorithm, 1 << log2, &[&plain]);
            assert!(open_whole(&file, &data_key()).unwrap() == plain, "{algorithm:?}, chunks of 2^{log2}");
        }
    }
}

#[test]
fn a_file_never_closed_reads_up_to_its_last_whole_frame() {
    for algorithm in ALGORITHMS {
        let plain = plaintext(3 * CHUNK);
        let file = seal_parts(&mut sealer(algorithm, 4096), &[&plain[..5000], &plain[5000..]]);
        let mut reader = Reader::new(&file, &data_key(), 0).unwrap();
        assert_eq!(reader.verify_end().unwrap_err().kind(), Kind::Truncated);
        let mut read = Vec::new();
        let error = loop {
            match reader.read(usize::MAX) {
                Ok(bytes) => read.extend(bytes.expect("a file that was not closed has no end")),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::Truncated);
        assert_eq!(read, plain);
        reader.seek(7000);
        assert_eq!(reader.read(10).unwrap().unwrap(), plain[7000..7010], "and is still readable where it is whole");
        reader.seek(plain.len() as u64);
        assert_eq!(reader.read(1).unwrap_err().kind(), Kind::Truncated);
    }
}

#[test]
fn a_seek_past_the_end_is_the_end() {
    for algorithm in ALGORITHMS {
        for parts in [vec![0], vec![1], vec![CHUNK], vec![CHUNK + 1], vec![3, CHUNK], vec![10, 10, 10]] {
            let plain = plaintext(parts.iter().sum());
            let mut rest = &plain[..];
            let parts: Vec<&[u8]> = parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
            let file = seal_whole(algorithm, 4096, &parts);
            for beyond in [0, 1, CHUNK as u64, 1 << 40, u64::MAX - plain.len() as u64] {
                let mut reader = Reader::new(&file, &data_key(), 0).unwrap();
                reader.seek(plain.len() as u64 + beyond);
                assert_eq!(reader.read(1).unwrap(), None);
                assert_eq!(reader.opener.length(), Some(plain.len() as u64));
                reader.seek(0);
                assert_eq!(reader.read_to_end().unwrap(), plain);
            }
        }
    }
}

/// The guess of a seek can find a frame that is where it should be, but short and not the last: the target is behind it.
#[test]
fn a_seek_behind_the_first_short_frame_releases_the_frame_that_holds_the_target() {
    for algorithm in ALGORITHMS {
        let plain = plaintext(CHUNK + 10 + CHUNK);
        let parts = [&plain[..CHUNK], &plain[CHUNK..CHUNK + 10], &plain[CHUNK + 10..]];
        let file = seal_whole(algorithm, 4096, &parts);
        for target in [CHUNK + 9, CHUNK + 10, CHUNK + 11, 2 * CHUNK - 1, 2 * CHUNK, plain.len() - 1] {
            let mut reader = Reader::new(&file, &data_key(), 0).unwrap();
            reader.seek(target as u64);
            assert_eq!(reader.read(usize::MAX).unwrap().unwrap()[0], plain[target], "from {target}");
        }
    }
}

/// One step of a reader.
#[derive(Debug, Clone)]
enum Step {
    Read(usize),
    Seek(usize),
    VerifyEnd,
    /// Another reader goes on, with what the others found out.
    Reopen,
}

fn a_length() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 0..40usize,
        3 => 0..3 * CHUNK,
        2 => (0..4usize).prop_map(|chunks| chunks * CHUNK),
        1 => (0..4 * CHUNK).prop_map(|len| len + CHUNK - 1),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..3 * CHUNK).prop_map(Step::Read),
        5 => (0..12 * CHUNK).prop_map(Step::Seek),
        1 => Just(Step::VerifyEnd),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(cases::cases(300))]

    #[test]
    fn any_writes_syncs_seeks_and_reads_equal_the_plain_bytes(
        cbc in any::<bool>(),
        in_place in any::<bool>(),
        buffer in 0..40_000usize,
        spacing in 1..10_000u64,
        parts in prop::collection::vec(a_length(), 0..6),
        steps in prop::collection::vec(a_step(), 0..30),
    ) {
        let algorithm = ALGORITHMS[usize::from(cbc)];
        let plain = plaintext(parts.iter().sum());
        let mut rest = &plain[..];
        let parts: Vec<&[u8]> = parts.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
        let file = seal_whole(algorithm, 4096, &parts);

        let waypoints = Arc::new(Waypoints::with_spacing(spacing));
        let open = || {
            let mut reader = Reader::new(&file, &data_key(), buffer).unwrap().sharing(&waypoints).unwrap();
            reader.buffers = if in_place { Buffers::InPlace } else { Buffers::OutOfPlace };
            reader
        };
        let mut reader = open();
        let mut position = 0;
        for step in steps {
            match step {
                Step::Seek(to) => {
                    reader.seek(to as u64);
                    position = to;
                }
                Step::Reopen => {
                    reader = open();
                    reader.seek(position as u64);
                }
                Step::VerifyEnd => prop_assert_eq!(reader.verify_end().unwrap(), plain.len() as u64),
                Step::Read(len) => match reader.read(len).unwrap() {
                    Some(bytes) => {
                        prop_assert!(!bytes.is_empty() && bytes.len() <= len);
                        prop_assert_eq!(&bytes[..], &plain[position..position + bytes.len()]);
                        position += bytes.len();
                    }
                    None => prop_assert!(position >= plain.len()),
                },
            }
        }
        reader.seek(0);
        prop_assert!(reader.read_to_end().unwrap() == plain);
    }
}

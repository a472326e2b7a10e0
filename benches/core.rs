//! The core beside the raw cipher: the same chunks of 16 KiB, in batches of 64 KiB, in the cache, on one core.
//!
//! Each case runs in turn with its peer, in slices of a millisecond, and what counts is the fast decile of each: other
//! work on the machine can only slow a slice down. `core [ROUNDS]` prints one line a case: name, MB/s (MB = 10^6 bytes
//! of plaintext) or microseconds, and the ratio to its peer where it has one.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use ring::aead as ring;

use sealpoint::config::EncryptionAlgorithm;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::{DataKeyId, Head, Opener, Parsed, SealOptions, Sealer, Slot, encode_slots};
use sealpoint::secret::Secret;

const CHUNK: usize = 16 * 1024;
const BATCH: usize = 4 * CHUNK;
const FRAME: usize = 4 + CHUNK + 16;
const SLICE: Duration = Duration::from_millis(1);

fn main() {
    // `cargo bench` adds `--bench`.
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(600);
    println!("{:<34} {:>9} {:>9} {:>9}", "16 KiB chunks, 64 KiB batches", "MB/s", "peer", "ratio");
    batches(rounds);
    println!("\n{:<34} {:>9}", "one file", "us");
    files(rounds / 3 + 1);
}

fn batches(rounds: usize) {
    let raw = Raw::new();
    let plain = vec![0x5c; BATCH];
    let (mut sealed, mut peer) = (vec![0; 4 * FRAME], vec![0; 4 * FRAME]);
    let (mut opened, mut peer_opened) = (vec![0; BATCH], vec![0; BATCH]);

    let mut sealer = new_sealer(EncryptionAlgorithm::Aes256Gcm);
    let mut seal = || _ = black_box(sealer.seal(black_box(&plain), &mut sealed).unwrap());
    compare("seal / raw in place", rounds, &mut seal, &mut || raw.seal_in_place(&mut peer));
    compare("seal / raw out of place", rounds, &mut seal, &mut || raw.seal(black_box(&plain), &mut peer));
    compare("seal / ring in place", rounds, &mut seal, &mut || raw.seal_with_ring(&mut peer));
    compare("seal / memcpy", rounds, &mut seal, &mut || {
        peer_opened.copy_from_slice(black_box(&plain));
        black_box(&mut peer_opened);
    });
    let (mut sealer, mut buffer) = (new_sealer(EncryptionAlgorithm::Aes256Gcm), vec![0x5c; 4 * FRAME]);
    let mut seal_in_place = || _ = black_box(sealer.seal_in_place(&mut buffer, BATCH).unwrap());
    compare("seal in place / raw in place", rounds, &mut seal_in_place, &mut || raw.seal_in_place(&mut peer));

    let (frames, mut opener) = sealed_batch(EncryptionAlgorithm::Aes256Gcm);
    let mut raw_frames = vec![0; 4 * FRAME];
    raw.seal(&plain, &mut raw_frames);
    let mut open = || {
        opener.seek(0);
        assert_eq!(opener.open(black_box(&frames), &mut opened).unwrap().produced, BATCH);
    };
    compare("open / raw out of place", rounds, &mut open, &mut || raw.open(black_box(&raw_frames), &mut peer_opened));
    let mut copy = vec![0; 4 * FRAME];
    compare("open / copy, then raw in place", rounds, &mut open, &mut || raw.open_in_place(&raw_frames, &mut copy));
    let (frames, mut opener) = sealed_batch(EncryptionAlgorithm::Aes256Gcm);
    let mut buffer = frames.clone();
    let mut open_in_place = || {
        opener.seek(0);
        buffer.copy_from_slice(&frames);
        assert_eq!(opener.open_in_place(&mut buffer).unwrap().produced, BATCH);
    };
    compare("copy, open in place / the same raw", rounds, &mut open_in_place, &mut || {
        raw.open_in_place(&raw_frames, &mut copy);
    });

    let mut sealer = new_sealer(EncryptionAlgorithm::Aes256CbcHmac);
    let mut cbc_sealed = vec![0; sealer.layout().sealed_len(BATCH)];
    let mut seal_cbc = || _ = black_box(sealer.seal(black_box(&plain), &mut cbc_sealed).unwrap());
    let (frames, mut opener) = sealed_batch(EncryptionAlgorithm::Aes256CbcHmac);
    let mut open_cbc = || {
        opener.seek(0);
        assert_eq!(opener.open(black_box(&frames), &mut opened).unwrap().produced, BATCH);
    };
    compare("seal, CBC with HMAC / raw GCM", rounds / 3, &mut seal_cbc, &mut || raw.seal_in_place(&mut peer));
    compare("open, CBC with HMAC / raw GCM", rounds / 3, &mut open_cbc, &mut || raw.seal_in_place(&mut peer));
}

fn files(rounds: usize) {
    let (key, slots) = (data_key(), slots());
    let (gcm, cbc) = (options(EncryptionAlgorithm::Aes256Gcm), options(EncryptionAlgorithm::Aes256CbcHmac));
    let new = |options: &SealOptions| Sealer::new(&key, id(), &slots, options).unwrap();
    let plain = vec![0x5c; 4096];
    let whole = |options: &SealOptions| {
        let mut sealer = new(options);
        let layout = sealer.layout();
        let mut file = sealer.head().to_vec();
        let head = file.len();
        file.resize(head + layout.frame_len(4096) + layout.end_len, 0);
        let sealed = sealer.seal(&plain, &mut file[head..]).unwrap();
        sealer.finish(&mut file[head + sealed..]).unwrap();
        file
    };
    let file = whole(&gcm);
    let mut out = vec![0; CHUNK];
    let mut open = |file: &[u8]| {
        let head = parse(file);
        let mut opener = Opener::new(&head, &key).unwrap();
        assert!(opener.open(&file[head.len()..], &mut out).unwrap().ended);
    };
    let head = parse(&file);
    time("Sealer::new", rounds, &mut || _ = black_box(new(&gcm)));
    time("Sealer::new, CBC with HMAC", rounds, &mut || _ = black_box(new(&cbc)));
    time("Head::parse", rounds, &mut || _ = black_box(parse(black_box(&file))));
    time("Opener::new", rounds, &mut || _ = black_box(Opener::new(black_box(&head), &key).unwrap()));
    time("a file of 4 KiB sealed", rounds, &mut || _ = black_box(whole(&gcm)));
    time("a file of 4 KiB opened", rounds, &mut || open(black_box(&file)));
    let raw = Raw::new();
    let mut frame = vec![0; 4096];
    time("raw GCM, key schedule and 4 KiB", rounds, &mut || {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0x2a; 32]).unwrap());
        _ = black_box(key.seal_in_place_separate_tag(nonce(0), Aad::from(aad(0)), &mut frame).unwrap());
    });
    let (mut random, mut derived) = ([0; 24], [0; 76]);
    time("24 random bytes", rounds, &mut || aws_lc_rs::rand::fill(black_box(&mut random)).unwrap());
    let info = [0x2a; 153];
    time("HKDF-SHA-512 to 76 bytes", rounds, &mut || {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, &[7; 24]).extract(&[7; 32]);
        prk.expand(&[&info], Length).and_then(|okm| okm.fill(black_box(&mut derived))).unwrap();
    });
    time("raw GCM, 4 KiB", rounds, &mut || {
        _ = black_box(raw.key.seal_in_place_separate_tag(nonce(0), Aad::from(aad(0)), &mut frame).unwrap());
    });
}

/// Prints the speed of `ours` and of its peer, and their ratio.
fn compare(name: &str, rounds: usize, ours: &mut dyn FnMut(), peer: &mut dyn FnMut()) {
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first alternates, so that neither always inherits the other's cache.
        if round % 2 == 0 {
            our_times.push(slice(ours));
            peer_times.push(slice(peer));
        } else {
            peer_times.push(slice(peer));
            our_times.push(slice(ours));
        }
    }
    let (ours, peer) = (fast_decile(our_times), fast_decile(peer_times));
    let speed = |seconds: f64| BATCH as f64 / seconds / 1e6;
    println!("{name:<34} {:>9.0} {:>9.0} {:>9.3}", speed(ours), speed(peer), peer / ours);
}

fn time(name: &str, rounds: usize, work: &mut dyn FnMut()) {
    println!("{name:<34} {:>9.2}", fast_decile((0..rounds).map(|_| slice(work) * 1e6).collect()));
}

/// The seconds that `work` takes, over a slice of time.
fn slice(work: &mut dyn FnMut()) -> f64 {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < SLICE {
        for _ in 0..16 {
            work();
        }
        count += 16;
    }
    begun.elapsed().as_secs_f64() / f64::from(count)
}

fn fast_decile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 10]
}

/// The ciphers without a format: the nonce and the associated data of our frames, and nothing else.
struct Raw {
    key: LessSafeKey,
    ring: ring::LessSafeKey,
}

impl Raw {
    fn new() -> Raw {
        Raw {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0x2a; 32]).unwrap()),
            ring: ring::LessSafeKey::new(ring::UnboundKey::new(&ring::AES_256_GCM, &[0x2a; 32]).unwrap()),
        }
    }

    fn seal_in_place(&self, buffer: &mut [u8]) {
        for (index, frame) in buffer.chunks_exact_mut(FRAME).enumerate() {
            let (chunk, tag) = frame[4..].split_at_mut(CHUNK);
            self.key.seal_in_place_scatter(nonce(index), Aad::from(aad(index)), chunk, &[], tag).unwrap();
        }
        black_box(buffer);
    }

    fn seal(&self, plain: &[u8], out: &mut [u8]) {
        for (index, (chunk, frame)) in plain.chunks(CHUNK).zip(out.chunks_exact_mut(FRAME)).enumerate() {
            let (sealed, tag) = frame[4..].split_at_mut(CHUNK);
            self.key.seal_out_of_place_scatter(nonce(index), Aad::from(aad(index)), chunk, sealed, &[], tag).unwrap();
        }
        black_box(out);
    }

    fn seal_with_ring(&self, buffer: &mut [u8]) {
        for (index, frame) in buffer.chunks_exact_mut(FRAME).enumerate() {
            let (chunk, tag) = frame[4..].split_at_mut(CHUNK);
            let nonce = ring::Nonce::assume_unique_for_key(nonce_bytes(index));
            let sealed = self.ring.seal_in_place_separate_tag(nonce, ring::Aad::from(aad(index)), chunk).unwrap();
            tag.copy_from_slice(sealed.as_ref());
        }
        black_box(buffer);
    }

    fn open(&self, sealed: &[u8], out: &mut [u8]) {
        for (index, (frame, chunk)) in sealed.chunks_exact(FRAME).zip(out.chunks_mut(CHUNK)).enumerate() {
            let (sealed, tag) = frame[4..].split_at(CHUNK);
            self.key.open_separate_gather(nonce(index), Aad::from(aad(index)), sealed, tag, chunk).unwrap();
        }
        black_box(out);
    }

    fn open_in_place(&self, sealed: &[u8], copy: &mut [u8]) {
        copy.copy_from_slice(sealed);
        for (index, frame) in copy.chunks_exact_mut(FRAME).enumerate() {
            let (chunk, tag) = frame[4..].split_at_mut(CHUNK);
            self.key.open_in_place_separate_tag(nonce(index), Aad::from(aad(index)), tag, chunk).unwrap();
        }
        black_box(copy);
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        76
    }
}

fn nonce(index: usize) -> Nonce {
    Nonce::assume_unique_for_key(nonce_bytes(index))
}

fn nonce_bytes(index: usize) -> [u8; 12] {
    let mut nonce = [0x11; 12];
    nonce[4..].copy_from_slice(&(index as u64).to_be_bytes());
    nonce
}

fn aad(index: usize) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..4].copy_from_slice(&(CHUNK as u32).to_be_bytes());
    aad[4..].copy_from_slice(&((index * CHUNK) as u64).to_be_bytes());
    aad
}

fn id() -> DataKeyId {
    DataKeyId::from_bytes([7; 16])
}

fn data_key() -> Secret {
    Secret::take(&mut [0x2a; 32]).unwrap()
}

fn slots() -> Vec<u8> {
    let slot = Slot { provider: "local".into(), kek: "sealpoint".into(), version: "1".into(), wrapped: vec![7; 60] };
    encode_slots(&[slot], id(), &data_key()).unwrap()
}

fn options(algorithm: EncryptionAlgorithm) -> SealOptions {
    SealOptions {
        algorithm,
        chunk_size: CHUNK as u32,
        tenant: "default".into(),
        subject: Some("b0f6c2d4-4f5e-4c1b-9a27-6c1f5b7e8a90".into()),
        context: EncryptionContext::default(),
        created_at_ms: 1_764_000_000_000,
    }
}

fn new_sealer(algorithm: EncryptionAlgorithm) -> Sealer {
    Sealer::new(&data_key(), id(), &slots(), &options(algorithm)).unwrap()
}

/// The frames of one batch, and an opener that stands before them.
fn sealed_batch(algorithm: EncryptionAlgorithm) -> (Vec<u8>, Opener) {
    let mut sealer = new_sealer(algorithm);
    let mut frames = vec![0; sealer.layout().sealed_len(BATCH)];
    sealer.seal(&vec![0x5c; BATCH], &mut frames).unwrap();
    (frames, Opener::new(&parse(sealer.head()), &data_key()).unwrap())
}

fn parse(file: &[u8]) -> Head {
    match Head::parse(file).unwrap() {
        Parsed::Complete(head) => head,
        Parsed::NeedMore(needed) => unreachable!("the head is whole, and asks for {needed} bytes"),
    }
}

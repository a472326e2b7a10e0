//! The raw cipher: what the streams of Sealpoint and of its peers are measured against.
//!
//! AES-256-GCM of aws-lc-rs over chunks of 16 KiB, with the 12 bytes of associated data of a frame and one nonce a
//! chunk; no stream, no head, no JVM. Sealing works in place on one chunk that stays in the cache; opening copies each
//! chunk out of 64 MiB of sealed memory first, as a stream must.
//!
//! `raw [ITERATIONS [MILLISECONDS]]` prints one line an iteration and case: its name and the mean speed in MB/s
//! (MB = 10^6 bytes of plaintext). `benches/run` calls it between the JVMs, so that both see the same machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

const CHUNK: usize = 16 * 1024;
const TAG: usize = 16;
const FRONT: usize = 4;
const FRAME: usize = FRONT + CHUNK + TAG;
const CHUNKS: usize = 4096;

fn main() -> Result<(), Unspecified> {
    // `cargo bench` adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let iterations = numbers.next().unwrap_or(1);
    let time = Duration::from_millis(numbers.next().unwrap_or(20));

    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[0x2a; 32])?);
    let mut chunk = vec![0x5c; CHUNK];
    let sealed = seal_all(&key)?;
    let mut frame = vec![0; FRAME];
    for _ in 0..iterations {
        report("seal", time, |index| seal(&key, index, &mut chunk).map(|_| ()))?;
        report("open", time, |index| {
            let at = (index as usize % CHUNKS) * FRAME;
            frame.copy_from_slice(&sealed[at..at + FRAME]);
            open(&key, index % CHUNKS as u64, &mut frame[FRONT..])
        })?;
        report("memcpy", time, |index| {
            let at = (index as usize % CHUNKS) * FRAME;
            frame[FRONT..FRONT + CHUNK].copy_from_slice(black_box(&sealed[at..at + CHUNK]));
            black_box(&mut frame);
            Ok(())
        })?;
    }
    Ok(())
}

/// Prints the speed of `work`, which takes the running number of a chunk, over about `time`.
fn report(name: &str, time: Duration, mut work: impl FnMut(u64) -> Result<(), Unspecified>) -> Result<(), Unspecified> {
    let begun = Instant::now();
    let mut chunks = 0;
    while begun.elapsed() < time {
        for _ in 0..64 {
            work(chunks)?;
            chunks += 1;
        }
    }
    let megabytes = (chunks * CHUNK as u64) as f64 / 1e6;
    println!("{name} {:.1}", megabytes / begun.elapsed().as_secs_f64());
    Ok(())
}

fn seal(key: &LessSafeKey, index: u64, chunk: &mut [u8]) -> Result<[u8; TAG], Unspecified> {
    let tag = key.seal_in_place_separate_tag(nonce(index), Aad::from(associated(index)), chunk)?;
    tag.as_ref().try_into().map_err(|_| Unspecified)
}

fn open(key: &LessSafeKey, index: u64, sealed: &mut [u8]) -> Result<(), Unspecified> {
    black_box(key.open_in_place(nonce(index), Aad::from(associated(index)), sealed)?);
    Ok(())
}

/// 64 MiB of sealed frames, one after the other.
fn seal_all(key: &LessSafeKey) -> Result<Vec<u8>, Unspecified> {
    let mut file = Vec::with_capacity(CHUNKS * FRAME);
    let mut chunk = vec![0; CHUNK];
    for index in 0..CHUNKS as u64 {
        chunk.fill(0x5c);
        let tag = seal(key, index, &mut chunk)?;
        file.extend_from_slice(&(CHUNK as u32).to_be_bytes());
        file.extend_from_slice(&chunk);
        file.extend_from_slice(&tag);
    }
    Ok(file)
}

fn nonce(index: u64) -> Nonce {
    let mut bytes = [0x17; 12];
    bytes[4..].copy_from_slice(&(u64::from_be_bytes([0x17; 8]) ^ index).to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The prefix of the frame and its plaintext offset, as in a sealed file.
fn associated(index: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&(CHUNK as u32).to_be_bytes());
    bytes[4..].copy_from_slice(&(index * CHUNK as u64).to_be_bytes());
    bytes
}

//! What a rewrap costs: by the number of data keys, not by the bytes.
//!
//! `lifecycle` prints one line a figure: name, time or ratio, and the goal. A GiB in 64 files lies beside a MiB in as many,
//! each under the data keys of four processes; re-encrypting is counted without its verification. The key service is a
//! keyring, which answers at once, and `kms.calls-per-second` is out of the way: what is left is our own work and the disk.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealpoint::config::EncryptionConfig;
use sealpoint::engine::EncryptionEngine;
use sealpoint::kms::local::KeyringFile;
use sealpoint::lifecycle::rewrap::{Options, rewrap_uri};
use sealpoint::stream::{OpenStream, SealStream, read_head};
use tempfile::TempDir;

const FILES: usize = 64;
const DATA_KEYS: usize = 4;
const BLOCK: usize = 1 << 20;
const ROUNDS: usize = 5;

fn main() {
    let folder = TempDir::new().unwrap();
    let keyring = folder.path().join("keyring");
    KeyringFile::new(&keyring, None).unwrap().create("sealpoint").unwrap();
    let engine = || {
        let keyring = keyring.to_str().unwrap();
        let pairs = [("kms.provider", "local"), ("kms.local.keyring", keyring), ("kms.calls-per-second", "10000")];
        EncryptionEngine::open(EncryptionConfig::from_pairs(pairs).unwrap()).unwrap()
    };
    let (large, small) = (folder.path().join("large"), folder.path().join("small"));
    for (place, size) in [(&large, (1 << 30) / FILES), (&small, (1 << 20) / FILES)] {
        fs::create_dir(place).unwrap();
        for process in 0..DATA_KEYS {
            let engine = engine();
            for file in (process..FILES).step_by(DATA_KEYS) {
                seal(&engine, &place.join(file.to_string()), size);
            }
        }
    }
    let engine = engine();
    // In turn, each with the caches that the other left; what counts is the fastest of each.
    let (mut of_large, mut of_small) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        of_large = of_large.min(rewrapped(&engine, &large));
        of_small = of_small.min(rewrapped(&engine, &small));
    }
    let start = Instant::now();
    let copies = folder.path().join("copies");
    fs::create_dir(&copies).unwrap();
    for file in 0..FILES {
        reencrypt(&engine, &large.join(file.to_string()), &copies.join(file.to_string()));
    }
    let reencrypted = start.elapsed();

    println!("{:<58} {:>10} {:>10}", "rewrap", "reached", "wanted");
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    report("1 GiB in 64 files, under 4 data keys", ms(of_large), "");
    report("1 MiB in 64 files, under 4 data keys", ms(of_small), "");
    report("the first / the second", format!("{:.2}", ratio(of_large, of_small)), "about 1");
    report("1 GiB opened, sealed anew and written", ms(reencrypted), "");
    report("a rewrap of it / that", format!("{:.4}", ratio(of_large, reencrypted)), "< 0.01");
}

fn report(name: &str, reached: String, wanted: &str) {
    println!("{name:<58} {reached:>10} {wanted:>10}");
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn rewrapped(engine: &EncryptionEngine, place: &Path) -> Duration {
    let options = Options { again: true, ..Options::default() };
    let start = Instant::now();
    let report = rewrap_uri(engine, place.to_str().unwrap(), &options).unwrap();
    let spent = start.elapsed();
    assert_eq!((report.renewed, report.failures.count), (DATA_KEYS as u64, 0));
    spent
}

fn seal(engine: &Arc<EncryptionEngine>, path: &PathBuf, size: usize) {
    let mut stream = SealStream::new(engine.sealer(path.to_str().unwrap(), None).unwrap());
    let (mut file, mut sealed, block) = (File::create(path).unwrap(), Vec::new(), vec![0x5c; BLOCK.min(size)]);
    for _ in 0..size / block.len() {
        stream.update(&block, &mut sealed).unwrap();
        file.write_all(&sealed).unwrap();
        sealed.clear();
    }
    stream.finish(&mut sealed).unwrap();
    file.write_all(&sealed).unwrap();
}

fn reencrypt(engine: &Arc<EncryptionEngine>, from: &Path, to: &Path) {
    let mut source = File::open(from).unwrap();
    let (_, head) = read_head(&mut source).unwrap();
    let mut opened = OpenStream::new(source, engine.opener(&head, from.to_str().unwrap(), None).unwrap());
    let mut stream = SealStream::new(engine.sealer(to.to_str().unwrap(), None).unwrap());
    let (mut file, mut sealed, mut block) = (File::create(to).unwrap(), Vec::new(), vec![0; BLOCK]);
    loop {
        let read = opened.read(&mut block).unwrap();
        if read == 0 {
            break;
        }
        stream.update(&block[..read], &mut sealed).unwrap();
        file.write_all(&sealed).unwrap();
        sealed.clear();
    }
    stream.finish(&mut sealed).unwrap();
    file.write_all(&sealed).unwrap();
    file.sync_all().unwrap();
}

//! What stands between the engine and its key service: how many calls are made, and what our part of one costs.
//!
//! `kms` prints one line a figure: name, value, and the goal. Latencies are compared in turn, within one run.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sealpoint::clock::SystemClock;
use sealpoint::config::EncryptionConfig;
use sealpoint::context::EncryptionContext;
use sealpoint::engine::EncryptionEngine;
use sealpoint::envelope::{Head, Parsed};
use sealpoint::kms::local::KeyringFile;
use sealpoint::kms::over::{self, Budget, Surroundings};
use sealpoint::kms::{self, WrappedKey};
use tempfile::TempDir;

fn main() {
    let folder = TempDir::new().unwrap();
    let keyring = folder.path().join("keyring");
    KeyringFile::new(&keyring, None).unwrap().create("sealpoint").unwrap();
    let pairs = [("kms.provider", "local"), ("kms.local.keyring", keyring.to_str().unwrap())];
    println!("{:<66} {:>12} {:>10}", "key service", "reached", "wanted");
    checkpoints(&pairs);
    restore(&pairs);
    cached(&pairs);
    overhead(folder.path());
    start(folder.path());
    rotation(folder.path());
}

fn report(name: &str, reached: String, wanted: &str) {
    println!("{name:<66} {reached:>12} {wanted:>10}");
}

fn engine(pairs: &[(&str, &str)]) -> Arc<EncryptionEngine> {
    EncryptionEngine::open(EncryptionConfig::from_pairs(pairs.iter().copied()).unwrap()).unwrap()
}

/// Twenty files in each of fifty checkpoints: a thread that seals never waits for a call.
fn checkpoints(pairs: &[(&str, &str)]) {
    let engine = engine(pairs);
    let settled = |drawn| {
        while engine.metrics().data_keys_drawn.get() < drawn {
            thread::sleep(Duration::from_millis(1));
        }
    };
    engine.encrypt("", b"first").unwrap();
    settled(2);
    let (waited, calls) = (engine.metrics().data_keys_waited.get(), engine.metrics().kms_call_duration.count());
    for checkpoint in 1..=50 {
        engine.begin_epoch("job", checkpoint);
        for _file in 0..20 {
            engine.encrypt("", &[7; 10_000]).unwrap();
        }
        settled(2 + checkpoint as u64);
    }
    let waits = engine.metrics().data_keys_waited.get() - waited;
    let calls = engine.metrics().kms_call_duration.count() - calls;
    report("calls that a sealing thread waited for, 50 checkpoints", waits.to_string(), "0");
    report("calls on the runtime thread, a checkpoint", format!("{:.2}", calls as f64 / 50.0), "1");
}

/// A thousand streams under four data keys, opened at once by another process.
fn restore(pairs: &[(&str, &str)]) {
    const STREAMS: usize = 1000;
    let writer = engine(pairs);
    let sealed: Vec<Vec<u8>> = (0..4)
        .map(|checkpoint| {
            writer.begin_epoch("job", checkpoint);
            let sealed = writer.encrypt("", b"state").unwrap();
            while writer.metrics().data_keys_drawn.get() < checkpoint as u64 + 2 {
                thread::sleep(Duration::from_millis(1));
            }
            sealed
        })
        .collect();
    let with = [pairs, &[("enabled", "false")]].concat();
    let reader = engine(&with);
    let start = Instant::now();
    thread::scope(|scope| {
        for sealed in sealed.iter().cycle().take(STREAMS) {
            let reader = &reader;
            scope.spawn(move || reader.decrypt("", sealed).unwrap());
        }
    });
    let took = start.elapsed();
    let unwraps = reader.metrics().kms_call_duration.count();
    report("unwraps for 1000 streams under 4 data keys", unwraps.to_string(), "4");
    report("  all of them opened, ms", format!("{:.1}", took.as_secs_f64() * 1e3), "");
}

/// A data key that is in the cache, head parsed already.
fn cached(pairs: &[(&str, &str)]) {
    const ROUNDS: u32 = 20_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = EncryptionConfig::from_pairs(pairs.iter().copied()).unwrap();
    let sealed = engine(pairs).encrypt("", b"state").unwrap();
    let Parsed::Complete(head) = Head::parse(&sealed).unwrap() else { return };
    let around = Surroundings::new(Arc::new(SystemClock), Arc::default());
    let clients = over::connect(&config, &around).unwrap();
    let (handle, stop) = (runtime.handle().clone(), tokio::sync::oneshot::channel::<()>());
    let driver = thread::spawn(move || _ = runtime.block_on(stop.1));
    let ring = sealpoint::keys::KeyRing::new(&config, clients, handle, around.clock, around.metrics).unwrap();
    ring.unwrap(&head).unwrap();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(ring.unwrap(std::hint::black_box(&head)).unwrap());
        }
        best = best.min(start.elapsed() / ROUNDS);
    }
    report("cached unwrap, us", format!("{:.3}", best.as_secs_f64() * 1e6), "< 1");
    drop(ring);
    drop(stop.0);
    driver.join().unwrap();
}

/// The Vault client alone and with everything over it, in turn, against a server on the loopback that answers at once.
fn overhead(folder: &Path) {
    const CALLS: usize = 2000;
    let address = serve();
    let config = vault(folder, &address, &[("kms.calls-per-second", "100000")]);
    let bare = kms::connect(&config).unwrap().remove("default").unwrap().remove(0);
    let around = Surroundings::new(Arc::new(SystemClock), Arc::default());
    let stacked = over::stack(Arc::clone(&bare), &config.kms_config, Budget::new(100_000), &around);
    let context = EncryptionContext::new([("sealpoint:data-key", "bench")]).unwrap();
    let wrapped = WrappedKey { kek: bare.key_id().into(), version: "1".into(), bytes: b"vault:v1:AAAA".to_vec() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut took = [Vec::new(), Vec::new()];
    runtime.block_on(async {
        for call in 0..2 * CALLS {
            let start = Instant::now();
            let client = if call % 2 == 0 { &bare } else { &stacked };
            client.decrypt(&wrapped, &context).await.unwrap();
            took[call % 2].push(start.elapsed());
        }
    });
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let [bare, stacked] = took.each_mut().map(median);
    report("an unwrap by the client alone over the loopback, p50 ms", format!("{bare:.4}"), "");
    report("  what our stack adds, p50 ms", format!("{:.4}", stacked - bare), "< 1");
}

/// The key service refuses connections, or accepts and never answers.
fn start(folder: &Path) {
    let dumb = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, address) in [("refuses", closed), ("never answers", dumb.local_addr().unwrap())] {
        let config = vault(folder, &format!("http://{address}"), &[]);
        let start = Instant::now();
        let engine = EncryptionEngine::open(config).unwrap();
        let took = start.elapsed();
        drop(engine);
        report(&format!("start of an engine whose key service {name}, s"), format!("{:.4}", took.as_secs_f64()), "< 1");
    }
}

/// A rotation with a hundred tenants sealing, against that of the bare client: the rest is what we add to the key service's
/// own time.
fn rotation(folder: &Path) {
    const TENANTS: usize = 100;
    const ROTATIONS: usize = 50;
    let keyring = folder.join("rotated");
    KeyringFile::new(&keyring, None).unwrap().create("sealpoint").unwrap();
    let mut pairs = vec![
        ("kms.provider".to_owned(), "local".to_owned()),
        ("kms.local.keyring".to_owned(), keyring.display().to_string()),
        // The tenants' next data keys would otherwise wait their turn before the next rotation does.
        ("kms.calls-per-second".to_owned(), "10000".to_owned()),
    ];
    pairs.extend((0..TENANTS).map(|n| (format!("tenants.t{n}.paths"), format!("/t{n}"))));
    let config = EncryptionConfig::from_pairs(pairs).unwrap();
    let bare = kms::connect(&config).unwrap().remove("default").unwrap().remove(0);
    let engine = EncryptionEngine::open(config).unwrap();
    for tenant in 0..TENANTS {
        engine.encrypt(&format!("/t{tenant}/file"), b"state").unwrap();
    }
    let rotation = engine.keys().rotation();
    let key = &rotation.keys()[0];
    let (mut ours, mut own) = (Vec::new(), Vec::new());
    for _ in 0..ROTATIONS {
        let before = engine.wait(key.client().current_key_version()).unwrap();
        let begin = Instant::now();
        engine.wait(rotation.rotate_key(key, &before)).unwrap();
        ours.push(begin.elapsed());
        let begin = Instant::now();
        engine.wait(bare.rotate()).unwrap();
        own.push(begin.elapsed());
    }
    ours.sort_unstable();
    own.sort_unstable();
    let added = ours[ROTATIONS / 2].saturating_sub(own[ROTATIONS / 2]);
    report(
        "a rotation, 100 tenants, p50, added to the service's own, ms",
        format!("{:.3}", added.as_secs_f64() * 1e3),
        "<= 50",
    );
}

fn vault(folder: &Path, address: &str, more: &[(&str, &str)]) -> EncryptionConfig {
    let token = folder.join("token");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&token).unwrap();
    file.write_all(b"root").unwrap();
    let base = [
        ("kms.provider", "vault"),
        ("kms.vault.address", address),
        ("kms.vault.key-name", "k"),
        ("kms.vault.token-file", token.to_str().unwrap()),
    ];
    EncryptionConfig::from_pairs(base.iter().chain(more).copied()).unwrap()
}

/// Answers each request at once with what an unwrap gives.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || _ = answer(stream.unwrap()));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut length, mut lookup) = (0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            lookup |= line.contains("lookup-self");
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let body = if lookup {
            r#"{"data":{"ttl":0,"renewable":false}}"#.to_owned()
        } else {
            format!(r#"{{"data":{{"plaintext":"{}="}}}}"#, "A".repeat(43))
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

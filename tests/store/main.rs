//! One contract for every store, against servers that this program starts: MinIO for S3, Azurite for Azure Storage, for
//! Google a server of ours (fake-gcs-server has no uploads of the XML API, which is what is used), and files.
//!
//! `cargo test --test store` runs everything, `cargo test --test store s3` what has `s3` in its name, as
//! `s3::replace_race`. A server that cannot be had is a failure where `CI` is set, and a named skip elsewhere; what an
//! emulator lacks is said by name.

mod cases;
mod checkpoints;
#[allow(dead_code)]
#[path = "../kms/child.rs"]
mod child;
#[path = "../elsewhere/mod.rs"]
mod elsewhere;
mod life;
#[allow(dead_code)]
#[path = "../kms/proxy.rs"]
mod proxy;
mod refused;
mod requests;
mod retirement;
mod rewrap;
mod servers;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use child::{log_lengths, news};

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let exact = std::env::args().any(|argument| argument == "--exact");
    let taken = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|filter| if exact { name == filter } else { name.contains(filter.as_str()) })
    };
    let (mut failed, mut passed, mut not_run) = (Vec::new(), 0, 0);
    for kind in servers::KINDS {
        let cases: Vec<_> = cases::ALL
            .iter()
            .map(|case| (format!("{}::{}", kind.name, case.name), case))
            .filter(|(name, _)| taken(name))
            .collect();
        if std::env::args().any(|argument| argument == "--list") {
            cases.iter().for_each(|(name, _)| println!("{name}: test"));
            continue;
        }
        if cases.is_empty() {
            continue;
        }
        let service = match (kind.start)() {
            Ok(service) => service,
            Err(missing) if std::env::var_os("CI").is_none() => {
                cases.iter().for_each(|(name, _)| println!("test {name} ... NOT RUN: {missing}"));
                not_run += cases.len();
                continue;
            }
            Err(missing) => {
                println!("{}: {missing}", kind.name);
                failed.push(kind.name.to_owned());
                continue;
            }
        };
        for (name, case) in cases {
            if let Some((_, why)) = kind.lacks.iter().find(|(lacking, _)| *lacking == case.name) {
                println!("test {name} ... NOT RUN: {why}");
                not_run += 1;
                continue;
            }
            let before = log_lengths();
            match panic::catch_unwind(AssertUnwindSafe(|| (case.run)(&servers::Fixture::new(&service, case.name)))) {
                Ok(()) => {
                    println!("test {name} ... ok");
                    passed += 1;
                }
                Err(_) => {
                    println!("test {name} ... FAILED{}", news(kind.name, &before));
                    failed.push(name);
                }
            }
        }
    }
    println!("\n{passed} passed, {} failed, {not_run} not run", failed.len());
    failed.iter().for_each(|name| println!("FAILED {name}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

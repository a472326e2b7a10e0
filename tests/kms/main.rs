//! One contract for every key service, against servers that speak its wire protocol and that this program starts.
//!
//! `cargo test --test kms` runs everything, `cargo test --test kms aws` what has `aws` in its name, as
//! `vault::wrong_context`; `-- --list` lists, `-- --exact <name>` runs one, `-- --test-threads=1` one at a time. At the
//! end comes the matrix of providers and cases, also in target/kms-matrix.md. A server that cannot be had is a failure
//! where `CI` is set, and a named skip elsewhere.

#![cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp", feature = "pkcs11", feature = "vault")),
    allow(dead_code, reason = "what only the cases of a provider need that is not in this build")
)]

mod cases;
mod child;
mod client;
mod cloud;
mod connect;
mod documentation;
mod fixture;
mod matrix;
mod provider;
mod providers;
mod proxy;
mod runner;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "pkcs11")]
    providers::pkcs11::softhsm::configure();
    let arguments = match runner::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(unknown) => {
            eprintln!("{unknown}: see the head of tests/kms/main.rs");
            return ExitCode::from(2);
        }
    };
    let providers = providers::all();
    runner::run(&arguments, &providers)
}

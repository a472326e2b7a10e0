//! The contract, one function a case, run for every provider.

mod altered;
mod answers;
mod identity;
mod lifecycle;
mod network;
mod stacked;
pub mod throttled;
pub mod tool;
mod wrapping;

use crate::fixture::Fixture;

/// One clause of the contract.
#[derive(Clone, Copy)]
pub struct Case {
    /// `wrong_context`: the test of a provider is `<provider>::<case>`.
    pub name: &'static str,
    /// What it holds the client to, for the documentation.
    pub what: &'static str,
    /// What it takes beyond a client with a key.
    pub needs: Needs,
    pub run: fn(&Fixture),
}

/// What a case takes; where the service is a real cloud, only the first can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A client with a key.
    Client,
    /// More keys or identities, or changes at the server.
    Server,
    /// Failures on demand, by the fault proxy.
    Faults,
}

impl Needs {
    /// Why it is not run against a real cloud.
    pub fn absent_in_a_cloud(self) -> &'static str {
        match self {
            Needs::Client => "it is",
            Needs::Server => "it changes keys or identities at the server, or makes more of them",
            Needs::Faults => "it needs the fault proxy, which the certificates and signatures of a cloud rule out",
        }
    }
}

/// All of them, in the order of the matrix.
pub fn all() -> Vec<Case> {
    [
        wrapping::CASES,
        altered::CASES,
        lifecycle::CASES,
        answers::CASES,
        network::CASES,
        identity::CASES,
        stacked::CASES,
        tool::CASES,
    ]
    .concat()
}

//! What can be wrong with a file of a checkpoint.

use std::fmt;

use crate::error::{Error, Kind};

/// What is wrong, with the words that say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which kind of wrong.
    pub what: What,
    /// In words, led by the file.
    pub error: Error,
}

/// The kinds of wrong, by what an operator does about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A file that the metadata name is not there.
    Missing,
    /// A file is shorter than the metadata say, or ends without its end.
    Truncated,
    /// A sealed file lies under a name that it was not sealed under.
    Swapped,
    /// A file does not hold what was sealed.
    Damaged,
    /// A whole file, but not the one of this name that the manifest was written over.
    Replaced,
    /// A file is whole, but its length is not the one in the metadata.
    Length,
    /// A file is in clear.
    Plaintext,
    /// A file belongs to another tenant, another context, or a newer format.
    Foreign,
    /// The key of a file cannot be had: it is disabled, deleted, or of a service that is not configured.
    Key,
    /// The metadata name a file in a way that nobody should follow.
    Reference,
    /// Whether anything is wrong could not be found out.
    Unchecked,
}

impl What {
    /// Its name in reports and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            What::Missing => "missing",
            What::Truncated => "truncated",
            What::Swapped => "swapped",
            What::Damaged => "damaged",
            What::Replaced => "replaced",
            What::Length => "length",
            What::Plaintext => "plaintext",
            What::Foreign => "foreign",
            What::Key => "key",
            What::Reference => "reference",
            What::Unchecked => "unchecked",
        }
    }

    /// A problem of this kind.
    pub fn problem(self, error: Error) -> Problem {
        Problem { what: self, error }
    }

    fn of(kind: Kind) -> What {
        match kind {
            Kind::NotFound => What::Missing,
            Kind::Truncated => What::Truncated,
            Kind::Integrity | Kind::Malformed => What::Damaged,
            Kind::NotSealed => What::Plaintext,
            Kind::UnsupportedVersion | Kind::SuiteNotAllowed | Kind::TenantNotAllowed => What::Foreign,
            kind if kind.refuses_the_key() => What::Key,
            _ => What::Unchecked,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem { what: What::of(error.kind()), error }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        problem.error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what.name(), self.error)
    }
}

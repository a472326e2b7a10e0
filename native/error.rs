//! One error type for the whole library, each kind with a stable number that C and Java callers can rely on.

use std::fmt;
use std::time::Duration;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: the kind decides the [`Code`], the text says what happened, to which file or key, and what to do
/// next. The text never holds key bytes, plaintext, credentials or a digest of plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
}

/// The kinds of failure. A new kind must choose its [`Code`] in [`Kind::code`], which has no wildcard arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A caller broke the contract of a function: a null pointer, a buffer too small, a value out of range.
    InvalidArgument,
    /// The configuration is missing, unknown or contradictory.
    Config,
    /// The operating system refused to read or write.
    Io,
    /// The handle is closed, finished, or was poisoned by an earlier failure.
    State,
    /// A fault of ours, a caught panic for instance.
    Internal,
    /// What was asked for is not in this build or on this platform.
    Unsupported,
    /// The bytes are not what was sealed: tampered with, damaged, swapped, or opened with the wrong key.
    Integrity,
    /// The file ends before its end: it was cut, or never closed.
    Truncated,
    /// The file does not begin with the magic of a sealed file.
    NotSealed,
    /// The head of a sealed file breaks the grammar or a limit of the format.
    Malformed,
    /// The file was sealed by a version of the format that this library does not know.
    UnsupportedVersion,
    /// The file's cipher suite is not among those that the configuration allows.
    SuiteNotAllowed,
    /// The file belongs to a tenant that this process is not configured to open.
    TenantNotAllowed,
    /// The file's key-encryption key is not among those that the configuration allows.
    KeyNotAllowed,
    /// The key-encryption key does not exist.
    KeyNotFound,
    /// The key-encryption key exists, but not in the version that wrapped the data key.
    KeyVersionNotFound,
    /// The key-encryption key, or this version of it, is disabled.
    KeyDisabled,
    /// The key service refused the caller's permission.
    AccessDenied,
    /// The caller's credentials are missing, wrong or expired.
    Credentials,
    /// The key service could not be reached or failed on its side.
    KmsUnavailable,
    /// The key service asked us to slow down.
    KmsThrottled,
    /// The key service did not answer in time.
    KmsTimeout,
    /// The wrapped data key was refused: it is damaged, or was wrapped for another context.
    WrappedKey,
    /// The local keyring file is missing, unprotected, damaged, or its passphrase is wrong.
    Keyring,
    /// The key-encryption key is scheduled for deletion: it can still be saved.
    KeyPendingDeletion,
    /// No data key may be used for sealing any more: the key service has been away for too long.
    Outage,
    /// The key-encryption key is older than `key-rotation.max-age-days` and could not be rotated: nothing is sealed.
    KeyTooOld,
    /// There is no such file, object, bucket or container.
    NotFound,
    /// The store refused the caller's permission, or is read-only.
    StoreDenied,
    /// The store could not be reached, did not answer in time, or failed on its side.
    StoreUnavailable,
    /// The store asked us to slow down, for longer than we wait.
    StoreThrottled,
    /// The disk is full, or a quota is used up.
    StoreFull,
}

/// The stable number of a [`Kind`]; 0 is success. A number is never given to another kind, even once retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Kind; 32] = [
        Kind::InvalidArgument,
        Kind::Config,
        Kind::Io,
        Kind::State,
        Kind::Internal,
        Kind::Unsupported,
        Kind::Integrity,
        Kind::Truncated,
        Kind::NotSealed,
        Kind::Malformed,
        Kind::UnsupportedVersion,
        Kind::SuiteNotAllowed,
        Kind::TenantNotAllowed,
        Kind::KeyNotAllowed,
        Kind::KeyNotFound,
        Kind::KeyVersionNotFound,
        Kind::KeyDisabled,
        Kind::AccessDenied,
        Kind::Credentials,
        Kind::KmsUnavailable,
        Kind::KmsThrottled,
        Kind::KmsTimeout,
        Kind::WrappedKey,
        Kind::Keyring,
        Kind::Outage,
        Kind::KeyPendingDeletion,
        Kind::KeyTooOld,
        Kind::NotFound,
        Kind::StoreDenied,
        Kind::StoreUnavailable,
        Kind::StoreThrottled,
        Kind::StoreFull,
    ];

    /// The stable number of this kind.
    pub const fn code(self) -> Code {
        Code(match self {
            Kind::InvalidArgument => 1,
            Kind::Config => 2,
            Kind::Io => 3,
            Kind::State => 4,
            Kind::Internal => 5,
            Kind::Unsupported => 6,
            Kind::Integrity => 20,
            Kind::Truncated => 21,
            Kind::NotSealed => 22,
            Kind::Malformed => 23,
            Kind::UnsupportedVersion => 24,
            Kind::SuiteNotAllowed => 25,
            Kind::TenantNotAllowed => 26,
            Kind::KeyNotAllowed => 27,
            Kind::KeyNotFound => 40,
            Kind::KeyVersionNotFound => 41,
            Kind::KeyDisabled => 42,
            Kind::AccessDenied => 43,
            Kind::Credentials => 44,
            Kind::KmsUnavailable => 45,
            Kind::KmsThrottled => 46,
            Kind::KmsTimeout => 47,
            Kind::WrappedKey => 48,
            Kind::Keyring => 49,
            Kind::Outage => 50,
            Kind::KeyPendingDeletion => 51,
            Kind::KeyTooOld => 52,
            Kind::NotFound => 60,
            Kind::StoreDenied => 61,
            Kind::StoreUnavailable => 62,
            Kind::StoreThrottled => 63,
            Kind::StoreFull => 64,
        })
    }

    /// True if a key service, or the configuration of its keys, refuses what a data key is wrapped by, now and the next time.
    pub const fn refuses_the_key(self) -> bool {
        matches!(
            self,
            Kind::KeyNotAllowed
                | Kind::KeyNotFound
                | Kind::KeyVersionNotFound
                | Kind::KeyDisabled
                | Kind::KeyPendingDeletion
                | Kind::WrappedKey
        )
    }

    /// An error of this kind.
    pub fn error(self, message: impl fmt::Display) -> Error {
        Error { kind: self, message: message.to_string(), retry_after: None }
    }
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stable number of the kind.
    pub fn code(&self) -> Code {
        self.kind.code()
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the key service asked us to wait before we call it again, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The same error, with the pause that the key service asked for.
    #[must_use]
    pub fn after(mut self, pause: Option<Duration>) -> Error {
        self.retry_after = pause;
        self
    }

    /// True for a failure that may pass by itself: the call may be tried again.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::KmsUnavailable | Kind::KmsThrottled | Kind::KmsTimeout)
    }

    /// The same error, its text led by the file, key or step it happened to.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Error {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// An [`Kind::Io`] error that names what was being done, and to what. An error of this crate that came through a stream
    /// of the standard library is itself again.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.cloned().unwrap_or_else(|| Kind::Io.error(format_args!("cannot {doing}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_pinned_and_never_shared() {
        let codes: Vec<u32> = Kind::ALL.iter().map(|kind| kind.code().0).collect();
        assert_eq!(
            codes,
            [
                1, 2, 3, 4, 5, 6, 20, 21, 22, 23, 24, 25, 26, 27, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
                60, 61, 62, 63, 64
            ]
        );
    }

    #[test]
    fn a_place_leads_the_message() {
        let error = Kind::Integrity.error("chunk 3 failed verification").at("chk-7/_metadata");
        assert_eq!(error.to_string(), "chk-7/_metadata: chunk 3 failed verification");
        assert_eq!(error.code(), Code(20));
    }
}

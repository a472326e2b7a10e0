//! Files whose own slots no longer give their data key: a sidecar beside them may hold it wrapped anew.

use std::sync::Arc;

use crate::envelope::sidecar::{self, Entry, FILE_NAME, Place};
use crate::envelope::{Head, Opener};
use crate::error::{Error, Kind, Result};
use crate::keys::data_key::DataKey;
use crate::keys::key_ring::KeyRing;
use crate::keys::policy;

/// Reads the sidecar in one place: its bytes, of which it need not fetch more than the format's limit and one, or none
/// where there is no such file.
pub type Sidecars<'a> = dyn FnMut(Place) -> Result<Option<Vec<u8>>> + 'a;

impl KeyRing {
    /// As [`unwrap`](Self::unwrap); where the key service no longer gives the key for the file's own slots, from the
    /// sidecars, in the order of [`Place::IN_ORDER`]. A key that one gave is remembered under the file's own slots too, so
    /// that other files with them ask nobody. If no sidecar has it, the error is that of the file's own slots; of another kind
    /// only if those are refused for good and a sidecar that may have the key could not be looked into.
    pub fn unwrap_beside(&self, head: &Head, sidecars: &mut Sidecars<'_>) -> Result<Arc<DataKey>> {
        let own = match self.unwrap(head) {
            Err(error) if may_be_renewed(error.kind()) => error,
            outcome => return outcome,
        };
        let id = head.bound.data_key_id;
        let is_news = |entry: &Entry| entry.section != head.slots_section();
        let mut broken = Vec::new();
        for place in Place::IN_ORDER {
            let found = sidecars(place)
                .and_then(|bytes| match bytes {
                    Some(bytes) => {
                        sidecar::find(&bytes, id)?.filter(is_news).map(|entry| self.by(head, &entry)).transpose()
                    }
                    None => Ok(None),
                })
                .map_err(|error| error.at(format_args!("{FILE_NAME} of {}", name(place))));
            match found {
                Ok(Some(key)) => {
                    broken.iter().for_each(|error| log::warn!("a key file was of no use: {error}"));
                    return Ok(key);
                }
                Ok(None) => {}
                Err(error) => broken.push(error),
            }
        }
        Err(without_remedy(&own, head, &broken))
    }

    /// The data key of a file by its entry in a sidecar; none if it has none there.
    pub fn unwrap_with(&self, head: &Head, sidecar: &[u8]) -> Result<Option<Arc<DataKey>>> {
        sidecar::find(sidecar, head.bound.data_key_id)?.map(|entry| self.by(head, &entry)).transpose()
    }

    fn by(&self, head: &Head, entry: &Entry) -> Result<Arc<DataKey>> {
        let key = self.unwrap_from(head, &entry.slots, &entry.section)?;
        // A sidecar that names another key must not stand before one that names the right one.
        Opener::new(head, key.secret())?;
        // Whoever damaged the file's own slots gains nothing: the file opens, and its slots are not believed.
        if head.verify_slots(key.secret()).is_ok() {
            self.remember(head, &key)?;
        }
        Ok(key)
    }
}

/// True for what the key service, or the configuration of its keys, says; false for what the file itself is.
fn may_be_renewed(kind: Kind) -> bool {
    match kind {
        Kind::KeyNotAllowed
        | Kind::KeyNotFound
        | Kind::KeyVersionNotFound
        | Kind::KeyDisabled
        | Kind::KeyPendingDeletion
        | Kind::AccessDenied
        | Kind::Credentials
        | Kind::WrappedKey
        | Kind::Keyring
        | Kind::KmsUnavailable
        | Kind::KmsThrottled
        | Kind::KmsTimeout
        | Kind::Outage => true,
        Kind::InvalidArgument
        | Kind::Config
        | Kind::Io
        | Kind::State
        | Kind::Internal
        | Kind::Unsupported
        | Kind::Integrity
        | Kind::Truncated
        | Kind::NotSealed
        | Kind::Malformed
        | Kind::UnsupportedVersion
        | Kind::SuiteNotAllowed
        | Kind::TenantNotAllowed
        | Kind::KeyTooOld
        | Kind::NotFound
        | Kind::StoreDenied
        | Kind::StoreUnavailable
        | Kind::StoreThrottled
        | Kind::StoreFull => false,
    }
}

/// The error of a file's own slots, with what could have helped.
fn without_remedy(own: &Error, head: &Head, broken: &[Error]) -> Error {
    // Where a sidecar could not be looked into it is not known that nothing opens the file.
    let unseen = broken.iter().find(|error| is_unseen(error)).filter(|_| own.kind().refuses_the_key());
    let mut text = own.message().to_owned();
    if matches!(own.kind(), Kind::KeyVersionNotFound | Kind::KeyDisabled | Kind::KeyPendingDeletion) {
        let wraps = head.slots.iter().map(|slot| {
            let version = if slot.version.is_empty() {
                String::new()
            } else {
                format!(" version {}", policy::short(&slot.version))
            };
            format!("{} '{}'{version}", policy::short(&slot.provider), policy::short(&slot.kek))
        });
        let remedy = match unseen {
            Some(_) => format!("and of the {FILE_NAME} beside it not all could be looked into: see to that first"),
            None => format!(
                "and no {FILE_NAME} beside it has it under another version: enable that version again, and run `sealpoint rewrap` \
                 before it is disabled"
            ),
        };
        text += &format!("; the file's data key is wrapped by {}, {remedy}", wraps.collect::<Vec<_>>().join(" and "));
    }
    for error in broken {
        text += &format!("; {error}");
    }
    let reported = unseen.unwrap_or(own);
    reported.kind().error(text).after(reported.retry_after())
}

/// True if a sidecar may have the key, but the store does not show it or no key service answers.
fn is_unseen(error: &Error) -> bool {
    use Kind::{AccessDenied, Credentials, Io, Keyring, Outage, StoreDenied, StoreThrottled, StoreUnavailable};
    error.may_pass()
        || matches!(
            error.kind(),
            AccessDenied | Credentials | Io | Keyring | Outage | StoreDenied | StoreThrottled | StoreUnavailable
        )
}

fn name(place: Place) -> &'static str {
    match place {
        Place::Directory => "the file's directory",
        Place::Parent => "the directory above the file's",
    }
}

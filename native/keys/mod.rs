//! Data keys: drawn ahead of need for sealing, unwrapped once for opening, wiped when dropped.
//!
//! [`KeyRing`] is the whole of it to the engine. It asks the key services only on the runtime thread (`service`), several
//! of them in order (`hedge`), keeps one current and one prefetched key a tenant (`tenant_ring`) through their outages
//! (`outage`), has those wrap a key in the end that could not at first (`completion`), and remembers unwrapped ones
//! ([`KeyCache`]). Where a file's own slots no longer give its key, those of the sidecars beside it may (`sidecars`), which
//! a [`Renewal`] has the key services wrap anew. A [`KeyRotationManager`] has them make new versions of their own keys, by
//! age. What may be opened at all is decided by the configuration (`policy`), on every call.

mod completion;
mod data_key;
mod epochs;
mod flight;
mod hedge;
mod key_cache;
mod key_ring;
mod outage;
mod policy;
mod renewal;
mod rotation;
mod service;
mod sidecars;
mod tenant_ring;

/// What `flight` waits with; tests/single_flight.rs puts a model checker in its place.
mod sync {
    pub use std::sync::{Arc, Condvar, Mutex, PoisonError};
}

pub use crate::clock::{Clock, SystemClock};
pub use data_key::DataKey;
pub use key_cache::{CacheKey, KeyCache};
pub use key_ring::KeyRing;
pub use renewal::{Renewal, Renewed, Target, Wrapping};
pub use rotation::{KeyRotationManager, RotatedKey, Standing, Verdict};
pub use sidecars::Sidecars;

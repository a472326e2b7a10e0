//! Whom nothing may be sealed for, because a key-encryption key of theirs is too old.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Kind, Result};

/// Open, until a key is found to be too old: then shut for the tenants whose data keys it wraps.
#[derive(Debug, Default)]
pub struct Gate {
    /// By the number of the key.
    shut: Mutex<BTreeMap<usize, (Vec<String>, Shut)>>,
    changed: Condvar,
}

/// Why nothing is sealed.
#[derive(Debug, Clone)]
pub enum Shut {
    /// The key is being rotated: whoever wants to seal waits.
    Rotating,
    /// It could not be, or may not be.
    Refused(Error),
}

impl Gate {
    /// Returns when the tenant may seal; waits through a rotation, but not for longer than `patience`.
    pub fn pass(&self, tenant: &str, patience: Duration) -> Result<()> {
        let mut shut = self.shut.lock();
        loop {
            let mut own = shut.values().filter(|(tenants, _)| tenants.iter().any(|one| one == tenant)).peekable();
            if own.peek().is_none() {
                return Ok(());
            }
            let refusal = own.find_map(|(_, why)| match why {
                Shut::Refused(error) => Some(error.clone()),
                Shut::Rotating => None,
            });
            if let Some(error) = refusal {
                return Err(error);
            }
            if self.changed.wait_for(&mut shut, patience).timed_out() {
                return Err(Kind::KeyTooOld.error(format_args!(
                    "a key-encryption key of tenant '{tenant}' is too old to seal under, and its rotation has not ended within {patience:?}"
                )));
            }
        }
    }

    /// Shuts it because of this key, or changes why it is shut.
    pub fn shut(&self, key: usize, tenants: &[String], why: Shut) {
        self.shut.lock().insert(key, (tenants.to_vec(), why));
        self.changed.notify_all();
    }

    /// This key is no reason any more.
    pub fn open(&self, key: usize) {
        if self.shut.lock().remove(&key).is_some() {
            self.changed.notify_all();
        }
    }

    /// True while it is shut because of this key.
    pub fn is_shut_by(&self, key: usize) -> bool {
        self.shut.lock().contains_key(&key)
    }

    /// True while it is shut for anyone.
    pub fn is_shut(&self) -> bool {
        !self.shut.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(600);

    #[test]
    fn each_key_shuts_it_for_its_own_tenants_until_it_is_good_again() {
        let gate = Gate::default();
        let both = ["a".to_owned(), "b".to_owned()];
        gate.shut(0, &both, Shut::Refused(Kind::KeyTooOld.error("first")));
        gate.shut(1, &both[..1], Shut::Refused(Kind::KeyTooOld.error("second")));
        assert_eq!(gate.pass("b", PATIENCE).unwrap_err().message(), "first");
        assert!(gate.pass("c", PATIENCE).is_ok());
        gate.open(0);
        assert!(gate.pass("b", PATIENCE).is_ok());
        assert_eq!(gate.pass("a", PATIENCE).unwrap_err().message(), "second");
        gate.open(1);
        assert!(gate.pass("a", PATIENCE).is_ok() && !gate.is_shut());
    }

    #[test]
    fn whoever_comes_while_a_key_is_rotated_waits_for_the_outcome() {
        for outcome in [None, Some(Kind::KeyTooOld.error("refused"))] {
            let gate = Arc::new(Gate::default());
            let tenant = ["a".to_owned()];
            gate.shut(0, &tenant, Shut::Rotating);
            let waiter = Arc::clone(&gate);
            let waiter = std::thread::spawn(move || waiter.pass("a", PATIENCE));
            match &outcome {
                None => gate.open(0),
                Some(error) => gate.shut(0, &tenant, Shut::Refused(error.clone())),
            }
            assert_eq!(waiter.join().unwrap().err(), outcome);
        }
        let gate = Gate::default();
        gate.shut(0, &["a".to_owned()], Shut::Rotating);
        assert_eq!(gate.pass("a", Duration::from_millis(1)).unwrap_err().kind(), Kind::KeyTooOld);
    }
}

//! One call under way, and everyone who waits for its outcome.

use super::sync::{Arc, Condvar, Mutex, PoisonError};
use crate::error::{Kind, Result};

/// The outcome of a call that several threads wait for.
#[derive(Debug)]
pub struct Flight<T> {
    outcome: Mutex<Option<Result<T>>>,
    landed: Condvar,
}

impl<T: Clone> Flight<T> {
    /// A flight, and the duty to land it.
    pub fn start() -> (Arc<Flight<T>>, Landing<T>) {
        let flight = Arc::new(Flight { outcome: Mutex::new(None), landed: Condvar::new() });
        (Arc::clone(&flight), Landing { flight, done: false })
    }

    /// Waits for the outcome. It always comes: a [`Landing`] that is dropped lands as an error.
    pub fn wait(&self) -> Result<T> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = outcome.as_ref() {
                return outcome.clone();
            }
            outcome = self.landed.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn land(&self, result: Result<T>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.landed.notify_all();
    }
}

/// The duty to tell the outcome, even if the call panics.
#[derive(Debug)]
pub struct Landing<T: Clone> {
    flight: Arc<Flight<T>>,
    done: bool,
}

impl<T: Clone> Landing<T> {
    /// Tells everyone.
    pub fn land(mut self, result: Result<T>) {
        self.done = true;
        self.flight.land(result);
    }
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        if !self.done {
            self.flight.land(Err(Kind::Internal.error("the call to the key service was abandoned: try again")));
        }
    }
}

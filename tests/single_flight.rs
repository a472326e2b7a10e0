//! Every interleaving of those who share one call to the key service: whoever waits is told, whatever becomes of it.

use loom::thread;

mod error {
    pub use sealpoint::error::{Kind, Result};
}

mod sync {
    pub use std::sync::PoisonError;

    pub use loom::sync::{Arc, Condvar, Mutex};
}

#[path = "../native/keys/flight.rs"]
mod flight;

use error::Kind;
use flight::Flight;

#[test]
fn all_who_wait_get_the_outcome() {
    loom::model(|| {
        let (flight, landing) = Flight::start();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let flight = flight.clone();
                thread::spawn(move || flight.wait())
            })
            .collect();
        landing.land(Ok(7));
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(7));
        }
        assert_eq!(flight.wait(), Ok(7), "whoever comes late is told too");
    });
}

#[test]
fn all_who_wait_are_told_that_the_call_was_abandoned() {
    loom::model(|| {
        let (flight, landing) = Flight::<i32>::start();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let flight = flight.clone();
                thread::spawn(move || flight.wait())
            })
            .collect();
        drop(landing);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap_err().kind(), Kind::Internal);
        }
    });
}

//! Ctrl-C and SIGTERM: what is under way ends in order, and the process with 130 or 143.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use sealpoint::error::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What handlers of signals set and read.
struct Signals {
    /// The last one; 0 as long as there was none.
    seen: Arc<AtomicUsize>,
    /// The next one ends the process where it stands.
    at_once: Arc<AtomicBool>,
}

static SIGNALS: Mutex<Option<Signals>> = Mutex::new(None);

/// From now on either signal ends the process at once, as nothing is half-written yet, with 128 and its number.
pub fn install() -> Result<()> {
    let signals = Signals { seen: Arc::default(), at_once: Arc::new(AtomicBool::new(true)) };
    for signal in [SIGINT, SIGTERM] {
        let number = usize::try_from(signal).unwrap_or_default();
        // In this order: of two signals, the second finds what the first has set.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.at_once))
            .and_then(|_| flag::register(signal, Arc::clone(&signals.at_once)))
            .and_then(|_| flag::register_usize(signal, Arc::clone(&signals.seen), number))
            .map_err(|error| cannot(&error))?;
    }
    *SIGNALS.lock() = Some(signals);
    Ok(())
}

/// The exit code, if there was a signal.
pub fn code() -> Option<u8> {
    let seen = SIGNALS.lock().as_ref().map_or(0, |signals| signals.seen.load(SeqCst));
    u8::try_from(seen).ok().filter(|signal| *signal > 0).map(|signal| 128 + signal)
}

/// As long as it lives, a signal ends an operation in order; a second one ends the process at once.
pub struct InOrder(());

impl InOrder {
    /// For the operation that ends when this is set.
    pub fn by(stopped: &Arc<AtomicBool>) -> Result<InOrder> {
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(stopped)).map_err(|error| cannot(&error))?;
        }
        let signals = SIGNALS.lock();
        if let Some(signals) = &*signals {
            signals.at_once.store(false, SeqCst);
            if signals.seen.load(SeqCst) > 0 {
                stopped.store(true, SeqCst);
            }
        }
        Ok(InOrder(()))
    }
}

impl Drop for InOrder {
    fn drop(&mut self) {
        if let Some(signals) = &*SIGNALS.lock() {
            signals.at_once.store(true, SeqCst);
        }
    }
}

fn cannot(error: &std::io::Error) -> Error {
    Error::io("handle signals", error)
}

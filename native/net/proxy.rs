//! What goes wrong at a proxy.

use std::error::Error as StdError;
use std::iter;

/// True if a proxy could not be reached, or did not lead on. The type of that error is the HTTP clients' own, its text is not.
pub fn at_proxy(error: &(dyn StdError + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(|cause| cause.to_string().starts_with("tunnel error"))
}

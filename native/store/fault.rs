//! What the operating system's refusals mean to whoever runs this.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::{Error, Kind};

/// The error of a file operation: what was being done, to what, and what to do next.
pub fn io(doing: &str, path: &Path, error: &io::Error) -> Error {
    let place = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Kind::NotFound.error(format_args!("there is no {place}")),
        ErrorKind::PermissionDenied => Kind::StoreDenied.error(format_args!(
            "cannot {doing} {place}: {error}; run as the user that Flink runs as, or give this one the permission"
        )),
        ErrorKind::ReadOnlyFilesystem => {
            Kind::StoreDenied.error(format_args!("cannot {doing} {place}: it is mounted read-only"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::StoreFull
            .error(format_args!("cannot {doing} {place}: {error}; make room, then run the same command again")),
        _ => Error::io(format_args!("{doing} {place}"), error),
    }
}

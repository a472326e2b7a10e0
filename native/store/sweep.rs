//! What killed processes left in a directory: temporary files that nobody writes any more.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use super::file::TEMPORARY;

/// Where files cannot be locked, one that was written to since then may still be in use.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many directories are kept in mind.
const MOST: usize = 10_000;

/// The directories that were swept.
#[derive(Debug, Default)]
pub struct Sweeper(Mutex<HashSet<PathBuf>>);

impl Sweeper {
    /// Sweeps the directory of a file that is about to be written, the first time. What cannot be removed is left.
    pub fn before_writing(&self, file: &Path) {
        let Some(directory) = file.parent() else { return };
        {
            let mut swept = self.0.lock();
            if swept.len() >= MOST {
                swept.clear();
            }
            if !swept.insert(directory.to_owned()) {
                return;
            }
        }
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if is_temporary(&entry.file_name())
                && let Ok(true) = remove_if_abandoned(&entry.path())
            {
                log::info!("{} was left by a process that was killed, and is removed", entry.path().display());
            }
        }
    }
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(TEMPORARY))
}

/// Whoever writes a temporary file holds its lock. It is removed under the lock, so that nobody begins to write it meanwhile.
fn remove_if_abandoned(path: &Path) -> io::Result<bool> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    let abandoned = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => metadata.modified()?.elapsed().is_ok_and(|since| since > ABANDONED),
    };
    if metadata.is_file() && abandoned {
        fs::remove_file(path)?;
        return Ok(true);
    }
    Ok(false)
}

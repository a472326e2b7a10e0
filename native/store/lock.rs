//! One writer at a time of a file that several processes change: a lock file beside it, which is gone when nobody writes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault;
use crate::error::{Kind, Result};

/// How often, and how long apart, the lock is tried: thirty seconds in all.
const TRIES: u32 = 3_000;
const PAUSE: Duration = Duration::from_millis(10);

/// The right to replace a file, against every process that asks for it; given back on drop.
#[derive(Debug)]
pub struct Lock {
    /// Holds the lock (flock) for as long as it is open.
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock of the file at `path`: `path` with `.lock` behind it.
    pub fn of(path: &Path) -> Result<Lock> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let path = PathBuf::from(name);
        for _ in 0..TRIES {
            match Lock::attempt(&path) {
                Ok(Some(file)) => return Ok(Lock { _file: file, path }),
                Ok(None) => std::thread::sleep(PAUSE),
                Err(error) => return Err(fault::io("lock", &path, &error)),
            }
        }
        let shown = path.display();
        Err(Kind::Io.error(format_args!(
            "another process holds {shown} and does not let go: see `fuser {shown}`, then try again"
        )))
    }

    fn attempt(path: &Path) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever held it before has removed the file: only the one that is at the path now is the lock.
        Ok(is_at(&file, path)?.then_some(file))
    }
}

/// True if this file is the one at the path now.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Lock {
    /// Removed while it is held, so that nobody else's is removed. One that stays is taken over by the next writer.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[test]
    fn one_at_a_time_holds_the_lock_and_no_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let (inside, most, turns) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let lock = Lock::of(&path).unwrap();
                        most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                        turns.fetch_add(1, SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert_eq!((most.into_inner(), turns.into_inner()), (1, 160));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_that_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keys.lock"), []).unwrap();
        drop(Lock::of(&folder.path().join("keys")).unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("keys.lock")).unwrap();
        let error = Lock::of(&folder.path().join("keys")).unwrap_err();
        assert!(error.message().contains("keys.lock"), "{error}");
    }
}

//! A small secret file: read only if no one else could have, replaced whole, one writer at a time.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// A keyring larger than this is none.
const MAX_LEN: u64 = 1024 * 1024;
const OWNER_ONLY: u32 = 0o600;
/// How often, and how long apart, the lock is tried: ten seconds in all.
const LOCK_TRIES: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Which file was read: another one in its place has another stamp, because a file is only ever replaced whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// The stamp of the file that is at this path now.
pub fn stamp(path: &Path) -> Result<Stamp> {
    let metadata = fs::symlink_metadata(path).map_err(|error| cannot_open(path, &error))?;
    Ok(Stamp::of(&metadata))
}

/// The bytes of a file that belongs to this user, and that no one else may read or write.
pub fn read(path: &Path) -> Result<(Stamp, Zeroizing<Vec<u8>>)> {
    // Not blocking, in case it is a pipe; not through a link, which would be replaced instead of the file behind it.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|error| cannot_open(path, &error))?;
    let metadata = file.metadata().map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?;
    check(path, &metadata)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    let read = file.take(MAX_LEN).read_to_end(&mut bytes);
    read.map_err(|error| Error::io(format_args!("read {}", path.display()), &error))?;
    Ok((Stamp::of(&metadata), bytes))
}

/// Puts these bytes in the place of a file at once: after a crash there is the old file or the new one. The caller
/// holds the [`lock`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = sibling(path, ".", ".tmp")?;
    let written =
        remove_leftover(&temporary).and_then(|()| write(&temporary, bytes)).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The first failure is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(format_args!("write {}", path.display()), &error));
    }
    let directory = File::open(directory(path)).and_then(|directory| directory.sync_all());
    directory.map_err(|error| Error::io(format_args!("make the new {} durable", path.display()), &error))
}

/// The right to replace the file, against every other process that asks for it; given back on drop.
pub fn lock(path: &Path) -> Result<File> {
    let beside = sibling(path, "", ".lock")?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(OWNER_ONLY).custom_flags(libc::O_NOFOLLOW);
    let cannot = |error: &std::io::Error| Error::io(format_args!("lock {}", beside.display()), error);
    let file = options.open(&beside).map_err(|error| cannot(&error))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        }
    }
    Err(Kind::Keyring.error(format_args!(
        "another process holds {} and does not let go: see `fuser {}`, then try again",
        beside.display(),
        beside.display()
    )))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

fn check(path: &Path, metadata: &Metadata) -> Result<()> {
    let shown = path.display();
    if !metadata.is_file() {
        return Err(Kind::Keyring.error(format_args!("keyring {shown} is not a regular file")));
    }
    let user = effective_user()?;
    if metadata.uid() != user {
        return Err(Kind::Keyring.error(format_args!(
            "keyring {shown} belongs to user {}, but this process runs as user {user}: run `chown {user} {shown}`, or give a keyring of its own",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Kind::Keyring.error(format_args!(
            "keyring {shown} may be read or written by others (mode {:04o}): run `chmod 600 {shown}`",
            metadata.mode() & 0o7777
        )));
    }
    if metadata.len() >= MAX_LEN {
        return Err(
            Kind::Keyring.error(format_args!("keyring {shown} has {} bytes: that is no keyring", metadata.len()))
        );
    }
    Ok(())
}

fn cannot_open(path: &Path, error: &std::io::Error) -> Error {
    let shown = path.display();
    if error.kind() == ErrorKind::NotFound {
        return Kind::Keyring.error(format_args!(
            "there is no keyring {shown}: put it back, correct kms.local.keyring, or create a new one with `sealpoint keyring create {shown}` (a new one opens nothing that was sealed before)"
        ));
    }
    if error.raw_os_error() == Some(libc::ELOOP) {
        return Kind::Keyring
            .error(format_args!("keyring {shown} is a symbolic link: give the path of the file itself"));
    }
    Kind::Keyring.error(format_args!("cannot open keyring {shown}: {error}"))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What a crashed process may have left.
fn remove_leftover(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sibling(path: &Path, front: &str, back: &str) -> Result<PathBuf> {
    let name = path.file_name();
    let name =
        name.ok_or_else(|| Kind::Config.error(format_args!("'{}' is not the path of a file", path.display())))?;
    let mut sibling = OsString::from(front);
    sibling.push(name);
    sibling.push(back);
    Ok(path.with_file_name(sibling))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// The effective user of this process, from the second number of `Uid:` (proc(5)), which takes no unsafe call.
pub fn effective_user() -> Result<u32> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| Error::io("read /proc/self/status", &error))?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective =
        numbers.and_then(|numbers| numbers.split_whitespace().nth(1)).and_then(|number| number.parse().ok());
    effective.ok_or_else(|| Kind::Internal.error("/proc/self/status names no effective user"))
}

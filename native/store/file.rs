//! Files of this machine: whole or not at all, on the disk before it is said to be done.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use bytes::Bytes;

use super::lock::{self, Lock};
use super::{LARGEST, Object, Replaced, Version, fault, too_long};
use crate::error::{Error, Kind, Result};
use crate::store::Location;

/// What a temporary file's name begins with. A `kill -9` leaves one, which nobody reads, and the next who writes there
/// [sweeps](super::sweep).
pub const TEMPORARY: &str = ".sealpoint-tmp-";

/// `None` if there is no file; a directory is none.
pub fn stat(location: &Location) -> Result<Option<Object>> {
    let path = location.local();
    match fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(Some(Object {
            location: location.clone(),
            size: found.len(),
            modified: found.modified().unwrap_or(UNIX_EPOCH),
        })),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(fault::io("look at", &path, &error)),
    }
}

/// The bytes of this range, fewer where the file ends before.
pub fn read(location: &Location, range: Range<u64>) -> Result<Bytes> {
    let path = location.local();
    let read = || {
        let (file, size) = open(&path)?;
        let end = range.end.min(size);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(range.start)).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], range.start + filled as u64) {
                // It became shorter meanwhile.
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Bytes::from(bytes))
    };
    read().map_err(|error| fault::io("read", &path, &error))
}

/// The whole file and its version. One that is no file of ours by its length is refused.
pub fn read_versioned(location: &Location) -> Result<Option<(Bytes, Version)>> {
    match read(location, 0..LARGEST + 1) {
        Ok(bytes) if bytes.len() as u64 > LARGEST => Err(too_long(location)),
        Ok(bytes) => Ok(Some((bytes.clone(), version_of(&bytes)))),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts the file there, in the place of one that is there already.
pub fn put(location: &Location, bytes: &[u8]) -> Result<()> {
    let mut file = Temporary::beside(location.local())?;
    file.write(bytes)?;
    file.replace()
}

/// False if there is a file already.
pub fn put_new(location: &Location, bytes: &[u8]) -> Result<bool> {
    let mut file = Temporary::beside(location.local())?;
    file.write(bytes)?;
    file.create()
}

/// Puts the file there if the one that is there has this version, or if there is none.
pub fn replace(location: &Location, expected: Option<&Version>, bytes: &[u8]) -> Result<Replaced> {
    let path = location.local();
    make_directory(&path)?;
    let _lock = Lock::of(&path)?;
    let present = read_versioned(location)?.map(|(_, version)| version);
    if present.as_ref() != expected {
        return Ok(Replaced::Changed);
    }
    put(location, bytes)?;
    Ok(Replaced::Done(version_of(bytes)))
}

/// Nothing happens if there is none.
pub fn delete(location: &Location) -> Result<()> {
    let path = location.local();
    match fs::remove_file(&path) {
        Ok(()) => sync_directory(&path).map_err(|error| fault::io("delete", &path, &error)),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(fault::io("delete", &path, &error)),
    }
}

/// A file that is being written under another name beside its own, and locked (flock) meanwhile; gone when dropped.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Temporary {
    /// With the directory that it lies in, where that is missing.
    pub fn beside(target: PathBuf) -> Result<Temporary> {
        make_directory(&target)?;
        let made = Temporary::make(target, 0o666)?;
        // Whoever could read the old file can read the new one.
        if let Ok(old) = fs::metadata(&made.target) {
            let kept = made.file.set_permissions(old.permissions());
            kept.map_err(|error| fault::io("write", &made.target, &error))?;
        }
        Ok(made)
    }

    /// Of its owner alone, to be [created](Self::create), in a directory that is there.
    pub fn private(target: PathBuf) -> Result<Temporary> {
        Temporary::make(target, 0o600)
    }

    fn make(target: PathBuf, mode: u32) -> Result<Temporary> {
        let (file, path) = loop {
            let mut random = [0; 8];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| Kind::Internal.error("the random generator failed"))?;
            let path = target.with_file_name(format!("{TEMPORARY}{:016x}", u64::from_ne_bytes(random)));
            if let Some(file) = attempt(&path, mode).map_err(|error| fault::io("write", &target, &error))? {
                break (file, path);
            }
        };
        Ok(Temporary { file, path, target })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| self.cannot(&error))
    }

    /// Takes the place of the file at the target, whatever it is.
    pub fn replace(self) -> Result<()> {
        self.durably(|from, to| fs::rename(from, to).map(|()| true)).map(drop)
    }

    /// Appears at the target unless there is one; then false. Unlike a rename, a link never replaces anything.
    pub fn create(self) -> Result<bool> {
        self.durably(|from, to| match fs::hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn durably(self, appear: impl FnOnce(&Path, &Path) -> io::Result<bool>) -> Result<bool> {
        let done = self.file.sync_all().and_then(|()| appear(&self.path, &self.target));
        let done = done.and_then(|done| sync_directory(&self.target).map(|()| done));
        done.map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &io::Error) -> Error {
        fault::io("write", &self.target, error)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// A new file that is ours alone; `None` if somebody swept it away before it was locked. Where there are no locks there is none.
fn attempt(path: &Path, mode: u32) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(lock::is_at(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// By its content: what is put there again is the same version.
fn version_of(bytes: &[u8]) -> Version {
    let hash = digest::digest(&digest::SHA256, bytes);
    Version::tag(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Only a regular file; a pipe would be waited for.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// Makes the directory of a file, and those above it, and what names them durable.
fn make_directory(file: &Path) -> Result<()> {
    let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) else { return Ok(()) };
    if directory.is_dir() {
        return Ok(());
    }
    make_directory(directory)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made.and_then(|()| sync_directory(directory)).map_err(|error| fault::io("make", directory, &error)),
    }
}

/// What a directory says of a file is on the disk only once it is synced itself.
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// An entry of a directory as an object; `None` if it is neither a file nor a directory, or is gone.
pub fn entry(above: &Location, name: &OsStr) -> Result<Option<Entry>> {
    let path = above.local().join(name);
    let Some(text) = name.to_str() else {
        let shown = path.display();
        return Err(Kind::InvalidArgument.error(format_args!("the name of {shown} is not UTF-8: rename it")));
    };
    let location = above.join(text);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(Some(Entry::Directory(location))),
        Ok(found) if found.is_file() => {
            let modified: SystemTime = found.modified().unwrap_or(UNIX_EPOCH);
            Ok(Some(Entry::File(Object { location, size: found.len(), modified })))
        }
        Ok(_) => Ok(None),
        // Deleted since.
        Err(error) if is_absent(&error) => leads_somewhere(&path).map(|()| None),
        Err(error) => Err(fault::io("look at", &path, &error)),
    }
}

/// An error for a link to what is not there: a volume that is not mounted, say, and nobody knows what lies on it.
pub fn leads_somewhere(path: &Path) -> Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink()) || fs::metadata(path).is_ok() {
        return Ok(());
    }
    let shown = path.display();
    Err(Kind::Io.error(format_args!("{shown} is a link that leads nowhere: mount what it leads to, or remove it")))
}

/// What a directory holds.
#[derive(Debug)]
pub enum Entry {
    File(Object),
    Directory(Location),
}

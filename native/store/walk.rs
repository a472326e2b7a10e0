//! Every file below a directory, one after the other: memory is bounded by the depth, not by the number of files.

use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt;

use super::file::{self, Entry};
use super::{Object, fault};
use crate::error::{Kind, Result};
use crate::store::Location;

/// The files below `under`; `under` itself if it is one; nothing if it is not there. What cannot be looked at is an error
/// in its place, and the rest follows. Links are followed.
pub struct Walk {
    start: Option<Location>,
    open: Vec<Directory>,
}

struct Directory {
    location: Location,
    entries: ReadDir,
    identity: (u64, u64),
}

impl Walk {
    pub fn new(under: Location) -> Walk {
        Walk { start: Some(under), open: Vec::new() }
    }

    fn enter(&mut self, location: Location) -> Result<()> {
        let path = location.local();
        let identity = match fs::metadata(&path) {
            Ok(found) => (found.dev(), found.ino()),
            Err(error) => return gone_or(fault::io("list", &path, &error)),
        };
        if self.open.iter().any(|above| above.identity == identity) {
            let shown = path.display();
            return Err(Kind::Io.error(format_args!("{shown} is a link to a directory above it: remove the link")));
        }
        match fs::read_dir(&path) {
            Ok(entries) => self.open.push(Directory { location, entries, identity }),
            Err(error) => return gone_or(fault::io("list", &path, &error)),
        }
        Ok(())
    }

    fn begin(&mut self, start: Location) -> Result<Option<Object>> {
        match file::stat(&start)? {
            Some(object) => Ok(Some(object)),
            None => {
                file::leads_somewhere(&start.local())?;
                self.enter(start).map(|()| None)
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Object>;

    fn next(&mut self) -> Option<Result<Object>> {
        if let Some(start) = self.start.take()
            && let Some(first) = self.begin(start).transpose()
        {
            return Some(first);
        }
        loop {
            let above = self.open.last_mut()?;
            let Some(next) = above.entries.next() else {
                self.open.pop();
                continue;
            };
            let found = match next {
                Ok(next) => file::entry(&above.location, &next.file_name()),
                Err(error) => {
                    let error = fault::io("list", &above.location.local(), &error);
                    self.open.pop();
                    Err(error)
                }
            };
            match found {
                Ok(None) => {}
                Ok(Some(Entry::File(object))) => return Some(Ok(object)),
                Ok(Some(Entry::Directory(location))) => {
                    if let Err(error) = self.enter(location) {
                        return Some(Err(error));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What is deleted while it is listed is no error.
fn gone_or(error: crate::error::Error) -> Result<()> {
    if error.kind() == Kind::NotFound { Ok(()) } else { Err(error) }
}

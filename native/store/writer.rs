//! A file that is written piece by piece and appears whole.

use bytes::{Bytes, BytesMut};

use super::blocking;
use super::file::Temporary;
use crate::error::{Kind, Result};

/// Files are written in blocks of this size.
const BLOCK: usize = 1024 * 1024;

/// Writes a file of any length in constant memory. Nothing is visible before [`finish`](Self::finish), and nothing is left
/// after [`abort`](Self::abort); dropping it is aborting it.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    waiting: BytesMut,
}

#[derive(Debug)]
enum Target {
    File(Temporary),
    /// An operation failed or was broken off.
    Gone,
}

impl Writer {
    pub(super) fn to_file(temporary: Temporary) -> Writer {
        Writer { target: Target::File(temporary), waiting: BytesMut::new() }
    }

    /// Appends bytes. After an error only [`abort`](Self::abort) makes sense.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.waiting.extend_from_slice(&bytes);
        if self.waiting.len() >= BLOCK { self.flush().await } else { Ok(()) }
    }

    /// Makes the file durable and visible, in the place of one that may be there.
    pub async fn finish(mut self) -> Result<()> {
        self.flush().await?;
        match std::mem::replace(&mut self.target, Target::Gone) {
            Target::File(temporary) => blocking(move || temporary.replace()).await,
            Target::Gone => Err(gone()),
        }
    }

    /// Removes what was written.
    pub async fn abort(self) -> Result<()> {
        drop(self);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let block = self.waiting.split().freeze();
        match std::mem::replace(&mut self.target, Target::Gone) {
            Target::File(mut temporary) => {
                let written = blocking(move || temporary.write(&block).map(|()| temporary)).await?;
                self.target = Target::File(written);
                Ok(())
            }
            Target::Gone => Err(gone()),
        }
    }
}

fn gone() -> crate::error::Error {
    Kind::State.error("this file was given up after an error")
}

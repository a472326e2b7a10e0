//! A file that is written piece by piece and appears whole.

use bytes::{Bytes, BytesMut};

use super::blocking;
#[cfg(feature = "object-http")]
use super::cloud::Upload;
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
    #[cfg(feature = "object-http")]
    Cloud(Upload),
    /// An operation failed or was broken off.
    Gone,
}

impl Writer {
    pub(super) fn to_file(temporary: Temporary) -> Writer {
        Writer { target: Target::File(temporary), waiting: BytesMut::new() }
    }

    #[cfg(feature = "object-http")]
    pub(super) fn to_cloud(upload: Upload) -> Writer {
        Writer { target: Target::Cloud(upload), waiting: BytesMut::new() }
    }

    /// Appends bytes. After an error only [`abort`](Self::abort) makes sense.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.waiting.extend_from_slice(&bytes);
        while self.waiting.len() >= self.target.block() {
            let block = self.waiting.split_to(self.target.block()).freeze();
            self.target.take().write(block).await.map(|target| self.target = target)?;
        }
        Ok(())
    }

    /// Makes the file durable and visible, in the place of one that may be there.
    pub async fn finish(mut self) -> Result<()> {
        let rest = self.waiting.split().freeze();
        match self.target.take() {
            Target::File(mut temporary) => {
                blocking(move || {
                    temporary.write(&rest)?;
                    temporary.replace()
                })
                .await
            }
            #[cfg(feature = "object-http")]
            Target::Cloud(upload) => upload.finish(rest).await,
            Target::Gone => Err(gone()),
        }
    }

    /// Removes what was written.
    pub async fn abort(mut self) -> Result<()> {
        match self.target.take() {
            #[cfg(feature = "object-http")]
            Target::Cloud(upload) => upload.abort().await,
            Target::File(_) | Target::Gone => Ok(()),
        }
    }
}

impl Target {
    fn block(&self) -> usize {
        match self {
            #[cfg(feature = "object-http")]
            Target::Cloud(_) => Upload::PART,
            Target::File(_) | Target::Gone => BLOCK,
        }
    }

    fn take(&mut self) -> Target {
        std::mem::replace(self, Target::Gone)
    }

    async fn write(self, block: Bytes) -> Result<Target> {
        match self {
            Target::File(mut temporary) => {
                blocking(move || temporary.write(&block).map(|()| Target::File(temporary))).await
            }
            #[cfg(feature = "object-http")]
            Target::Cloud(mut upload) => match upload.part(block).await {
                Ok(()) => Ok(Target::Cloud(upload)),
                Err(error) => {
                    // The first failure is the one to report.
                    let _ = upload.abort().await;
                    Err(error)
                }
            },
            Target::Gone => Err(gone()),
        }
    }
}

fn gone() -> crate::error::Error {
    Kind::State.error("this file was given up after an error")
}

//! A file that is written piece by piece and appears whole.

use bytes::{Bytes, BytesMut};

use super::cloud::Upload;
use super::file::Temporary;
use super::{Location, Store, blocking, exists};
use crate::error::{Kind, Result};

/// Files are written in blocks of this size.
const BLOCK: usize = 1024 * 1024;

/// Writes a file of any length in constant memory. Nothing is visible before [`finish`](Self::finish), and nothing is left
/// after [`abort`](Self::abort); dropping it is aborting it.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    waiting: BytesMut,
    /// What no other file is to be replaced at.
    alone: Option<(Store, Location)>,
}

#[derive(Debug)]
enum Target {
    File(Temporary),
    Cloud(Upload),
    /// An operation failed or was broken off.
    Gone,
}

impl Writer {
    pub(super) fn to_file(temporary: Temporary) -> Writer {
        Writer { target: Target::File(temporary), waiting: BytesMut::new(), alone: None }
    }

    pub(super) fn to_cloud(upload: Upload) -> Writer {
        Writer { target: Target::Cloud(upload), waiting: BytesMut::new(), alone: None }
    }

    /// It fails to finish where there is another file by then.
    pub(super) fn refusing_another(self, store: Store, location: Location) -> Writer {
        Writer { alone: Some((store, location)), ..self }
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
        if let Some((store, location)) = self.alone.take() {
            let created = self.target.take().create(rest, &store, &location).await?;
            return if created { Ok(()) } else { Err(exists(&location)) };
        }
        match self.target.take() {
            Target::File(mut temporary) => {
                blocking(move || {
                    temporary.write(&rest)?;
                    temporary.replace()
                })
                .await
            }
            Target::Cloud(upload) => upload.finish(rest).await,
            Target::Gone => Err(gone()),
        }
    }

    /// Removes what was written.
    pub async fn abort(mut self) -> Result<()> {
        match self.target.take() {
            Target::Cloud(upload) => upload.abort().await,
            Target::File(_) | Target::Gone => Ok(()),
        }
    }
}

impl Target {
    fn block(&self) -> usize {
        match self {
            Target::Cloud(_) => Upload::PART,
            Target::File(_) | Target::Gone => BLOCK,
        }
    }

    fn take(&mut self) -> Target {
        std::mem::replace(self, Target::Gone)
    }

    /// False if there is another file.
    async fn create(self, rest: Bytes, store: &Store, location: &Location) -> Result<bool> {
        match self {
            Target::File(mut temporary) => {
                blocking(move || {
                    temporary.write(&rest)?;
                    temporary.create()
                })
                .await
            }
            Target::Cloud(upload) if !upload.has_begun() => store.put_new(location, rest).await,
            Target::Cloud(upload) => match store.stat(location).await {
                Ok(None) => upload.finish(rest).await.map(|()| true),
                found => {
                    let aborted = upload.abort().await;
                    // The first failure is the one to report.
                    found.and(aborted).map(|()| false)
                }
            },
            Target::Gone => Err(gone()),
        }
    }

    async fn write(self, block: Bytes) -> Result<Target> {
        match self {
            Target::File(mut temporary) => {
                blocking(move || temporary.write(&block).map(|()| Target::File(temporary))).await
            }
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

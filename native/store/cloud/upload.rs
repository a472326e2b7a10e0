//! An object that is uploaded in parts and appears whole.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::task::JoinSet;

use super::{Need, explain};
use crate::error::{Kind, Result};
use crate::store::Location;

/// How many parts are under way at once.
const PARTS: usize = 3;

/// One upload. What is smaller than a part is put as a whole.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: Location,
    begun: Option<Box<dyn MultipartUpload>>,
    /// Where an upload that is dropped is aborted: whoever drops it may be no thread of a runtime's.
    runtime: tokio::runtime::Handle,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// All parts but the last have this size, as some stores require. S3 takes 10 000 of them: 160 GB.
    pub const PART: usize = 16 * 1024 * 1024;

    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, location: Location) -> Upload {
        Upload { store, path, location, begun: None, runtime: tokio::runtime::Handle::current(), parts: JoinSet::new() }
    }

    /// True once a part is on its way: what is smaller than one can still be put as a whole.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Uploads the next part, of [`PART`](Self::PART) bytes.
    pub async fn part(&mut self, bytes: Bytes) -> Result<()> {
        let part = async {
            let upload = match &mut self.begun {
                Some(upload) => upload,
                none => none.insert(self.store.put_multipart(&self.path).await?),
            };
            while self.parts.len() >= PARTS {
                joined(self.parts.join_next().await)?;
            }
            self.parts.spawn(upload.put_part(bytes.into()));
            Ok(())
        };
        let part = part.await;
        part.map_err(|error| explain(&error, &self.location, Need::Write))
    }

    /// Ends it with the rest; the object is there then.
    pub async fn finish(mut self, rest: Bytes) -> Result<()> {
        let finished = async {
            let Some(upload) = &mut self.begun else {
                return self.store.put(&self.path, rest.into()).await.map(drop);
            };
            if !rest.is_empty() {
                self.parts.spawn(upload.put_part(rest.into()));
            }
            while let Some(part) = self.parts.join_next().await {
                joined(Some(part))?;
            }
            upload.complete().await.map(drop)
        };
        match finished.await {
            Ok(()) => {
                self.begun = None;
                Ok(())
            }
            Err(error) => {
                let error = explain(&error, &self.location, Need::Write);
                // The first failure is the one to report.
                let _ = self.abort().await;
                Err(error)
            }
        }
    }

    /// Removes the parts.
    pub async fn abort(mut self) -> Result<()> {
        self.parts.shutdown().await;
        let Some(mut upload) = self.begun.take() else { return Ok(()) };
        upload.abort().await.map_err(|error| explain(&error, &self.location, Need::Write))
    }
}

impl Drop for Upload {
    /// Nobody waits for it: if the process ends before, the rules of the bucket see to the rest.
    fn drop(&mut self) {
        self.parts.abort_all();
        let Some(mut upload) = self.begun.take() else { return };
        self.runtime.spawn(async move { upload.abort().await });
    }
}

fn joined(part: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> object_store::Result<()> {
    match part {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => {
            let error = Kind::Internal.error(format_args!("an upload panicked ({error}): report it"));
            Err(object_store::Error::Generic { store: "store", source: Box::new(super::Refusal::Fault(error)) })
        }
    }
}

//! Buckets and containers, through `object_store`, which nothing outside this folder names.

mod answers;
mod connect;
mod http;
#[cfg(all(feature = "aws", feature = "s3"))]
mod profile;
mod upload;

use std::error::Error as StdError;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use super::pace::Pace;
use super::{LARGEST, Location, Object, Replaced, Scheme, StoreOptions, Version, too_long};
use crate::error::{Error, Kind, Result};
use crate::net;
use http::Refusal;

pub use upload::Upload;

/// One bucket or container.
#[derive(Debug, Clone)]
pub struct Cloud {
    store: Arc<dyn ObjectStore>,
}

/// What is asked of a store, by the permission that it takes.
#[derive(Debug, Clone, Copy)]
enum Need {
    List,
    Read,
    Write,
    Delete,
}

impl Cloud {
    pub fn open(location: &Location, options: &StoreOptions, pace: &Arc<Pace>) -> Result<Cloud> {
        Ok(Cloud { store: connect::connect(location, options, pace)? })
    }

    pub async fn list(&self, under: &Location) -> BoxStream<'static, Result<Object>> {
        let prefix = match path(under) {
            Ok(prefix) => prefix,
            Err(error) => return only(Some(Err(explain(&error, under, Need::List)))),
        };
        let place = under.clone();
        let listed = self.store.list(Some(&prefix));
        let mut listed = listed.map(move |found| match found {
            Ok(found) => Ok(object(&place, found)),
            Err(error) => Err(explain(&error, &place, Need::List)),
        });
        match listed.next().await {
            Some(first) => only(Some(first)).chain(listed).boxed(),
            // An object of that very name is not below it.
            None if !under.key().is_empty() => only(self.stat(under).await.transpose()),
            None => only(None),
        }
    }

    pub async fn read(&self, location: &Location, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let start = range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let read = async { self.store.get_opts(&path(location)?, options).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(bytes),
            Err(error) if matches!(refusal(&error), Some(Refusal::PastEnd)) => Ok(Bytes::new()),
            // Some servers answer with another range instead of the status for it.
            Err(error)
                if refusal(&error).is_none() && self.stat(location).await?.is_some_and(|it| it.size <= start) =>
            {
                Ok(Bytes::new())
            }
            Err(error) => Err(explain(&error, location, Need::Read)),
        }
    }

    pub async fn read_versioned(&self, location: &Location) -> Result<Option<(Bytes, Version)>> {
        let read = async {
            let found = self.store.get(&path(location)?).await?;
            if found.meta.size > LARGEST {
                return Ok(None);
            }
            let version = Version { tag: found.meta.e_tag.clone(), generation: found.meta.version.clone() };
            Ok(Some((found.bytes().await?, version)))
        };
        match present(read.await, location, Need::Read)? {
            None => Ok(None),
            Some(None) => Err(too_long(location)),
            Some(read) => Ok(read),
        }
    }

    pub async fn stat(&self, location: &Location) -> Result<Option<Object>> {
        let found = async { self.store.head(&path(location)?).await };
        Ok(present(found.await, location, Need::Read)?.map(|found| object(location, found)))
    }

    pub async fn put(&self, location: &Location, bytes: Bytes) -> Result<()> {
        let put = async { self.store.put(&path(location)?, bytes.into()).await };
        put.await.map(drop).map_err(|error| explain(&error, location, Need::Write))
    }

    pub async fn put_new(&self, location: &Location, bytes: Bytes) -> Result<bool> {
        Ok(matches!(self.conditional(location, PutMode::Create, bytes).await?, Replaced::Done(_)))
    }

    pub async fn replace(&self, location: &Location, expected: Option<Version>, bytes: Bytes) -> Result<Replaced> {
        let mode = match expected {
            None => PutMode::Create,
            Some(version) => PutMode::Update(UpdateVersion { e_tag: version.tag, version: version.generation }),
        };
        self.conditional(location, mode, bytes).await
    }

    async fn conditional(&self, location: &Location, mode: PutMode, bytes: Bytes) -> Result<Replaced> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = async { self.store.put_opts(&path(location)?, bytes.clone().into(), options).await };
        let (put, unclear) = http::watched(put).await;
        match put {
            Ok(put) => Ok(Replaced::Done(Version { tag: put.e_tag, generation: put.version })),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                // An attempt whose answer was lost may have been ours.
                let found = if unclear { self.read_versioned(location).await? } else { None };
                Ok(match found {
                    Some((there, version)) if there == bytes => Replaced::Done(version),
                    Some(_) | None => Replaced::Changed,
                })
            }
            Err(error) => Err(explain(&error, location, Need::Write)),
        }
    }

    pub fn upload(&self, location: &Location) -> Result<Upload> {
        let path = path(location).map_err(|error| explain(&error, location, Need::Write))?;
        Ok(Upload::new(Arc::clone(&self.store), path, location.clone()))
    }

    pub async fn delete(&self, location: &Location) -> Result<()> {
        let deleted = async { self.store.delete(&path(location)?).await };
        present(deleted.await, location, Need::Delete).map(drop)
    }
}

fn path(location: &Location) -> object_store::Result<Path> {
    Ok(Path::parse(location.key())?)
}

fn object(place: &Location, found: ObjectMeta) -> Object {
    let location = place.with_key(found.location.as_ref());
    Object { location, size: found.size, modified: SystemTime::from(found.last_modified) }
}

fn only(item: Option<Result<Object>>) -> BoxStream<'static, Result<Object>> {
    stream::iter(item).boxed()
}

fn present<T>(outcome: object_store::Result<T>, location: &Location, need: Need) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(explain(&error, location, need)),
    }
}

/// What our way to the server said, which `object_store` wraps.
fn refusal(error: &object_store::Error) -> Option<&Refusal> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal);
        }
        next = cause.source();
    }
    None
}

fn explain(error: &object_store::Error, location: &Location, need: Need) -> Error {
    if let Some(Refusal::Fault(fault)) = refusal(error) {
        if fault.kind() == Kind::StoreDenied {
            let permission = permission(location.kind(), need);
            return Kind::StoreDenied
                .error(format_args!("{location}: {}; what is needed is {permission}", fault.message()));
        }
        return fault.clone().at(location);
    }
    let cause = net::root_cause(error);
    let kind = match error {
        object_store::Error::NotFound { .. } => return Kind::NotFound.error(format_args!("there is no {location}")),
        object_store::Error::PermissionDenied { .. } => Kind::StoreDenied,
        object_store::Error::Unauthenticated { .. } => Kind::Credentials,
        object_store::Error::InvalidPath { .. } => Kind::InvalidArgument,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => Kind::Unsupported,
        object_store::Error::UnknownConfigurationKey { .. } => Kind::Config,
        _ => Kind::StoreUnavailable,
    };
    kind.error(format_args!("{location}: {cause}"))
}

/// As each cloud calls it.
fn permission(scheme: Scheme, need: Need) -> &'static str {
    match (scheme, need) {
        (Scheme::File, _) => "the permission of the file system",
        (Scheme::S3, Need::List) => "s3:ListBucket",
        (Scheme::S3, Need::Read) => "s3:GetObject (and s3:ListBucket, without which a missing object looks the same)",
        (Scheme::S3, Need::Write) => "s3:PutObject and s3:AbortMultipartUpload",
        (Scheme::S3, Need::Delete) => "s3:DeleteObject",
        (Scheme::Abfs, Need::List | Need::Read) => "the role Storage Blob Data Reader",
        (Scheme::Abfs, Need::Write | Need::Delete) => "the role Storage Blob Data Contributor",
        (Scheme::Gs, Need::List) => "storage.objects.list",
        (Scheme::Gs, Need::Read) => "storage.objects.get",
        (Scheme::Gs, Need::Write) => "storage.objects.create and storage.objects.delete",
        (Scheme::Gs, Need::Delete) => "storage.objects.delete",
    }
}

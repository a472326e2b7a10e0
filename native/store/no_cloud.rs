//! In the place of `cloud` where a build reaches files only: there are no buckets.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::pace::Pace;
use super::{Location, Object, Replaced, StoreOptions, Version};
use crate::error::{Kind, Result};

/// There is none.
#[derive(Debug, Clone)]
pub enum Cloud {}

/// There is none.
#[derive(Debug)]
pub enum Upload {}

impl Cloud {
    pub fn open(location: &Location, _: &StoreOptions, _: &Arc<Pace>) -> Result<Cloud> {
        Err(Kind::Unsupported.error(format_args!("{location}: this build reaches files only")))
    }

    pub async fn list(&self, _: &Location) -> BoxStream<'static, Result<Object>> {
        match *self {}
    }

    pub async fn read(&self, _: &Location, _: Range<u64>) -> Result<Bytes> {
        match *self {}
    }

    pub async fn read_versioned(&self, _: &Location) -> Result<Option<(Bytes, Version)>> {
        match *self {}
    }

    pub async fn stat(&self, _: &Location) -> Result<Option<Object>> {
        match *self {}
    }

    pub async fn put(&self, _: &Location, _: Bytes) -> Result<()> {
        match *self {}
    }

    pub async fn put_new(&self, _: &Location, _: Bytes) -> Result<bool> {
        match *self {}
    }

    pub async fn replace(&self, _: &Location, _: Option<Version>, _: Bytes) -> Result<Replaced> {
        match *self {}
    }

    pub fn upload(&self, _: &Location) -> Result<Upload> {
        match *self {}
    }

    pub async fn delete(&self, _: &Location) -> Result<()> {
        match *self {}
    }
}

impl Upload {
    pub const PART: usize = usize::MAX;

    pub fn has_begun(&self) -> bool {
        match *self {}
    }

    pub async fn part(&mut self, _: Bytes) -> Result<()> {
        match *self {}
    }

    pub async fn finish(self, _: Bytes) -> Result<()> {
        match self {}
    }

    pub async fn abort(self) -> Result<()> {
        match self {}
    }
}

//! Stores of files and objects: file systems, S3, Azure Storage, Google Cloud Storage, behind one interface.
//!
//! Everything is to be awaited on a tokio runtime with time and I/O, such as the engine's. Errors name the URI and the
//! next step.

#[cfg(feature = "object-http")]
mod cloud;
#[cfg(not(feature = "object-http"))]
#[path = "no_cloud.rs"]
mod cloud;
mod environment;
mod fault;
mod file;
mod location;
mod lock;
mod pace;
mod sweep;
mod walk;
mod writer;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;

use crate::config::{EncryptionConfig, StoreConfig};
use crate::error::{Error, Kind, Result};

pub use environment::Environment;
pub use location::{Location, Scheme};
pub use writer::Writer;

use pace::Pace;
use sweep::Sweeper;

/// How many files a listing is ahead of its reader.
const AHEAD: usize = 1_000;

/// What is read and replaced as a whole is far shorter than this.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A bucket, a container, or this machine's file systems. Cheap to clone; any number of threads may use it.
#[derive(Debug, Clone)]
pub struct Store {
    place: Location,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Files(Arc<Pace>, Arc<Sweeper>),
    Cloud(cloud::Cloud),
}

/// How stores are reached.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Where the service is, instead of what the environment says or the cloud's own address.
    pub endpoint: Option<String>,
    /// `http` is allowed, whatever the environment says. Without it, only `https` is.
    pub allow_http: bool,
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The most requests a second; as many as there are by default.
    pub requests_per_second: Option<u32>,
    /// Credentials, regions and addresses, as each cloud's own tools take them; by default those of this process.
    pub environment: Environment,
}

impl StoreOptions {
    /// As the configuration says.
    pub fn of(config: &EncryptionConfig) -> StoreOptions {
        let StoreConfig { ca_file, requests_per_second } = config.store.clone();
        StoreOptions { ca_file, requests_per_second, ..StoreOptions::default() }
    }
}

/// What a listing and [`Store::stat`] say of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it is.
    pub location: Location,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Which content an object had when it was read, as its store tells contents apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    tag: Option<String>,
    generation: Option<String>,
}

impl Version {
    fn tag(tag: String) -> Version {
        Version { tag: Some(tag), generation: None }
    }
}

/// What became of a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// It is there, in this version.
    Done(Version),
    /// Somebody else changed it since it was read: read it again.
    Changed,
}

impl Store {
    /// The store that a place lies in. Connects to nothing yet.
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store> {
        let mut place = location.clone();
        while let Some(parent) = place.parent() {
            place = parent;
        }
        let pace = Arc::new(Pace::new(options.requests_per_second));
        let backend = match location.kind() {
            Scheme::File => Backend::Files(pace, Arc::default()),
            Scheme::S3 | Scheme::Abfs | Scheme::Gs => Backend::Cloud(cloud::Cloud::open(&place, options, &pace)?),
        };
        Ok(Store { place, backend })
    }

    /// Every file below `under`, in no order, hidden ones and those of Sealpoint included; `under` itself if it is one;
    /// nothing if nothing is there. What cannot be looked at is an error, and the rest may follow. Memory is bounded.
    pub async fn list(&self, under: &Location) -> BoxStream<'static, Result<Object>> {
        if let Err(error) = self.check(under) {
            return stream::once(async { Err(error) }).boxed();
        }
        if let Backend::Cloud(cloud) = &self.backend {
            return cloud.list(under).await;
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let walk = walk::Walk::new(under.clone());
        tokio::task::spawn_blocking(move || {
            for found in walk {
                // Nobody reads any more.
                if sender.blocking_send(found).is_err() {
                    return;
                }
            }
        });
        stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed()
    }

    /// The bytes of this range, fewer where the file ends before; [`Kind::NotFound`] if there is none.
    pub async fn read(&self, location: &Location, range: Range<u64>) -> Result<Bytes> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.read(location, range).await;
        }
        self.blocking(location, move |location| file::read(location, range)).await
    }

    /// What there is to say of a file; `None` if there is none. A directory is none.
    pub async fn stat(&self, location: &Location) -> Result<Option<Object>> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.stat(location).await;
        }
        self.blocking(location, file::stat).await
    }

    /// Puts a whole file there, in the place of one that may be there: after a crash there is the old one or the new one.
    pub async fn put(&self, location: &Location, bytes: Bytes) -> Result<()> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.put(location, bytes).await;
        }
        self.writing(location, move |location| file::put(location, &bytes)).await
    }

    /// Puts a whole file there if there is none; false if there is one.
    pub async fn put_new(&self, location: &Location, bytes: Bytes) -> Result<bool> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.put_new(location, bytes).await;
        }
        self.writing(location, move |location| file::put_new(location, &bytes)).await
    }

    /// Puts a whole file in the place of the one of this version, or where there is none: of several at once one succeeds.
    /// Two who write the same bytes may both be told that they did.
    pub async fn replace(&self, location: &Location, expected: Option<Version>, bytes: Bytes) -> Result<Replaced> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.replace(location, expected, bytes).await;
        }
        self.writing(location, move |location| file::replace(location, expected.as_ref(), &bytes)).await
    }

    /// A whole file, of which a few MiB are expected, and its version, to [`replace`](Self::replace) it; `None` if there
    /// is none.
    pub async fn read_versioned(&self, location: &Location) -> Result<Option<(Bytes, Version)>> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.read_versioned(location).await;
        }
        self.blocking(location, file::read_versioned).await
    }

    /// Begins to write a file that is not there before [`Writer::finish`].
    pub async fn writer(&self, location: &Location) -> Result<Writer> {
        if let Some(cloud) = self.cloud(location)? {
            return Ok(Writer::to_cloud(cloud.upload(location)?));
        }
        let temporary = self.writing(location, |location| file::Temporary::beside(location.local())).await?;
        Ok(Writer::to_file(temporary))
    }

    /// Begins to write a file where there is none: its owner's alone, in a directory that is there. It never takes the place
    /// of another; what is uploaded in parts could, of one that appears in the moment in which it is finished.
    pub async fn writer_of_new(&self, location: &Location) -> Result<Writer> {
        let begun = match self.cloud(location)? {
            Some(cloud) if cloud.stat(location).await?.is_none() => Some(Writer::to_cloud(cloud.upload(location)?)),
            Some(_) => None,
            None => {
                let private = |location: &Location| {
                    let path = location.local();
                    path.symlink_metadata().is_err().then(|| file::Temporary::private(path)).transpose()
                };
                self.writing(location, private).await?.map(Writer::to_file)
            }
        };
        Ok(begun.ok_or_else(|| exists(location))?.refusing_another(self.clone(), location.clone()))
    }

    /// Deletes a file; nothing happens if there is none.
    pub async fn delete(&self, location: &Location) -> Result<()> {
        if let Some(cloud) = self.cloud(location)? {
            return cloud.delete(location).await;
        }
        self.blocking(location, file::delete).await
    }

    fn check(&self, location: &Location) -> Result<()> {
        location.check()?;
        if !location.same_store(&self.place) {
            return Err(Kind::InvalidArgument.error(format_args!("{location} does not lie in {}", self.place)));
        }
        Ok(())
    }

    /// The bucket that it lies in, if it lies in one.
    fn cloud(&self, location: &Location) -> Result<Option<&cloud::Cloud>> {
        self.check(location)?;
        match &self.backend {
            Backend::Files(..) => Ok(None),
            Backend::Cloud(cloud) => Ok(Some(cloud)),
        }
    }

    /// A file operation, on a thread that may wait.
    async fn blocking<R: Send + 'static>(
        &self,
        location: &Location,
        work: impl FnOnce(&Location) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.check(location)?;
        if let Backend::Files(pace, _) = &self.backend {
            pace.turn().await;
        }
        let location = location.clone();
        blocking(move || work(&location)).await
    }

    /// The same in a directory that is swept before.
    async fn writing<R: Send + 'static>(
        &self,
        location: &Location,
        work: impl FnOnce(&Location) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let sweeper = match &self.backend {
            Backend::Files(_, sweeper) => Arc::clone(sweeper),
            Backend::Cloud(_) => Arc::default(),
        };
        let swept = move |location: &Location| {
            sweeper.before_writing(&location.local());
            work(location)
        };
        self.blocking(location, swept).await
    }
}

fn exists(location: &Location) -> Error {
    Kind::InvalidArgument.error(format_args!("{location} exists already: nothing is written over it"))
}

fn too_long(location: &Location) -> Error {
    Kind::Malformed.error(format_args!("{location} is longer than {LARGEST} bytes: move it away"))
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Kind::Internal.error("a file operation panicked: report it")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn store(folder: &Path) -> (Store, Location) {
        let root = Location::of_path(folder).unwrap();
        (Store::open(&root, &StoreOptions::default()).unwrap(), root)
    }

    /// Names below the folder, or the errors; sorted.
    fn listed(folder: &Path) -> Vec<String> {
        let (store, root) = store(folder);
        let found: Vec<_> = runtime().block_on(async { store.list(&root).await.collect().await });
        let mut names: Vec<String> = found
            .into_iter()
            .map(|found| match found {
                Ok(object) => object.location.below(&root).unwrap().to_owned(),
                Err(error) => format!("{error}"),
            })
            .collect();
        names.sort();
        names
    }

    fn left(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_put_is_read_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        let at = root.join("new/below/file");
        runtime().block_on(async {
            assert_eq!(store.stat(&at).await.unwrap(), None);
            assert_eq!(store.read(&at, 0..10).await.unwrap_err().kind(), Kind::NotFound);
            store.put(&at, Bytes::from_static(b"first")).await.unwrap();
            store.put(&at, Bytes::from_static(b"0123456789")).await.unwrap();
            for (range, expected) in [(0..4, "0123"), (8..20, "89"), (10..20, ""), (50..60, ""), (3..3, "")] {
                assert_eq!(store.read(&at, range).await.unwrap(), expected);
            }
            assert_eq!(store.stat(&at).await.unwrap().unwrap().size, 10);
            assert_eq!(store.stat(&at.parent().unwrap()).await.unwrap(), None, "a directory is no file");
            assert!(!store.put_new(&at, Bytes::from_static(b"other")).await.unwrap());
            assert!(store.put_new(&root.join("new/below/other"), Bytes::new()).await.unwrap());
            store.delete(&at).await.unwrap();
            store.delete(&at).await.unwrap();
        });
        assert_eq!(left(&folder.path().join("new/below")), ["other"]);
    }

    #[test]
    fn of_sixteen_who_replace_one_version_exactly_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        let at = root.join("keys");
        runtime().block_on(async {
            let mut present = None;
            for round in 0..10 {
                let mut writers = tokio::task::JoinSet::new();
                for writer in 0..16 {
                    let (store, at, present) = (store.clone(), at.clone(), present.clone());
                    let bytes = Bytes::from(format!("{round}/{writer}"));
                    writers.spawn(async move { (store.replace(&at, present, bytes.clone()).await.unwrap(), bytes) });
                }
                let mut done: Vec<_> = writers.join_all().await;
                done.retain(|(replaced, _)| *replaced != Replaced::Changed);
                let [(Replaced::Done(version), bytes)] = &done[..] else { panic!("{done:?}") };
                let (found, read) = store.read_versioned(&at).await.unwrap().unwrap();
                assert_eq!((&found, &read), (bytes, version));
                present = Some(read);
            }
        });
        assert_eq!(left(folder.path()), ["keys"]);
    }

    #[test]
    fn a_writer_shows_nothing_before_it_has_finished_and_leaves_nothing_when_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        let at = root.join("file");
        let piece = Bytes::from(vec![7; 700_000]);
        runtime().block_on(async {
            let begun = async || {
                let mut writer = store.writer(&at).await.unwrap();
                for _ in 0..5 {
                    writer.write(piece.clone()).await.unwrap();
                }
                writer
            };
            begun().await.abort().await.unwrap();
            assert!(left(folder.path()).is_empty());
            drop(begun().await);
            assert!(left(folder.path()).is_empty());
            let writer = begun().await;
            assert_eq!(store.stat(&at).await.unwrap(), None);
            writer.finish().await.unwrap();
            assert_eq!(store.stat(&at).await.unwrap().unwrap().size, 3_500_000);
        });
        assert_eq!(left(folder.path()), ["file"]);
    }

    #[test]
    fn what_killed_processes_left_is_swept_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (first, root) = store(folder.path());
        runtime().block_on(async {
            let mut writer = first.writer(&root.join("large")).await.unwrap();
            writer.write(Bytes::from(vec![7; 3_000_000])).await.unwrap();
            fs::write(path(".sealpoint-tmp-0123456789abcdef"), "of a killed process").unwrap();
            fs::create_dir(path(".sealpoint-tmp-directory")).unwrap();
            symlink(path("small"), path(".sealpoint-tmp-link")).unwrap();
            let (second, _) = store(folder.path());
            second.put(&root.join("small"), Bytes::from_static(b"small")).await.unwrap();
            assert_eq!(left(folder.path()).iter().filter(|name| name.starts_with(".sealpoint-tmp-")).count(), 3);
            writer.finish().await.unwrap();
        });
        assert_eq!(left(folder.path()), [".sealpoint-tmp-directory", ".sealpoint-tmp-link", "large", "small"]);
        assert_eq!(
            (fs::read(path("small")).unwrap(), fs::read(path("large")).unwrap().len()),
            (b"small".to_vec(), 3_000_000)
        );
    }

    #[test]
    fn many_who_sweep_and_write_at_once_take_nothing_from_each_other() {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for number in 0..200 {
                // Each a store of its own, which sweeps.
                let (store, root) = store(folder.path());
                let at = root.join(&number.to_string());
                writers.spawn(async move { store.put(&at, Bytes::from_static(b"x")).await });
            }
            writers.join_all().await.into_iter().for_each(|put| put.unwrap());
        });
        assert_eq!(left(folder.path()).len(), 200);
    }

    #[test]
    fn a_new_file_is_its_owner_s_alone_and_takes_the_place_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        let at = root.join("file");
        runtime().block_on(async {
            let [first, mut second] =
                [store.writer_of_new(&at).await.unwrap(), store.writer_of_new(&at).await.unwrap()];
            first.finish().await.unwrap();
            second.write(Bytes::from_static(b"second")).await.unwrap();
            let error = second.finish().await.unwrap_err();
            assert!(error.kind() == Kind::InvalidArgument && error.message().contains("exists already"), "{error}");
            assert_eq!(store.writer_of_new(&at).await.unwrap_err().kind(), Kind::InvalidArgument);
            assert!(store.writer_of_new(&root.join("no/such/folder")).await.is_err());
        });
        let made = fs::metadata(folder.path().join("file")).unwrap();
        assert_eq!((made.len(), made.mode() & 0o777), (0, 0o600));
        assert_eq!(left(folder.path()), ["file"]);
    }

    #[test]
    fn whoever_could_read_the_old_file_can_read_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        runtime().block_on(store.put(&root.join("file"), Bytes::from_static(b"new"))).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_listing_has_every_file_and_names_what_it_cannot_look_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b/c")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        for name in ["a/b/c/deep", "a/.sealpoint-keys", "top", "a/two words"] {
            fs::write(path(name), name).unwrap();
        }
        assert_eq!(listed(folder.path()), ["a/.sealpoint-keys", "a/b/c/deep", "a/two words", "top"]);
        symlink(path("top"), path("a/link")).unwrap();
        symlink(path("nowhere"), path("a/broken")).unwrap();
        symlink(path("a/b"), path("empty/elsewhere")).unwrap();
        symlink(path("a"), path("a/b/loop")).unwrap();
        let found = listed(folder.path()).join("\n");
        for name in ["a/link", "empty/elsewhere/c/deep", "a/two words"] {
            assert!(found.contains(name), "{found}");
        }
        assert!(found.contains("a/b/loop is a link to a directory above it"), "{found}");
        assert!(found.contains("a/broken is a link that leads nowhere"), "{found}");
        assert!(listed(&path("a/broken")).join("").contains("leads nowhere"), "where it is asked for itself");
        assert_eq!(listed(&path("top")), [""]);
        assert!(listed(&path("missing")).is_empty());
    }

    #[test]
    fn a_long_listing_is_not_read_ahead_of_its_reader() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3 * AHEAD {
            fs::write(folder.path().join(number.to_string()), []).unwrap();
        }
        let (store, root) = store(folder.path());
        runtime().block_on(async {
            let mut list = store.list(&root).await;
            assert!(list.next().await.unwrap().is_ok());
            drop(list);
            assert_eq!(store.list(&root).await.count().await, 3 * AHEAD);
        });
    }

    #[test]
    fn what_is_no_file_of_this_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        runtime().block_on(async {
            for bad in [root.join("../x"), Location::parse("s3://bucket/x").unwrap()] {
                assert_eq!(store.read(&bad, 0..1).await.unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
                assert!(store.list(&bad).await.next().await.unwrap().is_err());
                assert!(store.put(&bad, Bytes::new()).await.is_err());
            }
            let error = store.read(&root, 0..1).await.unwrap_err();
            assert!(error.message().contains("not a regular file"), "{error}");
        });
    }

    #[test]
    fn what_is_far_too_long_is_not_read_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        fs::File::create(folder.path().join("keys")).unwrap().set_len(1 << 40).unwrap();
        let error = runtime().block_on(store.read_versioned(&root.join("keys"))).unwrap_err();
        assert!(error.kind() == Kind::Malformed && error.message().contains("keys is longer than"), "{error}");
    }

    #[test]
    fn a_full_disk_is_called_that_with_what_to_do() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let error = fault::io("write", full, &fs::write(full, "x").unwrap_err());
        assert_eq!(error.kind(), Kind::StoreFull);
        assert!(error.message().contains("make room"), "{error}");
    }

    /// Where a file stands in the way of a directory, or the directory may not be written to.
    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (store, root) = store(folder.path());
        fs::write(folder.path().join("file"), "").unwrap();
        let error = runtime().block_on(store.put(&root.join("file/below"), Bytes::new())).unwrap_err();
        assert!(error.message().contains("file"), "{error}");
        let proc = Location::parse("/proc/self/x").unwrap();
        let error = runtime().block_on(store.put(&proc, Bytes::new())).unwrap_err();
        assert!(error.message().contains("/proc/self/x"), "{error}");
    }
}

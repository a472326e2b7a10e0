//! What lies in a store, told by the heads of the files: one read of each, two of a long one, and no key.

use futures_util::stream::{BoxStream, StreamExt};

use super::manifest;
use crate::envelope::{Head, Layout, Parsed};
use crate::error::{Error, Kind, Result};
use crate::store::{Location, Object, Store};

/// How the names of files of ours begin that are no state: sidecars and their locks, manifests, what is not yet whole.
pub const OURS: &str = ".sealpoint-";
/// What is read of a file at first. Heads with one key slot have some 300 bytes, each further slot some 200 more.
const FIRST_READ: u64 = 4096;
/// How many files are looked at at once.
pub const PARALLEL: usize = 64;

/// One thing that a survey came upon.
#[derive(Debug)]
pub enum Found {
    /// A sealed file.
    Sealed(Box<Sealed>),
    /// A file that does not begin as a sealed one does.
    Plain(Object),
    /// A sealed file in a version of the format, or under a cipher suite, that this library does not know.
    Foreign(Object, Error),
    /// A file that ends inside its head: it is being written, or its writer died before anything of it could be read.
    Unfinished(Object),
    /// A file that was there when its directory was listed, and then was not.
    Gone(Object),
    /// A file whose head is damaged or could not be read; without one, something that could not be listed. The error
    /// names it.
    Unreadable(Option<Object>, Error),
}

impl Found {
    /// Where it is; `None` for what could not be listed.
    pub fn location(&self) -> Option<&Location> {
        let object = match self {
            Found::Sealed(sealed) => &sealed.object,
            Found::Plain(object) | Found::Foreign(object, _) | Found::Unfinished(object) | Found::Gone(object) => {
                object
            }
            Found::Unreadable(object, _) => object.as_ref()?,
        };
        Some(&object.location)
    }
}

/// A sealed file, as it says itself: nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Where it is, how long, and how old.
    pub object: Object,
    /// What its head says.
    pub head: Head,
}

impl Sealed {
    /// The bytes of plaintext that a closed file of this length holds, if all its frames but the last are full; with CBC
    /// up to 16 more than it has. `None` while the file is too short to have an end.
    pub fn plaintext_len(&self) -> Option<u64> {
        let layout = Layout::new(self.head.algorithm, self.head.bound.chunk_size);
        let frames = self.object.size.checked_sub((self.head.len() + layout.end_len) as u64)?;
        let (full, around) = (layout.frame_len(layout.chunk_size) as u64, (layout.front + layout.tag) as u64);
        let rest = (frames % full).saturating_sub(around);
        Some(frames / full * layout.chunk_size as u64 + rest)
    }
}

/// How many files were found at or below a place, and how many of them are sealed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    files: u64,
    sealed: u64,
}

impl Count {
    /// Takes one in.
    pub fn add(&mut self, found: &Found) {
        self.files += u64::from(found.location().is_some());
        self.sealed += u64::from(matches!(found, Found::Sealed(_)));
    }

    /// Refuses a place where nothing is, and one where nothing is sealed: an answer about it would be one about the wrong
    /// place. `unlisted` if there may be more files, and `partial` if more of them may be sealed.
    pub fn check(self, place: &Location, unlisted: bool, partial: bool) -> Result<()> {
        if self.files == 0 && !unlisted {
            return Err(Kind::NotFound.error(format_args!("{place}: there is no file at or below it")));
        }
        if self.sealed == 0 && !partial {
            return Err(Kind::NotSealed
                .error(format_args!("{place}: none of its {} files is sealed: is it the right place?", self.files)));
        }
        Ok(())
    }
}

/// Looks at every file at or below `roots`, which all lie in `store`. What lies below two of them is found once. Memory
/// is bounded, however many files there are; the order is none.
pub fn survey(store: &Store, roots: &[Location]) -> BoxStream<'static, Found> {
    let (files, store) = (files(store, roots), store.clone());
    let look = move |found: Result<Object>| {
        let store = store.clone();
        async move {
            match found {
                Ok(object) => look(&store, object).await,
                Err(error) => Found::Unreadable(None, error),
            }
        }
    };
    files.map(look).buffer_unordered(PARALLEL).boxed()
}

/// What a survey looks at, as it is listed: an error for what could not be.
pub fn files(store: &Store, roots: &[Location]) -> BoxStream<'static, Result<Object>> {
    let store = store.clone();
    let listed = futures_util::stream::iter(outermost(roots)).then(move |root| {
        let store = store.clone();
        async move { store.list(&root).await }
    });
    listed.flatten().filter(|found| std::future::ready(!found.as_ref().is_ok_and(is_keyless))).boxed()
}

/// True for the files of ours that no key opens. A manifest is a sealed file like the others: nobody can compare it any
/// more once its key is gone.
pub fn is_keyless(object: &Object) -> bool {
    let name = object.location.name();
    name.starts_with(OURS) && name != manifest::FILE_NAME
}

/// What kind of file this is.
pub async fn look(store: &Store, object: Object) -> Found {
    match read_head(store, &object).await {
        Ok(Some(head)) => Found::Sealed(Box::new(Sealed { object, head })),
        Ok(None) => Found::Unfinished(object),
        Err(error) => match error.kind() {
            Kind::NotSealed => Found::Plain(object),
            Kind::NotFound => Found::Gone(object),
            Kind::UnsupportedVersion => Found::Foreign(object, error),
            _ => Found::Unreadable(Some(object), error),
        },
    }
}

/// The head of a file; `None` if the file ends before it does.
async fn read_head(store: &Store, object: &Object) -> Result<Option<Head>> {
    let location = &object.location;
    let mut wanted = FIRST_READ.min(object.size);
    if wanted == 0 {
        return Ok(None);
    }
    loop {
        let bytes = store.read(location, 0..wanted).await?;
        match Head::parse(&bytes).map_err(|error| error.at(location))? {
            Parsed::Complete(head) => return Ok(Some(head)),
            // A store that gave less than it was asked for has no more.
            Parsed::NeedMore(_) if (bytes.len() as u64) < wanted => return Ok(None),
            Parsed::NeedMore(more) if more as u64 > object.size => return Ok(None),
            Parsed::NeedMore(more) => wanted = more as u64,
        }
    }
}

/// Those that lie in no other one, each once.
fn outermost(roots: &[Location]) -> Vec<Location> {
    let mut kept: Vec<Location> = Vec::new();
    for root in roots {
        if !kept.iter().any(|other| root.below(other).is_some()) {
            kept.retain(|other| other.below(root).is_none());
            kept.push(root.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{EncryptionAlgorithm, EncryptionConfig};
    use crate::envelope::{DataKeyId, SealOptions, Sealer, encode_slots, slots::Slot};
    use crate::secret::Secret;
    use crate::store::StoreOptions;

    /// A sealed file of one tenant under a data key of zeros, with so many bytes in it.
    fn sealed(algorithm: EncryptionAlgorithm, slots: usize, plaintext: usize) -> Vec<u8> {
        let (id, key) = (DataKeyId::from_bytes([7; 16]), Secret::take(&mut [0; 32]).unwrap());
        let slot = Slot { provider: "local".into(), kek: "k".into(), version: "1".into(), wrapped: vec![1; 2_000] };
        let options = SealOptions {
            algorithm,
            chunk_size: 4096,
            tenant: "default".into(),
            subject: None,
            context: EncryptionConfig::from_pairs([("kms.provider", "local"), ("kms.local.keyring", "/x")])
                .unwrap()
                .encryption_context,
            created_at_ms: 5,
        };
        let section = encode_slots(&vec![slot; slots], id, &key).unwrap();
        let mut sealer = Sealer::new(&key, id, &section, &options).unwrap();
        let mut out = sealer.head().to_vec();
        let head = out.len();
        let layout = sealer.layout();
        out.resize(head + layout.sealed_len(plaintext) + layout.end_len, 0);
        let mut at = head + sealer.seal(&vec![0; plaintext], &mut out[head..]).unwrap();
        at += sealer.finish(&mut out[at..]).unwrap();
        out.truncate(at);
        out
    }

    /// Name below the folder, and kind.
    fn found(folder: &Path, roots: &[&str]) -> BTreeMap<String, String> {
        let root = Location::of_path(folder).unwrap();
        let roots: Vec<_> = roots.iter().map(|name| root.join(name)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = Store::open(&root, &StoreOptions::default()).unwrap();
        let all: Vec<Found> = runtime.block_on(survey(&store, &roots).collect());
        let mut kinds = BTreeMap::new();
        for found in all {
            let (object, kind) = match found {
                Found::Sealed(sealed) => (sealed.object, format!("sealed {}", sealed.head.slots.len())),
                Found::Plain(object) => (object, "plain".to_owned()),
                Found::Foreign(object, error) => (object, format!("foreign: {:?}", error.kind())),
                Found::Unfinished(object) => (object, "unfinished".to_owned()),
                Found::Gone(object) => (object, "gone".to_owned()),
                Found::Unreadable(Some(object), error) => (object, format!("unreadable: {:?}", error.kind())),
                Found::Unreadable(None, error) => panic!("{error}"),
            };
            let name = object.location.below(&root).unwrap().to_owned();
            assert_eq!(kinds.insert(name.clone(), kind), None, "{name} is found once");
        }
        kinds
    }

    #[test]
    fn every_kind_of_file_is_told_and_each_is_found_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("job/chk-1")).unwrap();
        let good = sealed(EncryptionAlgorithm::Aes256Gcm, 1, 100);
        let mut newer = good.clone();
        newer[8] = 2;
        let mut malformed = good.clone();
        malformed[10] = 1;
        let long = sealed(EncryptionAlgorithm::Aes256Gcm, 8, 100);
        assert!(long.len() as u64 > FIRST_READ, "its head needs a second read");
        let files: [(&str, &[u8], &str); 12] = [
            ("job/chk-1/good", &good, "sealed 1"),
            ("job/chk-1/long", &long, "sealed 8"),
            ("job/chk-1/plain", b"hello", "plain"),
            ("job/chk-1/newer", &newer, "foreign: UnsupportedVersion"),
            ("job/chk-1/malformed", &malformed, "unreadable: Malformed"),
            ("job/chk-1/empty", b"", "unfinished"),
            ("job/chk-1/begun", &good[..5], "unfinished"),
            ("job/chk-1/cut", &long[..FIRST_READ as usize + 9], "unfinished"),
            ("job/chk-1/open", &good[..good.len() - 1], "sealed 1"),
            (".hidden", b"x", "plain"),
            ("top", &good, "sealed 1"),
            ("job/chk-1/.sealpoint-manifest", &good, "sealed 1"),
        ];
        for (name, bytes, _) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        for name in [".sealpoint-keys", "job/.sealpoint-keys.lock", "job/chk-1/.sealpoint-manifest.tmp"] {
            fs::write(folder.path().join(name), b"not of this").unwrap();
        }
        let expected: BTreeMap<_, _> = files.iter().map(|(name, _, kind)| ((*name).into(), (*kind).into())).collect();
        assert_eq!(found(folder.path(), &[""]), expected);
        assert_eq!(found(folder.path(), &["", "job", "job/chk-1/good", ""]), expected);
        assert_eq!(found(folder.path(), &["job/chk-1/good"]).len(), 1);
        assert!(found(folder.path(), &["nowhere"]).is_empty());
    }

    #[test]
    fn a_file_that_vanishes_after_its_listing_is_gone_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let root = Location::of_path(folder.path()).unwrap();
        let store = Store::open(&root, &StoreOptions::default()).unwrap();
        let object = Object { location: root.join("f"), size: 9, modified: std::time::SystemTime::now() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(matches!(runtime.block_on(look(&store, object)), Found::Gone(_)));
    }

    #[test]
    fn the_length_of_the_plaintext_follows_from_that_of_a_regular_file() {
        for (algorithm, padding) in [(EncryptionAlgorithm::Aes256Gcm, 0), (EncryptionAlgorithm::Aes256CbcHmac, 16)] {
            for plaintext in [0, 1, 4095, 4096, 4097, 8192, 50_000] {
                let bytes = sealed(algorithm, 1, plaintext);
                let Parsed::Complete(head) = Head::parse(&bytes).unwrap() else { panic!("it is whole") };
                let location = Location::parse("/f").unwrap();
                let object = |size| Object { location: location.clone(), size, modified: std::time::UNIX_EPOCH };
                let of = |size| Sealed { object: object(size), head: head.clone() }.plaintext_len();
                let told = of(bytes.len() as u64).unwrap();
                let partial = plaintext % 4096 > 0;
                let most = plaintext as u64 + if partial { padding } else { 0 };
                assert!((plaintext as u64..=most).contains(&told), "{algorithm:?} {plaintext}: {told}");
                assert_eq!(of(head.len() as u64), None);
            }
        }
    }
}

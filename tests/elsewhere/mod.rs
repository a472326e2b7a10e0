//! The folders of a folder in another store: what is changed here goes there, what is changed there comes here. So what is said
//! of files on disk is said of objects by the same code. Files beside those folders, such as a keyring, stay here.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::StreamExt;
use sealpoint::store::{Location, Store, StoreOptions};

type Files = BTreeMap<String, Vec<u8>>;

/// A place in a store, and how a process reaches it.
pub struct Elsewhere {
    root: Location,
    pub options: StoreOptions,
    pub environment: Vec<(&'static str, String)>,
    runtime: tokio::runtime::Runtime,
    /// What both had when they were last made alike.
    known: Mutex<Files>,
}

impl Elsewhere {
    pub fn new(root: Location, options: StoreOptions, environment: Vec<(&'static str, String)>) -> Elsewhere {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Elsewhere { root, options, environment, runtime, known: Mutex::default() }
    }

    /// The place of what has this name here.
    pub fn at(&self, name: &str) -> Location {
        self.root.join(name)
    }

    /// Makes the two alike. Where a file was changed on both sides, this side counts.
    pub fn sync(&self, folder: &Path) {
        let store = Store::open(&self.root, &self.options).unwrap();
        let mut known = self.known.lock().unwrap();
        let here = files(folder);
        self.runtime.block_on(async {
            for (name, bytes) in here.iter().filter(|(name, bytes)| known.get(*name) != Some(*bytes)) {
                store.put(&self.at(name), Bytes::from(bytes.clone())).await.unwrap();
            }
            for name in known.keys().filter(|name| !here.contains_key(*name)) {
                store.delete(&self.at(name)).await.unwrap();
            }
            let mut there = Files::new();
            let mut listed = store.list(&self.root).await;
            while let Some(object) = listed.next().await {
                let at = object.unwrap().location;
                if let Some((bytes, _)) = store.read_versioned(&at).await.unwrap() {
                    there.insert(at.below(&self.root).unwrap().to_owned(), bytes.to_vec());
                }
            }
            *known = there;
        });
        for (name, bytes) in known.iter().filter(|(name, bytes)| here.get(*name) != Some(*bytes)) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        for name in here.keys().filter(|name| !known.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
}

/// Every file in the folders of this one.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.parent() != Some(folder) {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

//! Key slots that lie beside files: in the sidecar of their directory, and in that of its parent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::envelope::DataKeyId;
use crate::envelope::sidecar::{self, Entry};
use crate::error::{Error, Kind};
use crate::lifecycle::Few;
use crate::store::{Location, Store};

/// How many sidecars, of 16 MiB at most and far less as a rule, are held at a time.
const HELD: usize = 8;

/// The sidecars of a store, each read once while its directory is looked at.
pub struct Beside {
    store: Store,
    held: Mutex<VecDeque<(Location, Arc<OnceCell<Sidecar>>)>>,
    broken: Mutex<Few<Error>>,
}

type Sidecar = HashMap<DataKeyId, Arc<Entry>>;

impl Beside {
    pub fn new(store: &Store) -> Beside {
        Beside { store: store.clone(), held: Mutex::default(), broken: Mutex::default() }
    }

    /// What a reader of a file here finds for its data key, in the order in which it looks.
    pub async fn of(&self, file: &Location, id: DataKeyId) -> Vec<Arc<Entry>> {
        let mut found = Vec::new();
        let mut directory = file.parent();
        for _ in 0..2 {
            let Some(place) = directory else { break };
            let cell = self.cell(&place);
            let sidecar = cell.get_or_init(|| self.read(&place)).await;
            found.extend(sidecar.get(&id).map(Arc::clone));
            directory = place.parent();
        }
        found
    }

    /// Those that could not be read, or not all of whose entries could: what these open, and under which keys, is not known.
    pub fn broken(self) -> Few<Error> {
        self.broken.into_inner()
    }

    fn cell(&self, directory: &Location) -> Arc<OnceCell<Sidecar>> {
        let mut held = self.held.lock();
        if let Some((_, cell)) = held.iter().rev().find(|(known, _)| known == directory) {
            return Arc::clone(cell);
        }
        if held.len() == HELD {
            held.pop_front();
        }
        let cell = Arc::default();
        held.push_back((directory.clone(), Arc::clone(&cell)));
        cell
    }

    async fn read(&self, directory: &Location) -> Sidecar {
        let place = directory.join(sidecar::FILE_NAME);
        let (entries, sound) = match self.store.read_versioned(&place).await {
            Ok(None) => return Sidecar::new(),
            Ok(Some((bytes, _))) => sidecar::found(&bytes),
            Err(error) if error.kind() == Kind::NotFound => return Sidecar::new(),
            Err(error) => (Vec::new(), Err(error)),
        };
        if let Err(error) = sound {
            self.broken.lock().push(error.at(&place));
        }
        entries.into_iter().map(|entry| (entry.data_key_id, Arc::new(entry))).collect()
    }
}

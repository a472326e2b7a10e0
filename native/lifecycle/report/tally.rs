//! How much there is of what: one tally for all files that are alike in data key, tenant and slots.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use crate::envelope::DataKeyId;
use crate::keys::Wrapping;
use crate::lifecycle::kek::{Keks, State};

/// So many files, and between which times they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many files.
    pub files: u64,
    /// Their bytes in the store.
    pub bytes: u64,
    /// Those that a completed checkpoint needs.
    pub live: u64,
    /// When the oldest was made, by its head: milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// When the newest was.
    pub newest_ms: Option<u64>,
}

impl Amount {
    /// One more file.
    pub fn add(&mut self, bytes: u64, made_ms: u64, live: bool) {
        let (oldest_ms, newest_ms) = (Some(made_ms), Some(made_ms));
        self.merge(&Amount { files: 1, bytes, live: u64::from(live), oldest_ms, newest_ms });
    }

    /// All of another one.
    pub fn merge(&mut self, other: &Amount) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.live += other.live;
        self.oldest_ms = self.oldest_ms.into_iter().chain(other.oldest_ms).min();
        self.newest_ms = self.newest_ms.into_iter().chain(other.newest_ms).max();
    }
}

/// What is wrapped under one version of a key, for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose files.
    pub tenant: String,
    /// The version.
    pub wrapping: Wrapping,
    /// What is known of it.
    pub state: State,
    /// How many data keys.
    pub data_keys: u64,
    /// How much is sealed under them.
    pub amount: Amount,
    /// Files whose own head has a slot under it.
    pub in_heads: u64,
    /// Files that find one in a sidecar.
    pub in_sidecars: u64,
    /// Files that no other slot opens, by what the key services say.
    pub sole: Amount,
}

/// Files that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group {
    id: DataKeyId,
    tenant: u32,
    own: u32,
    beside: u32,
}

/// The tallies of all groups.
#[derive(Default)]
pub struct Tallies {
    tenants: Interned<String>,
    slots: Interned<Vec<Wrapping>>,
    groups: HashMap<Group, Amount>,
}

impl Tallies {
    /// Which group a file is in.
    pub fn group(&mut self, id: DataKeyId, tenant: &str, own: Vec<Wrapping>, beside: Vec<Wrapping>) -> Group {
        let tenant = self.tenants.number(tenant.to_owned());
        Group { id, tenant, own: self.slots.number(own), beside: self.slots.number(beside) }
    }

    /// One more file in it.
    pub fn add(&mut self, group: Group, bytes: u64, made_ms: u64, live: bool) {
        self.groups.entry(group).or_default().add(bytes, made_ms, live);
    }

    /// By tenant.
    pub fn tenants(&self) -> Vec<(String, Amount)> {
        let mut tenants: BTreeMap<&String, Amount> = BTreeMap::new();
        for (group, amount) in &self.groups {
            tenants.entry(self.tenants.get(group.tenant)).or_default().merge(amount);
        }
        tenants.into_iter().map(|(tenant, amount)| (tenant.clone(), amount)).collect()
    }

    /// By tenant, key and version.
    pub fn rows(&self, keks: &Keks) -> Vec<Row> {
        let mut rows: BTreeMap<(&String, &Wrapping), (Row, HashSet<DataKeyId>)> = BTreeMap::new();
        for (group, amount) in &self.groups {
            let tenant = self.tenants.get(group.tenant);
            let (own, beside) = (self.slots.get(group.own), self.slots.get(group.beside));
            let all: HashSet<&Wrapping> = own.iter().chain(beside).collect();
            let opens = |wrapping: &Wrapping| keks.state(tenant, wrapping).opens();
            for wrapping in &all {
                let (row, ids) = rows.entry((tenant, wrapping)).or_insert_with(|| {
                    let state = keks.state(tenant, wrapping);
                    (Row::new(tenant, wrapping, state), HashSet::new())
                });
                ids.insert(group.id);
                row.amount.merge(amount);
                row.in_heads += if own.contains(wrapping) { amount.files } else { 0 };
                row.in_sidecars += if beside.contains(wrapping) { amount.files } else { 0 };
                if !all.iter().any(|other| other != wrapping && opens(other)) {
                    row.sole.merge(amount);
                }
            }
        }
        let counted = |(row, ids): (Row, HashSet<DataKeyId>)| Row { data_keys: ids.len() as u64, ..row };
        rows.into_values().map(counted).collect()
    }
}

impl Row {
    fn new(tenant: &str, wrapping: &Wrapping, state: State) -> Row {
        Row {
            tenant: tenant.to_owned(),
            wrapping: wrapping.clone(),
            state,
            data_keys: 0,
            amount: Amount::default(),
            in_heads: 0,
            in_sidecars: 0,
            sole: Amount::default(),
        }
    }
}

/// Values kept once each, by numbers.
struct Interned<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn number(&mut self, value: T) -> u32 {
        match self.numbers.entry(value) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.values.push(new.key().clone());
                // Fewer values than data keys, which memory bounds far below.
                *new.insert(self.values.len() as u32 - 1)
            }
        }
    }

    fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Interned { values: Vec::new(), numbers: HashMap::new() }
    }
}

//! A key version is disabled: what a sidecar has under a newer one opens, and nothing else does.

use std::cell::RefCell;
use std::sync::atomic::Ordering::SeqCst;
use std::time::SystemTime;

use sealpoint::Result;
use sealpoint::context::EncryptionContext;
use sealpoint::envelope::sidecar::{self, Entry, Place};
use sealpoint::envelope::{DataKeyId, Head, Slot, encode_slots};
use sealpoint::error::{Error, Kind};
use sealpoint::keys::DataKey;
use sealpoint::kms::KmsClient;
use sealpoint::secret::Secret;

use crate::fixture::{Process, Site, head_of};

/// What lies beside the files, and how often each place was looked at.
#[derive(Default)]
struct Beside {
    directory: Option<Result<Vec<u8>>>,
    parent: Option<Result<Vec<u8>>>,
    looked: RefCell<Vec<Place>>,
}

impl Beside {
    fn in_directory(sidecar: Vec<u8>) -> Beside {
        Beside { directory: Some(Ok(sidecar)), ..Beside::default() }
    }

    fn in_parent(sidecar: Vec<u8>) -> Beside {
        Beside { parent: Some(Ok(sidecar)), ..Beside::default() }
    }

    fn open(&self, process: &Process, head: &Head) -> Result<(), Error> {
        let key = process.ring.unwrap_beside(head, &mut |place| {
            self.looked.borrow_mut().push(place);
            let found = match place {
                Place::Directory => &self.directory,
                Place::Parent => &self.parent,
            };
            found.clone().transpose()
        })?;
        assert_eq!(key.id(), head.bound.data_key_id);
        Ok(())
    }

    fn looked(&self) -> usize {
        self.looked.borrow().len()
    }
}

fn rotate(site: &Site) {
    site.file().update(|keyring| keyring.key_mut("sealpoint")?.rotate(SystemTime::now()).map(drop)).unwrap();
}

fn enable(site: &Site, version: u32, enabled: bool) {
    site.file().update(|keyring| keyring.key_mut("sealpoint")?.set_enabled(version, enabled)).unwrap();
}

/// The sidecar's entry of this key, wrapped by the current version.
fn rewrapped(process: &Process, tenant: &str, key: &DataKey) -> Entry {
    entry(process, tenant, key.id(), key.secret())
}

fn entry(process: &Process, tenant: &str, id: DataKeyId, secret: &Secret) -> Entry {
    let pairs = [("sealpoint:data-key", id.to_string()), ("sealpoint:tenant", tenant.to_owned())];
    let context = EncryptionContext::new(pairs.map(|(key, value)| (key.to_owned(), value))).unwrap();
    let wrapped = process.runtime.handle.block_on(process.line.client.encrypt(secret, &context)).unwrap();
    let slot = Slot { provider: "local".into(), kek: wrapped.kek, version: wrapped.version, wrapped: wrapped.bytes };
    Entry::new(id, encode_slots(&[slot], id, secret).unwrap()).unwrap()
}

fn sidecar_of(entry: Entry) -> Vec<u8> {
    sidecar::encode(&[entry]).unwrap()
}

/// A site whose version 1 sealed a file and is disabled now; the file, and a sidecar with its key under version 2.
fn retired() -> (Site, Head, Vec<u8>) {
    let site = Site::new();
    let writer = site.process(&[]);
    let head = writer.head("default");
    rotate(&site);
    let sidecar = sidecar_of(rewrapped(&writer, "default", &writer.key()));
    enable(&site, 1, false);
    (site, head, sidecar)
}

#[test]
fn a_file_whose_own_slots_work_never_looks_beside_itself() {
    let site = Site::new();
    let head = site.process(&[]).head("default");
    let reader = site.process(&[]);
    let beside = Beside::in_directory(b"rubbish".to_vec());
    beside.open(&reader, &head).unwrap();
    assert_eq!(beside.looked(), 0);
}

#[test]
fn a_disabled_version_is_made_up_for_by_the_sidecar_of_the_directory_or_of_its_parent() {
    let (site, head, sidecar) = retired();
    for beside in [Beside::in_directory(sidecar.clone()), Beside::in_parent(sidecar)] {
        beside.open(&site.process(&[]), &head).unwrap();
        let expected = if beside.directory.is_some() { &Place::IN_ORDER[..1] } else { &Place::IN_ORDER[..] };
        assert_eq!(*beside.looked.borrow(), expected, "the directory first");
    }
}

#[test]
fn ten_thousand_files_read_the_sidecar_once_for_each_data_key() {
    let site = Site::new();
    let writer = site.process(&[]);
    let (mut keys, mut entries) = (Vec::new(), Vec::new());
    for checkpoint in 1..=3 {
        writer.settled(checkpoint + 1);
        keys.push(writer.key());
        writer.ring.begin_epoch("job", checkpoint as i64);
    }
    rotate(&site);
    entries.extend(keys.iter().map(|key| rewrapped(&writer, "default", key)));
    entries.sort_by_key(|entry| entry.data_key_id);
    enable(&site, 1, false);

    let beside = Beside::in_parent(sidecar::encode(&entries).unwrap());
    let reader = site.process(&[]);
    for file in 0..10_000 {
        let key = &keys[file % keys.len()];
        beside.open(&reader, &head_of(&reader.config, "default", key.secret(), key.id(), key.slots())).unwrap();
    }
    assert_eq!(beside.looked(), 2 * keys.len(), "two places for each key");
    assert_eq!(reader.line.unwrapped.load(SeqCst), 2 * keys.len(), "its own slots, and those of the sidecar");
}

#[test]
fn a_key_that_is_not_configured_any_more_is_made_up_for_and_asked_about_once() {
    let site = Site::with_fallback();
    let old = site.process(&[("kms.local.key", "fallback"), ("tenants.default.key", "fallback")]);
    let head = old.head("default");
    assert_eq!(head.slots[0].kek, "fallback");
    let reader = site.process(&[]);
    let beside = Beside::in_directory(sidecar_of(rewrapped(&reader, "default", &old.key())));
    assert_eq!(reader.ring.unwrap(&head).unwrap_err().kind(), Kind::KeyNotAllowed);
    for _file in 0..10 {
        beside.open(&reader, &head).unwrap();
    }
    assert_eq!(beside.looked(), 1);
}

#[test]
fn without_a_sidecar_the_refusal_names_key_version_and_remedy() {
    let (site, head, _) = retired();
    let error = Beside::default().open(&site.process(&[]), &head).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyDisabled);
    for part in ["'sealpoint' version 1", "enable", "sealpoint rewrap", ".sealpoint-keys"] {
        assert!(error.message().contains(part), "{error} says {part}");
    }
    enable(&site, 1, true);
    Beside::default().open(&site.process(&[]), &head).unwrap();
}

#[test]
fn a_broken_sidecar_is_no_reason_to_fail_where_the_other_works() {
    let (site, head, sidecar) = retired();
    let mut tampered = sidecar.clone();
    tampered[40] ^= 1;
    let huge = vec![0; (16 << 20) + 1];
    let unreadable = Err(Kind::Io.error("the disk is gone"));
    for broken in [Ok(tampered), Ok(sidecar[..sidecar.len() - 1].to_vec()), Ok(huge), Ok(vec![1]), unreadable] {
        let beside = Beside { directory: Some(broken), parent: Some(Ok(sidecar.clone())), ..Beside::default() };
        beside.open(&site.process(&[]), &head).unwrap();
    }
}

#[test]
fn where_a_sidecar_cannot_be_seen_nobody_says_that_the_key_is_gone() {
    let (site, head, _) = retired();
    for kind in [Kind::Io, Kind::StoreDenied, Kind::StoreUnavailable, Kind::StoreThrottled, Kind::Credentials] {
        let beside = Beside { parent: Some(Err(kind.error("not to be seen"))), ..Beside::default() };
        let error = beside.open(&site.process(&[]), &head).unwrap_err();
        assert_eq!(error.kind(), kind);
        for part in ["'sealpoint' version 1", "disabled", "not all could be looked into", "not to be seen"] {
            assert!(error.message().contains(part), "{error} says {part}");
        }
    }
}

#[test]
fn a_sidecar_changed_anywhere_opens_nothing_and_the_error_is_that_of_the_files_own_slots() {
    let (site, head, sidecar) = retired();
    let reader = site.process(&[("cache.negative-ttl", "0 s")]);
    for at in 0..sidecar.len() {
        let mut bad = sidecar.clone();
        bad[at] ^= 1;
        let error = Beside::in_directory(bad).open(&reader, &head).unwrap_err();
        assert_eq!(error.kind(), Kind::KeyDisabled, "byte {at}");
        assert!(error.message().contains("version 1"), "byte {at}: {error}");
    }
    for cut in 0..sidecar.len() {
        let error = Beside::in_parent(sidecar[..cut].to_vec()).open(&reader, &head).unwrap_err();
        assert_eq!(error.kind(), Kind::KeyDisabled, "cut at {cut}");
    }
    Beside::in_directory(sidecar).open(&reader, &head).unwrap();
}

#[test]
fn a_sidecar_of_another_directory_or_one_rolled_back_opens_nothing() {
    let (site, head, rolled_back) = retired();
    let writer = site.process(&[]);
    let strangers = sidecar_of(rewrapped(&writer, "default", &writer.key()));
    let error = Beside::in_directory(strangers).open(&site.process(&[]), &head).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyDisabled);

    rotate(&site);
    enable(&site, 2, false);
    let error = Beside::in_directory(rolled_back).open(&site.process(&[]), &head).unwrap_err();
    assert_eq!(error.kind(), Kind::KeyDisabled);
    assert!(error.message().contains("version 1") && error.message().contains("version 2"), "both are named: {error}");
}

#[test]
fn slots_under_another_tenant_or_of_another_key_are_refused() {
    let site = Site::new();
    let writer = site.process(&[("tenants.b.paths", "/b")]);
    let (head, key) = (writer.head("default"), writer.key());
    let other = writer.ring.for_sealing("b").unwrap();
    rotate(&site);
    let right = rewrapped(&writer, "default", &key);
    enable(&site, 1, false);
    let forged = [
        ("wrapped for another tenant", entry(&writer, "b", key.id(), key.secret())),
        ("another key, well wrapped", entry(&writer, "default", key.id(), other.secret())),
        ("another key, put under this one's id", Entry { data_key_id: key.id(), ..rewrapped(&writer, "b", &other) }),
    ];
    for (what, entry) in forged {
        let sidecar = sidecar_of(entry);
        let error = Beside::in_directory(sidecar.clone()).open(&site.process(&[]), &head).unwrap_err();
        assert_eq!(error.kind(), Kind::KeyDisabled, "{what}: {error}");
        let beside =
            Beside { directory: Some(Ok(sidecar)), parent: Some(Ok(sidecar_of(right.clone()))), ..Beside::default() };
        beside.open(&site.process(&[]), &head).unwrap();
    }
}

#[test]
fn damaged_slots_of_the_file_are_made_up_for_and_never_believed() {
    let (site, head, sidecar) = retired();
    let reader = site.process(&[]);
    let mut slots = head.slots.clone();
    slots[0].wrapped[20] ^= 1;
    // Written by somebody without the data key, whose mac does not fit.
    let section = encode_slots(&slots, head.bound.data_key_id, &Secret::random(32).unwrap()).unwrap();
    let key = reader.ring.unwrap_with(&head, &sidecar).unwrap().unwrap();
    let damaged = head_of(&reader.config, "default", key.secret(), key.id(), &section);
    let beside = Beside::in_directory(sidecar);
    for _file in 0..3 {
        beside.open(&reader, &damaged).unwrap();
    }
    assert_eq!(beside.looked(), 3, "nothing is remembered under slots that are not proven");
}

#[test]
fn what_is_wrong_with_the_file_itself_no_sidecar_mends() {
    let (site, head, sidecar) = retired();
    let beside = Beside::in_directory(sidecar);
    let stranger = site.process(&[("tenant", "other")]);
    assert_eq!(beside.open(&stranger, &head).unwrap_err().kind(), Kind::TenantNotAllowed);
    let strict = site.process(&[("algorithm", "aes-256-cbc-hmac"), ("allowed-algorithms", "aes-256-cbc-hmac")]);
    assert_eq!(beside.open(&strict, &head).unwrap_err().kind(), Kind::SuiteNotAllowed);
    assert_eq!(beside.looked(), 0);

    enable(&site, 1, true);
    let forged = encode_slots(&head.slots, head.bound.data_key_id, &Secret::random(32).unwrap()).unwrap();
    let key = site.process(&[]).ring.unwrap(&head).unwrap();
    let forged = head_of(&strict.config, "default", key.secret(), key.id(), &forged);
    assert_eq!(beside.open(&strict, &forged).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(beside.looked(), 0, "not even where the slots are not those that a holder of the key wrote");
}

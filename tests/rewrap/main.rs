//! Data keys are wrapped anew beside the files that they seal; nothing is lost, whatever happens meanwhile.

#[path = "../elsewhere/mod.rs"]
mod elsewhere;
mod failures;
mod fixture;
mod killed;
#[path = "../mounts/mod.rs"]
mod mounts;
mod runbooks;
mod sidecars;

use std::collections::BTreeSet;
use std::fs;

use sealpoint::error::Kind;
use sealpoint::keys::Target;
use sealpoint::lifecycle::rewrap::Options;

use fixture::{Site, head_of, versions_in};

#[test]
fn after_a_rewrap_the_old_version_can_be_disabled_and_no_file_was_touched() {
    let site = Site::new();
    site.job("job", 3);
    site.rotate("sealpoint");
    let before: Vec<_> = site.files().iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let report = site.rewrap(&Options::default());
    assert!(report.is_complete(), "{report:?}");
    // Six processes of checkpoints, in the sidecars of the job and of its merged files; one of a savepoint.
    assert_eq!((report.sealed, report.data_keys, report.renewed, report.current), (20, 13, 13, 0));
    assert_eq!(report.versions.values().sum::<u64>(), 13);

    let after: Vec<_> = site.files().iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(before == after, "the files are as they were");
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn sidecars_lie_where_flink_lets_them_be() {
    let site = Site::new();
    site.job("job", 2);
    site.rotate("sealpoint");
    site.rewrap(&Options::default());
    let store = site.path("store");
    let found: Vec<_> = site.sidecars().iter().map(|path| path.strip_prefix(&store).unwrap().to_owned()).collect();
    let expected = ["job/.sealpoint-keys", "job/savepoint-1/.sealpoint-keys", "job/shared/.sealpoint-keys"];
    assert_eq!(found, expected.map(std::path::PathBuf::from));
    for number in 1..=2 {
        let checkpoint = store.join(format!("job/chk-{number}"));
        for process in ["a", "b"] {
            fs::remove_file(checkpoint.join(process)).unwrap();
        }
        fs::remove_dir(&checkpoint).expect("Flink deletes a checkpoint without looking into it");
    }
}

#[test]
fn a_second_run_writes_nothing_and_asks_for_no_data_key() {
    let site = Site::new();
    site.job("job", 3);
    site.rotate("sealpoint");
    site.rewrap(&Options::default());
    let before: Vec<_> = site.sidecars().iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect();
    let engine = site.engine();
    let calls = || engine.metrics().kms_call_duration.count();
    let root = sealpoint::store::Location::of_path(&site.path("store")).unwrap();
    let progress = sealpoint::lifecycle::progress::Progress::default();
    engine.keys().for_sealing("default").unwrap();
    while engine.metrics().data_keys_drawn.get() < 2 {
        std::thread::yield_now();
    }
    let so_far = calls();
    let report = sealpoint::lifecycle::rewrap::rewrap(&engine, &[root], &Options::default(), &progress).unwrap();
    assert_eq!((report.renewed, report.current, report.sidecars.count), (0, 13, 0));
    assert_eq!(calls() - so_far, 1, "for the current version");
    let after: Vec<_> = site.sidecars().iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_further_run_renews_only_what_came_since() {
    let site = Site::new();
    site.job("job", 2);
    site.rotate("sealpoint");
    site.rewrap(&Options::default());
    site.seal(&["job/chk-3/a", "job/shared/3-a"]);
    let report = site.rewrap(&Options::default());
    assert_eq!((report.renewed, report.current), (0, 10), "it is under the new version from the start");

    site.rotate("sealpoint");
    site.seal(&["job/chk-4/a"]);
    let report = site.rewrap(&Options::default());
    assert_eq!((report.renewed, report.current), (10, 1));
    for version in [1, 2] {
        site.set_enabled("sealpoint", version, false);
    }
    assert_eq!(site.unopened(), Vec::<String>::new());
    let versions: BTreeSet<_> = site.sidecars().iter().flat_map(|path| versions_in(path)).collect();
    assert_eq!(versions, [("sealpoint".to_owned(), "3".to_owned())].into(), "older versions of the key went");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let site = Site::new();
    site.job("job", 2);
    site.rotate("sealpoint");
    let (code, json) = site.run_json(&["rewrap", "--dry-run", "store"]);
    assert_eq!(
        (code, json["dry_run"].as_bool(), json["data_keys"]["renewed"].as_u64()),
        (Some(0), Some(true), Some(9))
    );
    assert!(site.sidecars().is_empty());
    let (_, json) = site.run_json(&["rewrap", "store"]);
    assert_eq!((json["data_keys"]["renewed"].as_u64(), json["sidecars_written"].as_u64()), (Some(9), Some(3)));
}

#[test]
fn data_keys_move_to_another_key_that_then_is_the_only_one() {
    let site = Site::new();
    site.job("job", 2);
    site.configure("kms.fallbacks = 'new'\nkms.fallback.new.local.key = 'other'\n");
    let report = site.rewrap(&Options { target: Target::Client("new".to_owned()), ..Options::default() });
    assert!(report.is_complete(), "{report:?}");
    let slots: BTreeSet<_> = site.sidecars().iter().flat_map(|path| versions_in(path)).collect();
    let expected = [("sealpoint", "1"), ("other", "1")].map(|(key, version)| (key.to_owned(), version.to_owned()));
    assert_eq!(slots, expected.into());

    site.configure("kms.local.key = 'other'\n");
    site.set_enabled("other", 1, true);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn tenants_versions_and_several_places_are_each_served() {
    let tenants = |site: &Site| {
        let path = |name: &str| site.path("store").join(name).display().to_string();
        format!(
            "tenants.a.paths = '{}'\ntenants.a.key = 'other'\ntenants.b.paths = '{}'\n",
            path("tenant-a"),
            path("tenant-b")
        )
    };
    let site = Site::new();
    site.configure(&tenants(&site));
    for _ in 0..3 {
        site.job("tenant-a/job", 1);
        site.job("tenant-b/job", 1);
        site.seal(&["plain-job/chk-1/x"]);
        site.rotate("sealpoint");
    }
    site.rotate("other");
    let store = Site::path(&site, "store");
    let places = ["tenant-a", "tenant-b/job", "plain-job", "tenant-b"].map(|name| store.join(name));
    let places: Vec<&str> = places.iter().map(|place| place.to_str().unwrap()).collect();
    let (code, json) = site.run_json(&[&["rewrap"], &places[..]].concat());
    assert_eq!((code, json["failed"].as_u64()), (Some(0), Some(0)), "{json}");
    assert_eq!(json["versions"].as_array().unwrap().len(), 2, "{json}");
    for (key, version) in [("sealpoint", 1), ("sealpoint", 2), ("sealpoint", 3), ("other", 1)] {
        site.set_enabled(key, version, false);
    }
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn one_file_can_be_rewrapped_by_itself() {
    let site = Site::new();
    site.seal(&["job/chk-1/a"]);
    site.seal(&["job/chk-1/b"]);
    site.rotate("sealpoint");
    let report = site.rewrap_at(&["store/job/chk-1/a"], &Options::default()).unwrap();
    assert_eq!((report.sealed, report.renewed), (1, 1));
    site.set_enabled("sealpoint", 1, false);
    let unopened = site.unopened();
    assert!(unopened.len() == 1 && unopened[0].contains("chk-1/b"), "{unopened:?}");
}

#[test]
fn files_that_say_the_same_in_other_words_need_one_entry() {
    let site = Site::configured("kms.fallbacks = 'second'\nkms.fallback.second.local.key = 'other'\n");
    site.seal(&["savepoint/a"]);
    // The same data key as it was before its fallback had wrapped it.
    let whole = head_of(&site.path("store/savepoint/a"));
    let key = site.engine().keys().unwrap(&whole).unwrap();
    let early = sealpoint::envelope::encode_slots(&whole.slots[..1], key.id(), key.secret()).unwrap();
    let options = sealpoint::envelope::SealOptions {
        algorithm: whole.algorithm,
        chunk_size: whole.bound.chunk_size,
        tenant: "default".into(),
        subject: None,
        context: whole.bound.context.clone(),
        created_at_ms: 1,
    };
    let mut sealer = sealpoint::envelope::Sealer::new(key.secret(), key.id(), &early, &options).unwrap();
    let mut bytes = sealer.head().to_vec();
    let head = bytes.len();
    bytes.resize(head + sealer.layout().end_len, 0);
    sealer.finish(&mut bytes[head..]).unwrap();
    fs::write(site.path("store/savepoint/b"), &bytes).unwrap();

    let report = site.rewrap(&Options::default());
    assert_eq!((report.sealed, report.data_keys, report.renewed), (2, 1, 1), "the early file lacks the fallback");
    assert_eq!(site.rewrap(&Options::default()).renewed, 0);
}

#[test]
fn usage_is_answered_with_two() {
    let site = Site::new();
    site.seal(&["a"]);
    for (arguments, word) in [
        (&["rewrap", "hdfs://namenode/x"][..], "hdfs"),
        (&["rewrap", "s4://bucket/x"], "s4"),
        (&["rewrap"], "URI"),
        (&["rewrap", "--to", "nowhere", "store"], "nowhere"),
        (&["rewrap", "--kms-rate", "0", "store"], "kms-rate"),
    ] {
        let (code, _, err) = site.run(arguments);
        assert!(code == Some(2) && err.contains(word), "{arguments:?}: {code:?} {err}");
    }
    assert_eq!(Kind::InvalidArgument.code().0, 1);
}

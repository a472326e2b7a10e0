//! The report against a store whose every number is known.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::{Fixture, head_of, key_of, metadata};

const TENANTS: [&str; 3] = ["common", "a", "b"];
const VERSIONS: u64 = 7;
const PLAIN: usize = 60;
const FOREIGN: usize = 40;
const MALFORMED: usize = 30;
const UNFINISHED: usize = 21;

/// How many files besides its metadata a checkpoint has: one for each tenant, version and process.
fn files_of(tenant: usize, version: u64, process: u64) -> u64 {
    185 + 10 * version + 7 * tenant as u64 + 3 * process
}

/// What is to be reported of one version of one tenant's key.
#[derive(Debug, Default, Clone, PartialEq)]
struct Expected {
    data_keys: u64,
    files: u64,
    bytes: u64,
    live: u64,
    oldest: u64,
    newest: u64,
    in_heads: u64,
    in_sidecars: u64,
    sole: u64,
}

impl Expected {
    fn add(&mut self, sealed: &[u8], live: bool) {
        let made = head_of(sealed).bound.created_at_ms;
        self.files += 1;
        self.bytes += sealed.len() as u64;
        self.live += u64::from(live);
        self.oldest = if self.oldest == 0 { made } else { self.oldest.min(made) };
        self.newest = self.newest.max(made);
    }

    fn merge(&mut self, other: &Expected) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.live += other.live;
        self.data_keys += other.data_keys;
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
    }

    fn of(row: &Value) -> Expected {
        let number = |name: &str| row[name].as_u64().unwrap();
        Expected {
            data_keys: number("data_keys"),
            files: number("files"),
            bytes: number("bytes"),
            live: number("live_files"),
            oldest: number("oldest_ms"),
            newest: number("newest_ms"),
            in_heads: number("in_heads"),
            in_sidecars: number("in_sidecars"),
            sole: row["sole"]["files"].as_u64().unwrap(),
        }
    }
}

/// Fills the store: two processes under each version of each tenant's key, a checkpoint each, half of whose files its
/// metadata name; and what is none of all this.
fn fill(fixture: &Fixture) -> BTreeMap<(&'static str, u64), Expected> {
    let mut expected: BTreeMap<(&str, u64), Expected> = BTreeMap::new();
    let mut of_a_one: Vec<PathBuf> = Vec::new();
    for version in 1..=VERSIONS {
        if version > 1 {
            TENANTS.iter().for_each(|tenant| fixture.rotate(tenant));
        }
        for process in 0..2 {
            let engine = fixture.engine();
            for (number, tenant) in TENANTS.into_iter().enumerate() {
                let row = expected.entry((tenant, version)).or_default();
                row.data_keys += 1;
                let checkpoint = format!("{tenant}/job/chk-{version}{process}");
                let count = files_of(number, version, process);
                for file in 0..count {
                    let sealed = fixture.seal(&engine, &format!("{checkpoint}/{file}"), b"state");
                    row.add(&sealed, file < count / 2);
                }
                // By every name that Flink may have for them.
                let name = |file: u64| match file % 2 {
                    0 => format!("sealed+file:{}/{file}", fixture.place(&checkpoint)),
                    _ => format!("file://{}/{file}", fixture.place(&checkpoint)),
                };
                let names: Vec<String> = (0..count / 2).map(name).collect();
                let place = format!("{checkpoint}/_metadata");
                row.add(&fixture.seal(&engine, &place, &metadata(&names)), true);
                if (tenant, version) == ("a", 1) {
                    of_a_one.push(fixture.store().join(place));
                }
            }
        }
    }
    // The first version of one tenant is rewrapped.
    fixture.rewrap(&fixture.engine(), &fixture.store().join("a/job"), &of_a_one);
    for row in expected.values_mut() {
        (row.in_heads, row.sole) = (row.files, row.files);
    }
    let renewed = expected[&("a", 1)].clone();
    expected.get_mut(&("a", 1)).unwrap().sole = 0;
    let newest = expected.get_mut(&("a", VERSIONS)).unwrap();
    newest.merge(&renewed);
    newest.in_sidecars = renewed.files;

    let good = fs::read(fixture.store().join("common/job/chk-10/0")).unwrap();
    let junk = fixture.store().join("common/junk");
    fs::create_dir_all(&junk).unwrap();
    let (mut foreign, mut malformed) = (good.clone(), good.clone());
    (foreign[8], malformed[10]) = (9, 1);
    let sorts: [(&str, &[u8], usize); 4] = [
        ("plain", b"not sealed at all, and longer than a magic", PLAIN),
        ("foreign", &foreign, FOREIGN),
        ("malformed", &malformed, MALFORMED),
        ("unfinished", &good[..50], UNFINISHED),
    ];
    for (name, bytes, count) in sorts {
        (0..count).for_each(|number| fs::write(junk.join(format!("{name}-{number}")), bytes).unwrap());
    }
    expected
}

#[test]
fn every_number_is_right_in_a_store_of_ten_thousand_files_under_seven_versions_and_three_tenants() {
    let fixture = Fixture::new(&TENANTS);
    let expected = fill(&fixture);
    let sealed: u64 = TENANTS
        .iter()
        .flat_map(|tenant| (1..=VERSIONS).map(move |version| (tenant, version)))
        .map(|(tenant, version)| expected[&(*tenant, version)].in_heads)
        .sum();
    assert_eq!(sealed as usize + PLAIN + FOREIGN + MALFORMED + UNFINISHED, 10_000);

    let ran = fixture.run(&["report", "--json", &fixture.place("")]).ended(1, &[]);
    let report = ran.json();
    let mut found: BTreeMap<(String, u64), Expected> = BTreeMap::new();
    for row in report["rows"].as_array().unwrap() {
        let (tenant, version) = (row["tenant"].as_str().unwrap(), row["version"].as_str().unwrap().parse().unwrap());
        assert_eq!((row["provider"].as_str().unwrap(), row["key"].as_str().unwrap()), ("local", &*key_of(tenant)));
        let state = if version == VERSIONS { "current" } else { "enabled" };
        assert_eq!(row["state"], state, "{row}");
        assert_eq!(found.insert((tenant.to_owned(), version), Expected::of(row)), None, "each row once");
    }
    let expected: BTreeMap<(String, u64), Expected> =
        expected.into_iter().map(|((tenant, version), row)| ((tenant.to_owned(), version), row)).collect();
    assert_eq!(found, expected);
    let counted = |name: &str| report[name]["count"].as_u64().unwrap() as usize;
    assert_eq!(
        ["not_sealed", "foreign", "unreadable", "unfinished", "unopenable", "unread_checkpoints", "broken_sidecars"]
            .map(counted),
        [PLAIN, FOREIGN, MALFORMED, UNFINISHED, 0, 0, 0]
    );
    assert_eq!(report["checkpoints"], 3 * 2 * VERSIONS);
    let tenants = report["tenants"].as_array().unwrap();
    assert_eq!(tenants.iter().map(|tenant| tenant["files"].as_u64().unwrap()).sum::<u64>(), sealed);

    who_needs_what(&fixture, &expected);
}

fn who_needs_what(fixture: &Fixture, expected: &BTreeMap<(String, u64), Expected>) {
    // Nothing else opens these, and every file is named if that is asked for.
    let name = format!("{}@3", key_of("b"));
    let ran = fixture.run(&["report", "--needs", &name, "--all", &fixture.place("b")]).ended(3, &["is needed by"]);
    let row = &expected[&("b".to_owned(), 3)];
    let named = |of: &str| {
        ran.out
            .lines()
            .filter(|line| line.starts_with("needed by /") || line.starts_with("needed by file://"))
            .filter(|line| line.contains(of))
            .count() as u64
    };
    assert_eq!((named(""), named("a completed checkpoint's")), (row.files, row.live));
    // Otherwise some are, and the others counted.
    let ran = fixture.run(&["report", "--needs", &name, &fixture.place("b")]).ended(3, &["(--all names them)"]);
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("needed by file://")).count(), 100);
    let json = fixture.run(&["report", "--needs", &name, "--json", &fixture.place("b")]).ended(3, &[]).json();
    assert_eq!(json["needed_files"].as_array().unwrap().len(), 100);
    assert_eq!(json["needs"]["files"]["files"], row.files);
    // Those that were rewrapped open by the sidecar, which was seen to.
    let name = format!("{}@1", key_of("a"));
    let ran = fixture.run(&["report", "--needs", &name, &fixture.place("a")]).ended(0, &["nobody needs"]);
    assert!(ran.out.contains("each of their 2 sets of slots"), "{ran:#?}");
    // But not where there are files that nobody could look into.
    fixture.run(&["report", "--needs", &name, &fixture.place("")]).ended(3, &["cannot be said"]);
    // All versions of a key.
    fixture.run(&["report", "--needs", &key_of("a"), &fixture.place("a")]).ended(3, &["is needed by"]);
}

#[test]
fn a_sidecar_that_does_not_open_is_no_reason_to_do_without_a_version() {
    let fixture = Fixture::new(&["common"]);
    let engine = fixture.engine();
    fixture.seal(&engine, "common/f", b"state");
    fixture.rotate("common");
    let (file, folder) = (fixture.store().join("common/f"), fixture.store().join("common"));
    fixture.rewrap(&fixture.engine(), &folder, std::slice::from_ref(&file));
    let name = format!("{}@1", key_of("common"));
    fixture.run(&["report", "--needs", &name, &fixture.place("")]).ended(0, &["nobody needs"]);
    // One byte of what was wrapped anew is changed: it is well-formed still.
    let sidecar = folder.join(".sealpoint-keys");
    let mut bytes = fs::read(&sidecar).unwrap();
    let end = bytes.len() - 40;
    bytes[end] ^= 1;
    fs::write(&sidecar, &bytes).unwrap();
    let ran = fixture.run(&["report", "--needs", &name, &fixture.place("")]);
    ran.ended(3, &["another slot is said to open them, but does not", "is needed by 1 files"]);
    // A sidecar that is no sidecar is passed over, and said to be.
    fs::write(&sidecar, b"nonsense").unwrap();
    let ran = fixture.run(&["report", "--needs", &name, &fixture.place("")]);
    ran.ended(3, &["1 sidecars could not be read", "is needed by 1 files"]);
}

#[test]
fn what_a_damaged_sidecar_does_not_say_makes_no_version_look_needless() {
    let fixture = Fixture::new(&["common"]);
    // Two data keys, which the sidecar has under version 2; version 1, which the files name, is disabled.
    for name in ["f", "g"] {
        fixture.seal(&fixture.engine(), &format!("common/{name}"), b"state");
    }
    let folder = fixture.store().join("common");
    let place = fixture.place("");
    fixture.rotate("common");
    fixture.rewrap(&fixture.engine(), &folder, &[folder.join("f"), folder.join("g")]);
    let name = |version| format!("{}@{version}", key_of("common"));
    let retire = |version| fixture.run(&["retire", "--settle", "0 s", &name(version), &place]);
    retire(1).ended(0, &["is disabled"]);
    fixture.rotate("common");
    let sidecar = folder.join(".sealpoint-keys");
    let good = fs::read(&sidecar).unwrap();
    // The number of slots of the first entry: readers find the other one still.
    let mut one = good.clone();
    one[36] = 9;
    // The whole is cut, and a length in it leads nowhere: readers find none.
    let (cut, mut broken) = (good[..good.len() - 1].to_vec(), good.clone());
    broken[32] = 9;
    for (bytes, needed, words) in [
        (&good, 2, "is needed by 2 files"),
        (&one, 1, "is needed by 1 files"),
        (&cut, 0, "cannot be said"),
        (&broken, 0, "cannot be said"),
    ] {
        fs::write(&sidecar, bytes).unwrap();
        fixture.run(&["report", &place]).ended(i32::from(bytes != &good), &[]);
        fixture.run(&["report", "--needs", &name(2), &place]).ended(3, &[words]);
        let json = fixture.run(&["report", "--needs", &name(2), "--json", &place]).ended(3, &[]).json();
        let counted = |name: &str| json[name]["count"].as_u64().unwrap();
        assert_eq!(json["needs"]["files"]["files"], needed, "{json}");
        assert_eq!((counted("unopenable"), counted("broken_sidecars")), (2 - needed, u64::from(bytes != &good)));
        retire(2).ended(3, &["stays enabled"]);
        assert!(fixture.is_enabled("common", 2));
    }
    // Mended, it can be renewed from, and then the version goes.
    fs::write(&sidecar, &good).unwrap();
    fixture.run(&["rewrap", &place]).ended(0, &["2 renewed"]);
    retire(2).ended(0, &["is disabled"]);
    fixture.run(&["open", "--verify", &fixture.place("common/f")]).ended(0, &["verified"]);
}

#[test]
fn that_a_sidecar_opens_in_one_folder_says_nothing_of_another() {
    let fixture = Fixture::new(&["common"]);
    let engine = fixture.engine();
    for folder in ["a", "b", "c"] {
        fixture.seal(&engine, &format!("common/{folder}/f"), b"state");
    }
    fixture.rotate("common");
    let engine = fixture.engine();
    for folder in ["a", "b", "c"].map(|folder| fixture.store().join("common").join(folder)) {
        fixture.rewrap(&engine, &folder, &[folder.join("f")]);
    }
    let name = format!("{}@1", key_of("common"));
    fixture.run(&["report", "--needs", &name, &fixture.place("")]).ended(0, &["nobody needs"]);
    // All three are under one data key, and their sidecars say the same, though one of them lies.
    for folder in ["a", "b", "c"] {
        let sidecar = fixture.store().join("common").join(folder).join(".sealpoint-keys");
        let good = fs::read(&sidecar).unwrap();
        let mut bad = good.clone();
        let end = bad.len() - 40;
        bad[end] ^= 1;
        fs::write(&sidecar, &bad).unwrap();
        let ran = fixture.run(&["report", "--needs", &name, &fixture.place("")]);
        ran.ended(3, &[&format!("needed by 1 files such as file://{}", fixture.place(&format!("common/{folder}/f")))]);
        fs::write(&sidecar, &good).unwrap();
    }
}

#[test]
fn what_is_asked_wrongly_is_never_answered_by_nobody_needs_it() {
    let fixture = Fixture::new(&["common"]);
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fs::create_dir(fixture.store().join("plain")).unwrap();
    fs::write(fixture.store().join("plain/f"), "not sealed").unwrap();
    fs::create_dir(fixture.store().join("empty")).unwrap();
    let (store, key) = (fixture.place(""), key_of("common"));
    let needs = |name: &str, place: &str| fixture.run(&["report", "--needs", name, place]);
    needs(&format!("{key}@9"), &store).ended(1, &["has no version '9'", "it has 1"]);
    needs("other@1", &store).ended(1, &["no file is under a key 'other'", &key]);
    needs("@1", &store).ended(2, &["KEK@VERSION is expected"]);
    for (place, said) in [
        (fixture.place("nowhere"), "there is no file at or below it"),
        (fixture.place("empty"), "there is no file at or below it"),
        (fixture.place("plain"), "none of its 1 files is sealed"),
    ] {
        needs(&format!("{key}@1"), &place).ended(1, &[&place, said]);
        fixture.run(&["report", &place]).ended(1, &[&place, said]);
        // Nor if another place is right.
        fixture.run(&["report", "--needs", &format!("{key}@1"), &fixture.place("common"), &place]).ended(1, &[said]);
    }
    needs(&key, "s4://bucket").ended(2, &["did you mean s3?"]);
    needs(&key, &fixture.place("common")).ended(3, &[]);
}

#[test]
fn what_nothing_opens_any_more_is_named() {
    let fixture = Fixture::new(&["common", "a"]);
    let engine = fixture.engine();
    fixture.seal(&engine, "common/f", b"state");
    fixture.seal(&engine, "a/f", b"state");
    fixture.rotate("a");
    fixture.run(&["retire", "--force", "--confirm", "key-of-a@1", "key-of-a@1", &fixture.place("a")]).ended(0, &[]);
    let json = fixture.run(&["report", "--json", &fixture.place("")]).ended(0, &[]).json();
    assert_eq!(json["unopenable"]["count"], 1);
    assert!(json["unopenable"]["first"][0].as_str().unwrap().ends_with("/a/f"), "{json}");
    let disabled = json["rows"].as_array().unwrap().iter().find(|row| row["tenant"] == "a").unwrap();
    assert_eq!(disabled["state"], "disabled");
}

#[test]
#[cfg(feature = "vault")]
fn a_key_service_that_is_away_is_named_and_nothing_is_said_in_its_stead() {
    let fixture = Fixture::new(&["common"]);
    fixture.seal(&fixture.engine(), "common/f", b"state");
    fixture.rotate("common");
    // Nobody listens on this port.
    fs::write(fixture.path("token"), "token").unwrap();
    fixture.configure(&format!(
        "kms.fallbacks = 'away'\nkms.timeout = '2 s'\nkms.attempts = 1\nkms.fallback.away.provider = 'vault'\n\
         kms.fallback.away.vault.address = 'http://127.0.0.1:9'\nkms.fallback.away.vault.key-name = 'state'\n\
         kms.fallback.away.vault.token-file = '{}'\n",
        fixture.path("token").display()
    ));
    let said = ["a key service did not say what its versions are: vault 'transit/keys/state'", "is needed by 1 files"];
    let name = format!("{}@1", key_of("common"));
    fixture.run(&["report", "--needs", &name, &fixture.place("")]).ended(3, &said);
    fixture.run(&["report", "--needs", "transit/keys/state@1", &fixture.place("")]).ended(1, &["127.0.0.1:9"]);
}

//! A sidecar that was damaged, forged, swapped or rolled back costs nothing but the next rewrap; several who write one
//! lose nothing of each other's. What takes a site holds wherever its files lie.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use sealpoint::envelope::sidecar;
use sealpoint::lifecycle::rewrap::Options;

use super::fixture::{Site, versions_in};

fn options() -> Options {
    Options::default()
}

fn rewrapped() -> (Site, PathBuf) {
    let site = Site::new();
    let sidecar = rewrap_first(&site);
    (site, sidecar)
}

fn rewrap_first(site: &Site) -> PathBuf {
    site.job("job", 2);
    site.rotate("sealpoint");
    assert!(site.rewrap(&options()).is_complete());
    site.path("store/job/.sealpoint-keys")
}

fn entries(path: &Path) -> usize {
    sidecar::decode(&fs::read(path).unwrap()).unwrap().len()
}

/// The own slots open every file, and the next rewrap puts right what was made wrong.
fn harms_nothing(site: &Site, options: &Options) {
    assert_eq!(site.unopened(), Vec::<String>::new());
    let report = site.rewrap(options);
    assert!(report.is_complete(), "{report:?}");
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
    site.set_enabled("sealpoint", 1, true);
}

#[test]
fn a_truncated_one_is_replaced() {
    truncated(&Site::new());
}

pub fn truncated(site: &Site) {
    let sidecar = rewrap_first(site);
    let good = fs::read(&sidecar).unwrap();
    for length in [0, 7, 15, 16, 40, good.len() / 2, good.len() - 1] {
        fs::write(&sidecar, &good[..length]).unwrap();
        harms_nothing(site, &options());
    }
}

#[test]
fn a_damaged_one_of_which_not_all_can_be_renewed_stays_as_it_is() {
    let (site, sidecar) = rewrapped();
    let good = fs::read(&sidecar).unwrap();
    site.set_enabled("sealpoint", 1, false);
    // The magic, and the number of slots of the first entry.
    for at in [0, 36] {
        let mut bad = good.clone();
        bad[at] = 9;
        fs::write(&sidecar, &bad).unwrap();
        let report = site.rewrap(&options());
        assert!(report.failures.first.iter().any(|failure| failure.error.message().contains("stays as it is")));
        assert_eq!(fs::read(&sidecar).unwrap(), bad);
    }
    site.set_enabled("sealpoint", 1, true);
    harms_nothing(&site, &options());
}

#[test]
fn what_is_left_of_a_damaged_one_is_kept_for_files_that_were_not_looked_at() {
    let (site, sidecar) = rewrapped();
    let good = sidecar::decode(&fs::read(&sidecar).unwrap()).unwrap();
    let mut bad = fs::read(&sidecar).unwrap();
    bad[36] = 9;
    fs::write(&sidecar, &bad).unwrap();
    assert!(site.rewrap_at(&["store/job/chk-2"], &options()).unwrap().is_complete());
    let kept = sidecar::decode(&fs::read(&sidecar).unwrap()).unwrap();
    for entry in &good[1..] {
        assert!(kept.iter().any(|one| one.data_key_id == entry.data_key_id), "{:?}", entry.data_key_id);
    }
    harms_nothing(&site, &options());
}

#[test]
fn a_forged_one_is_replaced_when_all_are_to_be_wrapped_again() {
    let (site, sidecar) = rewrapped();
    let good = fs::read(&sidecar).unwrap();
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        if bad[8] != 1 {
            continue;
        }
        fs::write(&sidecar, &bad).unwrap();
        harms_nothing(&site, &Options { again: true, ..options() });
    }
}

#[test]
fn one_of_another_directory_is_of_no_use_and_does_no_harm() {
    swapped(&Site::new());
}

pub fn swapped(site: &Site) {
    let sidecar = rewrap_first(site);
    site.job("neighbour", 1);
    let report = site.rewrap(&options());
    assert!(report.is_complete());
    fs::copy(site.path("store/job/savepoint-1/.sealpoint-keys"), &sidecar).unwrap();
    harms_nothing(site, &options());
}

#[test]
fn one_that_was_rolled_back_is_renewed_from() {
    rolled_back(&Site::new());
}

pub fn rolled_back(site: &Site) {
    let sidecar = rewrap_first(site);
    let old = fs::read(&sidecar).unwrap();
    site.rotate("sealpoint");
    site.rewrap(&options());
    site.set_enabled("sealpoint", 1, false);
    fs::write(&sidecar, &old).unwrap();
    assert_eq!(site.unopened(), Vec::<String>::new(), "version 2 is there yet");
    assert!(site.rewrap(&options()).is_complete(), "by the old sidecar, since the files' own version is disabled");
    site.set_enabled("sealpoint", 2, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn one_of_a_later_version_is_not_overwritten() {
    let (site, sidecar) = rewrapped();
    let mut later = fs::read(&sidecar).unwrap();
    later[8] = 2;
    fs::write(&sidecar, &later).unwrap();
    site.rotate("sealpoint");
    let (code, out, err) = site.run(&["rewrap", "store"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(err.contains("use a newer release"), "{err}");
    assert_eq!(fs::read(&sidecar).unwrap(), later);
    assert!(versions_in(&site.path("store/job/savepoint-1/.sealpoint-keys")).iter().all(|(_, version)| version == "3"));
}

#[test]
fn entries_go_when_no_file_needs_them_and_everything_was_seen() {
    let (site, sidecar) = rewrapped();
    let all = entries(&sidecar);
    for shared in ["job/shared/1-a", "job/chk-1/a"] {
        fs::remove_file(site.path("store").join(shared)).unwrap();
    }
    assert_eq!(site.rewrap(&options()).dropped, 0, "it may be of a file that is newer than the listing");
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let age = || File::options().append(true).open(&sidecar).unwrap().set_modified(long_ago).unwrap();
    age();
    assert_eq!(site.rewrap_at(&["store/job/chk-2"], &options()).unwrap().dropped, 0, "not all was listed");
    fs::write(site.path("store/job/chk-2/begun"), "SEAL").unwrap();
    assert_eq!(site.rewrap(&options()).dropped, 0, "nobody knows what the new file needs");
    fs::remove_file(site.path("store/job/chk-2/begun")).unwrap();
    assert_eq!(site.rewrap(&Options { dry_run: true, ..options() }).dropped, 1);
    assert_eq!(entries(&sidecar), all);
    assert_eq!(site.rewrap(&options()).dropped, 1);
    assert_eq!(entries(&sidecar), all - 1);
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn two_processes_at_once_lose_nothing_of_each_other_s() {
    let site = Site::new();
    several_at_once(&site);
    let left = fs::read_dir(site.path("store/one"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(".sealpoint-keys."));
    assert_eq!(left.count(), 0, "no lock is left");
}

pub fn several_at_once(site: &Site) {
    for job in ["one", "two", "three"] {
        site.job(job, 2);
    }
    site.rotate("sealpoint");
    site.configure("kms.fallbacks = 'second'\nkms.fallback.second.local.key = 'other'\n");
    let mut running: Vec<_> = ["primary", "second", "primary", "second"]
        .iter()
        .map(|name| {
            let mut command: Command = site.command(&["rewrap", "--to", name, "store"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in running.drain(..) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Each data key is wrapped by both, whichever of them came first.
    let report = site.rewrap(&Options { dry_run: true, ..options() });
    assert_eq!((report.renewed, report.current), (0, 27), "{report:?}");
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
    site.configure("kms.local.key = 'other'\n");
    assert_eq!(site.unopened(), Vec::<String>::new());
}

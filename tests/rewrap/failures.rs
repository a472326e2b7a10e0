//! What can go wrong, and what is then said and done: the rest goes on, the failure is listed, and the exit status is 1.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use sealpoint::lifecycle::rewrap::Options;
use serde_json::Value;

use crate::fixture::{CLI, Site};
use crate::mounts;

#[test]
fn a_version_that_is_disabled_before_is_named_and_the_rest_is_done() {
    let site = Site::new();
    site.seal(&["old/a"]);
    site.rotate("sealpoint");
    site.seal(&["new/b"]);
    site.rotate("sealpoint");
    site.set_enabled("sealpoint", 1, false);
    let (code, json) = site.run_json(&["rewrap", "store"]);
    assert_eq!(code, Some(1));
    assert_eq!((json["data_keys"]["renewed"].as_u64(), json["data_keys"]["failed"].as_u64()), (Some(1), Some(1)));
    let failure = &json["failures"][0];
    assert!(failure["location"].as_str().unwrap().ends_with("/store/old/a"), "{failure}");
    assert!(failure["error"].as_str().unwrap().contains("version 1"), "{failure}");
    assert_eq!(failure["code"], 42);

    site.set_enabled("sealpoint", 1, true);
    let (code, json) = site.run_json(&["rewrap", "store"]);
    assert_eq!(
        (code, json["data_keys"]["renewed"].as_u64(), json["data_keys"]["current"].as_u64()),
        (Some(0), Some(1), Some(1))
    );
}

#[test]
fn a_version_that_is_disabled_half_way_ends_nothing_and_once_it_is_enabled_the_same_command_does_the_rest() {
    let site = Site::new();
    let names: Vec<String> = (1..=9).map(|number| format!("savepoint-{number}/state")).collect();
    names.iter().for_each(|name| site.seal(&[name]));
    site.rotate("sealpoint");
    // Four directories are worked on at once: all but the first of them wait, with their data keys renewed, and so does
    // the fifth, until this test lets go. The others are not begun.
    let hold = |number: u32| {
        let file = File::create(site.path(&format!("store/savepoint-{number}/.sealpoint-keys.lock"))).unwrap();
        file.lock().unwrap();
        file
    };
    let held: Vec<File> = (2..=5).map(hold).collect();
    let command = || {
        let mut command = site.command(&["rewrap", "--json", "store"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut run = command();
    while site.sidecars().is_empty() {
        assert!(run.try_wait().unwrap().is_none(), "it ended before it wrote anything");
        thread::sleep(Duration::from_millis(1));
    }
    site.set_enabled("sealpoint", 1, false);
    drop(held);
    let output = run.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |of: &str| json["data_keys"][of].as_u64().unwrap();
    let (renewed, failed) = (count("renewed"), count("failed"));
    assert!(renewed >= 1 && failed >= 4 && renewed + failed == 9, "{said}");
    for failure in json["failures"].as_array().unwrap() {
        assert!(failure["code"] == 42 && failure["error"].as_str().unwrap().contains("version 1"), "{failure}");
    }

    // What is named is what does not open, and nothing else.
    let written: Vec<PathBuf> = site.sidecars().iter().map(|path| path.parent().unwrap().to_owned()).collect();
    assert_eq!(written.len() as u64, renewed, "{said}");
    let unopened = site.unopened();
    assert_eq!(unopened.len() as u64, failed, "{unopened:?}");
    for name in names {
        let path = site.path("store").join(name);
        let (path, is_written) = (path.to_str().unwrap(), written.contains(&path.parent().unwrap().to_owned()));
        let is_named = said.contains(path);
        let opens = !unopened.iter().any(|line| line.starts_with(path));
        assert!((is_named, opens) == (!is_written, is_written), "{path}: {is_named} {opens} {said}");
    }

    site.set_enabled("sealpoint", 1, true);
    assert_eq!(command().wait_with_output().unwrap().status.code(), Some(0));
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn a_version_that_the_keyring_has_lost_is_named_and_what_is_under_it_left_as_it_is() {
    let site = Site::new();
    let (keyring, backup, whole) = (site.path("keyring"), site.path("backup"), site.path("whole"));
    site.seal(&["old/a"]);
    fs::copy(&keyring, &backup).unwrap();
    site.rotate("sealpoint");
    site.seal(&["new/b"]);
    fs::copy(&keyring, &whole).unwrap();
    let lost = |arguments: &[&str], code: u64, renewed: u64| {
        let (exit, json) = site.run_json(arguments);
        assert_eq!((exit, json["data_keys"]["failed"].as_u64()), (Some(1), Some(1)), "{json}");
        let failure = &json["failures"][0];
        assert!(failure["location"].as_str().unwrap().ends_with("/store/new/b"), "{failure}");
        assert_eq!(
            (failure["code"].as_u64(), json["data_keys"]["renewed"].as_u64()),
            (Some(code), Some(renewed)),
            "{json}"
        );
    };
    // An old backup, in which there is only the first version.
    fs::copy(&backup, &keyring).unwrap();
    lost(&["rewrap", "store"], 41, 0);
    // Then another second version than the one that was lost: by its name it is the current one, and only what is made anew
    // is looked into.
    site.rotate("sealpoint");
    assert_eq!(site.run(&["rewrap", "store"]).0, Some(0));
    lost(&["rewrap", "--again", "store"], 48, 1);
    assert_eq!(site.unopened().len(), 1);
    // The right keyring again. What the other second version has renewed is of no use, and nobody does without the first.
    fs::copy(&whole, &keyring).unwrap();
    assert_eq!(site.unopened(), Vec::<String>::new());
    let retire = || site.run(&["retire", "--settle", "0 s", "sealpoint@1", "store"]);
    let (code, out, err) = retire();
    assert!(code == Some(3) && out.contains("another slot is said to open them, but does not"), "{out}{err}");
    assert_eq!(site.run(&["rewrap", "--again", "store"]).0, Some(0));
    let (code, out, err) = retire();
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(site.unopened(), Vec::<String>::new());
}

#[test]
fn one_bad_file_does_not_stop_the_rest() {
    let site = Site::new();
    site.job("job", 1);
    site.rotate("sealpoint");
    let bad = site.path("store/job/chk-1/bad");
    let mut bytes = fs::read(site.path("store/job/chk-1/a")).unwrap();
    bytes[10] = 1;
    fs::write(&bad, bytes).unwrap();
    fs::write(site.path("store/job/chk-1/plain"), "in clear").unwrap();
    let (code, out, err) = site.run(&["rewrap", "store"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("5 renewed, 0 current, 0 failed"), "{out}");
    for word in ["chk-1/bad", "malformed", "chk-1/plain is not sealed", "1 failures in all"] {
        assert!(err.contains(word), "{word} in\n{err}");
    }
    fs::remove_file(bad).unwrap();
    assert_eq!(site.run(&["rewrap", "store"]).0, Some(0), "a file in clear is no failure of a rewrap");
}

#[test]
fn a_file_with_a_forged_key_is_told_from_the_good_ones_of_its_data_key() {
    let site = Site::new();
    site.seal(&["a/z"]);
    site.rotate("sealpoint");
    // Its slots are damaged, so that their mac is wrong; it is listed first.
    let mut bytes = fs::read(site.path("store/a/z")).unwrap();
    let head = crate::fixture::head_of(&site.path("store/a/z"));
    let at = bytes.windows(8).position(|window| *window == head.slots_section()[..8]).unwrap();
    bytes[at + head.slots_section().len() - 1] ^= 1;
    fs::write(site.path("store/a/forged"), bytes).unwrap();
    let report = site.rewrap(&Options::default());
    assert_eq!((report.renewed, report.failures.count), (1, 1), "{report:?}");
    assert!(report.failures.first[0].location.name() == "forged", "{report:?}");
}

#[test]
fn files_that_are_being_written_are_served_as_far_as_they_are_there() {
    let site = Site::new();
    site.seal(&["job/chk-1/a"]);
    site.rotate("sealpoint");
    let sealed = fs::read(site.path("store/job/chk-1/a")).unwrap();
    for (name, length) in [("open", sealed.len() - 1), ("begun", 30), ("empty", 0)] {
        fs::write(site.path("store/job/chk-1").join(name), &sealed[..length]).unwrap();
    }
    let (code, json) = site.run_json(&["rewrap", "store"]);
    assert_eq!(
        (code, json["files"]["sealed"].as_u64(), json["files"]["unfinished"].as_u64()),
        (Some(0), Some(2), Some(2))
    );
}

#[test]
fn a_place_without_sealed_files_is_said_to_be_one() {
    let site = Site::new();
    fs::create_dir(site.path("plain")).unwrap();
    fs::write(site.path("plain/file"), "in clear").unwrap();
    site.seal(&["good"]);
    for (place, word) in [("plain", "no file at or below it is sealed"), ("nowhere", "there is no file at or below it")]
    {
        let (code, _, err) = site.run(&["rewrap", place, "store"]);
        assert!(code == Some(1) && err.contains(word), "{code:?} {err}");
    }
}

#[test]
fn a_key_service_that_is_away_is_said_and_nothing_is_changed() {
    let site = Site::new();
    site.job("job", 1);
    site.rotate("sealpoint");
    fs::rename(site.path("keyring"), site.path("away")).unwrap();
    let (code, _, err) = site.run(&["rewrap", "store"]);
    assert!(code == Some(1) && err.contains("keyring"), "{code:?} {err}");
    assert!(site.sidecars().is_empty());
}

/// Runs the tool where `store` is a file system of its own, which `mount` makes of it; `None` where that is not allowed.
fn on_mount(site: &Site, mount: &str) -> Option<Output> {
    let script =
        format!("cd {} && {mount} && exec {CLI} rewrap store --config sealpoint.toml", site.path("").display());
    mounts::run(&script)
}

#[test]
fn a_store_that_cannot_be_written_to_is_named_and_nothing_is_lost() {
    for mount in [
        "mount --bind store store && mount -o remount,bind,ro store",
        "cp -r store copy && mount -t tmpfs -o size=64k tmpfs store && cp -r copy/. store && dd if=/dev/zero of=store/filler bs=4k 2>/dev/null; true",
    ] {
        let site = Site::new();
        site.job("job", 1);
        site.rotate("sealpoint");
        let Some(output) = on_mount(&site, mount) else { return };
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("store/job") && err.contains("5 of 5 data keys were not renewed"), "{err}");
        assert!(err.contains("read-only") || err.contains("make room"), "{err}");
        assert_eq!(site.unopened(), Vec::<String>::new());
        assert!(site.sidecars().is_empty());
    }
}

#[test]
fn checkpoints_come_and_go_meanwhile_and_each_directory_can_still_be_removed() {
    let site = Site::new();
    site.job("job", 3);
    site.rotate("sealpoint");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Like Flink: a checkpoint is written, and the one before the last deleted, file by file and then its directory.
        scope.spawn(|| {
            let chk = |number: u32| site.path("store/job").join(format!("chk-{number}"));
            let bytes = fs::read(chk(1).join("a")).unwrap();
            let mut number = 3;
            while !done.load(SeqCst) {
                number += 1;
                fs::create_dir(chk(number)).unwrap();
                for file in 0..20 {
                    fs::write(chk(number).join(file.to_string()), &bytes).unwrap();
                }
                let old = chk(number - 2);
                for entry in fs::read_dir(&old).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
                fs::remove_dir(&old).expect("nothing of ours is in it");
            }
        });
        for _ in 0..10 {
            let (code, out, err) = site.run(&["rewrap", "--again", "store"]);
            if code != Some(0) {
                done.store(true, SeqCst);
            }
            assert_eq!(code, Some(0), "{out}{err}");
        }
        done.store(true, SeqCst);
    });
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

//! What tests/rewrap says of files on disk, said of objects; and of checkpoints that come and go while they are rewrapped.

#![allow(dead_code, unused_imports, reason = "what is said of files only")]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use bytes::Bytes;
use sealpoint::lifecycle::rewrap::Options;

use crate::elsewhere;
use crate::servers::Fixture;

#[path = "../rewrap/fixture.rs"]
pub mod fixture;
#[path = "../rewrap/killed.rs"]
mod killed;
#[path = "../rewrap/sidecars.rs"]
mod sidecars;

use fixture::Site;

pub fn site(fixture: &Fixture) -> Site {
    Site::elsewhere(fixture.elsewhere())
}

pub fn rewrap_killed(fixture: &Fixture) {
    let before = fixture.service.unfinished_uploads();
    killed::everything_opens_after_each_kill(&site(fixture), if fixture.root.scheme() == "s3" { 10 } else { 3 });
    let mut left = fixture.service.unfinished_uploads();
    left.retain(|upload| !before.contains(upload));
    assert_eq!(left, Vec::<String>::new());
}

pub fn several_rewraps_at_once(fixture: &Fixture) {
    sidecars::several_at_once(&site(fixture));
}

pub fn sidecar_truncated(fixture: &Fixture) {
    sidecars::truncated(&site(fixture));
}

pub fn sidecar_swapped(fixture: &Fixture) {
    sidecars::swapped(&site(fixture));
}

pub fn sidecar_rolled_back(fixture: &Fixture) {
    sidecars::rolled_back(&site(fixture));
}

/// Says that it is over, also where that is a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Checkpoints that are deleted between their listing and their reading, or before their sidecar is written, are no failure.
pub fn checkpoints_come_and_go(fixture: &Fixture) {
    let site = site(fixture);
    site.job("job", 3);
    site.rotate("sealpoint");
    site.sync();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (store, job) = (fixture.store(), fixture.root.join("store/job"));
            let file = |number: u32, name: &str| job.join(&format!("chk-{number}/{name}"));
            fixture.runtime.block_on(async {
                let bytes: Bytes = store.read(&file(1, "a"), 0..100_000).await.unwrap();
                let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
                let mut number = 3;
                while !done.load(SeqCst) {
                    number += 1;
                    for name in &names {
                        store.put(&file(number, name), bytes.clone()).await.unwrap();
                    }
                    for name in &names {
                        store.delete(&file(number - 1, name)).await.unwrap();
                    }
                }
            });
        });
        let _over = Over(&done);
        for _ in 0..4 {
            let (code, out, err) = site.run(&["rewrap", "--again", "store"]);
            assert_eq!(code, Some(0), "{out}{err}");
        }
    });
    assert!(site.rewrap(&Options::default()).is_complete());
    let folders = site.sidecars().into_iter().map(|path| path.parent().unwrap().to_owned());
    assert!(folders.into_iter().all(|folder| !folder.file_name().unwrap().to_str().unwrap().starts_with("chk-")));
    site.set_enabled("sealpoint", 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
}

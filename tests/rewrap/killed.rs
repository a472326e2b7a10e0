//! A rewrap that is killed at any moment leaves everything to be opened, and a further one does what is left.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sealpoint::envelope::sidecar;
use sealpoint::lifecycle::rewrap::Options;

use super::fixture::Site;

#[test]
fn everything_opens_after_each_of_fifty_kills_at_random_moments() {
    everything_opens_after_each_kill(&Site::new(), 50);
}

/// Wherever the files lie.
pub fn everything_opens_after_each_kill(site: &Site, kills: u32) {
    for job in ["one", "two", "three", "four"] {
        site.job(job, 1);
    }
    site.rotate("sealpoint");
    // Slow enough to be killed anywhere.
    let arguments = ["rewrap", "--store-rate", "150", "store"];
    site.sync();
    let start = Instant::now();
    assert_eq!(site.run(&[&arguments[..], &["--dry-run"]].concat()).0, Some(0));
    let usual = start.elapsed() * 3 / 2;

    let (mut random, mut unfinished, mut version) = (0x2545_F491_4F6C_DD1D_u64, 0, 2);
    for kill in 0..kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = site.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The first of them long before its end, on any machine.
        sleep(if kill == 0 { Duration::ZERO } else { usual.mul_f64((random % 1_000) as f64 / 1_000.0) });
        child.kill().unwrap();
        unfinished += u32::from(!child.wait().unwrap().success());

        assert_eq!(site.unopened(), Vec::<String>::new(), "after kill {kill}");
        for path in site.sidecars() {
            sidecar::decode(&fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        // Now and then there is more to do, and what only sidecars have is needed.
        if kill % 10 == 9 {
            assert!(site.rewrap(&Options::default()).is_complete());
            site.set_enabled("sealpoint", version - 1, false);
            assert_eq!(site.unopened(), Vec::<String>::new(), "by the sidecars alone");
            site.rotate("sealpoint");
            version += 1;
        }
    }
    assert!(unfinished > 0, "some were killed before their end");
    let report = site.rewrap(&Options::default());
    assert!(report.is_complete(), "{report:?}");
    site.set_enabled("sealpoint", version - 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
    assert_eq!(site.rewrap(&Options { dry_run: true, ..Options::default() }).renewed, 0);
    println!("{kills} kills, {unfinished} before the end of the run; usual time {usual:?}");
}

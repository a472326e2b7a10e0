//! A rewrap that is killed at any moment leaves everything to be opened, and a further one does what is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sealpoint::envelope::sidecar;
use sealpoint::lifecycle::rewrap::Options;

use super::fixture::{Seen, Site};

const JOBS: [&str; 4] = ["one", "two", "three", "four"];
/// Of each job, of its merged files, and of its savepoint.
const SIDECARS: usize = 3 * JOBS.len();

#[test]
fn everything_opens_after_each_of_fifty_kills_at_random_moments() {
    everything_opens_after_each_kill(&Site::new(), 50);
}

/// Wherever the files lie. Only kills count that leave something to do; the moment is told by the sidecars that are there.
pub fn everything_opens_after_each_kill(site: &Site, kills: u32) {
    for job in JOBS {
        site.job(job, 1);
    }
    site.rotate("sealpoint");
    let (seen, mut random, mut version) = (Seen::new(site), Random(0x2545_F491_4F6C_DD1D), 2);
    // How many kills left something to do, and how many of them came after so many sidecars of that run.
    let (mut early, mut runs, mut after) = (0, 0, BTreeMap::<usize, u32>::new());
    // Slow enough to be killed anywhere, also where whoever kills is slow.
    let mut rate = 250;
    let mut left = SIDECARS;
    while early < kills {
        if left < 2 {
            // What only sidecars have is needed, and there is more to do.
            assert!(site.rewrap(&Options::default()).is_complete());
            site.set_enabled("sealpoint", version - 1, false);
            assert_eq!(site.unopened(), Vec::<String>::new(), "by the sidecars alone");
            site.rotate("sealpoint");
            version += 1;
            left = SIDECARS;
        }
        // One in four while it reads, the others once it has written some.
        let some = if early % 4 == 0 { 0 } else { 1 + random.below(left as u64 - 1) as usize };
        let longer = Duration::from_millis(random.below(if some == 0 { 200 } else { 30 }));
        runs += 1;
        let status = killed(site, &seen, rate, some, longer);
        assert!(matches!(status.code(), None | Some(0)), "run {runs} failed by itself: {status}");

        assert_eq!(site.unopened(), Vec::<String>::new(), "after run {runs}");
        let before = left;
        left = left_to_do(site, version);
        if status.code().is_none() && left > 0 {
            early += 1;
            *after.entry(before - left).or_default() += 1;
        } else {
            rate = (rate * 19 / 20).max(40);
        }
        assert!(runs < 3 * kills + 20, "only {early} of {runs} runs were killed before they were through: {after:?}");
    }
    println!("{early} of {runs} runs were killed before they were through, after so many sidecars: {after:?}");
    let half_way = early - after.get(&0).unwrap_or(&0);
    assert!(half_way >= kills / 2, "only {half_way} of {early} kills came half-way: {after:?}");

    let report = site.rewrap(&Options::default());
    assert!(report.is_complete(), "{report:?}");
    site.set_enabled("sealpoint", version - 1, false);
    assert_eq!(site.unopened(), Vec::<String>::new());
    assert_eq!(site.rewrap(&Options { dry_run: true, ..Options::default() }).renewed, 0);
}

/// What became of a run that was killed this much later than it had written so many sidecars.
fn killed(site: &Site, seen: &Seen, rate: u32, some: usize, longer: Duration) -> ExitStatus {
    let mut command = site.command(&["rewrap", "--store-rate", &rate.to_string(), "store"]);
    let before = seen.sidecars();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let written = || seen.sidecars().iter().filter(|(place, at)| before.get(*place) != Some(*at)).count();
    while some > 0 && written() < some && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    sleep(longer);
    child.kill().unwrap();
    child.wait().unwrap()
}

/// How many sidecars do not hold the version yet; each that is there is whole.
fn left_to_do(site: &Site, version: u32) -> usize {
    let current = version.to_string();
    let done = |path: &PathBuf| {
        let entries = sidecar::decode(&fs::read(path).unwrap());
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.iter().flat_map(|entry| &entry.slots).all(|slot| slot.version == current)
    };
    SIDECARS - site.sidecars().iter().filter(|path| done(path)).count()
}

/// Xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

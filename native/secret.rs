//! Secret bytes: in locked memory where the limit allows, wiped when dropped.
//!
//! Locked pages are never swapped out and never in a core dump. They are cut into slots of [`MAX_LEN`] bytes, because
//! the limit (`ulimit -l`) counts pages and is small in many containers. Where it is reached, ordinary memory is taken
//! instead, with one warning. A forked child gets its own copy, which is not locked; `exec` drops it.

#![allow(unsafe_code)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use zeroize::Zeroize;

use crate::error::{Kind, Result};

/// The most bytes that one [`Secret`] holds.
pub const MAX_LEN: usize = 64;

/// Up to [`MAX_LEN`] secret bytes, wiped on drop, never printed, never copied.
pub struct Secret {
    place: Place,
    len: usize,
}

enum Place {
    Locked(Slot),
    Ordinary(Box<[u8; MAX_LEN]>),
}

impl Secret {
    /// Fresh bytes from the library's random generator.
    pub fn random(len: usize) -> Result<Secret> {
        let mut secret = Secret::zeros(len)?;
        aws_lc_rs::rand::fill(secret.expose_mut()).map_err(|_| Kind::Internal.error("the random generator failed"))?;
        Ok(secret)
    }

    /// Takes the bytes over and wipes the source; more than [`MAX_LEN`] is an error.
    pub fn take(source: &mut [u8]) -> Result<Secret> {
        let secret = Secret::zeros(source.len()).map(|mut secret| {
            secret.expose_mut().copy_from_slice(source);
            secret
        });
        source.zeroize();
        secret
    }

    /// Another secret of the same bytes, for another owner: of those who share one call to a key service each gets its own.
    pub fn copy(&self) -> Result<Secret> {
        let mut copy = Secret::zeros(self.len)?;
        copy.expose_mut().copy_from_slice(self.expose());
        Ok(copy)
    }

    /// The bytes. Borrow them for as short as possible.
    pub fn expose(&self) -> &[u8] {
        match &self.place {
            Place::Locked(slot) => &slot.bytes()[..self.len],
            Place::Ordinary(bytes) => &bytes[..self.len],
        }
    }

    /// True if the bytes are in locked memory.
    pub fn is_locked(&self) -> bool {
        matches!(self.place, Place::Locked(_))
    }

    fn zeros(len: usize) -> Result<Secret> {
        if len > MAX_LEN {
            return Err(Kind::InvalidArgument.error(format_args!("a secret holds at most {MAX_LEN} bytes")));
        }
        let place = match slab().take() {
            Some(slot) => Place::Locked(slot),
            None => {
                warn_once();
                Place::Ordinary(Box::new([0; MAX_LEN]))
            }
        };
        Ok(Secret { place, len })
    }

    fn expose_mut(&mut self) -> &mut [u8] {
        match &mut self.place {
            Place::Locked(slot) => &mut slot.bytes_mut()[..self.len],
            Place::Ordinary(bytes) => &mut bytes[..self.len],
        }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        match &mut self.place {
            Place::Locked(slot) => slab().give(slot),
            Place::Ordinary(bytes) => bytes.zeroize(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A slot of a locked page, which stays mapped for as long as the process lives.
struct Slot(NonNull<[u8; MAX_LEN]>);

// SAFETY: a slot is the only way to its bytes, like a Box of them; pages are not tied to a thread.
unsafe impl Send for Slot {}
// SAFETY: through `&Slot` the bytes can only be read.
unsafe impl Sync for Slot {}

impl Slot {
    fn bytes(&self) -> &[u8; MAX_LEN] {
        // SAFETY: the slab gave this slot to one owner, its page is mapped readable, initialised (zeroed by mmap, wiped
        // by `give`) and never unmapped; writing takes `&mut self`.
        unsafe { self.0.as_ref() }
    }

    fn bytes_mut(&mut self) -> &mut [u8; MAX_LEN] {
        // SAFETY: as in `bytes`, and `&mut self` is the only reference to the only owner.
        unsafe { self.0.as_mut() }
    }
}

/// The slots of all locked pages that no one holds.
struct Slab {
    free: Vec<NonNull<[u8; MAX_LEN]>>,
    /// The limit was reached: no more pages are asked for.
    exhausted: bool,
}

// SAFETY: the pointers are to pages that are tied to no thread, and only the slab holds these.
unsafe impl Send for Slab {}

impl Slab {
    const fn new() -> Slab {
        Slab { free: Vec::new(), exhausted: false }
    }

    /// A zeroed slot, or `None` where no more memory may be locked.
    fn take(&mut self) -> Option<Slot> {
        if self.free.is_empty() && !self.exhausted {
            match lock_page() {
                Some((page, slots)) => self.free.extend((0..slots).map(|index| {
                    // SAFETY: the page has room for `slots` of them.
                    unsafe { page.add(index) }
                })),
                None => self.exhausted = true,
            }
        }
        self.free.pop().map(Slot)
    }

    /// Takes a slot back, wiped. The caller does not touch it again.
    fn give(&mut self, slot: &mut Slot) {
        slot.bytes_mut().zeroize();
        self.free.push(slot.0);
    }
}

fn slab() -> MutexGuard<'static, Slab> {
    static SLAB: Mutex<Slab> = Mutex::new(Slab::new());
    // Nothing in here panics between two states that belong together.
    SLAB.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fresh zeroed page, locked and kept out of core dumps, and how many slots it has.
fn lock_page() -> Option<(NonNull<[u8; MAX_LEN]>, usize)> {
    // SAFETY: sysconf reads a constant.
    let size = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|size| *size >= MAX_LEN)?;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    if cfg!(miri) {
        return Some((NonNull::new(page.cast())?, size / MAX_LEN)); // it maps pages, but knows nothing of locks
    }
    // SAFETY: the page was mapped just now, with this size.
    if unsafe { libc::mlock(page, size) } != 0 {
        // SAFETY: as above, and nothing points into it.
        unsafe { libc::munmap(page, size) };
        return None;
    }
    // A kernel without it has no core dumps of ours to worry about; locked memory is worth having anyway.
    // SAFETY: as above; the advice changes no contents.
    unsafe { libc::madvise(page, size, libc::MADV_DONTDUMP) };
    Some((NonNull::new(page.cast())?, size / MAX_LEN))
}

fn warn_once() {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        log::warn!(
            "keys are in memory that may be swapped out, because no more may be locked: raise the limit \
             (`ulimit -l unlimited`, LimitMEMLOCK=infinity in systemd, --ulimit memlock=-1 in Docker), or give CAP_IPC_LOCK"
        );
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn bytes_are_taken_over_and_the_source_is_wiped() {
        let mut source = [7; 32];
        let secret = Secret::take(&mut source).unwrap();
        assert_eq!((secret.expose(), source), (&[7; 32][..], [0; 32]));
        let mut long = [7; MAX_LEN + 1];
        assert_eq!(Secret::take(&mut long).unwrap_err().kind(), Kind::InvalidArgument);
        assert_eq!(long, [0; MAX_LEN + 1]);
        assert!(Secret::take(&mut [7; MAX_LEN]).is_ok() && Secret::take(&mut []).unwrap().expose().is_empty());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_slot_is_wiped_before_the_next_one_gets_it() {
        let mut slab = Slab::new();
        let Some(mut slot) = slab.take() else { return }; // no memory may be locked here
        slot.bytes_mut().fill(7);
        let place = slot.0;
        slab.give(&mut slot);
        let again = slab.take().unwrap();
        assert_eq!((again.0, again.bytes()), (place, &[0; MAX_LEN]));
    }

    #[test]
    fn secrets_of_many_threads_keep_apart() {
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..if cfg!(miri) { 12 } else { 200u8 } {
                        let fill = [thread, round];
                        held.push((fill, Secret::take(&mut fill.repeat(16)).unwrap()));
                        if round % 3 == 0 {
                            held.swap_remove(usize::from(round) % held.len());
                        }
                        assert!(held.iter().all(|(fill, secret)| secret.expose() == fill.repeat(16)));
                    }
                });
            }
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn locked_memory_is_what_the_kernel_says_it_is() {
        let secret = Secret::random(32).unwrap();
        if !secret.is_locked() {
            return; // the other test sees to that
        }
        let address = secret.expose().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            if let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-'))
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&address);
            }
            if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                assert!([" lo", " dd"].iter().all(|flag| flags.contains(flag)), "{flags}");
                return;
            }
        }
        panic!("no mapping holds the secret");
    }

    /// Runs itself again as a process that may lock nothing.
    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn where_nothing_may_be_locked_ordinary_memory_is_taken_with_one_warning() {
        const NAME: &str = "secret::tests::where_nothing_may_be_locked_ordinary_memory_is_taken_with_one_warning";
        const CHILD: &str = "MEMLOCK_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            return without_the_right_to_lock();
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{errors}");
        assert_eq!(errors.matches("ulimit -l").count(), 1, "{errors}");
    }

    fn without_the_right_to_lock() {
        struct ToStderr;
        impl log::Log for ToStderr {
            fn enabled(&self, _: &log::Metadata) -> bool {
                true
            }
            fn log(&self, record: &log::Record) {
                eprintln!("{}", record.args());
            }
            fn flush(&self) {}
        }
        log::set_logger(&ToStderr).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: this process does nothing else; root has to become nobody, whom the limit holds for.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none), 0);
            if libc::geteuid() == 0 {
                assert_eq!(libc::setresuid(65_534, 65_534, 65_534), 0);
            }
        }
        let secrets: Vec<Secret> = (0..10).map(|_| Secret::random(32).unwrap()).collect();
        assert!(secrets.iter().all(|secret| !secret.is_locked() && secret.expose() != [0; 32]));
    }
}

//! The C ABI. `include/sealpoint.h` is generated from this file; its comments are that header's documentation.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::slice;
use std::sync::Arc;

use super::handle::{Handle, internal};
use crate::config::{EncryptionConfig, Settings};
use crate::engine::{EncryptionEngine, Opening};
use crate::envelope::Head;
use crate::envelope::sidecar::Place;
use crate::error::{Kind, Result};
use crate::lifecycle::rewrap::{Options, rewrap_uri};
use crate::stream::{OpenStream, ReadAt, SealStream, read_head, read_sidecar};

/// The version of this interface. A program compares `sealpoint_abi_version()` with the value it was compiled against:
/// the same number means that every function of the header exists and keeps its contract.
pub const SEALPOINT_ABI_VERSION: u32 = 1;

/// Success.
pub const SEALPOINT_OK: u32 = 0;

/// An engine: the configuration, the key service, the data keys and one thread. Any number of threads may use it.
pub struct SealpointEngine(());

/// One file being sealed. Threads that share a sealer wait for each other.
pub struct SealpointSealer(());

/// One sealed file being opened. Threads that share an opener wait for each other.
pub struct SealpointOpener(());

/// Reads up to `length` bytes at `offset` of a sealed file into `buffer`. Returns how many were read, 0 only at the end
/// of the file, a negative number if reading failed.
pub type SealpointReadAt =
    Option<unsafe extern "C" fn(context: *mut c_void, offset: u64, buffer: *mut u8, length: usize) -> i64>;

/// Reads up to `length` bytes at `offset` of the file `.sealpoint-keys` in the sealed file's directory (`up` is 0) or in
/// that directory's parent (`up` is 1) into `buffer`. Returns how many were read, 0 at the end of the file or where there is
/// no such file, a negative number if reading failed.
pub type SealpointReadKeysAt =
    Option<unsafe extern "C" fn(context: *mut c_void, up: u32, offset: u64, buffer: *mut u8, length: usize) -> i64>;

/// The version of this interface, see `SEALPOINT_ABI_VERSION`.
#[unsafe(no_mangle)]
pub extern "C" fn sealpoint_abi_version() -> u32 {
    SEALPOINT_ABI_VERSION
}

/// The version of the library as text; it lives as long as the library.
#[unsafe(no_mangle)]
pub extern "C" fn sealpoint_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What went wrong in the last call that failed on this thread: what happened, to which file or key, and what to do.
/// The text is valid until the next failing call on this thread; empty if none failed.
#[unsafe(no_mangle)]
pub extern "C" fn sealpoint_last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|message| message.as_ptr())
}

/// Opens an engine from a configuration file in TOML, overridden by `SEALPOINT_*` of the environment. On success
/// `*engine` must go to `sealpoint_engine_free`.
///
/// # Safety
/// `path` is a NUL-terminated string; `engine` points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_engine_open_file(path: *const c_char, engine: *mut *mut SealpointEngine) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        let path = unsafe { text(path, "path")? };
        let config = EncryptionConfig::load(Path::new(path))?;
        // SAFETY: the caller's contract.
        unsafe { open_engine(config, engine) }
    })
}

/// Opens an engine from the text of a configuration in TOML, overridden by `SEALPOINT_*` of the environment. On success
/// `*engine` must go to `sealpoint_engine_free`.
///
/// # Safety
/// `toml` is a NUL-terminated string; `engine` points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_engine_open_text(toml: *const c_char, engine: *mut *mut SealpointEngine) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        let settings = Settings::from_toml(unsafe { text(toml, "toml")? })?;
        let config = settings.with_environment(std::env::vars_os())?.resolve()?;
        // SAFETY: the caller's contract.
        unsafe { open_engine(config, engine) }
    })
}

/// From now on this process looks after the key-encryption keys, which one process of all that use them should: it
/// rotates them by their age (`key-rotation.*` of the configuration), and refuses to seal under one that is too old and
/// that it may not rotate. May be called any number of times.
///
/// # Safety
/// `engine` came from `sealpoint_engine_open_*` and is not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_engine_coordinate(engine: *const SealpointEngine) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        unsafe { engine_of(engine)? }.coordinate();
        Ok(())
    })
}

/// Wraps the data keys of sealed files anew, under the current versions of the configured keys, into the key files beside
/// them: see `sealpoint rewrap` in docs/OPERATIONS.md. `uri` is a path or URI of a checkpoint, a savepoint, a directory above
/// them, or one file; `to` is `primary` or the name of a fallback, null for all of them. With `dry_run` other than 0 nothing
/// is written. `kms_rate` and `store_rate` are the most requests a second, 0 for as many as there are. `*report` gets
/// `*report_length` bytes of JSON, to be given to `sealpoint_buffer_free`; `*failed` gets how many failures it lists: what
/// fails keeps nothing else from being done, and is not an error of this function. Waits for the store and the key service.
///
/// # Safety
/// `uri` is a NUL-terminated string, `to` one or null, the outputs point to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_rewrap(
    engine: *const SealpointEngine,
    uri: *const c_char,
    to: *const c_char,
    dry_run: u32,
    kms_rate: u32,
    store_rate: u32,
    failed: *mut u64,
    report: *mut *mut u8,
    report_length: *mut usize,
) -> u32 {
    fence(|| {
        expect_output(failed)?;
        expect_output(report)?;
        expect_output(report_length)?;
        // SAFETY: the caller's contract.
        let (engine, uri, to) = unsafe { (engine_of(engine)?, text(uri, "uri")?, optional_text(to)?) };
        let options = Options { dry_run: dry_run != 0, ..Options::to(to).at_rates(kms_rate, store_rate) };
        let done = rewrap_uri(&engine, uri, &options)?;
        // SAFETY: the caller's contract.
        unsafe {
            give(failed, done.failures.count)?;
            give_buffer(done.json().to_string().into_bytes(), report, report_length)
        }
    })
}

/// Frees an engine; null is allowed. Sealers and openers made from it stay usable.
///
/// # Safety
/// `engine` came from `sealpoint_engine_open_*` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_engine_free(engine: *mut SealpointEngine) {
    // SAFETY: the caller's contract; the public type only names the handle.
    fence_void(|| unsafe { Handle::free(engine.cast::<Handle<Arc<EncryptionEngine>>>()) });
}

/// Seals a whole buffer: `*sealed` gets a sealed file of `*sealed_length` bytes, to be given to
/// `sealpoint_buffer_free`. `path` chooses the tenant by the longest configured prefix; "" is the default tenant.
///
/// # Safety
/// `path` is a NUL-terminated string, `plaintext` points to `length` bytes (null if 0), the outputs to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_encrypt(
    engine: *const SealpointEngine,
    path: *const c_char,
    plaintext: *const u8,
    length: usize,
    sealed: *mut *mut u8,
    sealed_length: *mut usize,
) -> u32 {
    fence(|| {
        expect_output(sealed)?;
        expect_output(sealed_length)?;
        // SAFETY: the caller's contract.
        let (engine, path, input) = unsafe { (engine_of(engine)?, text(path, "path")?, bytes(plaintext, length)?) };
        // SAFETY: the caller's contract.
        unsafe { give_buffer(engine.encrypt(path, input)?, sealed, sealed_length) }
    })
}

/// Opens a whole sealed buffer: `*plaintext` gets `*plaintext_length` bytes, to be given to `sealpoint_buffer_free`.
/// Nothing is given unless all of it verified.
///
/// # Safety
/// `path` is a NUL-terminated string, `sealed` points to `length` bytes, the outputs to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_decrypt(
    engine: *const SealpointEngine,
    path: *const c_char,
    sealed: *const u8,
    length: usize,
    plaintext: *mut *mut u8,
    plaintext_length: *mut usize,
) -> u32 {
    fence(|| {
        expect_output(plaintext)?;
        expect_output(plaintext_length)?;
        // SAFETY: the caller's contract.
        let (engine, path, input) = unsafe { (engine_of(engine)?, text(path, "path")?, bytes(sealed, length)?) };
        // SAFETY: the caller's contract.
        unsafe { give_buffer(engine.decrypt(path, input)?, plaintext, plaintext_length) }
    })
}

/// Wipes and frees a buffer that this library gave; null is allowed.
///
/// # Safety
/// `buffer` and `length` came together from one call of this library, and are not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_buffer_free(buffer: *mut u8, length: usize) {
    fence_void(|| {
        if !buffer.is_null() {
            // SAFETY: `give_buffer` made it from a boxed slice of this length.
            let mut boxed = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(buffer, length)) };
            zeroize::Zeroize::zeroize(&mut *boxed);
        }
    });
}

/// Begins to seal a file. `path` chooses the tenant; `subject` is the file's own name if it is to be bound to it (it can
/// then only be opened under that name), or null. On success `*sealer` must go to `sealpoint_sealer_free`.
///
/// # Safety
/// `path` is a NUL-terminated string, `subject` too or null; `sealer` points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_open(
    engine: *const SealpointEngine,
    path: *const c_char,
    subject: *const c_char,
    sealer: *mut *mut SealpointSealer,
) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        let (engine, path, subject) = unsafe { (engine_of(engine)?, text(path, "path")?, optional_text(subject)?) };
        expect_output(sealer)?;
        let stream = SealStream::new(engine.sealer(path, subject)?);
        // SAFETY: the caller's contract.
        unsafe { give(sealer, Handle::into_raw(stream).cast()) }
    })
}

/// The most bytes that one call of update, sync or finish writes after `length` more bytes of plaintext.
///
/// # Safety
/// `sealer` is open; `bound` points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_bound(
    sealer: *const SealpointSealer,
    length: usize,
    bound: *mut usize,
) -> u32 {
    fence(|| {
        expect_output(bound)?;
        // SAFETY: the caller's contract.
        let most = unsafe { sealer_of(sealer)? }.with(|stream| Ok(stream.bound(length)))?;
        // SAFETY: the caller's contract.
        unsafe { give(bound, most) }
    })
}

/// Takes `length` bytes of plaintext and writes the sealed bytes that they complete to `out`, which has room for
/// `capacity` bytes: at least `sealpoint_sealer_bound` of `length`. Less than a chunk is held back.
///
/// # Safety
/// `plaintext` points to `length` bytes (null if 0), `out` to `capacity` bytes, `written` to room; they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_update(
    sealer: *const SealpointSealer,
    plaintext: *const u8,
    length: usize,
    out: *mut u8,
    capacity: usize,
    written: *mut usize,
) -> u32 {
    // SAFETY: the caller's contract.
    fence(|| unsafe {
        let input = bytes(plaintext, length)?;
        push(sealer, length, out, capacity, written, |stream, sealed| stream.update(input, sealed))
    })
}

/// Writes what was held back as a short chunk, so that a reader gets all that was given so far. Costs some bytes in the
/// file: meant for durability points, not for every write.
///
/// # Safety
/// As `sealpoint_sealer_update`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_sync(
    sealer: *const SealpointSealer,
    out: *mut u8,
    capacity: usize,
    written: *mut usize,
) -> u32 {
    // SAFETY: the caller's contract.
    fence(|| unsafe { push(sealer, 0, out, capacity, written, SealStream::sync) })
}

/// Writes what was held back and the end of the file. A file without its end reads as truncated.
///
/// # Safety
/// As `sealpoint_sealer_update`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_finish(
    sealer: *const SealpointSealer,
    out: *mut u8,
    capacity: usize,
    written: *mut usize,
) -> u32 {
    // SAFETY: the caller's contract.
    fence(|| unsafe { push(sealer, 0, out, capacity, written, SealStream::finish) })
}

/// Frees a sealer, finished or not; null is allowed.
///
/// # Safety
/// `sealer` came from `sealpoint_sealer_open` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_sealer_free(sealer: *mut SealpointSealer) {
    // SAFETY: the caller's contract; the public type only names the handle.
    fence_void(|| unsafe { Handle::free(sealer.cast::<Handle<SealStream>>()) });
}

/// Opens a sealed file that `read_at` reads. `path` chooses the tenant; `subject` is the name that the file must be
/// bound to, or null to accept a file bound to any or none. On success `*opener` must go to `sealpoint_opener_free`.
///
/// # Safety
/// `read_at` may be called with `context` by any thread that uses the opener, one at a time, until it is freed;
/// `path` is a NUL-terminated string, `subject` too or null; `opener` points to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_open(
    engine: *const SealpointEngine,
    path: *const c_char,
    subject: *const c_char,
    read_at: SealpointReadAt,
    context: *mut c_void,
    opener: *mut *mut SealpointOpener,
) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        unsafe { open_file(engine, path, subject, read_at, context, opener, EncryptionEngine::opener) }
    })
}

/// As `sealpoint_opener_open`; where the key service no longer gives the data key for the file's own slots, it is looked
/// for in the key files that `sealpoint rewrap` wrote beside the file, which `read_keys_at` reads.
///
/// # Safety
/// As `sealpoint_opener_open`; `read_keys_at` is called with the same `context`, during this call only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_open_beside(
    engine: *const SealpointEngine,
    path: *const c_char,
    subject: *const c_char,
    read_at: SealpointReadAt,
    read_keys_at: SealpointReadKeysAt,
    context: *mut c_void,
    opener: *mut *mut SealpointOpener,
) -> u32 {
    fence(|| {
        let read_keys_at = given(read_keys_at, "read_keys_at")?;
        let open = |engine: &EncryptionEngine, head: &Head, path: &str, subject: Option<&str>| {
            let mut sidecars = |place| read_sidecar(&mut KeysSource { read_keys_at, context, place });
            engine.opener_beside(head, path, subject, &mut sidecars)
        };
        // SAFETY: the caller's contract.
        unsafe { open_file(engine, path, subject, read_at, context, opener, open) }
    })
}

/// Reads up to `capacity` bytes of verified plaintext into `buffer`; `*read` is 0 only at the verified end.
///
/// # Safety
/// `opener` is open, `buffer` has room for `capacity` bytes, `read` points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_read(
    opener: *const SealpointOpener,
    buffer: *mut u8,
    capacity: usize,
    read: *mut usize,
) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        let (opener, out) = unsafe { (opener_of(opener)?, bytes_mut(buffer, capacity)?) };
        expect_output(read)?;
        let count = opener.with(|stream| stream.read(out))?;
        // SAFETY: the caller's contract.
        unsafe { give(read, count) }
    })
}

/// Goes on at `offset` of the plaintext; nothing is read until the next read.
///
/// # Safety
/// `opener` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_seek(opener: *const SealpointOpener, offset: u64) -> u32 {
    fence(|| {
        // SAFETY: the caller's contract.
        unsafe { opener_of(opener)? }.with(|stream| {
            stream.seek(offset);
            Ok(())
        })
    })
}

/// The plaintext length by the file's verified end, given the sealed file's own length in bytes.
///
/// # Safety
/// `opener` is open; `length` points to room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_length(
    opener: *const SealpointOpener,
    file_length: u64,
    length: *mut u64,
) -> u32 {
    fence(|| {
        expect_output(length)?;
        // SAFETY: the caller's contract.
        let plaintext = unsafe { opener_of(opener)? }.with(|stream| stream.length(file_length))?;
        // SAFETY: the caller's contract.
        unsafe { give(length, plaintext) }
    })
}

/// Frees an opener; null is allowed.
///
/// # Safety
/// `opener` came from `sealpoint_opener_open` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sealpoint_opener_free(opener: *mut SealpointOpener) {
    // SAFETY: the caller's contract; the public type only names the handle.
    fence_void(|| unsafe { Handle::free(opener.cast::<Handle<OpenStream<Source>>>()) });
}

/// A sealed file behind a C callback.
struct Source {
    read_at: unsafe extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i64,
    context: *mut c_void,
}

// SAFETY: the contract of `sealpoint_opener_open` lets any thread call back with this context, one at a time.
unsafe impl Send for Source {}

impl ReadAt for Source {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the caller gave a function that writes at most `length` bytes to `buffer`.
        count(unsafe { (self.read_at)(self.context, offset, buf.as_mut_ptr(), buf.len()) }, buf)
    }
}

/// A sidecar behind a C callback.
struct KeysSource {
    read_keys_at: unsafe extern "C" fn(*mut c_void, u32, u64, *mut u8, usize) -> i64,
    context: *mut c_void,
    place: Place,
}

impl ReadAt for KeysSource {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let up = match self.place {
            Place::Directory => 0,
            Place::Parent => 1,
        };
        // SAFETY: as for `Source`.
        count(unsafe { (self.read_keys_at)(self.context, up, offset, buf.as_mut_ptr(), buf.len()) }, buf)
    }
}

/// What a callback that read into `buf` returned.
fn count(read: i64, buf: &[u8]) -> io::Result<usize> {
    usize::try_from(read)
        .ok()
        .filter(|read| *read <= buf.len())
        .ok_or_else(|| io::Error::other(format!("the read callback returned {read}")))
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

fn fence(body: impl FnOnce() -> Result<()>) -> u32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return SEALPOINT_OK,
        Ok(Err(error)) => error,
        Err(_) => internal(),
    };
    let message = error.message().replace('\0', " ");
    LAST_ERROR.set(CString::new(message).unwrap_or_default());
    error.code().0
}

fn fence_void(body: impl FnOnce()) {
    fence(|| {
        body();
        Ok(())
    });
}

unsafe fn engine_of(engine: *const SealpointEngine) -> Result<Arc<EncryptionEngine>> {
    // SAFETY: the caller's contract; the public type only names the handle.
    unsafe { Handle::<Arc<EncryptionEngine>>::borrow(engine.cast()) }?.with(|engine| Ok(Arc::clone(engine)))
}

unsafe fn sealer_of<'a>(sealer: *const SealpointSealer) -> Result<&'a Handle<SealStream>> {
    // SAFETY: the caller's contract; the public type only names the handle.
    unsafe { Handle::borrow(sealer.cast()) }
}

unsafe fn opener_of<'a>(opener: *const SealpointOpener) -> Result<&'a Handle<OpenStream<Source>>> {
    // SAFETY: the caller's contract; the public type only names the handle.
    unsafe { Handle::borrow(opener.cast()) }
}

unsafe fn open_engine(config: EncryptionConfig, engine: *mut *mut SealpointEngine) -> Result<()> {
    expect_output(engine)?;
    let opened = EncryptionEngine::open(config)?;
    // SAFETY: the caller's contract.
    unsafe { give(engine, Handle::into_raw(opened).cast()) }
}

unsafe fn open_file(
    engine: *const SealpointEngine,
    path: *const c_char,
    subject: *const c_char,
    read_at: SealpointReadAt,
    context: *mut c_void,
    opener: *mut *mut SealpointOpener,
    open: impl FnOnce(&EncryptionEngine, &Head, &str, Option<&str>) -> Result<Opening>,
) -> Result<()> {
    // SAFETY: the caller's contract.
    let (engine, path, subject) = unsafe { (engine_of(engine)?, text(path, "path")?, optional_text(subject)?) };
    expect_output(opener)?;
    let mut source = Source { read_at: given(read_at, "read_at")?, context };
    let (_, head) = read_head(&mut source)?;
    let stream = OpenStream::new(source, open(&engine, &head, path, subject)?);
    // SAFETY: the caller's contract.
    unsafe { give(opener, Handle::into_raw(stream).cast()) }
}

unsafe fn push(
    sealer: *const SealpointSealer,
    length: usize,
    out: *mut u8,
    capacity: usize,
    written: *mut usize,
    step: impl FnOnce(&mut SealStream, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    // SAFETY: the caller's contract.
    let (sealer, out) = unsafe { (sealer_of(sealer)?, bytes_mut(out, capacity)?) };
    expect_output(written)?;
    let sealed = sealer.with(|stream| {
        let bound = stream.bound(length);
        if capacity < bound {
            return Err(Kind::InvalidArgument
                .error(format_args!("the output has room for {capacity} bytes, {bound} may be needed")));
        }
        let mut sealed = Vec::with_capacity(bound);
        step(stream, &mut sealed)?;
        Ok(sealed)
    })?;
    out[..sealed.len()].copy_from_slice(&sealed);
    // SAFETY: the caller's contract.
    unsafe { give(written, sealed.len()) }
}

/// A callback that must not be null.
fn given<F>(callback: Option<F>, name: &str) -> Result<F> {
    callback.ok_or_else(|| Kind::InvalidArgument.error(format_args!("{name} is null")))
}

/// Refuses a null output before anything is made or moved that it would lose.
fn expect_output<T>(out: *mut T) -> Result<()> {
    if out.is_null() { Err(Kind::InvalidArgument.error("an output pointer is null")) } else { Ok(()) }
}

/// Writes an output parameter.
unsafe fn give<T>(out: *mut T, value: T) -> Result<()> {
    expect_output(out)?;
    // SAFETY: the caller gives room for one value.
    unsafe { out.write(value) };
    Ok(())
}

unsafe fn give_buffer(bytes: Vec<u8>, out: *mut *mut u8, length: *mut usize) -> Result<()> {
    expect_output(out)?;
    expect_output(length)?;
    let boxed = bytes.into_boxed_slice();
    // SAFETY: both pointers were checked and have room by the caller's contract.
    unsafe {
        length.write(boxed.len());
        out.write(Box::into_raw(boxed).cast());
    }
    Ok(())
}

unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(Kind::InvalidArgument.error(format_args!("{name} is null")));
    }
    // SAFETY: the caller gives a NUL-terminated string.
    unsafe { CStr::from_ptr(text) }
        .to_str()
        .map_err(|_| Kind::InvalidArgument.error(format_args!("{name} is not UTF-8")))
}

unsafe fn optional_text<'a>(subject: *const c_char) -> Result<Option<&'a str>> {
    // SAFETY: the caller's contract.
    if subject.is_null() { Ok(None) } else { unsafe { text(subject, "subject") }.map(Some) }
}

unsafe fn bytes<'a>(start: *const u8, length: usize) -> Result<&'a [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    if start.is_null() || isize::try_from(length).is_err() {
        return Err(Kind::InvalidArgument.error("an input buffer is null, or its length is out of range"));
    }
    // SAFETY: the caller gives `length` readable bytes.
    Ok(unsafe { slice::from_raw_parts(start, length) })
}

unsafe fn bytes_mut<'a>(start: *mut u8, length: usize) -> Result<&'a mut [u8]> {
    if length == 0 {
        return Ok(&mut []);
    }
    if start.is_null() || isize::try_from(length).is_err() {
        return Err(Kind::InvalidArgument.error("an output buffer is null, or its length is out of range"));
    }
    // SAFETY: the caller gives `length` writable bytes that nothing else touches during the call.
    Ok(unsafe { slice::from_raw_parts_mut(start, length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_pointers_are_errors_with_a_text() {
        // SAFETY: every function checks for null first.
        unsafe {
            assert_eq!(sealpoint_engine_open_text(std::ptr::null(), std::ptr::null_mut()), 1);
            assert_eq!(CStr::from_ptr(sealpoint_last_error()).to_str().unwrap(), "toml is null");
            assert_eq!(sealpoint_opener_seek(std::ptr::null(), 0), 1);
            // The output is looked at before anything else, so that nothing is done in vain.
            assert_eq!(sealpoint_sealer_bound(std::ptr::null(), 0, std::ptr::null_mut()), 1);
            assert_eq!(CStr::from_ptr(sealpoint_last_error()).to_str().unwrap(), "an output pointer is null");
            sealpoint_engine_free(std::ptr::null_mut());
            sealpoint_buffer_free(std::ptr::null_mut(), 0);
        }
    }
}

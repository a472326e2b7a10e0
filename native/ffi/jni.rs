//! The JVM's entry points: the native methods of `io.sealpoint.Native`.
//!
//! Set-up and ends go through the `jni` crate. The two calls per batch of chunks (`sealerSeal`, `openerOpenFrames` and
//! their copying forms) use the JNI function table itself: they hold two arrays at once and must make no other
//! JNI call meanwhile.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;

use jni::objects::{JByteArray, JClass, JObject, JObjectArray, JString};
use jni::sys::{jboolean, jbyteArray, jint, jlong};
use jni::{Env, EnvUnowned, Outcome, jni_sig, jni_str};

use super::handle::{Handle, internal};
use super::log_queue;
use super::scratch::Scratch;
use crate::config::Settings;
use crate::engine::{EncryptionEngine, Opening, Sealing};
use crate::envelope::sidecar::Place;
use crate::envelope::{AtEof, Head, Opened, Parsed};
use crate::error::{Error, Kind, Result};
use crate::lifecycle::rewrap::{Options, rewrap_uri};

/// The version of this set of native methods; the jar refuses another.
const ABI_VERSION: jint = 3;

/// Set in the result of an open call when more than `consumed` and `produced` must be asked for.
const LOOK_AGAIN: jlong = jlong::MIN;

/// The same, for whoever shows it.
pub fn abi_version() -> i32 {
    ABI_VERSION
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_abiVersion(_: EnvUnowned, _: JClass) -> jint {
    log_queue::install();
    ABI_VERSION
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_version<'l>(mut env: EnvUnowned<'l>, _: JClass) -> JString<'l> {
    fence(&mut env, |env| Ok(env.new_string(env!("CARGO_PKG_VERSION"))?))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineOpen<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    keys_and_values: JObjectArray<'l, JString<'l>>,
) -> jlong {
    fence(&mut env, |env| {
        let mut texts = Vec::new();
        for index in 0..keys_and_values.len(env)? {
            let text = keys_and_values.get_element(env, index)?;
            texts.push(text.try_to_string(env)?);
            env.delete_local_ref(text);
        }
        let pairs = texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        let config = Settings::from_pairs(pairs)?.with_environment(std::env::vars_os())?.resolve()?;
        Ok(to_long(Handle::into_raw(EncryptionEngine::open(config)?)))
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineClose(mut env: EnvUnowned, _: JClass, engine: jlong) {
    fast_fence(&mut env, || {
        // SAFETY: the Java side closes a handle once and after its last use.
        unsafe { Handle::free(engine as *mut Handle<Arc<EncryptionEngine>>) };
        Ok(())
    });
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineBeginEpoch<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
    scope: JString<'l>,
    checkpoint: jlong,
) {
    fence(&mut env, |env| {
        let scope = scope.try_to_string(env)?;
        engine_of(engine)?.begin_epoch(&scope, checkpoint);
        Ok(())
    });
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineCoordinate(mut env: EnvUnowned, _: JClass, engine: jlong) {
    fast_fence(&mut env, || {
        engine_of(engine)?.coordinate();
        Ok(())
    });
}

/// How many failures the report lists, and the report.
#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineRewrap<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
    uri: JString<'l>,
    to: JString<'l>,
    dry_run: jboolean,
    kms_rate: jint,
    store_rate: jint,
) -> JObjectArray<'l, JString<'l>> {
    fence(&mut env, |env| {
        let (uri, to) = (uri.try_to_string(env)?, optional(env, &to)?);
        let rate = |most: jint| u32::try_from(most).unwrap_or(0);
        let options = Options { dry_run, ..Options::to(to.as_deref()).at_rates(rate(kms_rate), rate(store_rate)) };
        let engine = engine_of(engine)?;
        let report = rewrap_uri(&engine, &uri, &options)?;
        let array = JObjectArray::<JString>::new(env, 2, JString::null())?;
        for (index, text) in [report.failures.count.to_string(), report.json().to_string()].iter().enumerate() {
            let text = env.new_string(text)?;
            array.set_element(env, index, &text)?;
        }
        Ok(array)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineDrainLog<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    _engine: jlong,
) -> JObjectArray<'l, JString<'l>> {
    fence(&mut env, |env| {
        let lines = log_queue::drain();
        let array = JObjectArray::<JString>::new(env, lines.len(), JString::null())?;
        for (index, line) in lines.iter().enumerate() {
            let line = env.new_string(line)?;
            array.set_element(env, index, &line)?;
            env.delete_local_ref(line);
        }
        Ok(array)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineMetrics<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
) -> JString<'l> {
    fence(&mut env, |env| Ok(env.new_string(engine_of(engine)?.metrics().text())?))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerOpen<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
    path: JString<'l>,
    subject: JString<'l>,
) -> jlong {
    fence(&mut env, |env| {
        let path = path.try_to_string(env)?;
        let subject = optional(env, &subject)?;
        let sealing = engine_of(engine)?.sealer(&path, subject.as_deref())?;
        Ok(to_long(Handle::into_raw(JavaSealing { sealing, scratch: Scratch::default() })))
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerHead<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    sealer: jlong,
    out: JByteArray<'l>,
) -> jint {
    fence(&mut env, |env| {
        let room = out.len(env)?;
        Ok(sealing_of(sealer)?.with(|java| {
            let head = java.sealing.head();
            if head.len() <= room {
                let signed: Vec<i8> = head.iter().map(|byte| byte.cast_signed()).collect();
                out.set_region(env, 0, &signed).map_err(jni_error)?;
            }
            to_int(head.len())
        })?)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerLayout(mut env: EnvUnowned, _: JClass, sealer: jlong) -> jlong {
    fence(&mut env, |_| Ok(sealing_of(sealer)?.with(|java| Ok(pack_layout(&java.sealing.layout())))?))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerSealedLength(
    mut env: EnvUnowned,
    _: JClass,
    sealer: jlong,
    plaintext: jint,
) -> jint {
    fence(&mut env, |_| {
        let plaintext = from_int(plaintext)?;
        Ok(sealing_of(sealer)?.with(|java| to_int(java.sealing.layout().sealed_len(plaintext)))?)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerSeal(
    mut env: EnvUnowned,
    _: JClass,
    sealer: jlong,
    input: jbyteArray,
    input_offset: jint,
    input_length: jint,
    output: jbyteArray,
    output_offset: jint,
    output_length: jint,
) -> jint {
    let (input, output) = ((input, input_offset, input_length), (output, output_offset, output_length));
    // SAFETY: Sealer.java checks both regions.
    unsafe {
        batch(&mut env, sealing_of(sealer), input, output, |raw, java, input, output| {
            with_arrays(raw, input, output, |from, to| to_int(java.sealing.seal(from, to)?))
        })
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerSealCopied(
    mut env: EnvUnowned,
    _: JClass,
    sealer: jlong,
    input: jbyteArray,
    input_offset: jint,
    input_length: jint,
    output: jbyteArray,
    output_offset: jint,
    output_length: jint,
) -> jint {
    let (input, output) = ((input, input_offset, input_length), (output, output_offset, output_length));
    // SAFETY: Sealer.java checks both regions.
    unsafe {
        batch(&mut env, sealing_of(sealer), input, output, |raw, java, input, output| {
            to_int(java.seal_copied(raw, input, output)?)
        })
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerFinish(
    mut env: EnvUnowned,
    _: JClass,
    sealer: jlong,
    output: jbyteArray,
    output_offset: jint,
) -> jint {
    let raw = env.as_raw();
    fast_fence(&mut env, || {
        let output = Region::of(raw, output, output_offset, None)?;
        let mut end = [0; MAX_END];
        let length = sealing_of(sealer)?.with(|java| java.sealing.finish(&mut end))?;
        write_region(raw, output, &end[..length])?;
        to_int(length)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_sealerClose(mut env: EnvUnowned, _: JClass, sealer: jlong) {
    fast_fence(&mut env, || {
        // SAFETY: the Java side closes a handle once and after its last use.
        unsafe { Handle::free(sealer as *mut Handle<JavaSealing>) };
        Ok(())
    });
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerOpen<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
    path: JString<'l>,
    subject: JString<'l>,
    source: JObject<'l>,
    head: JByteArray<'l>,
    offset: jint,
    length: jint,
) -> jlong {
    fence(&mut env, |env| match Head::parse(&bytes_of(env, &head, offset, from_int(length)?)?)? {
        Parsed::NeedMore(total) => Ok(-jlong::from(to_int(total)?)),
        Parsed::Complete(head) => {
            let path = path.try_to_string(env)?;
            let subject = optional(env, &subject)?;
            let mut beside = |place| read_sidecar(env, &source, place);
            let opening = engine_of(engine)?.opener_beside(&head, &path, subject.as_deref(), &mut beside)?;
            Ok(to_long(Handle::into_raw(JavaOpening::new(opening, head.len()))))
        }
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerHeadLength(mut env: EnvUnowned, _: JClass, opener: jlong) -> jint {
    fence(&mut env, |_| Ok(opening_of(opener)?.with(|java| to_int(java.head_length))?))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerLayout(mut env: EnvUnowned, _: JClass, opener: jlong) -> jlong {
    fence(&mut env, |_| Ok(opening_of(opener)?.with(|java| Ok(pack_layout(&java.opening.layout())))?))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerOpenFrames(
    mut env: EnvUnowned,
    _: JClass,
    opener: jlong,
    input: jbyteArray,
    input_offset: jint,
    input_length: jint,
    output: jbyteArray,
    output_offset: jint,
    output_length: jint,
) -> jlong {
    let (input, output) = ((input, input_offset, input_length), (output, output_offset, output_length));
    // SAFETY: Opener.java checks both regions.
    unsafe {
        batch(&mut env, opening_of(opener), input, output, |raw, java, input, output| {
            let before = java.opening.wants();
            let opened = with_arrays(raw, input, output, |from, to| java.opening.open(from, to))?;
            Ok(java.pack(before, opened))
        })
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerOpenFramesCopied(
    mut env: EnvUnowned,
    _: JClass,
    opener: jlong,
    input: jbyteArray,
    input_offset: jint,
    input_length: jint,
    output: jbyteArray,
    output_offset: jint,
    output_length: jint,
) -> jlong {
    let (input, output) = ((input, input_offset, input_length), (output, output_offset, output_length));
    // SAFETY: Opener.java checks both regions.
    unsafe {
        batch(&mut env, opening_of(opener), input, output, |raw, java, input, output| {
            java.open_copied(raw, input, output)
        })
    }
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerWants(mut env: EnvUnowned, _: JClass, opener: jlong) -> jlong {
    fast_fence(&mut env, || opening_of(opener)?.with(|java| Ok(java.opening.wants().cast_signed())))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerStart(mut env: EnvUnowned, _: JClass, opener: jlong) -> jlong {
    fast_fence(&mut env, || opening_of(opener)?.with(|java| Ok(java.start.cast_signed())))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerLength(mut env: EnvUnowned, _: JClass, opener: jlong) -> jlong {
    fast_fence(&mut env, || opening_of(opener)?.with(|java| Ok(java.opening.length().map_or(-1, u64::cast_signed))))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerSeek(mut env: EnvUnowned, _: JClass, opener: jlong, offset: jlong) {
    fast_fence(&mut env, || {
        let offset = u64::try_from(offset).map_err(|_| Kind::InvalidArgument.error("cannot seek before the start"))?;
        opening_of(opener)?.with(|java| {
            java.opening.seek(offset);
            Ok(())
        })
    });
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerEof(
    mut env: EnvUnowned,
    _: JClass,
    opener: jlong,
    rest: jbyteArray,
    offset: jint,
    length: jint,
) -> jboolean {
    let raw = env.as_raw();
    fast_fence(&mut env, || {
        let region = Region::of(raw, rest, offset, Some(length))?;
        let mut rest = vec![0; region.length];
        read_region(raw, region, &mut rest)?;
        opening_of(opener)?.with(|java| Ok(matches!(java.opening.eof(&rest)?, AtEof::Done)))
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerVerifyEnd(
    mut env: EnvUnowned,
    _: JClass,
    opener: jlong,
    tail: jbyteArray,
    offset: jint,
    length: jint,
    file_length: jlong,
) -> jlong {
    let raw = env.as_raw();
    fast_fence(&mut env, || {
        let region = Region::of(raw, tail, offset, Some(length))?;
        let mut tail = vec![0; region.length];
        read_region(raw, region, &mut tail)?;
        let file_length = u64::try_from(file_length).map_err(|_| out_of_range())?;
        opening_of(opener)?.with(|java| Ok(java.opening.verify_end(&tail, file_length)?.cast_signed()))
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_openerClose(mut env: EnvUnowned, _: JClass, opener: jlong) {
    fast_fence(&mut env, || {
        // SAFETY: the Java side closes a handle once and after its last use.
        unsafe { Handle::free(opener as *mut Handle<JavaOpening>) };
        Ok(())
    });
}

/// Room for the end of a file under any suite.
const MAX_END: usize = 64;

/// A sealing, and the memory that frames pass through where arrays are copied.
struct JavaSealing {
    sealing: Sealing,
    scratch: Scratch,
}

impl JavaSealing {
    /// Seals a region of one array into another, a frame at a time through native memory: copied in, sealed where it
    /// lies, copied out. Neither array is ever held, so the garbage collector is never held off.
    fn seal_copied(&mut self, env: *mut jni::sys::JNIEnv, mut input: Region, mut output: Region) -> Result<usize> {
        let layout = self.sealing.layout();
        let mut written = 0;
        while input.length > 0 {
            let plaintext = input.length.min(layout.chunk_size);
            let frame = self.scratch.take(layout.frame_len(plaintext), layout.front);
            read_region(env, input.split_off(plaintext)?, &mut frame[layout.front..layout.front + plaintext])?;
            let sealed = self.sealing.seal_in_place(frame, plaintext)?;
            write_region(env, output.split_off(sealed)?, &frame[..sealed])?;
            written += sealed;
        }
        Ok(written)
    }
}

/// An opening, and what Java asks about it after a call.
struct JavaOpening {
    opening: Opening,
    scratch: Scratch,
    head_length: usize,
    /// Where the plaintext of the last call began.
    start: u64,
    /// Where that of the next call begins if it goes on.
    next: u64,
}

impl JavaOpening {
    fn new(opening: Opening, head_length: usize) -> JavaOpening {
        JavaOpening { opening, scratch: Scratch::default(), head_length, start: 0, next: 0 }
    }

    /// As opening a region of one array into another, but a frame at a time through native memory, without ever
    /// holding an array.
    fn open_copied(&mut self, env: *mut jni::sys::JNIEnv, mut input: Region, mut output: Region) -> Result<jlong> {
        let layout = self.opening.layout();
        let before = self.opening.wants();
        let mut total = Opened { consumed: 0, produced: 0, start: 0, ended: false };
        loop {
            let window = input.length.min(layout.frame_len(layout.chunk_size));
            let opened = match self.open_window(env, input.first(window)?, output) {
                // What was verified before is good; the next call comes upon the failure again.
                Err(_) if total.produced > 0 => break,
                opened => opened?,
            };
            if total.produced == 0 {
                total.start = opened.start;
            }
            total.consumed += opened.consumed;
            total.produced += opened.produced;
            total.ended = opened.ended;
            input.split_off(opened.consumed)?;
            output.split_off(opened.produced)?;
            if opened.produced == 0 || output.length < layout.chunk_size {
                break;
            }
        }
        Ok(self.pack(before, total))
    }

    /// Opens the frames in a region no longer than a full frame.
    fn open_window(&mut self, env: *mut jni::sys::JNIEnv, input: Region, mut output: Region) -> Result<Opened> {
        let layout = self.opening.layout();
        let sealed = self.scratch.take(input.length, layout.front);
        read_region(env, input, sealed)?;
        if output.length < layout.chunk_size {
            let mut plain = vec![0; output.length];
            let opened = self.opening.open(sealed, &mut plain)?;
            write_region(env, output, &plain[..opened.produced])?;
            return Ok(opened);
        }
        // All the plaintext of such a window fits in a chunk, so that nothing opened in place lacks room.
        let opened = self.opening.open_in_place(sealed)?;
        let (mut frames, mut left) = (&sealed[..opened.consumed], opened.produced);
        while left > 0 {
            let prefix = frames.first_chunk().ok_or_else(out_of_range)?;
            let plaintext = u32::from_be_bytes(*prefix) as usize;
            let (frame, rest) = frames.split_at_checked(layout.frame_len(plaintext)).ok_or_else(out_of_range)?;
            write_region(env, output.split_off(plaintext)?, &frame[layout.front..layout.front + plaintext])?;
            (frames, left) = (rest, left.saturating_sub(plaintext));
        }
        Ok(opened)
    }

    /// `consumed << 32 | produced`, negative when the caller must look at `wants`, `start` and `length` again: the
    /// reader did not simply go on, or the end was reached.
    fn pack(&mut self, before: u64, opened: Opened) -> jlong {
        let went_on = self.opening.wants() == before + opened.consumed as u64;
        let follows = opened.produced == 0 || opened.start == self.next;
        if opened.produced > 0 {
            self.start = opened.start;
            self.next = opened.start + opened.produced as u64;
        }
        let packed = ((opened.consumed as jlong) << 32) | opened.produced as jlong;
        if went_on && follows && !opened.ended { packed } else { packed | LOOK_AGAIN }
    }
}

fn pack_layout(layout: &crate::envelope::Layout) -> jlong {
    let chunk = layout.chunk_size;
    let front = layout.front;
    let tail = layout.frame_len(chunk) - front - chunk;
    ((chunk as jlong) << 32) | ((front as jlong) << 16) | tail as jlong
}

fn engine_of(raw: jlong) -> Result<Arc<EncryptionEngine>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::<Arc<EncryptionEngine>>::borrow(raw as *const _) }?.with(|engine| Ok(Arc::clone(engine)))
}

fn sealing_of<'a>(raw: jlong) -> Result<&'a Handle<JavaSealing>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::borrow(raw as *const _) }
}

fn opening_of<'a>(raw: jlong) -> Result<&'a Handle<JavaOpening>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::borrow(raw as *const _) }
}

fn to_long<T>(raw: *mut Handle<T>) -> jlong {
    raw as jlong
}

pub(super) fn to_int(value: usize) -> Result<jint> {
    jint::try_from(value).map_err(|_| out_of_range())
}

pub(super) fn from_int(value: jint) -> Result<usize> {
    usize::try_from(value).map_err(|_| out_of_range())
}

fn out_of_range() -> Error {
    Kind::InvalidArgument.error("an offset or a length lies outside its buffer")
}

pub(super) fn optional(env: &Env, text: &JString) -> Result<Option<String>, Failure> {
    Ok(if text.is_null() { None } else { Some(text.try_to_string(env)?) })
}

/// Calls `ByteSource.sidecar`, which gives null where there is no such file.
fn read_sidecar(env: &mut Env, source: &JObject, place: Place) -> Result<Option<Vec<u8>>> {
    let above = match place {
        Place::Directory => false,
        Place::Parent => true,
    };
    let read = |env: &mut Env| {
        let bytes = match env.call_method(source, jni_str!("sidecar"), jni_sig!("(Z)[B"), &[above.into()]) {
            Err(jni::errors::Error::JavaException) => {
                return Ok(Err(Kind::Io.error(format_args!("it cannot be read: {}", caught(env)?))));
            }
            outcome => outcome?.l()?,
        };
        if bytes.is_null() {
            return Ok(Ok(None));
        }
        let bytes = env.cast_local::<JByteArray>(bytes)?;
        let length = bytes.len(env)?;
        bytes_of(env, &bytes, 0, length).map(|bytes| Ok(Some(bytes)))
    };
    // In a frame of its own, so that one array is given back before the next is read.
    env.with_local_frame(8, read).unwrap_or_else(|error| {
        env.exception_clear();
        Err(jni_error(error))
    })
}

/// Takes the pending exception off the thread; its class and message.
fn caught(env: &mut Env) -> jni::errors::Result<String> {
    let Some(exception) = env.exception_occurred() else { return Ok(String::new()) };
    env.exception_clear();
    let text = env.call_method(&exception, jni_str!("toString"), jni_sig!("()Ljava/lang/String;"), &[])?.l()?;
    env.cast_local::<JString>(text)?.try_to_string(env)
}

pub(super) fn bytes_of(env: &Env, array: &JByteArray, offset: jint, length: usize) -> jni::errors::Result<Vec<u8>> {
    let mut signed = vec![0; length];
    array.get_region(env, offset, &mut signed)?;
    Ok(signed.iter().map(|byte| byte.cast_unsigned()).collect())
}

/// Why a native method ends with an exception.
pub(super) enum Failure {
    Ours(Error),
    Jvm(jni::errors::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ours(error)
    }
}

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Failure {
        Failure::Jvm(error)
    }
}

fn jni_error(error: jni::errors::Error) -> Error {
    Kind::Internal.error(format_args!("a call into the JVM failed: {error}"))
}

/// Runs a native method's body; an error or a panic becomes a Java exception.
pub(super) fn fence<'l, T: Default>(
    env: &mut EnvUnowned<'l>,
    body: impl FnOnce(&mut Env<'l>) -> Result<T, Failure>,
) -> T {
    let failure = match env.with_env(body).into_outcome() {
        Outcome::Ok(value) => return value,
        Outcome::Err(Failure::Ours(error)) => error,
        Outcome::Err(Failure::Jvm(error)) => jni_error(error),
        Outcome::Panic(_) => internal(),
    };
    throw(env, &failure);
    T::default()
}

/// [`fence`] for the calls per batch, which need no [`Env`].
fn fast_fence<T: Default>(env: &mut EnvUnowned, body: impl FnOnce() -> Result<T>) -> T {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(_) => internal(),
    };
    throw(env, &failure);
    T::default()
}

/// An array, and the offset and length of a part of it, as Java gives them.
type JavaRegion = (jbyteArray, jint, jint);

/// Runs one of the calls per batch: a handle's work from one part of an array to one of another.
///
/// # Safety
/// As [`Region::checked_by_java`], for both regions.
unsafe fn batch<T, R: Default>(
    env: &mut EnvUnowned,
    handle: Result<&Handle<T>>,
    (input, input_offset, input_length): JavaRegion,
    (output, output_offset, output_length): JavaRegion,
    work: impl FnOnce(*mut jni::sys::JNIEnv, &mut T, Region, Region) -> Result<R>,
) -> R {
    let raw = env.as_raw();
    fast_fence(env, || {
        // SAFETY: the caller's contract.
        let input = unsafe { Region::checked_by_java(input, input_offset, input_length)? };
        // SAFETY: the caller's contract.
        let output = unsafe { Region::checked_by_java(output, output_offset, output_length)? };
        handle?.with(|value| work(raw, value, input, output))
    })
}

/// Throws `SealpointException.of(code, message)`, unless an exception is pending already.
fn throw(env: &mut EnvUnowned, error: &Error) {
    let thrown = env.with_env(|env| -> jni::errors::Result<()> {
        if env.exception_check() {
            return Ok(());
        }
        let message = env.new_string(error.message())?;
        let exception = env
            .call_static_method(
                jni_str!("io/sealpoint/SealpointException"),
                jni_str!("of"),
                jni_sig!("(ILjava/lang/String;)Lio/sealpoint/SealpointException;"),
                &[error.code().0.cast_signed().into(), (&message).into()],
            )?
            .l()?;
        let exception = env.cast_local::<jni::objects::JThrowable>(exception)?;
        match env.throw(exception) {
            // So it says that an exception is pending now, as it should be.
            Err(jni::errors::Error::JavaException) => Ok(()),
            outcome => outcome,
        }
    });
    if !matches!(thrown.into_outcome(), Outcome::Ok(())) {
        // Nothing is left to tell Java with; the pending exception, if any, tells it.
        log::error!("an exception could not be thrown: {error}");
    }
}

/// A checked part of a Java byte array.
#[derive(Clone, Copy)]
struct Region {
    array: jbyteArray,
    offset: usize,
    length: usize,
}

impl Region {
    /// A region that the Java side checked against the array's length right before the call: asking the JVM for the
    /// length again takes 1 % of sealing a chunk.
    ///
    /// # Safety
    /// `offset` and `length` are not negative, and lie inside the array.
    unsafe fn checked_by_java(array: jbyteArray, offset: jint, length: jint) -> Result<Region> {
        if array.is_null() {
            return Err(Kind::InvalidArgument.error("a byte array is null"));
        }
        Ok(Region { array, offset: from_int(offset)?, length: from_int(length)? })
    }

    /// Its first `length` bytes.
    fn first(&self, length: usize) -> Result<Region> {
        if length > self.length { Err(out_of_range()) } else { Ok(Region { length, ..*self }) }
    }

    /// Takes its first `length` bytes off.
    fn split_off(&mut self, length: usize) -> Result<Region> {
        let first = self.first(length)?;
        self.offset += length;
        self.length -= length;
        Ok(first)
    }

    /// `length` bytes from `offset`, or all of them.
    fn of(env: *mut jni::sys::JNIEnv, array: jbyteArray, offset: jint, length: Option<jint>) -> Result<Region> {
        if array.is_null() {
            return Err(Kind::InvalidArgument.error("a byte array is null"));
        }
        // SAFETY: `env` is the current thread's, `array` a live local reference to a byte[]: both came with this call.
        let total = from_int(unsafe { ((**env).v1_1.GetArrayLength)(env, array) })?;
        let offset = from_int(offset)?;
        let rest = total.checked_sub(offset).ok_or_else(out_of_range)?;
        let length = length.map_or(Ok(rest), from_int)?;
        if length > rest { Err(out_of_range()) } else { Ok(Region { array, offset, length }) }
    }
}

/// An array held by `GetPrimitiveArrayCritical`, given back on drop.
struct Critical {
    env: *mut jni::sys::JNIEnv,
    array: jbyteArray,
    elements: *mut c_void,
    mode: jint,
}

impl Critical {
    fn hold(env: *mut jni::sys::JNIEnv, array: jbyteArray, mode: jint) -> Result<Critical> {
        // SAFETY: `env` is the current thread's and `array` live. Until the drop of the result this thread makes no JNI
        // call but another of this pair, takes no lock and does not block: `with_arrays` sees to it.
        let elements = unsafe { ((**env).v1_2.GetPrimitiveArrayCritical)(env, array, std::ptr::null_mut()) };
        if elements.is_null() {
            return Err(Kind::Internal.error("the JVM has no memory to hand out an array"));
        }
        Ok(Critical { env, array, elements, mode })
    }
}

impl Drop for Critical {
    fn drop(&mut self) {
        // SAFETY: pairs with the call in `hold`, on the same thread.
        unsafe { ((**self.env).v1_2.ReleasePrimitiveArrayCritical)(self.env, self.array, self.elements, self.mode) };
    }
}

/// Runs `work` over two parts of two different arrays, without copies where the JVM can.
fn with_arrays<R>(
    env: *mut jni::sys::JNIEnv,
    input: Region,
    output: Region,
    work: impl FnOnce(&[u8], &mut [u8]) -> Result<R>,
) -> Result<R> {
    let from = Critical::hold(env, input.array, jni::sys::JNI_ABORT)?;
    let to = Critical::hold(env, output.array, 0)?;
    if std::ptr::eq(from.elements, to.elements) {
        return Err(Kind::InvalidArgument.error("input and output are the same array"));
    }
    // SAFETY: both regions were checked against the arrays' lengths; the arrays are distinct objects, so the slices do
    // not overlap; the JVM keeps them in place until the guards drop. Another Java thread that writes to the input
    // meanwhile changes what is sealed, as with any stream, and never where we read or write.
    let (from_bytes, to_bytes) = unsafe {
        (
            slice::from_raw_parts(from.elements.cast::<u8>().add(input.offset), input.length),
            slice::from_raw_parts_mut(to.elements.cast::<u8>().add(output.offset), output.length),
        )
    };
    work(from_bytes, to_bytes)
}

/// Copies a region out of its array.
fn read_region(env: *mut jni::sys::JNIEnv, region: Region, to: &mut [u8]) -> Result<()> {
    if region.length != to.len() {
        return Err(out_of_range());
    }
    let (offset, length) = (to_int(region.offset)?, to_int(region.length)?);
    // SAFETY: `to` has `length` bytes, and the JVM checks the region against the array.
    unsafe { ((**env).v1_1.GetByteArrayRegion)(env, region.array, offset, length, to.as_mut_ptr().cast()) };
    Ok(())
}

fn write_region(env: *mut jni::sys::JNIEnv, region: Region, bytes: &[u8]) -> Result<()> {
    if bytes.len() > region.length {
        return Err(out_of_range());
    }
    let (offset, length) = (to_int(region.offset)?, to_int(bytes.len())?);
    // SAFETY: the region was checked against the array's length and holds `bytes`.
    unsafe { ((**env).v1_1.SetByteArrayRegion)(env, region.array, offset, length, bytes.as_ptr().cast()) };
    Ok(())
}

//! Opening: what `io.sealpoint.Opener` calls.

use jni::objects::{JByteArray, JClass, JObject, JString};
use jni::sys::{jboolean, jbyteArray, jint, jlong};
use jni::{Env, EnvUnowned, jni_sig, jni_str};

use super::arrays::{Region, batch, bytes_of, read_region, with_arrays, write_region};
use super::engine::engine_of;
use super::fence::{fast_fence, fence, jni_error};
use super::scratch::Scratch;
use super::{from_int, optional, out_of_range, pack_layout, to_int, to_long};
use crate::engine::Opening;
use crate::envelope::sidecar::Place;
use crate::envelope::{AtEof, Head, Opened, Parsed};
use crate::error::{Kind, Result};
use crate::ffi::handle::Handle;

/// Set in the result of an open call when more than `consumed` and `produced` must be asked for.
const LOOK_AGAIN: jlong = jlong::MIN;

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
            let window = input.len().min(layout.frame_len(layout.chunk_size));
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
            if opened.produced == 0 || output.len() < layout.chunk_size {
                break;
            }
        }
        Ok(self.pack(before, total))
    }

    /// Opens the frames in a region no longer than a full frame.
    fn open_window(&mut self, env: *mut jni::sys::JNIEnv, input: Region, mut output: Region) -> Result<Opened> {
        let layout = self.opening.layout();
        let sealed = self.scratch.take(input.len(), layout.front);
        read_region(env, input, sealed)?;
        if output.len() < layout.chunk_size {
            let mut plain = vec![0; output.len()];
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

fn opening_of<'a>(raw: jlong) -> Result<&'a Handle<JavaOpening>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::borrow(raw as *const _) }
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
        let mut rest = vec![0; region.len()];
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
        let mut tail = vec![0; region.len()];
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

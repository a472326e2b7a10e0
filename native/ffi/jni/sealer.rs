//! Sealing: what `io.sealpoint.Sealer` calls.

use jni::EnvUnowned;
use jni::objects::{JByteArray, JClass, JString};
use jni::sys::{jbyteArray, jint, jlong};

use super::arrays::{Region, batch, read_region, with_arrays, write_region};
use super::engine::engine_of;
use super::fence::{fast_fence, fence, jni_error};
use super::scratch::Scratch;
use super::{from_int, optional, pack_layout, to_int, to_long};
use crate::engine::Sealing;
use crate::error::Result;
use crate::ffi::handle::Handle;

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
        while input.len() > 0 {
            let plaintext = input.len().min(layout.chunk_size);
            let frame = self.scratch.take(layout.frame_len(plaintext), layout.front);
            read_region(env, input.split_off(plaintext)?, &mut frame[layout.front..layout.front + plaintext])?;
            let sealed = self.sealing.seal_in_place(frame, plaintext)?;
            write_region(env, output.split_off(sealed)?, &frame[..sealed])?;
            written += sealed;
        }
        Ok(written)
    }
}

fn sealing_of<'a>(raw: jlong) -> Result<&'a Handle<JavaSealing>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::borrow(raw as *const _) }
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

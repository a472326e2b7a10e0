//! The JVM's entry points: the native methods of `io.sealpoint.Native`.
//!
//! Set-up and ends go through the `jni` crate. The two calls per batch of chunks (`sealerSeal`, `openerOpenFrames` and
//! their copying forms) use the JNI function table itself: they hold two arrays at once and must make no other
//! JNI call meanwhile.

mod arrays;
mod engine;
mod fence;
mod log_queue;
mod manifest;
mod metadata;
mod opener;
mod scratch;
mod sealer;

use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::{jint, jlong};
use jni::{Env, EnvUnowned};

use self::fence::{Failure, fence};
use super::handle::Handle;
use crate::envelope::Layout;
use crate::error::{Error, Kind, Result};

/// The version of this set of native methods; the jar refuses another.
const ABI_VERSION: jint = 3;

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

fn pack_layout(layout: &Layout) -> jlong {
    let chunk = layout.chunk_size;
    let front = layout.front;
    let tail = layout.frame_len(chunk) - front - chunk;
    ((chunk as jlong) << 32) | ((front as jlong) << 16) | tail as jlong
}

fn to_long<T>(raw: *mut Handle<T>) -> jlong {
    raw as jlong
}

fn to_int(value: usize) -> Result<jint> {
    jint::try_from(value).map_err(|_| out_of_range())
}

fn from_int(value: jint) -> Result<usize> {
    usize::try_from(value).map_err(|_| out_of_range())
}

fn out_of_range() -> Error {
    Kind::InvalidArgument.error("an offset or a length lies outside its buffer")
}

fn optional(env: &Env, text: &JString) -> Result<Option<String>, Failure> {
    Ok(if text.is_null() { None } else { Some(text.try_to_string(env)?) })
}

/// An array of these texts.
fn strings<'l>(env: &mut Env<'l>, texts: &[String]) -> Result<JObjectArray<'l, JString<'l>>, Failure> {
    let array = JObjectArray::<JString>::new(env, texts.len(), JString::null())?;
    for (index, text) in texts.iter().enumerate() {
        let text = env.new_string(text)?;
        array.set_element(env, index, &text)?;
        env.delete_local_ref(text);
    }
    Ok(array)
}

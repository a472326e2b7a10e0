//! Parts of Java byte arrays: held in place, or copied.

use std::ffi::c_void;
use std::slice;

use jni::objects::JByteArray;
use jni::sys::{jbyteArray, jint};
use jni::{Env, EnvUnowned};

use super::fence::fast_fence;
use super::{from_int, out_of_range, to_int};
use crate::error::{Kind, Result};
use crate::ffi::handle::Handle;

/// An array, and the offset and length of a part of it, as Java gives them.
pub type JavaRegion = (jbyteArray, jint, jint);

/// Runs one of the calls per batch: a handle's work from one part of an array to one of another.
///
/// # Safety
/// As [`Region::checked_by_java`], for both regions.
pub unsafe fn batch<T, R: Default>(
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

/// A checked part of a Java byte array.
#[derive(Clone, Copy)]
pub struct Region {
    array: jbyteArray,
    offset: usize,
    length: usize,
}

impl Region {
    /// The bytes that it has.
    pub fn len(&self) -> usize {
        self.length
    }

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
    pub fn first(&self, length: usize) -> Result<Region> {
        if length > self.length { Err(out_of_range()) } else { Ok(Region { length, ..*self }) }
    }

    /// Takes its first `length` bytes off.
    pub fn split_off(&mut self, length: usize) -> Result<Region> {
        let first = self.first(length)?;
        self.offset += length;
        self.length -= length;
        Ok(first)
    }

    /// `length` bytes from `offset`, or all of them.
    pub fn of(env: *mut jni::sys::JNIEnv, array: jbyteArray, offset: jint, length: Option<jint>) -> Result<Region> {
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
pub fn with_arrays<R>(
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
pub fn read_region(env: *mut jni::sys::JNIEnv, region: Region, to: &mut [u8]) -> Result<()> {
    if region.length != to.len() {
        return Err(out_of_range());
    }
    let (offset, length) = (to_int(region.offset)?, to_int(region.length)?);
    // SAFETY: `to` has `length` bytes, and the JVM checks the region against the array.
    unsafe { ((**env).v1_1.GetByteArrayRegion)(env, region.array, offset, length, to.as_mut_ptr().cast()) };
    Ok(())
}

pub fn write_region(env: *mut jni::sys::JNIEnv, region: Region, bytes: &[u8]) -> Result<()> {
    if bytes.len() > region.length {
        return Err(out_of_range());
    }
    let (offset, length) = (to_int(region.offset)?, to_int(bytes.len())?);
    // SAFETY: the region was checked against the array's length and holds `bytes`.
    unsafe { ((**env).v1_1.SetByteArrayRegion)(env, region.array, offset, length, bytes.as_ptr().cast()) };
    Ok(())
}

pub fn bytes_of(env: &Env, array: &JByteArray, offset: jint, length: usize) -> jni::errors::Result<Vec<u8>> {
    let mut signed = vec![0; length];
    array.get_region(env, offset, &mut signed)?;
    Ok(signed.iter().map(|byte| byte.cast_unsigned()).collect())
}

//! The JVM's way to manifests of checkpoints: what `io.sealpoint.CheckpointManifest` calls.

use jni::errors::Result as JniResult;
use jni::objects::{JBooleanArray, JByteArray, JClass, JLongArray, JObjectArray, JString};
use jni::sys::jint;
use jni::{Env, EnvUnowned};

use super::arrays::bytes_of;
use super::fence::{Failure, fence};
use super::{from_int, to_int};
use crate::envelope::{Head, Parsed};
use crate::error::{Error, Kind, Result};
use crate::lifecycle::manifest::{Entry, Manifest, Names};

/// The length of the head, whose commitment is then in `commitment`; or the negated number of bytes that are needed.
#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_manifestHead<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    bytes: JByteArray<'l>,
    length: jint,
    commitment: JByteArray<'l>,
) -> jint {
    fence(&mut env, |env| match Head::parse(&bytes_of(env, &bytes, 0, from_int(length)?)?)? {
        Parsed::NeedMore(total) => Ok(-to_int(total)?),
        Parsed::Complete(head) => {
            let signed = head.commitment().map(u8::cast_signed);
            commitment.set_region(env, 0, &signed)?;
            Ok(to_int(head.len())?)
        }
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_manifestOf<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    directory: JString<'l>,
    paths: JObjectArray<'l, JString<'l>>,
    commitments: JByteArray<'l>,
    lengths: JLongArray<'l>,
    grows: JBooleanArray<'l>,
) -> JByteArray<'l> {
    fence(&mut env, |env| {
        let names = Names::below(&directory.try_to_string(env)?);
        let files = Files::read(env, &paths, &commitments, &lengths)?;
        let mut flags = vec![false; files.0.len()];
        grows.get_region(env, 0, &mut flags)?;
        let mut manifest = Manifest::default();
        for ((path, commitment, sealed_len), grows) in files.0.into_iter().zip(flags) {
            manifest.insert(names.of(&path), Entry { sealed_len, commitment, grows });
        }
        Ok(env.byte_array_from_slice(&manifest.to_bytes()?)?)
    })
}

/// Throws what is wrong with the first file that is not the one that the manifest was written over.
#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_manifestCompare<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    manifest: JByteArray<'l>,
    directory: JString<'l>,
    paths: JObjectArray<'l, JString<'l>>,
    commitments: JByteArray<'l>,
    lengths: JLongArray<'l>,
) {
    fence(&mut env, |env| {
        let names = Names::below(&directory.try_to_string(env)?);
        let length = manifest.len(env)?;
        let manifest = Manifest::from_bytes(&bytes_of(env, &manifest, 0, length)?)?;
        let files = Files::read(env, &paths, &commitments, &lengths)?.0;
        let check = |(path, commitment, sealed_len): &(String, [u8; 32], u64)| {
            manifest.check_named(&names.of(path), path, *sealed_len, commitment)
        };
        let mut wrong = files.iter().filter_map(check);
        let Some(first) = wrong.next() else { return Ok(()) };
        Err(match wrong.count() {
            0 => first.error,
            more => Kind::Integrity.error(format_args!("{} (and {more} more files)", first.error.message())),
        }
        .into())
    });
}

/// Each file's path, the commitment of its head, and its length.
struct Files(Vec<(String, [u8; 32], u64)>);

impl Files {
    fn read(
        env: &mut Env,
        paths: &JObjectArray<JString>,
        commitments: &JByteArray,
        lengths: &JLongArray,
    ) -> Result<Files, Failure> {
        let count = paths.len(env)?;
        let commitments = bytes_of(env, commitments, 0, count * 32)?;
        let mut known = vec![0; count];
        lengths.get_region(env, 0, &mut known)?;
        let mut files = Vec::with_capacity(count);
        for (index, (commitment, length)) in commitments.as_chunks().0.iter().zip(known).enumerate() {
            let path = text(env, paths, index)?;
            let length = u64::try_from(length).map_err(|_| negative(&path))?;
            files.push((path, *commitment, length));
        }
        Ok(Files(files))
    }
}

fn text(env: &mut Env, texts: &JObjectArray<JString>, index: usize) -> JniResult<String> {
    let element = texts.get_element(env, index)?;
    let text = element.try_to_string(env);
    env.delete_local_ref(element);
    text
}

fn negative(path: &str) -> Error {
    Kind::InvalidArgument.error(format_args!("{path}: a length is negative"))
}

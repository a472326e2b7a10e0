//! The JVM's way to Flink's `_metadata`: what `io.sealpoint.CheckpointMetadata` calls.

use jni::EnvUnowned;
use jni::objects::{JByteArray, JClass, JObjectArray, JString};

use super::arrays::bytes_of;
use super::fence::fence;
use super::{optional, strings};
use crate::flink::{self, Extent, Reference};

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_metadataReferences<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    metadata: JByteArray<'l>,
) -> JObjectArray<'l, JString<'l>> {
    fence(&mut env, |env| {
        let length = metadata.len(env)?;
        let mut found = Vec::new();
        flink::read(&bytes_of(env, &metadata, 0, length)?[..], |reference| {
            found.push(described(reference));
            Ok(())
        })?;
        strings(env, &found)
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_metadataRelocated<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    metadata: JByteArray<'l>,
    paths: JObjectArray<'l, JString<'l>>,
) -> JByteArray<'l> {
    fence(&mut env, |env| {
        let length = metadata.len(env)?;
        let mut moved = Vec::new();
        for index in 0..paths.len(env)? {
            let path = paths.get_element(env, index)?;
            moved.push(optional(env, &path)?);
            env.delete_local_ref(path);
        }
        let (mut moved, mut relocated) = (moved.into_iter(), Vec::new());
        let source = bytes_of(env, &metadata, 0, length)?;
        flink::relocate(&source[..], &mut relocated, |_| Ok(moved.next().flatten()))?;
        Ok(env.byte_array_from_slice(&relocated)?)
    })
}

fn described(reference: &Reference) -> String {
    let (kind, number) = match reference.extent {
        Extent::Whole(length) => ("whole", length),
        Extent::Unsized => ("unsized", 0),
        Extent::Segment { start, length } => ("segment", start.saturating_add(length)),
        Extent::Directory => ("directory", 0),
    };
    let relative = if reference.relative { "relative" } else { "absolute" };
    format!("{kind} {number} {relative} {}", reference.path)
}

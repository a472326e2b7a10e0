//! Engines: what `io.sealpoint.Engine` calls.

use std::sync::Arc;

use jni::EnvUnowned;
use jni::objects::{JClass, JObjectArray, JString};
use jni::sys::{jboolean, jint, jlong};

use super::fence::{fast_fence, fence};
use super::{log_queue, optional, strings, to_long};
use crate::config::Settings;
use crate::engine::EncryptionEngine;
use crate::error::Result;
use crate::ffi::handle::Handle;
use crate::lifecycle::rewrap::{Options, rewrap_uri};

pub fn engine_of(raw: jlong) -> Result<Arc<EncryptionEngine>> {
    // SAFETY: the Java side holds the handle open for the whole call.
    unsafe { Handle::<Arc<EncryptionEngine>>::borrow(raw as *const _) }?.with(|engine| Ok(Arc::clone(engine)))
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
        strings(env, &[report.failures.count.to_string(), report.json().to_string()])
    })
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineDrainLog<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    _engine: jlong,
) -> JObjectArray<'l, JString<'l>> {
    fence(&mut env, |env| strings(env, &log_queue::drain()))
}

#[unsafe(no_mangle)]
extern "system" fn Java_io_sealpoint_Native_engineMetrics<'l>(
    mut env: EnvUnowned<'l>,
    _: JClass,
    engine: jlong,
) -> JString<'l> {
    fence(&mut env, |env| Ok(env.new_string(engine_of(engine)?.metrics().text())?))
}

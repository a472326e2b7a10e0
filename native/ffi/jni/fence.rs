//! Where a native method's body ends: an error or a panic becomes a Java exception.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jni::{Env, EnvUnowned, Outcome, jni_sig, jni_str};

use crate::error::{Error, Kind, Result};
use crate::ffi::handle::internal;

/// Why a native method ends with an exception.
pub enum Failure {
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

pub fn jni_error(error: jni::errors::Error) -> Error {
    Kind::Internal.error(format_args!("a call into the JVM failed: {error}"))
}

/// Runs a native method's body; an error or a panic becomes a Java exception.
pub fn fence<'l, T: Default>(env: &mut EnvUnowned<'l>, body: impl FnOnce(&mut Env<'l>) -> Result<T, Failure>) -> T {
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
pub fn fast_fence<T: Default>(env: &mut EnvUnowned, body: impl FnOnce() -> Result<T>) -> T {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(_) => internal(),
    };
    throw(env, &failure);
    T::default()
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

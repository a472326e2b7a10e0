//! A token: sessions on it, kept for the next call, and the login of its user.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::types::AuthPin;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::Pkcs11Config;
use crate::error::{Kind, Result};
use crate::kms::credential_file;
use crate::kms::pkcs11::errors::Fault;
use crate::kms::pkcs11::module::{initialize, lock_of, module, slot_of};

/// The most calls at a time, each on a thread and a session of its own. Modules block: with more of them a token that
/// hangs would hold ever more threads.
const AT_A_TIME: usize = 4;

const PIN_FILE: &str = "kms.pkcs11.pin-file";

/// One token, shared by the clients of all its keys.
pub struct Token {
    module: PathBuf,
    pub label: String,
    pin_file: PathBuf,
    idle: Mutex<Vec<Session>>,
    turns: Arc<Semaphore>,
}

/// What a call may change on the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Token {
    /// Checks that the files are there; nothing is loaded yet.
    pub fn new(config: &Pkcs11Config) -> Result<Token> {
        if let Err(error) = std::fs::metadata(&config.module) {
            return Err(Kind::Config.error(format_args!("kms.pkcs11.module {}: {error}", config.module.display())));
        }
        credential_file::read(PIN_FILE, &config.pin_file)?;
        Ok(Token {
            module: config.module.clone(),
            label: config.token_label.clone(),
            pin_file: config.pin_file.clone(),
            idle: Mutex::new(Vec::new()),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        })
    }

    /// Runs `work` with a session, on a thread that may block, and waits no longer than `limit`.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        limit: Duration,
        access: Access,
        work: impl Fn(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let token = Arc::clone(self);
        let call = async move {
            let closed = |_| Kind::Internal.error("the turns of a token are never closed");
            let turn = Arc::clone(&token.turns).acquire_owned().await.map_err(closed)?;
            // The turn is held until the module returns, whether somebody still waits for it or not.
            let blocking = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                token.with(access, work)
            });
            blocking.await.unwrap_or_else(|_| Err(Kind::Internal.error("a call of the PKCS#11 module panicked")))
        };
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(Kind::KmsTimeout
                .error(format_args!("pkcs11 token '{}' did not answer within kms.attempt-timeout", self.label)))
        })
    }

    /// Runs `work` with a session; once more if the one that was kept is gone, with the token for instance.
    pub fn with<T>(&self, access: Access, work: impl Fn(&Session) -> Result<T, Fault>) -> Result<T> {
        match self.attempt(access, &work) {
            Err(fault) if fault.lost_the_session() => {
                self.forget();
                self.attempt(access, &work)
            }
            outcome => outcome,
        }
        .map_err(|fault| fault.explain(&self.label))
    }

    fn attempt<T>(&self, access: Access, work: &impl Fn(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        let lock = lock_of(&self.module);
        let (_shared, _alone) = match access {
            Access::Read => (Some(lock.read().unwrap_or_else(PoisonError::into_inner)), None),
            Access::Write => (None, Some(lock.write().unwrap_or_else(PoisonError::into_inner))),
        };
        let kept = if access == Access::Read { self.idle().pop() } else { None };
        let session = match kept {
            Some(session) => {
                // Somebody else in this process may have logged the user out; private keys would seem to be missing.
                self.log_in(&session)?;
                session
            }
            None => self.open(access)?,
        };
        // After a failure an operation may still be under way in it: it is closed.
        let value = work(&session)?;
        let mut idle = self.idle();
        if access == Access::Read && idle.len() < AT_A_TIME {
            idle.push(session);
        }
        Ok(value)
    }

    fn open(&self, access: Access) -> Result<Session, Fault> {
        let module = module(&self.module)?;
        let slot = slot_of(&module, &self.label)?;
        let session = match access {
            Access::Read => module.open_ro_session(slot)?,
            Access::Write => module.open_rw_session(slot)?,
        };
        self.log_in(&session)?;
        Ok(session)
    }

    /// Whether this token can do something.
    pub fn ask<T>(&self, question: impl Fn(&Pkcs11, cryptoki::slot::Slot) -> T) -> Result<T, Fault> {
        let module = module(&self.module)?;
        let slot = slot_of(&module, &self.label)?;
        Ok(question(&module, slot))
    }

    /// Logs the user in, for all sessions of this process. Tokens lock after a few wrong PINs, so none is tried twice.
    fn log_in(&self, session: &Session) -> Result<(), Fault> {
        if matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser) {
            return Ok(());
        }
        static REFUSED: Mutex<Vec<Refused>> = Mutex::new(Vec::new());
        let mut refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = credential_file::read(PIN_FILE, &self.pin_file)?;
        let wrong = |how: &str| {
            Fault::Known(Kind::Credentials.error(format_args!(
                "pkcs11 token '{}' {how} the PIN in {}: it is not tried again in this process, because tokens lock; \
                 put the right one into the file",
                self.label,
                self.pin_file.display()
            )))
        };
        if refused.iter().any(|known| known.module == self.module && known.label == self.label && known.pin == pin) {
            return Err(wrong("has refused before"));
        }
        match session.login(UserType::User, Some(&AuthPin::new(pin.as_str().into()))) {
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(ModuleError::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                refused.push(Refused { module: self.module.clone(), label: self.label.clone(), pin });
                Err(wrong("refuses"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes what was kept, and makes the module ready if somebody has finalized it.
    fn forget(&self) {
        self.idle().clear();
        let ready = module(&self.module).and_then(|module| initialize(&module));
        if let Err(fault) = ready {
            log::debug!("{}", fault.explain(&self.label));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        // Whole sessions are pushed and popped, so the list is good after a panic as well.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A PIN that a token did not take.
struct Refused {
    module: PathBuf,
    label: String,
    pin: Zeroizing<String>,
}

//! PKCS#11 modules: shared libraries, loaded once a process and never finalized, because others in it may use them too
//! (the JVM's SunPKCS11, for instance).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::Kind;
use crate::kms::pkcs11::errors::{Fault, not_there};

/// The module at this path, ready for use.
pub fn module(path: &Path) -> Result<Pkcs11, Fault> {
    static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());
    // A list that only grows, one whole entry at a time, is good after a panic as well.
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, module)) = loaded.iter().find(|(known, _)| known == path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|error| {
        Kind::Config.error(format_args!(
            "kms.pkcs11.module: {} is no PKCS#11 module that can be loaded here: {error}",
            path.display()
        ))
    })?;
    initialize(&module)?;
    loaded.push((path.to_owned(), module.clone()));
    Ok(module)
}

/// Held for reading by calls, and alone by those that make or change keys: SoftHSM 2.6 breaks a key that is made while
/// another thread looks for keys (softhsm/SoftHSMv2 issue 573), and making keys is rare. Whoever else makes keys by this module in this process holds it alone as well.
pub fn lock_of(path: &Path) -> Arc<RwLock<()>> {
    static LOCKS: Mutex<Vec<(PathBuf, Arc<RwLock<()>>)>> = Mutex::new(Vec::new());
    let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, lock)) = locks.iter().find(|(known, _)| known == path) {
        return Arc::clone(lock);
    }
    let lock = Arc::new(RwLock::new(()));
    locks.push((path.to_owned(), Arc::clone(&lock)));
    lock
}

/// Makes the module ready, unless somebody did before.
pub fn initialize(module: &Pkcs11) -> Result<(), Fault> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The slot that holds the token with this label; the numbers of slots change, so it is looked for each time.
pub fn slot_of(module: &Pkcs11, label: &str) -> Result<Slot, Fault> {
    let mut found = Vec::new();
    for slot in module.get_slots_with_token()? {
        // Another token may be broken, or go between the two calls: it is none of ours.
        let ours = |token: TokenInfo| token.token_initialized() && token.label().trim_end() == label;
        if module.get_token_info(slot).is_ok_and(ours) {
            found.push(slot);
        }
    }
    match found[..] {
        [slot] => Ok(slot),
        [] => Err(not_there(label).into()),
        [..] => Err(Kind::Config
            .error(format_args!(
                "kms.pkcs11.token-label: {} tokens have the label '{label}': make it unique",
                found.len()
            ))
            .into()),
    }
}

//! What a module that fails means by it.

use cryptoki::error::{Error as ModuleError, RvError};

use crate::error::{Error, Kind};

/// A failure of the module, or one that we know the meaning of already.
#[derive(Debug)]
pub enum Fault {
    Module(ModuleError),
    Known(Error),
}

impl From<ModuleError> for Fault {
    fn from(error: ModuleError) -> Fault {
        Fault::Module(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Known(error)
    }
}

impl Fault {
    /// The error, led by the token it happened at.
    pub fn explain(self, token: &str) -> Error {
        match self {
            Fault::Known(error) => error,
            Fault::Module(error) => {
                let (kind, advice) = classify(&error);
                kind.error(format_args!("pkcs11 token '{token}': {}: {advice}", said(&error)))
            }
        }
    }

    /// True if sessions, or the token, are gone: a new session may do.
    pub fn lost_the_session(&self) -> bool {
        use RvError::{
            CryptokiNotInitialized, DeviceRemoved, KeyHandleInvalid, ObjectHandleInvalid, SessionClosed,
            SessionHandleInvalid, SlotIdInvalid, TokenNotPresent, TokenNotRecognized, UnwrappingKeyHandleInvalid,
            UserNotLoggedIn, WrappingKeyHandleInvalid,
        };
        let Fault::Module(ModuleError::Pkcs11(code, _)) = self else { return false };
        matches!(
            code,
            CryptokiNotInitialized
                | DeviceRemoved
                | KeyHandleInvalid
                | ObjectHandleInvalid
                | SessionClosed
                | SessionHandleInvalid
                | SlotIdInvalid
                | TokenNotPresent
                | TokenNotRecognized
                | UnwrappingKeyHandleInvalid
                | UserNotLoggedIn
                | WrappingKeyHandleInvalid
        )
    }

    /// True if the module says that what it should unwrap is wrong.
    pub fn refuses_the_wrapped_key(&self) -> bool {
        use RvError::{
            DataInvalid, DataLenRange, EncryptedDataInvalid, EncryptedDataLenRange, SignatureInvalid,
            WrappedKeyInvalid, WrappedKeyLenRange,
        };
        let Fault::Module(ModuleError::Pkcs11(code, _)) = self else { return false };
        matches!(
            code,
            DataInvalid
                | DataLenRange
                | EncryptedDataInvalid
                | EncryptedDataLenRange
                | SignatureInvalid
                | WrappedKeyInvalid
                | WrappedKeyLenRange
        )
    }

    /// True if the module says only that it failed, as some do where a tag does not match.
    pub fn says_nothing(&self) -> bool {
        let Fault::Module(ModuleError::Pkcs11(code, _)) = self else { return false };
        matches!(
            code,
            RvError::GeneralError | RvError::FunctionFailed | RvError::DeviceError | RvError::VendorDefined(_)
        )
    }
}

/// The token is not in any slot.
pub fn not_there(label: &str) -> Error {
    Kind::KmsUnavailable.error(format_args!(
        "no slot holds a token with the label '{label}': is it plugged in, or its partition reachable, and is \
         kms.pkcs11.token-label right?"
    ))
}

fn classify(error: &ModuleError) -> (Kind, &'static str) {
    use RvError as Rv;
    let ModuleError::Pkcs11(code, _) = error else {
        return match error {
            ModuleError::NotSupported | ModuleError::NullFunctionPointer => {
                (Kind::Unsupported, "the module lacks what is needed here")
            }
            _ => (Kind::Internal, "the module said something that is not understood here"),
        };
    };
    match code {
        Rv::PinIncorrect | Rv::PinInvalid | Rv::PinLenRange => (Kind::Credentials, "the PIN is wrong"),
        Rv::PinLocked => (Kind::Credentials, "the PIN is locked: the security officer has to set it anew"),
        Rv::PinExpired | Rv::UserPinNotInitialized => (Kind::Credentials, "the user's PIN has to be set"),
        Rv::UserNotLoggedIn | Rv::UserAnotherAlreadyLoggedIn | Rv::UserTooManyTypes => {
            (Kind::Credentials, "the user is not logged in, or another one is")
        }
        Rv::KeyFunctionNotPermitted | Rv::FunctionRejected => (Kind::KeyDisabled, "the key may not be used so"),
        Rv::ActionProhibited | Rv::AttributeReadOnly | Rv::SessionReadOnly | Rv::TokenWriteProtected => {
            (Kind::AccessDenied, "the token does not let this user do that")
        }
        Rv::MechanismInvalid
        | Rv::MechanismParamInvalid
        | Rv::FunctionNotSupported
        | Rv::TemplateInconsistent
        | Rv::TemplateIncomplete
        | Rv::AttributeTypeInvalid
        | Rv::AttributeValueInvalid => {
            (Kind::Unsupported, "the token does not do this: try another kms.pkcs11.mechanism")
        }
        Rv::KeyTypeInconsistent | Rv::KeySizeRange | Rv::WrappingKeySizeRange | Rv::UnwrappingKeySizeRange => {
            (Kind::Config, "the key is of no use here: an AES key of 256 bits is needed")
        }
        _ => (Kind::KmsUnavailable, "the token or its module is not well; see its own log"),
    }
}

/// The module's own words.
fn said(error: &ModuleError) -> String {
    match error {
        ModuleError::Pkcs11(code, function) => format!("C_{function:?} gave {code:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    /// The meanings are those of PKCS#11 3.0, section 5.1. That SoftHSM 2.6 gives `GENERAL_ERROR` for a tag that does
    /// not match was seen.
    #[test]
    fn every_code_is_the_right_kind() {
        for (code, kind) in [
            (RvError::PinIncorrect, Kind::Credentials),
            (RvError::PinLocked, Kind::Credentials),
            (RvError::UserNotLoggedIn, Kind::Credentials),
            (RvError::KeyFunctionNotPermitted, Kind::KeyDisabled),
            (RvError::TokenWriteProtected, Kind::AccessDenied),
            (RvError::MechanismInvalid, Kind::Unsupported),
            (RvError::KeySizeRange, Kind::Config),
            (RvError::DeviceRemoved, Kind::KmsUnavailable),
            (RvError::SessionCount, Kind::KmsUnavailable),
            (RvError::GeneralError, Kind::KmsUnavailable),
            (RvError::HostMemory, Kind::KmsUnavailable),
        ] {
            let fault = Fault::Module(ModuleError::Pkcs11(code, Function::Decrypt));
            let error = fault.explain("flink");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains("'flink'") && error.message().contains("C_Decrypt"), "{error}");
        }
    }

    #[test]
    fn a_lost_session_is_told_from_a_wrong_wrapped_key_and_from_silence() {
        let fault = |code| Fault::Module(ModuleError::Pkcs11(code, Function::Decrypt));
        assert!(fault(RvError::SessionHandleInvalid).lost_the_session());
        assert!(!fault(RvError::GeneralError).lost_the_session());
        assert!(fault(RvError::GeneralError).says_nothing());
        assert!(fault(RvError::EncryptedDataInvalid).refuses_the_wrapped_key());
        assert!(!fault(RvError::PinIncorrect).refuses_the_wrapped_key());
    }
}

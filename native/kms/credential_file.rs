//! Credentials come from files, never from the configuration itself.

use std::fs;
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};

/// No token, secret or PIN is longer.
const MAX_LEN: u64 = 64 * 1024;

/// The text of a credential's file without the white space around it; `option` is the key that names the file.
pub fn read(option: &str, path: &Path) -> Result<Zeroizing<String>> {
    let bad = |kind: Kind, reason: &dyn std::fmt::Display| -> Error {
        kind.error(format_args!("{option} {}: {reason}", path.display()))
    };
    let length = fs::metadata(path).map_err(|error| bad(Kind::Config, &error))?.len();
    if length > MAX_LEN {
        return Err(bad(Kind::Config, &"it is far too long for a credential"));
    }
    let text = fs::read_to_string(path).map_err(|error| bad(Kind::Config, &error))?;
    let text = Zeroizing::new(text);
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(bad(Kind::Credentials, &"it is empty; put the credential in"));
    }
    if trimmed.contains(|c: char| c.is_control()) {
        return Err(bad(Kind::Credentials, &"it holds more than one line of text; put only the credential in"));
    }
    Ok(Zeroizing::new(trimmed.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_line_and_errors_never_repeat_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read_back = |text: &str| {
            fs::write(&path, text).unwrap();
            read("kms.vault.token-file", &path)
        };
        assert_eq!(read_back("s.secret\n").unwrap().as_str(), "s.secret");
        assert_eq!(read_back("").unwrap_err().kind(), Kind::Credentials);
        let error = read_back("s.secret\nmore").unwrap_err();
        assert!(error.message().contains("kms.vault.token-file") && !error.message().contains("s.secret"), "{error}");
        fs::remove_file(&path).unwrap();
        assert_eq!(read("kms.vault.token-file", &path).unwrap_err().kind(), Kind::Config);
    }
}

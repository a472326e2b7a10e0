//! Which versions meet on this machine: the tool's, those of its formats, the C library's.

use std::io::Read;
use std::process::Command;

use sealpoint::envelope::FORMAT_VERSION;
use sealpoint::error::{Kind, Result};
use sealpoint::ffi;

/// Of the tool, the format of sealed files, and the interfaces of the library.
pub fn of_sealpoint() -> String {
    format!(
        "sealpoint {} for {}; sealed files of version {FORMAT_VERSION}, C interface {}, Java interface {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        ffi::c::SEALPOINT_ABI_VERSION,
        ffi::java_abi_version(),
    )
}

/// Of the C library: what is here, and what this program needs.
pub fn of_the_c_library() -> Result<String> {
    let needed = needed().map_or("it cannot be told".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    match found() {
        Some((found, version)) if needed_is_there(version) => Ok(format!("{found} is here, {needed} is needed")),
        Some((found, _)) => Err(Kind::Unsupported.error(format_args!("{found} is here, and {needed} is needed"))),
        None => Ok(format!("which one is here cannot be told (getconf GNU_LIBC_VERSION); {needed} is needed")),
    }
}

fn needed_is_there(found: (u32, u32)) -> bool {
    needed().is_none_or(|needed| found >= needed)
}

/// As `getconf` tells it: `glibc 2.36`.
fn found() -> Option<(String, (u32, u32))> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let version = version(text.strip_prefix("glibc ")?.as_bytes())?;
    Some((text, version))
}

/// The newest version that this program names. The names of what it needs stand at the beginning of it.
fn needed() -> Option<(u32, u32)> {
    const BEGINNING: u64 = 1024 * 1024;
    const NAME: &[u8] = b"GLIBC_";
    let mut bytes = Vec::new();
    std::fs::File::open("/proc/self/exe").ok()?.take(BEGINNING).read_to_end(&mut bytes).ok()?;
    let names = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    names.filter_map(|(at, _)| version(&bytes[at + NAME.len()..])).max()
}

/// `2.28`, whatever follows it.
fn version(text: &[u8]) -> Option<(u32, u32)> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let mut parts = std::str::from_utf8(&text[..end]).ok()?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(version(b"2.28\0GLIBC"), Some((2, 28)));
        assert_eq!(version(b"2.2.5"), Some((2, 2)));
        assert_eq!(version(b"PRIVATE"), None);
        assert!(version(b"2.10") > version(b"2.9"));
    }
}

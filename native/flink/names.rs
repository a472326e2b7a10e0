//! Which names Flink gives to files and never changes.

use super::metadata::METADATA;

/// True for the names that are sealed into the files that have them: `_metadata`, and the random UUIDs of all state files.
/// `SealedPaths.subject` of the jar decides so when it writes.
pub fn names_are_bound(name: &str) -> bool {
    name == METADATA || is_uuid(name)
}

fn is_uuid(name: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && name.split('-').all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_uuids_are_bound_and_nothing_else() {
        for name in ["_metadata", "01234567-89ab-cdef-0123-456789abcdef"] {
            assert!(names_are_bound(name), "{name}");
        }
        for name in [
            "",
            "metadata",
            "01234567-89AB-cdef-0123-456789abcdef",
            "0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef_DIRTY",
        ] {
            assert!(!names_are_bound(name), "{name}");
        }
    }
}

//! The sealed file format: bytes only, no I/O, no key service.

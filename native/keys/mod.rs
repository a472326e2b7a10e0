//! Data keys: drawn, cached, unwrapped.

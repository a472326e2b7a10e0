//! How many cases a property is tried with.

use proptest::prelude::ProptestConfig;

/// So many, or as many as PROPTEST_CASES says: proptest itself takes the variable for a default only.
pub fn cases(usual: u32) -> ProptestConfig {
    let cases =
        std::env::var("PROPTEST_CASES").map_or(usual, |cases| cases.parse().expect("PROPTEST_CASES is a number"));
    ProptestConfig { cases, ..ProptestConfig::default() }
}

//! Chance, which keeps those who failed together from trying again together.

use std::fmt;
use std::time::Duration;

/// A source of chance, so that tests can hold it still.
pub trait Jitter: Send + Sync + fmt::Debug {
    /// From 0 to 1, without 1.
    fn fraction(&self) -> f64;
}

/// The library's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random;

impl Jitter for Random {
    fn fraction(&self) -> f64 {
        let mut bytes = [0; 4];
        match aws_lc_rs::rand::fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / 4_294_967_296.0,
            // Without chance a pause is only less well spread.
            Err(_) => 0.5,
        }
    }
}

/// A pause by "full jitter": anything from nothing up to a bound that doubles with each failure, from `first` to
/// `longest`; `failures` counts from 1. (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)
pub fn full_jitter(first: Duration, longest: Duration, failures: u32, jitter: &dyn Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(30);
    first.saturating_mul(1 << doublings).min(longest).mul_f64(jitter.fraction())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kms::over::testing::Fixed;

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_chance_takes_a_part_of_it() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(2));
        let pause = |failures, fraction| full_jitter(first, longest, failures, &Fixed(fraction)).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 1000].map(|n| pause(n, 0.5)), [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!((pause(3, 0.0), pause(3, 0.25)), (0, 100));
    }

    #[test]
    fn chance_is_spread_from_nothing_to_one() {
        let drawn: Vec<f64> = (0..1000).map(|_| Random.fraction()).collect();
        assert!(drawn.iter().all(|fraction| (0.0..1.0).contains(fraction)));
        for quarter in 0..4 {
            let share = drawn.iter().filter(|fraction| (*fraction * 4.0) as i32 == quarter).count();
            assert!(share > 100, "{share} of 1000 in quarter {quarter}");
        }
    }
}

//! Which epochs have begun already: each subtask of a checkpoint announces it again.

use std::collections::{HashSet, VecDeque};

/// How many are remembered. An epoch announced again after so many others costs one data key, nothing else.
const REMEMBERED: usize = 1024;

/// The last epochs that began.
#[derive(Debug, Default)]
pub struct Epochs {
    known: HashSet<(String, i64)>,
    order: VecDeque<(String, i64)>,
}

impl Epochs {
    /// True if this epoch has not been announced before, as far as is remembered.
    pub fn is_new(&mut self, scope: &str, checkpoint: i64) -> bool {
        let epoch = (scope.to_owned(), checkpoint);
        if !self.known.insert(epoch.clone()) {
            return false;
        }
        self.order.push_back(epoch);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_new_once_even_if_a_subtask_is_late() {
        let mut epochs = Epochs::default();
        let announced = [("a", 1), ("a", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 2)];
        let new = announced.map(|(scope, checkpoint)| epochs.is_new(scope, checkpoint));
        assert_eq!(new, [true, false, true, false, true, false]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow there, and free of unsafe code")]
    fn memory_is_bounded() {
        let mut epochs = Epochs::default();
        for checkpoint in 0..10 * REMEMBERED as i64 {
            assert!(epochs.is_new("a", checkpoint));
        }
        assert_eq!((epochs.known.len(), epochs.order.len()), (REMEMBERED, REMEMBERED));
    }
}

//! Lists that may be as long as a store has files: all are counted, the first ones kept.

/// How many are kept.
const KEPT: usize = 1_000;

/// A count, and the first of what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Few<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them, a thousand at most.
    pub first: Vec<T>,
}

impl<T> Few<T> {
    /// One more.
    pub fn push(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(item);
        }
    }

    /// All of another one.
    pub fn append(&mut self, other: Few<T>) {
        let more = other.more();
        other.first.into_iter().for_each(|item| self.push(item));
        self.count += more;
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many were counted and not kept.
    pub fn more(&self) -> u64 {
        self.count - self.first.len() as u64
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few { count: 0, first: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_thousand_kept() {
        let mut few = Few::default();
        (0..1_500).for_each(|number| few.push(number));
        assert_eq!((few.count, few.first.len(), few.first[999], few.more()), (1_500, 1_000, 999, 500));
    }
}

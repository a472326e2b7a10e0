//! Gauges with labels: few, and seldom set. Alone of all metrics they take a lock.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::line;

/// A gauge for each of a few things that are named by labels.
#[derive(Debug, Default)]
pub struct Labelled(Mutex<BTreeMap<String, (String, u64)>>);

impl Labelled {
    pub(super) const KIND: &'static str = "gauge";

    /// Sets the gauge of what `labels` name. `state` are further labels, which may be others each time: the one series
    /// takes the place of the other.
    pub fn set(&self, labels: &[(&str, &str)], state: &[(&str, &str)], value: u64) {
        let all = text(labels.iter().chain(state));
        self.0.lock().insert(text(labels.iter()), (all, value));
    }

    /// Every series, as `(labels, value)`, in the order of the labels.
    pub fn get(&self) -> Vec<(String, u64)> {
        self.0.lock().values().cloned().collect()
    }

    pub(super) fn write(&self, out: &mut String, name: &str) {
        for (labels, value) in self.get() {
            line(out, name, &format!("{{{labels}}}"), value);
        }
    }
}

/// `a="1",b="2"`, quoted as the text format wants it.
fn text<'l>(labels: impl Iterator<Item = &'l (&'l str, &'l str)>) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_takes_the_place_of_the_one_before() {
        let gauge = Labelled::default();
        gauge.set(&[("tenant", "a"), ("key", "k")], &[("version", "1")], 1);
        gauge.set(&[("tenant", "b"), ("key", "x\"\\\n")], &[("version", "1")], 1);
        gauge.set(&[("tenant", "a"), ("key", "k")], &[("version", "2")], 1);
        let mut out = String::new();
        gauge.write(&mut out, "in_use");
        let expected = "in_use{tenant=\"a\",key=\"k\",version=\"2\"} 1\nin_use{tenant=\"b\",key=\"x\\\"\\\\\\n\",version=\"1\"} 1\n";
        assert_eq!(out, expected);
    }
}

//! What must be true of a partition, learnt from what clients were told.

use std::collections::{BTreeMap, BTreeSet};

/// The shadow of one partition.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Values by offset that were acknowledged or seen: both must stay.
    known: BTreeMap<i64, String>,
    /// Values that were sent. What else is in the log comes from nowhere.
    sent: BTreeSet<String>,
    /// The offset after the last acknowledged one of each producer.
    acked: BTreeMap<u64, i64>,
}

impl Model {
    pub(crate) fn send(&mut self, values: &[String]) {
        self.sent.extend(values.iter().cloned());
    }

    /// Values are acknowledged from an offset on.
    pub(crate) fn acknowledge(&mut self, producer: u64, base: i64, values: &[String]) -> Result<(), String> {
        let next = self.acked.entry(producer).or_default();
        if base < *next {
            return Err(format!("producer {producer}: acknowledged at {base}, after what ended at {next}"));
        }
        *next = base + i64::try_from(values.len()).unwrap_or(i64::MAX);
        (base..).zip(values).try_for_each(|(offset, value)| self.put(offset, value))
    }

    /// A reader found a value.
    pub(crate) fn see(&mut self, offset: i64, value: &str) -> Result<(), String> {
        if !self.sent.contains(value) {
            return Err(format!("offset {offset}: nobody sent {value:.40}"));
        }
        self.put(offset, value)
    }

    /// An offset has one content, for ever.
    fn put(&mut self, offset: i64, value: &str) -> Result<(), String> {
        let known = self.known.entry(offset).or_insert_with(|| value.to_owned());
        if known == value { Ok(()) } else { Err(format!("offset {offset} was {known:.40} and is {value:.40}")) }
    }

    /// Offsets that are known to exist end here.
    pub(crate) fn end(&self) -> i64 {
        self.known.last_key_value().map_or(0, |(offset, _)| offset + 1)
    }

    /// The whole log was read: it holds all that is known, and nothing twice.
    pub(crate) fn whole(&self, read: &[(i64, String)]) -> Result<(), String> {
        let found: BTreeMap<i64, &str> = read.iter().map(|(offset, value)| (*offset, value.as_str())).collect();
        for (offset, value) in &self.known {
            match found.get(offset) {
                Some(found) if found == value => {}
                Some(found) => return Err(format!("offset {offset} was {value:.40} and is {found:.40}")),
                None => return Err(format!("offset {offset}, {value:.40}, is lost")),
            }
        }
        let mut at: BTreeMap<&str, i64> = BTreeMap::new();
        for (offset, value) in &found {
            if let Some(first) = at.insert(value, *offset) {
                return Err(format!("{value:.40} is there twice, at {first} and {offset}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let mut model = Model::default();
        model.send(&["a".into(), "b".into(), "c".into()]);
        model.acknowledge(1, 0, &["a".into(), "b".into()]).unwrap();
        model
    }

    #[test]
    fn what_is_known_must_stay_where_it_is() {
        let mut model = model();
        assert!(model.see(1, "b").is_ok());
        assert!(model.see(1, "c").unwrap_err().contains("was b and is c"));
        assert!(model.see(2, "z").unwrap_err().contains("nobody sent"));
        assert!(model.acknowledge(1, 1, &["c".into()]).unwrap_err().contains("after what ended at 2"));
    }

    #[test]
    fn the_whole_log_holds_all_once() {
        let model = model();
        let log = |values: &[&str]| (0..).zip(values.iter().map(|value| (*value).to_owned())).collect::<Vec<_>>();
        assert!(model.whole(&log(&["a", "b", "c"])).is_ok());
        assert!(model.whole(&log(&["a"])).unwrap_err().contains("is lost"));
        assert!(model.whole(&log(&["b", "a"])).unwrap_err().contains("was a and is b"));
        assert!(model.whole(&log(&["a", "b", "a"])).unwrap_err().contains("twice"));
    }
}

//! The names that the members of a group subscribe to, each once.
//!
//! Counted as members come and go: to look through all of them for each one that joins would cost the square of their
//! number while a large group forms.

use std::collections::BTreeMap;

/// How many members name each topic.
#[derive(Debug, Default)]
pub(super) struct Subscribed(BTreeMap<String, usize>);

impl Subscribed {
    /// A member subscribes to these.
    pub(super) fn add(&mut self, topics: &[String]) {
        for topic in topics {
            match self.0.get_mut(topic) {
                Some(members) => *members += 1,
                None => drop(self.0.insert(topic.clone(), 1)),
            }
        }
    }

    /// A member does so no more.
    pub(super) fn remove(&mut self, topics: &[String]) {
        for topic in topics {
            match self.0.get_mut(topic) {
                Some(members) if *members > 1 => *members -= 1,
                _ => drop(self.0.remove(topic)),
            }
        }
    }

    /// Every name that somebody subscribes to.
    pub(super) fn iter(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_while_somebody_has_it_and_once() {
        let mut subscribed = Subscribed::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let shown = |subscribed: &Subscribed| subscribed.iter().cloned().collect::<Vec<_>>().join(" ");
        for _ in 0..1000 {
            subscribed.add(&names(&["a", "b"]));
        }
        subscribed.add(&names(&["b", "c"]));
        assert_eq!(shown(&subscribed), "a b c", "what is looked through does not grow with the members");
        for _ in 0..1000 {
            subscribed.remove(&names(&["a", "b"]));
        }
        assert_eq!(shown(&subscribed), "b c");
        subscribed.remove(&names(&["b", "c"]));
        subscribed.remove(&names(&["d"]));
        assert_eq!(shown(&subscribed), "");
    }
}

//! The events of a history, in memory: names are numbers there.

use std::collections::HashMap;

use crate::event::Event;

/// A history that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that is no event.
    #[error("line {line} is no event: {source}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something is told of a value that was not sent before.
    #[error("event {event}: value {value} of {client} was never sent there")]
    NeverSent {
        /// The number of the event, from 0.
        event: usize,
        /// The producer.
        client: String,
        /// Its value.
        value: u64,
    },
    /// More events than can be numbered.
    #[error("a history has at most {} events", u32::MAX)]
    TooLong,
}

/// A client, topic or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(u32);

/// The number of an event of a history, in the order in which they were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct EventId(u32);

impl EventId {
    pub(crate) fn number(self) -> usize {
        self.0 as usize
    }
}

/// What clients told.
#[derive(Debug, Default)]
pub struct History {
    events: Vec<Event<Name>>,
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, Name>,
}

impl History {
    /// Adds an event. The order of the events of one client is that in which they happened to it.
    pub fn push(&mut self, event: Event<&str>) {
        let event = event.map(&mut |name| self.number(name));
        self.events.push(event);
    }

    /// Adds the lines of a file.
    pub fn read(&mut self, text: &str) -> Result<(), Error> {
        for (line, text) in (1..).zip(text.lines()) {
            let event: Event<String> = serde_json::from_str(text).map_err(|source| Error::Line { line, source })?;
            let event = event.map(&mut |name| self.number(&name));
            self.events.push(event);
        }
        if u32::try_from(self.events.len()).is_ok() { Ok(()) } else { Err(Error::TooLong) }
    }

    /// The lines of a file.
    pub fn write(&self) -> String {
        let mut text = String::new();
        for (event, _) in self.ids() {
            text.push_str(&serde_json::to_string(&self.event(event)).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nobody told anything.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// An event with its names.
    pub fn event(&self, id: EventId) -> Event<&str> {
        self.get(id).clone().map(&mut |name| self.name(name))
    }

    pub(crate) fn get(&self, id: EventId) -> &Event<Name> {
        &self.events[id.number()]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = (EventId, &Event<Name>)> {
        (0..).map(EventId).zip(&self.events)
    }

    pub(crate) fn name(&self, name: Name) -> &str {
        &self.names[name.0 as usize]
    }

    fn number(&mut self, name: &str) -> Name {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = Name(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }
}

//! What random work expects of a partition.

use std::collections::BTreeMap;

use runnel_api::ProducerIdentity;

/// Marsaglia's xorshift: enough to choose among a dozen steps.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// An idempotent producer of one partition and the batch whose outcome it does not know.
pub(crate) struct Producer {
    pub(crate) identity: ProducerIdentity,
    pub(crate) sequence: i32,
    pub(crate) open: Option<Vec<String>>,
}

/// What a partition must hold.
#[derive(Default)]
pub(crate) struct Model {
    /// Values by offset, acknowledged or seen by a reader: both must stay.
    pub(crate) known: BTreeMap<i64, String>,
    /// Values that may be there or not: sent without a producer id, and never answered.
    pub(crate) unclear: Vec<String>,
    pub(crate) producer: Option<Producer>,
}

impl Model {
    pub(crate) fn acknowledge(&mut self, base: i64, values: Vec<String>) {
        for (offset, value) in (base..).zip(values) {
            self.put(offset, value);
        }
    }

    pub(crate) fn see(&mut self, records: Vec<(i64, Vec<u8>)>) {
        for (offset, value) in records {
            self.put(offset, String::from_utf8(value).unwrap());
        }
    }

    /// An offset has one content, for ever.
    pub(crate) fn put(&mut self, offset: i64, value: String) {
        let known = self.known.entry(offset).or_insert_with(|| value.clone());
        assert!(*known == value, "offset {offset} was {known:.20} and is {value:.20}");
    }

    /// The whole log: all that is known, nothing twice, and nothing that nobody sent.
    pub(crate) fn whole(&self, read: &[(i64, Vec<u8>)]) {
        let mut values: Vec<&[u8]> = read.iter().map(|(_, value)| value.as_slice()).collect();
        for (offset, value) in &self.known {
            let found = read.get(usize::try_from(*offset).unwrap());
            assert!(found.is_some_and(|(_, found)| found == value.as_bytes()), "offset {offset}, {value:.20}, is lost");
        }
        let open = self.producer.iter().flat_map(|producer| producer.open.iter().flatten());
        for value in read.iter().filter(|(offset, _)| !self.known.contains_key(offset)).map(|(_, value)| value) {
            let mut maybe = self.unclear.iter().chain(open.clone());
            assert!(maybe.any(|sent| sent.as_bytes() == value), "nobody knows {}", String::from_utf8_lossy(value));
        }
        values.sort_unstable();
        assert!(values.windows(2).all(|pair| pair[0] != pair[1]), "a record is there twice");
    }
}

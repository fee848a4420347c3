//! Rows of one run as columns: what the encoder fills and the decoder gives back.

use parquet::data_type::ByteArray;

/// One leaf column. `definition` and `repetition` are empty where the schema needs none; `values` leaves nulls out.
#[derive(Debug)]
pub(crate) struct Leaf<T> {
    pub(crate) values: Vec<T>,
    pub(crate) definition: Vec<i16>,
    pub(crate) repetition: Vec<i16>,
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new(), repetition: Vec::new() }
    }
}

impl<T> Leaf<T> {
    /// Appends to a required column.
    pub(crate) fn push(&mut self, value: T) {
        self.values.push(value);
    }

    /// Appends to an optional column.
    pub(crate) fn push_optional(&mut self, value: Option<T>) {
        self.definition.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    /// Appends one level of a repeated column, with its value if it has one.
    pub(crate) fn push_level(&mut self, repetition: i16, definition: i16, value: Option<T>) {
        self.repetition.push(repetition);
        self.definition.push(definition);
        self.values.extend(value);
    }

    /// Forgets the rows, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.definition.clear();
        self.repetition.clear();
    }
}

impl<T: Clone> Leaf<T> {
    /// Appends the same value to a required column `count` times.
    pub(crate) fn fill(&mut self, value: T, count: usize) {
        self.values.resize(self.values.len() + count, value);
    }

    /// Appends the same value to an optional column `count` times.
    pub(crate) fn fill_optional(&mut self, value: Option<T>, count: usize) {
        self.definition.resize(self.definition.len() + count, i16::from(value.is_some()));
        if let Some(value) = value {
            self.fill(value, count);
        }
    }
}

/// Every column, named as in the schema without the prefix.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) partition: Leaf<i32>,
    pub(crate) offset: Leaf<i64>,
    /// Microseconds.
    pub(crate) timestamp: Leaf<i64>,
    pub(crate) timestamp_type: Leaf<i32>,
    /// Microseconds.
    pub(crate) append_time: Leaf<i64>,
    pub(crate) key: Leaf<ByteArray>,
    pub(crate) value: Leaf<ByteArray>,
    pub(crate) header_key: Leaf<ByteArray>,
    pub(crate) header_value: Leaf<ByteArray>,
    pub(crate) schema_id: Leaf<i32>,
    pub(crate) leader_epoch: Leaf<i32>,
    pub(crate) producer_id: Leaf<i64>,
    pub(crate) producer_epoch: Leaf<i32>,
    pub(crate) sequence: Leaf<i32>,
    pub(crate) attributes: Leaf<i32>,
    pub(crate) batch_base_offset: Leaf<i64>,
}

impl Columns {
    /// Rows held.
    pub(crate) fn rows(&self) -> usize {
        self.offset.values.len()
    }

    /// Forgets the rows, keeps the memory.
    pub(crate) fn clear(&mut self) {
        let Self { partition, offset, timestamp, timestamp_type, append_time, key, value, .. } = self;
        let Self { header_key, header_value, schema_id, leader_epoch, producer_id, producer_epoch, .. } = self;
        let Self { sequence, attributes, batch_base_offset, .. } = self;
        for column in [partition, timestamp_type, schema_id, leader_epoch, producer_epoch, sequence, attributes] {
            column.clear();
        }
        for column in [offset, timestamp, append_time, producer_id, batch_base_offset] {
            column.clear();
        }
        for column in [key, value, header_key, header_value] {
            column.clear();
        }
    }
}

//! The columns of Parquet v1, a public contract: columns may be added, never changed or removed
//! (`docs/formats/segment.md`).
//!
//! The schema lists the columns in the order of the document; the field ids follow Iceberg's assignment order. On disk
//! the column chunks of a row group lie in [`ON_DISK`] order, the value last, so that a fetch is two ranged reads.

use std::sync::{Arc, LazyLock};

use parquet::basic::Encoding;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor};

use crate::options::ParquetCodec;

/// The number in the footer key `runnel.format`.
pub(crate) const FORMAT: u32 = 1;

/// Parquet message type of version 1.
pub(crate) const MESSAGE_TYPE: &str = "
message runnel {
  required int32 kafka_partition = 1;
  required int64 kafka_offset = 2;
  required int64 kafka_timestamp (TIMESTAMP(MICROS,true)) = 3;
  required int32 kafka_timestamp_type = 4;
  required int64 kafka_append_time (TIMESTAMP(MICROS,true)) = 5;
  optional binary kafka_key = 6;
  optional binary kafka_value = 7;
  required group kafka_headers (LIST) = 8 {
    repeated group list {
      required group element = 15 {
        required binary key (STRING) = 16;
        optional binary value = 17;
      }
    }
  }
  optional int32 kafka_schema_id = 9;
  optional int32 kafka_leader_epoch = 10;
  optional int64 kafka_producer_id = 11;
  optional int32 kafka_producer_epoch = 12;
  optional int32 kafka_sequence = 13;
  optional int32 kafka_batch_attributes = 14;
  required int64 kafka_batch_base_offset = 18;
}
";

/// Leaf columns by their place in the schema.
pub(crate) mod leaf {
    pub(crate) const PARTITION: usize = 0;
    pub(crate) const OFFSET: usize = 1;
    pub(crate) const TIMESTAMP: usize = 2;
    pub(crate) const TIMESTAMP_TYPE: usize = 3;
    pub(crate) const APPEND_TIME: usize = 4;
    pub(crate) const KEY: usize = 5;
    pub(crate) const VALUE: usize = 6;
    pub(crate) const HEADER_KEY: usize = 7;
    pub(crate) const HEADER_VALUE: usize = 8;
    pub(crate) const SCHEMA_ID: usize = 9;
    pub(crate) const LEADER_EPOCH: usize = 10;
    pub(crate) const PRODUCER_ID: usize = 11;
    pub(crate) const PRODUCER_EPOCH: usize = 12;
    pub(crate) const SEQUENCE: usize = 13;
    pub(crate) const ATTRIBUTES: usize = 14;
    pub(crate) const BATCH_BASE_OFFSET: usize = 15;
    pub(crate) const COUNT: usize = 16;
}

/// Order of the column chunks of a row group on disk: small columns first, then key, headers and value.
pub(crate) const ON_DISK: [usize; leaf::COUNT] = [
    leaf::PARTITION,
    leaf::OFFSET,
    leaf::TIMESTAMP,
    leaf::TIMESTAMP_TYPE,
    leaf::APPEND_TIME,
    leaf::SCHEMA_ID,
    leaf::LEADER_EPOCH,
    leaf::PRODUCER_ID,
    leaf::PRODUCER_EPOCH,
    leaf::SEQUENCE,
    leaf::ATTRIBUTES,
    leaf::BATCH_BASE_OFFSET,
    leaf::KEY,
    leaf::HEADER_KEY,
    leaf::HEADER_VALUE,
    leaf::VALUE,
];

static SCHEMA: LazyLock<SchemaDescPtr> = LazyLock::new(|| {
    #[allow(clippy::expect_used)] // a constant, parsed by every test
    let message = parse_message_type(MESSAGE_TYPE).expect("the message type is well formed");
    Arc::new(SchemaDescriptor::new(Arc::new(message)))
});

/// The schema of every segment.
pub(crate) fn schema() -> SchemaDescPtr {
    SCHEMA.clone()
}

/// How columns are written. A page ends where the caller ends a call of `write_batch`, so that pages end with their
/// run: the row limit of one closes a page after each call, the other limits are out of reach.
pub(crate) fn writer_properties(codec: ParquetCodec) -> WriterProperties {
    let mut props = WriterProperties::builder()
        .set_writer_version(parquet::file::properties::WriterVersion::PARQUET_2_0)
        .set_compression(codec.to_parquet())
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_index_truncate_length(Some(16))
        .set_statistics_truncate_length(Some(16))
        .set_data_page_row_count_limit(1)
        .set_data_page_size_limit(usize::MAX)
        .set_write_batch_size(1 << 31);
    let schema = schema();
    for (index, column) in schema.columns().iter().enumerate() {
        let bytes = matches!(index, leaf::KEY | leaf::VALUE | leaf::HEADER_KEY | leaf::HEADER_VALUE);
        let encoding = if bytes { Encoding::PLAIN } else { Encoding::DELTA_BINARY_PACKED };
        props = props.set_column_encoding(column.path().clone(), encoding);
    }
    // The least and greatest of opaque bytes help nobody.
    let no_statistics =
        |path: &ColumnPath| path.string() == "kafka_value" || path.string().starts_with("kafka_headers");
    for column in schema.columns().iter().filter(|c| no_statistics(c.path())) {
        props = props.set_column_statistics_enabled(column.path().clone(), EnabledStatistics::None);
    }
    props.build()
}

/// Rows are sorted by offset.
pub(crate) fn sorting() -> Vec<SortingColumn> {
    vec![SortingColumn { column_idx: leaf::OFFSET as i32, descending: false, nulls_first: false }]
}

#[cfg(test)]
mod tests;

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use parquet::basic::{Encoding, PageType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::printer::print_schema;

use super::*;
use crate::testing::{Record, encoded, log, object};

fn file() -> SerializedFileReader<Bytes> {
    let segment = encoded(&log(5, &[vec![Record::of("a"), Record::of("b")]]), ParquetCodec::default());
    SerializedFileReader::new(Bytes::from(object(&segment))).unwrap()
}

#[test]
fn the_schema_of_a_file_is_the_published_one() {
    let file = file();
    let mut printed = Vec::new();
    print_schema(&mut printed, file.metadata().file_metadata().schema());
    assert_eq!(String::from_utf8(printed).unwrap(), include_str!("../../golden/schema-v1.txt"));
}

#[test]
fn footer_keys_are_the_published_ones() {
    let file = file();
    let entries = file.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let find = |key: &str| entries.iter().find(|e| e.key == key).unwrap().value.clone().unwrap();
    assert_eq!(find("runnel.format"), "1");
    assert_eq!(find("runnel.topic_id"), "000000000000000000000000000000ab");
    assert_eq!(find("runnel.partition"), "3");
    assert_eq!((find("runnel.base_offset"), find("runnel.next_offset")), ("5".into(), "7".into()));
    assert!(!find("runnel.runs").is_empty());
    assert_eq!(entries.len(), 6, "no ARROW:schema, no exceptions");
}

#[test]
fn pages_are_encoded_as_published() {
    let file = file();
    let group = file.get_row_group(0).unwrap();
    assert_eq!(group.metadata().sorting_columns().unwrap()[0].column_idx, 1);
    for (leaf, column) in group.metadata().columns().iter().enumerate() {
        let bytes = [leaf::KEY, leaf::VALUE, leaf::HEADER_KEY, leaf::HEADER_VALUE].contains(&leaf);
        let expected = if bytes { Encoding::PLAIN } else { Encoding::DELTA_BINARY_PACKED };
        for page in group.get_column_page_reader(leaf).unwrap() {
            let page = page.unwrap();
            assert_eq!((page.page_type(), page.encoding()), (PageType::DATA_PAGE_V2, expected), "{leaf}");
        }
        assert!(column.dictionary_page_offset().is_none());
        assert!(column.offset_index_offset().is_some());
        let statistics = ![leaf::VALUE, leaf::HEADER_KEY, leaf::HEADER_VALUE].contains(&leaf);
        assert_eq!(column.column_index_offset().is_some(), statistics, "{leaf}");
        assert_eq!(column.statistics().is_some(), statistics, "{leaf}");
    }
}

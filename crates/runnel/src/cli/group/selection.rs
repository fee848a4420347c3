//! Topics and partitions as Kafka's tools write them: `topic`, or `topic:0,2`.

use runnel_client::proto::admin::v1::TopicPartitions;

pub(super) fn selection(text: &str) -> Result<TopicPartitions, String> {
    let (topic, partitions) = match text.split_once(':') {
        None => (text, Ok(Vec::new())),
        Some((topic, numbers)) => (topic, numbers.split(',').map(str::parse).collect()),
    };
    match partitions {
        Ok(partitions) if !topic.is_empty() => Ok(TopicPartitions { topic: topic.to_owned(), partitions }),
        _ => Err(format!("`{text}` is neither a TOPIC nor TOPIC:PARTITION,PARTITION")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn topics_stand_alone_or_with_partitions() {
        let of = |topic: &str, partitions: &[i32]| {
            Ok(TopicPartitions { topic: topic.to_owned(), partitions: partitions.to_vec() })
        };
        assert_eq!(selection("t"), of("t", &[]));
        assert_eq!(selection("a.b-c_d:7"), of("a.b-c_d", &[7]));
        assert_eq!(selection("t:0,2,11"), of("t", &[0, 2, 11]));
        for bad in ["", ":", ":1", "t:", "t:x", "t:1,", "t:1,,2", "t:1:2"] {
            assert!(selection(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}

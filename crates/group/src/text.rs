//! Bytes and ids as text, for requests and answers that travel between brokers.

/// Bytes in base64.
pub(crate) mod bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map(Bytes::from).map_err(de::Error::custom)
    }
}

/// Bytes in base64, each with a name.
pub(crate) mod named_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Named(String, #[serde(with = "super::bytes")] Bytes);

    pub(crate) fn serialize<S: Serializer>(all: &[(String, Bytes)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|(name, bytes)| Named(name.clone(), bytes.clone())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Bytes)>, D::Error> {
        let all = Vec::<Named>::deserialize(from)?;
        Ok(all.into_iter().map(|Named(name, bytes)| (name, bytes)).collect())
    }
}

/// A topic id as people write it.
pub(crate) mod topic_id {
    use runnel_record::TopicId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(id: &TopicId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TopicId, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use ::bytes::Bytes;
    use runnel_record::TopicId;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use uuid::Uuid;

    use crate::{Joined, JoinedMember, NamedPartitions, Partitions, Synced};

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, text: &str) {
        let written = serde_json::to_string(value).unwrap();
        assert!(written.contains(text), "{written}");
        assert_eq!(&serde_json::from_str::<T>(&written).unwrap(), value);
    }

    #[test]
    fn bytes_and_ids_survive_text() {
        let bytes = Bytes::from_static(b"\xff\0any");
        check(&Synced { protocol_type: None, protocol: None, assignment: bytes.clone() }, "/wBhbnk=");
        let members = vec![JoinedMember { member_id: "m".to_owned(), instance_id: None, metadata: bytes }];
        let joined = Joined {
            generation: 3,
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            leader: "m".to_owned(),
            member_id: "m".to_owned(),
            skip_assignment: false,
            members,
        };
        check(&joined, "/wBhbnk=");
        let id = TopicId(Uuid::from_u128(10));
        check(&NamedPartitions { id, name: "t".to_owned(), partitions: vec![1] }, "0000000a");
        let mut partitions = Partitions::default();
        partitions.insert(id, 7);
        check(&partitions, "[7]");
        assert!(serde_json::from_str::<Partitions>(r#"[["x",[1]]]"#).is_err());
    }
}

//! CreatePartitions: a topic gets more partitions, never fewer. The new ones are empty; keys may go elsewhere from then on.

use runnel_api::{Error, ErrorKind, TopicKey};
use runnel_format::meta::TopicRecord;

use super::create::MAX_PARTITIONS;
use crate::Broker;

impl Broker {
    /// Gives a topic `count` partitions in all. `assignments`, where given, names the brokers of each new one.
    pub(crate) async fn grow(
        &self,
        name: &str,
        count: i32,
        assignments: Option<&[Vec<i32>]>,
        validate_only: bool,
    ) -> Result<(), Error> {
        let _changing = self.topics.changing.lock().await;
        let topic = self.find_topic(&TopicKey::Name(name.to_owned())).await?;
        let now = topic.record().partitions;
        let invalid = |why: String| Err(Error::new(ErrorKind::InvalidPartitions, why));
        if count == now {
            return invalid(format!("topic `{name}` has {now} partitions already"));
        }
        if count < now {
            return invalid(format!(
                "topic `{name}` has {now} partitions, which is more than {count}: none is taken away"
            ));
        }
        if count > MAX_PARTITIONS {
            return invalid(format!("{count} partitions: a topic has at most {MAX_PARTITIONS}"));
        }
        if let Some(assignments) = assignments {
            let new = usize::try_from(count - now).unwrap_or(0);
            if assignments.len() != new || !assignments.iter().all(|brokers| self.may_be_assigned(brokers)) {
                let why = format!("assign each of the {new} new partitions to brokers that are alive");
                return Err(Error::new(ErrorKind::InvalidReplicaAssignment, why));
            }
        }
        if validate_only {
            return Ok(());
        }
        // An earlier attempt whose answer got lost may have stored more already.
        let grow = |stored: TopicRecord| Ok(TopicRecord { partitions: stored.partitions.max(count), ..stored });
        self.change(&topic, grow).await?;
        if let Some(grown) = self.topics.find(&TopicKey::Id(topic.id)) {
            self.wait_for_leaders(&grown).await;
        }
        tracing::info!(topic = name, partitions = count, "added partitions");
        Ok(())
    }
}

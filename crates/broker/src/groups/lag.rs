//! How far groups are behind, as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runnel_api::groups::FetchOffsets;
use runnel_api::{Error, Groups, TopicKey};

use crate::Broker;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Groups that are shown, by name: each is a row of series that a scraper keeps.
const MOST_GROUPS: usize = 1000;

/// By group and topic: records that were appended and not committed.
type Lags = BTreeMap<(String, String), i64>;

impl Broker {
    /// Publishes members and lag of every group until the broker stops.
    pub(crate) async fn show_lag(self: Arc<Self>) {
        let (mut lags, mut members) = (Lags::new(), BTreeMap::new());
        loop {
            tokio::select! {
                biased;
                () = self.stop_signal.triggered() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            // What is gone is shown as nothing once, and what cannot be asked now stays as it was.
            let Ok((found_members, found_lags)) = self.lags().await else { continue };
            let gone = lags.into_keys().filter(|key| !found_lags.contains_key(key)).map(|key| (key, 0));
            for ((group, topic), lag) in gone.chain(found_lags.clone()) {
                metrics::gauge!("runnel_group_lag_records", "group" => group, "topic" => topic).set(as_gauge(lag));
            }
            let gone = members.into_keys().filter(|group| !found_members.contains_key(group)).map(|group| (group, 0));
            for (group, count) in gone.chain(found_members.clone()) {
                metrics::gauge!("runnel_group_members", "group" => group).set(as_gauge(count));
            }
            (lags, members) = (found_lags, found_members);
        }
    }

    async fn lags(&self) -> Result<(BTreeMap<String, i64>, Lags), Error> {
        let (mut members, mut lags) = (BTreeMap::new(), Lags::new());
        for listed in self.list_groups().await?.into_iter().take(MOST_GROUPS) {
            let all = FetchOffsets { group: listed.group.clone(), topics: None, member: None };
            for committed in self.fetch_offsets(all).await? {
                // One that nobody has opened since the start has nothing new either, or will be counted soon.
                let topic = TopicKey::Name(committed.topic.clone());
                let Some(partition) = self.topics.partition_if_open(&topic, committed.partition) else { continue };
                let behind = partition.watermark.get().0.saturating_sub(committed.offset).max(0);
                *lags.entry((listed.group.clone(), committed.topic)).or_default() += behind;
            }
            members.insert(listed.group, i64::try_from(listed.members).unwrap_or(i64::MAX));
        }
        Ok((members, lags))
    }
}

fn as_gauge(value: i64) -> f64 {
    value as f64
}

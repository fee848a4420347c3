//! Administration, which any broker does: what it changes is in the metadata store.

use async_trait::async_trait;
use runnel_api::error::Result;
use runnel_api::{
    Admin, ClientQuota, ConfigChange, ConfigEntry, ConfigResource, CreateTopic, Created, Error, ErrorKind,
    NewPartitions, QuotaChange, TopicKey,
};
use runnel_record::TopicId;

use super::{Forwarding, THE_ONE};

#[async_trait]
impl Admin for Forwarding {
    async fn create_topic(&self, mut topic: CreateTopic, validate_only: bool) -> Created {
        if self.as_one {
            let own = self.own_number().await;
            for (_, brokers) in &mut topic.assignments {
                on_one(brokers, own)?;
            }
        }
        self.local.create_topic(topic, validate_only).await
    }

    async fn delete_topic(&self, topic: &TopicKey) -> Result<(String, TopicId)> {
        self.local.delete_topic(topic).await
    }

    async fn create_partitions(&self, wanted: &NewPartitions, validate_only: bool) -> Result<()> {
        if !self.as_one || wanted.assignments.is_none() {
            return self.local.create_partitions(wanted, validate_only).await;
        }
        let (mut wanted, own) = (wanted.clone(), self.own_number().await);
        for brokers in wanted.assignments.iter_mut().flatten() {
            on_one(brokers, own)?;
        }
        self.local.create_partitions(&wanted, validate_only).await
    }

    async fn describe_configs(&self, resource: &ConfigResource, names: Option<&[String]>) -> Result<Vec<ConfigEntry>> {
        match resource {
            // Whichever broker is asked: they are set up alike.
            ConfigResource::Broker(Some(THE_ONE)) if self.as_one => {
                let own = ConfigResource::Broker(Some(self.own_number().await));
                self.local.describe_configs(&own, names).await
            }
            other => self.local.describe_configs(other, names).await,
        }
    }

    async fn configured_groups(&self) -> Vec<String> {
        self.local.configured_groups().await
    }

    async fn client_quotas(&self) -> Vec<ClientQuota> {
        self.local.client_quotas().await
    }

    async fn alter_client_quotas(&self, changes: &[QuotaChange], validate_only: bool) -> Vec<Result<()>> {
        self.local.alter_client_quotas(changes, validate_only).await
    }

    async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Result<()> {
        match resource {
            // The one broker that clients see is all of them.
            ConfigResource::Broker(Some(THE_ONE)) if self.as_one => {
                self.local.alter_configs(&ConfigResource::Broker(None), changes, validate_only).await
            }
            other => self.local.alter_configs(other, changes, validate_only).await,
        }
    }
}

impl Forwarding {
    async fn own_number(&self) -> i32 {
        self.local.describe_cluster().await.this_node
    }
}

/// Replicas on the one broker that there is to be seen. Where they really are is not for clients to say.
fn on_one(brokers: &mut [i32], own: i32) -> Result<()> {
    match brokers {
        [one] if *one == THE_ONE => *one = own,
        [] => {}
        others => {
            let what = format!("there is no broker {others:?}: the cluster shows itself as broker {THE_ONE} alone");
            return Err(Error::new(ErrorKind::InvalidReplicaAssignment, what));
        }
    }
    Ok(())
}

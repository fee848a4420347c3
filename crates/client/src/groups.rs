//! Consumer groups as tools see them: one method for each call.

use std::time::Duration;

use runnel_proto::admin::v1 as admin;
use runnel_proto::admin::v1::group_service_client::GroupServiceClient;

use crate::{Client, Result};

/// Longer than a broker takes to ask the logs of many partitions, some of which may have to be opened.
const MANY_LOGS: Duration = Duration::from_secs(60);

impl Client {
    /// Every group, by name.
    pub async fn groups(&self) -> Result<Vec<admin::Group>> {
        let (mut groups, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = admin::ListGroupsRequest { page_size: 0, page_token };
            let page = self.call(|c| async { GroupServiceClient::new(c).list_groups(request).await }).await?;
            groups.extend(page.groups);
            if page.next_page_token.is_empty() {
                return Ok(groups);
            }
            page_token = page.next_page_token;
        }
    }

    /// A group and all its members, by id. Those of one that changes meanwhile may be of different moments.
    pub async fn group(&self, name: &str) -> Result<admin::DescribeGroupResponse> {
        let request = admin::DescribeGroupRequest { group: name.to_owned(), ..admin::DescribeGroupRequest::default() };
        let mut described = self.describe_page(request.clone()).await?;
        while !described.next_page_token.is_empty() {
            let page_token = std::mem::take(&mut described.next_page_token);
            let page = self.describe_page(admin::DescribeGroupRequest { page_token, ..request.clone() }).await?;
            described.members.extend(page.members);
            described.next_page_token = page.next_page_token;
        }
        Ok(described)
    }

    async fn describe_page(&self, request: admin::DescribeGroupRequest) -> Result<admin::DescribeGroupResponse> {
        self.call(|c| async { GroupServiceClient::new(c).describe_group(request).await }).await
    }

    /// Where a group is in every partition that it reads or has read, by topic and partition; with `times`, also how old
    /// the first record is that it has not read.
    pub async fn group_offsets(&self, name: &str, times: bool) -> Result<Vec<admin::GroupOffset>> {
        let (mut offsets, mut page_token) = (Vec::new(), String::new());
        loop {
            let group = name.to_owned();
            let request = admin::ListGroupOffsetsRequest { group, page_size: 0, page_token, with_lag_ms: times };
            let call = |c| async { GroupServiceClient::new(c).list_group_offsets(request).await };
            let page = self.call_within(MANY_LOGS, call).await?;
            offsets.extend(page.offsets);
            if page.next_page_token.is_empty() {
                return Ok(offsets);
            }
            page_token = page.next_page_token;
        }
    }

    /// Commits other offsets for a group without members. Each partition says what became of it.
    pub async fn reset_offsets(&self, request: admin::ResetOffsetsRequest) -> Result<Vec<Reset>> {
        let call = |c| async { GroupServiceClient::new(c).reset_offsets(request).await };
        Ok(self.call_within(MANY_LOGS, call).await?.offsets)
    }

    /// Deletes what a group committed. Each partition says what became of it.
    pub async fn delete_offsets(&self, request: admin::DeleteOffsetsRequest) -> Result<Vec<Deleted>> {
        let call = |c| async { GroupServiceClient::new(c).delete_offsets(request).await };
        Ok(self.call(call).await?.offsets)
    }

    /// Deletes a group without members and all that it committed.
    pub async fn delete_group(&self, name: &str) -> Result<()> {
        let request = admin::DeleteGroupRequest { group: name.to_owned() };
        self.call(|c| async { GroupServiceClient::new(c).delete_group(request).await }).await?;
        Ok(())
    }
}

type Reset = admin::reset_offsets_response::ResetOffset;
type Deleted = admin::delete_offsets_response::DeletedOffset;

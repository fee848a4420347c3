//! `runnel group describe`.

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::admin::v1::{DescribeGroupResponse, Group, GroupMember};
use serde_json::{Value, json};

use super::{lag, state_name, type_name};
use crate::cli::output::{self, Output, Table, count};

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// The group.
    group: String,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &DescribeArgs, client: Client) -> anyhow::Result<()> {
    let described = client.group(&args.group).await?;
    let offsets = client.group_offsets(&args.group, true).await?;
    let group = described.group.clone().unwrap_or_default();
    let value = || {
        json!({
            "group": args.group, "type": type_name(&group), "state": state_name(&group),
            "protocol_type": group.protocol_type, "protocol": described.protocol,
            "members": described.members.iter().map(member).collect::<Value>(), "offsets": lag::as_json(&offsets),
        })
    };
    let table = || {
        let offsets = match offsets.as_slice() {
            [] => "no offsets are committed\n".to_owned(),
            offsets => format!("{}\n{}\n", lag::as_table(offsets), lag::Total::of(offsets)),
        };
        format!("{}\n\n{}\n{offsets}", headline(args, &group, &described), members(&described))
    };
    Ok(output::print(args.output, &value(), table)?)
}

fn headline(args: &DescribeArgs, group: &Group, described: &DescribeGroupResponse) -> String {
    let strategy = match described.protocol.as_str() {
        "" => String::new(),
        strategy => format!(", {strategy}"),
    };
    format!("group {} ({}{strategy}): {}", args.group, type_name(group), state_name(group))
}

fn member(member: &GroupMember) -> Value {
    let assignment = member.assignment.iter().map(|a| json!({"topic": a.topic, "partitions": a.partitions}));
    json!({
        "member_id": member.member_id, "instance_id": member.instance_id, "client_id": member.client_id,
        "client_host": member.client_host, "assignment": assignment.collect::<Value>(),
    })
}

fn members(described: &DescribeGroupResponse) -> String {
    if described.members.is_empty() {
        return "no members\n".to_owned();
    }
    let mut table = Table::new(["MEMBER", "INSTANCE", "CLIENT", "HOST", "READS"]);
    for member in &described.members {
        let instance = member.instance_id.clone().unwrap_or_else(|| "-".to_owned());
        let partitions: usize = member.assignment.iter().map(|topic| topic.partitions.len()).sum();
        let reads = count(partitions as u64, "partition");
        table.row([member.member_id.clone(), instance, member.client_id.clone(), member.client_host.clone(), reads]);
    }
    table.to_string()
}

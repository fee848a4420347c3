//! `runnel group`: consumer groups of a running broker, whichever protocol their members speak.

mod delete;
mod describe;
mod lag;
mod list;
mod reset;
mod selection;

use clap::{Args, Subcommand};
use runnel_client::proto::admin::v1::{Group, GroupState, GroupType};

use super::remote::Remote;

#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List the groups.
    List(list::ListArgs),
    /// Show a group: its members, what each reads, and how far it is behind.
    Describe(describe::DescribeArgs),
    /// Show how far a group is behind, partition by partition and in all.
    Lag(lag::LagArgs),
    /// Let a group go on elsewhere. Its consumers must be stopped. Shows old and new offsets.
    Reset(reset::ResetArgs),
    /// Delete a group without members, or only what it committed for some topics. Without --yes it asks.
    Delete(delete::DeleteArgs),
}

pub(crate) fn run(args: &GroupArgs, remote: &Remote) -> anyhow::Result<()> {
    match &args.command {
        GroupCommand::List(args) => remote.run(|client| list::run(args, client)),
        GroupCommand::Describe(args) => remote.run(|client| describe::run(args, client)),
        GroupCommand::Lag(args) => remote.run(|client| lag::run(args, client)),
        GroupCommand::Reset(args) => remote.run(|client| reset::run(args, client)),
        GroupCommand::Delete(args) => remote.run(|client| delete::run(args, client)),
    }
}

/// The word of `group.protocol` that makes a consumer a member of such a group.
fn type_name(group: &Group) -> &'static str {
    match group.r#type() {
        GroupType::Unspecified => "unknown",
        GroupType::Classic => "classic",
        GroupType::Consumer => "consumer",
    }
}

/// Kafka's name of the state.
fn state_name(group: &Group) -> &'static str {
    match group.state() {
        GroupState::Unspecified => "Unknown",
        GroupState::Empty => "Empty",
        GroupState::PreparingRebalance => "PreparingRebalance",
        GroupState::CompletingRebalance => "CompletingRebalance",
        GroupState::Stable => "Stable",
        GroupState::Assigning => "Assigning",
        GroupState::Reconciling => "Reconciling",
    }
}

/// A number, or what stands for none.
fn or_dash(number: Option<i64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

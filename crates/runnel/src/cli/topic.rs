//! `runnel topic`: topics of a running broker, and one repair of a stopped one.

mod accept_loss;
mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod trim;

use clap::{Args, Subcommand};

use super::remote::Remote;

#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create a topic.
    Create(create::CreateArgs),
    /// List the topics.
    List(list::ListArgs),
    /// Show a topic: its partitions, where their logs stand, and which configs are not the default.
    Describe(describe::DescribeArgs),
    /// Change configs of a topic: all changes or none.
    Alter(alter::AlterArgs),
    /// Delete a topic. Without --yes it asks.
    Delete(delete::DeleteArgs),
    /// Give up the records below an offset: the log starts there. Without --yes it asks.
    Trim(trim::TrimArgs),
    /// Give up what cannot be read any more, so that a partition takes writes again: what lies behind a corrupt range of the
    /// write-ahead log of a stopped broker, or with --lost-disk what was only on the disk of a broker of a cluster that is
    /// gone for good. Without --yes it says what would be lost and asks.
    AcceptLoss(accept_loss::AcceptLossArgs),
}

pub(crate) fn run(args: &TopicArgs, remote: &Remote) -> anyhow::Result<()> {
    match &args.command {
        TopicCommand::Create(args) => remote.run(|client| create::run(args, client)),
        TopicCommand::List(args) => remote.run(|client| list::run(args, client)),
        TopicCommand::Describe(args) => remote.run(|client| describe::run(args, client)),
        TopicCommand::Alter(args) => remote.run(|client| alter::run(args, client)),
        TopicCommand::Delete(args) => remote.run(|client| delete::run(args, client)),
        TopicCommand::Trim(args) => remote.run(|client| trim::run(args, client)),
        TopicCommand::AcceptLoss(args) => accept_loss::run(args, remote),
    }
}

/// `name=value`.
fn config(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

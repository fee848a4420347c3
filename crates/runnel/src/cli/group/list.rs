//! `runnel group list`.

use clap::Args;
use runnel_client::Client;
use serde_json::{Value, json};

use super::{state_name, type_name};
use crate::cli::output::{self, Output, Table};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) async fn run(args: &ListArgs, client: Client) -> anyhow::Result<()> {
    let groups = client.groups().await?;
    let rows = groups.iter().map(|group| {
        json!({
            "group": group.group, "type": type_name(group), "state": state_name(group),
            "protocol_type": group.protocol_type, "members": group.members,
        })
    });
    let table = || {
        let mut table = Table::new(["GROUP", "TYPE", "STATE", "MEMBERS"]);
        for group in &groups {
            let (kind, state) = (type_name(group).to_owned(), state_name(group).to_owned());
            table.row([group.group.clone(), kind, state, group.members.to_string()]);
        }
        table.to_string()
    };
    Ok(output::print(args.output, &rows.collect::<Value>(), table)?)
}

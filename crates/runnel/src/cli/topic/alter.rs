//! `runnel topic alter`.

use clap::Args;
use runnel_client::Client;
use runnel_client::proto::admin::v1::{ConfigChange, config_change::Op};

#[derive(Debug, Args)]
pub(super) struct AlterArgs {
    /// The topic.
    name: String,
    /// A config to set; may be repeated.
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = super::config)]
    configs: Vec<(String, String)>,
    /// A config that goes back to its default; may be repeated.
    #[arg(
        short,
        long = "delete",
        visible_alias = "delete-config",
        value_name = "NAME",
        required_unless_present = "configs"
    )]
    deletes: Vec<String>,
}

pub(super) async fn run(args: &AlterArgs, client: Client) -> anyhow::Result<()> {
    let change = |name: &String, op: Op, value| ConfigChange { name: name.clone(), op: op.into(), value };
    let sets = args.configs.iter().map(|(name, value)| change(name, Op::Set, Some(value.clone())));
    let deletes = args.deletes.iter().map(|name| change(name, Op::Delete, None));
    client.update_topic_configs(&args.name, sets.chain(deletes).collect()).await?;
    eprintln!("topic `{}` is altered", args.name);
    Ok(())
}

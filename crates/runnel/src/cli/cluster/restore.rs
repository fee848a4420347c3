//! `runnel cluster restore`: straight from the bucket into the metadata store, without a broker.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use runnel_broker::{Plan, Progress, Restore, Restored, TopicPlan};
use runnel_metastore::Etcd;
use serde_json::{Value, json};

use crate::cli::confirm::confirm;
use crate::cli::output::{self, Output, Table, count};
use crate::cli::progress::bar;
use crate::cli::{Failure, Settings, serve};
use crate::config::MetadataStore;

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Throw away what the metadata store holds of this cluster, and end the sessions of brokers that are alive in it.
    #[arg(long)]
    discard_metadata: bool,
    /// Show what would be done and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(restore(args))
}

async fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let config = args.settings.load()?;
    let MetadataStore::Etcd(etcd) = config.metadata_store()? else {
        let what = "metadata.url is `embedded`: a single node keeps its metadata in node.data_dir, and makes lost metadata \
                    anew from bucket and write-ahead log when it starts. Set metadata.url to the etcd of the cluster";
        return Err(Failure::Usage(what.to_owned()).into());
    };
    let meta = Arc::new(Etcd::connect(&etcd)?);
    let restore = Restore::open(config.broker_options()?, meta, args.discard_metadata, serve::fail_points()?)?;
    let shown = Bars::default();
    let plan = restore.plan(&|progress| shown.show(progress)).await?;
    shown.clear();
    let planned = plan_as_json(&plan);
    match args.output {
        // Whoever reads the output reads one document: of what was done, or would be.
        Output::Table => output::print(Output::Table, &Value::Null, || plan_as_table(&plan))?,
        output if args.dry_run || !args.yes => output::print(output, &planned, String::new)?,
        _ => {}
    }
    if args.dry_run {
        eprintln!("nothing was changed: this was a dry run");
        return Ok(());
    }
    confirm(args.yes)?;
    let done = restore.run(&|progress| shown.show(progress)).await;
    shown.clear();
    let done = done.context("not restored to the end: no broker starts before `runnel cluster restore` is through")?;
    match args.output {
        Output::Table => output::print(Output::Table, &Value::Null, || done_as_table(&done))?,
        output => output::print(output, &json!({"plan": planned, "restored": done_as_json(&done)}), String::new)?,
    }
    eprintln!("start the brokers");
    Ok(())
}

/// One bar after the other.
#[derive(Default)]
struct Bars(Mutex<Option<(&'static str, ProgressBar)>>);

impl Bars {
    fn show(&self, Progress { what, done, total }: Progress) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(of, _)| *of != what) {
            *shown = bar(what, total as u64).ok().map(|bar| (what, bar));
        }
        if let Some((_, bar)) = &*shown {
            bar.set_position(done as u64);
        }
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn durability(topic: &TopicPlan) -> &'static str {
    if topic.is_local { "local" } else { "object" }
}

fn plan_as_json(plan: &Plan) -> Value {
    let topics = plan.topics.iter().map(|topic| {
        json!({
            "topic": topic.name, "topic_id": topic.id, "partitions": topic.partitions,
            "durability": durability(topic), "shipped": topic.shipped, "may_miss_records": topic.is_local,
        })
    });
    json!({
        "cluster_id": plan.cluster_id.to_string(), "era": plan.era, "next_era": plan.next_era, "resumes": plan.resumes,
        "discarded_keys": plan.discards, "alive": plan.alive, "open_lanes": plan.open_lanes,
        "ended_lanes": plan.ended_lanes, "topics": topics.collect::<Value>(),
    })
}

fn plan_as_table(plan: &Plan) -> String {
    let mut table = Table::new(["TOPIC", "PARTITIONS", "DURABILITY", "SHIPPED", "NOTE"]);
    for topic in &plan.topics {
        let note = if topic.is_local { "may miss what was on disks alone" } else { "" };
        table.row([
            topic.name.clone(),
            topic.partitions.to_string(),
            durability(topic).to_owned(),
            topic.shipped.to_string(),
            note.to_owned(),
        ]);
    }
    let mut text = format!("cluster {}, era {} to {}\n\n{table}\n", plan.cluster_id, plan.era, plan.next_era);
    if plan.resumes {
        text += "A restore that was cut off is gone on with.\n";
    }
    if plan.discards > 0 {
        text += &format!("{} of the metadata store are thrown away.\n", count(plan.discards as u64, "key"));
    }
    if !plan.alive.is_empty() {
        text += &format!("Brokers are alive and their sessions are ended: {}.\n", plan.alive.join(", "));
    }
    if plan.open_lanes > 0 {
        let lanes = count(plan.open_lanes as u64, "lane");
        text += &format!("{lanes} of brokers that were not ended: if such a broker is alive, it is kept out.\n");
    }
    text
}

fn done_as_json(done: &Restored) -> Value {
    let may_miss = done.may_miss.iter().map(|(topic, partition)| json!({"topic": topic, "partition": partition}));
    json!({
        "cluster_id": done.cluster_id.to_string(), "era": done.era, "topics": done.topics,
        "partitions": done.partitions, "lanes": done.lanes, "unshipped": done.unshipped,
        "may_miss_records": may_miss.collect::<Value>(),
    })
}

fn done_as_table(done: &Restored) -> String {
    let n = |n: usize, noun| count(n as u64, noun);
    let mut text = format!(
        "restored cluster {}, era {}: {}, {}; {} in {} to be shipped\n",
        done.cluster_id,
        done.era,
        n(done.topics, "topic"),
        n(done.partitions, "partition"),
        count(done.unshipped, "offset"),
        n(done.lanes, "lane"),
    );
    if !done.may_miss.is_empty() {
        let mut table = Table::new(["TOPIC", "PARTITION"]);
        for (topic, partition) in &done.may_miss {
            table.row([topic.clone(), partition.to_string()]);
        }
        text += &format!("\nThese may miss records that were acknowledged on a disk alone:\n\n{table}");
    }
    text
}

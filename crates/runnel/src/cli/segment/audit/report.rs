//! What was found, and how it is printed.

use runnel_format::meta::ClusterRecord;
use serde_json::{Value, json};

use crate::cli::output::{self, Output, Table, count};

/// So many findings of a kind are kept; of the rest only the number.
const KEPT: usize = 1_000;

/// Something worth telling.
#[derive(Debug)]
struct Finding {
    path: String,
    what: String,
}

/// Findings of one kind.
#[derive(Debug, Default)]
struct Findings {
    kept: Vec<Finding>,
    more: usize,
}

impl Findings {
    fn add(&mut self, path: String, what: String) {
        if self.kept.len() < KEPT {
            self.kept.push(Finding { path, what });
        } else {
            self.more += 1;
        }
    }

    fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    fn as_json(&self) -> Value {
        self.kept.iter().map(|f| json!({"path": f.path, "what": f.what})).collect()
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) topics: usize,
    pub(super) partitions: usize,
    pub(super) segments: usize,
    pub(super) lanes: usize,
    pub(super) slots: usize,
    pub(super) objects: usize,
    broken: Findings,
    stray: Findings,
    collectable: Findings,
}

impl Report {
    /// Something that is needed is not as it should be.
    pub(super) fn broken(&mut self, path: String, what: impl Into<String>) {
        self.broken.add(path, what.into());
    }

    /// Nothing refers to it and nobody will delete it.
    pub(super) fn stray(&mut self, path: String, what: impl Into<String>) {
        self.stray.add(path, what.into());
    }

    /// Nothing refers to it and somebody will delete it, or refer to it.
    pub(super) fn collectable(&mut self, path: String, what: impl Into<String>) {
        self.collectable.add(path, what.into());
    }

    /// Prints everything; an error if something is broken.
    pub(super) fn finish(&self, cluster: &ClusterRecord, output: Output) -> anyhow::Result<()> {
        output::print(output, &self.as_json(cluster), || self.as_table(cluster))?;
        match self.broken.len() {
            0 => Ok(()),
            1 => anyhow::bail!("1 object is missing or damaged: bring it back from a backup or another copy"),
            n => anyhow::bail!("{n} objects are missing or damaged: bring them back from a backup or another copy"),
        }
    }

    fn as_json(&self, cluster: &ClusterRecord) -> Value {
        json!({
            "cluster_id": cluster.cluster_id.to_string(), "era": cluster.era, "topics": self.topics,
            "partitions": self.partitions, "segments": self.segments, "lanes": self.lanes, "slots": self.slots,
            "objects": self.objects,
            "broken": self.broken.as_json(), "stray": self.stray.as_json(), "collectable": self.collectable.as_json(),
            "not_shown": self.broken.more + self.stray.more + self.collectable.more,
        })
    }

    fn as_table(&self, cluster: &ClusterRecord) -> String {
        let kinds = [("BROKEN", &self.broken), ("stray", &self.stray), ("collectable", &self.collectable)];
        let mut table = Table::new(["FINDING", "OBJECT", "WHAT"]);
        for (kind, found) in kinds {
            for one in &found.kept {
                table.row([kind.to_owned(), one.path.clone(), one.what.clone()]);
            }
            if found.more > 0 {
                table.row([kind.to_owned(), format!("and {} more", found.more), String::new()]);
            }
        }
        let n = |n: usize, noun| count(n as u64, noun);
        let held = format!(
            "cluster {}, era {}: {}, {}, {}, {} with {}\n{}: {} broken, {} stray, {} collectable\n",
            cluster.cluster_id,
            cluster.era,
            n(self.topics, "topic"),
            n(self.partitions, "partition"),
            n(self.segments, "segment"),
            n(self.lanes, "lane"),
            n(self.slots, "unshipped slot"),
            n(self.objects, "object"),
            self.broken.len(),
            self.stray.len(),
            self.collectable.len(),
        );
        let any = kinds.iter().any(|(_, found)| found.len() > 0);
        if any { format!("{table}\n{held}") } else { held }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_all_is_counted() {
        let mut findings = Findings::default();
        (0..KEPT + 7).for_each(|n| findings.add(n.to_string(), String::new()));
        assert_eq!((findings.kept.len(), findings.more, findings.len()), (KEPT, 7, KEPT + 7));
    }
}

//! What the members read, name by name, and whether that changed.

use std::collections::{BTreeMap, BTreeSet};

use super::ConsumerGroup;
use crate::pattern;
use crate::shard::Context;

impl ConsumerGroup {
    /// Looks at the topics, if they or the subscriptions changed; whether what the group reads is different now.
    pub(super) fn look_at_topics(&mut self, ctx: &mut Context<'_>, resubscribed: bool) -> bool {
        let fresh = self.seen == Some(ctx.topics.version());
        if fresh && !resubscribed {
            return false;
        }
        let rematched = !fresh && self.match_again(ctx);
        self.seen = Some(ctx.topics.version());
        let found: BTreeMap<_, _> = {
            let names: BTreeSet<&String> = self.subscribed.iter().chain(self.patterns.values().flatten()).collect();
            names.into_iter().filter_map(|name| Some((name.clone(), ctx.topics.find(name)?))).collect()
        };
        let changed = found != self.topics;
        if changed {
            self.topics = found;
            self.write_topics(ctx);
        }
        changed || rematched
    }

    /// Compares every regular expression with the topics; whether one stands for others now.
    fn match_again(&mut self, ctx: &mut Context<'_>) -> bool {
        let mut changed = false;
        let patterns: Vec<String> = self.patterns.keys().cloned().collect();
        for pattern in patterns {
            // It was one when it was taken in.
            let Ok(topics) = pattern::matching(&pattern, ctx.topics) else { continue };
            if self.patterns.get(&pattern) != Some(&topics) {
                self.write_pattern(ctx, &pattern, Some(&topics));
                self.patterns.insert(pattern, topics);
                changed = true;
            }
        }
        changed
    }

    /// Drops the regular expressions that nobody has any more.
    pub(super) fn forget_patterns(&mut self, ctx: &mut Context<'_>) {
        if self.patterns.is_empty() {
            return;
        }
        let used: BTreeSet<&String> = self.members.values().filter_map(|member| member.pattern.as_ref()).collect();
        let unused: Vec<_> = self.patterns.keys().filter(|pattern| !used.contains(pattern)).cloned().collect();
        for pattern in unused {
            self.patterns.remove(&pattern);
            self.write_pattern(ctx, &pattern, None);
        }
    }
}

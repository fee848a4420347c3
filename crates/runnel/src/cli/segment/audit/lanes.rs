//! One lane: every slot that may hold what is in no segment is there, and whole; what ends it is there for ever.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use runnel_blob::{Key, lane_prefix};
use runnel_format::wal::{LaneHeader, SLOT_HEADER_LEN, SlotHeader, SlotKind};
use uuid::Uuid;

use super::{AT_ONCE, Audit};
use crate::cli::progress::bar;

/// A writer has at most so many slots on their way, so in front of no more than that many a slot may be missing. Four is
/// what there are; more only delays a finding.
const IN_FLIGHT: u64 = 16;

/// What the listing of a lane shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Slots that hold something that may be needed.
    needed: Vec<u64>,
    /// Slots that should be there.
    missing: Vec<u64>,
    /// The SEAL should be there.
    seal_missing: Option<u64>,
    /// Slots that nobody needs.
    dead: Vec<u64>,
}

fn examine(header: &LaneHeader, slots: &BTreeMap<u64, u64>) -> Found {
    let has_data = |slot: &u64| slots.get(slot).is_some_and(|bytes| *bytes > SLOT_HEADER_LEN as u64);
    let with_data = || slots.keys().copied().filter(has_data);
    let mut found = Found { dead: with_data().filter(|slot| *slot < header.trim).collect(), ..Found::default() };
    let end = match header.end {
        Some(end) => {
            found.dead.extend(with_data().filter(|slot| *slot > end));
            // One that was ended before it was begun has none: its header is what its owner meets.
            found.seal_missing = (header.session != 0 && !slots.contains_key(&end)).then_some(end);
            end
        }
        None => {
            let last = with_data().next_back().map_or(header.trim, |last| last + 1);
            // What is missing close to the end may be on its way.
            last.saturating_sub(IN_FLIGHT).max(header.trim)
        }
    };
    found.needed =
        with_data().filter(|slot| *slot >= header.trim && header.end.is_none_or(|end| *slot < end)).collect();
    found.missing = (header.trim..end).filter(|slot| !has_data(slot)).collect();
    found
}

impl Audit {
    pub(super) async fn all_lanes(&mut self) -> anyhow::Result<()> {
        let lanes: Vec<Uuid> = self.lanes.iter().copied().collect();
        let bar = bar("lanes", lanes.len() as u64)?;
        for lane in lanes {
            self.lane(lane).await?;
            bar.inc(1);
        }
        Ok(())
    }

    async fn lane(&mut self, lane: Uuid) -> anyhow::Result<()> {
        self.report.lanes += 1;
        let key = Key::LaneHeader { lane };
        let mut slots = BTreeMap::new();
        let mut walk = self.bucket.walk(&lane_prefix(lane))?;
        loop {
            let page = walk.next().await?;
            if page.is_empty() {
                break;
            }
            slots.extend(page.iter().filter_map(|object| match Key::parse_lane_object(&object.path) {
                Some(Key::Slot { slot, .. }) => Some((slot, object.bytes)),
                _ => None,
            }));
        }
        let Some(header) = self.header(&key).await? else { return Ok(()) };
        let found = examine(&header, &slots);
        for slot in found.dead {
            self.report.collectable(Key::Slot { lane, slot }.path(), "is in segments, or was never acknowledged");
        }
        self.report.slots += found.needed.len();
        let mut bad: Vec<(u64, String)> = Vec::new();
        for slot in found.missing.into_iter().chain(found.seal_missing) {
            if self.bucket.get_start(&Key::Slot { lane, slot }, 1).await?.is_none() {
                let what = if found.seal_missing == Some(slot) {
                    "is gone: it keeps the writer of this lane out"
                } else {
                    "is gone: it was acknowledged, and may be in no segment"
                };
                bad.push((slot, what.to_owned()));
            }
        }
        let heads = found.needed.iter().map(|slot| self.head(lane, *slot, slots.get(slot).copied().unwrap_or(0)));
        let heads: Vec<_> = heads.collect();
        let damaged: Vec<Option<(u64, String)>> = stream::iter(heads).buffered(AT_ONCE).try_collect().await?;
        bad.extend(damaged.into_iter().flatten());
        if bad.is_empty() {
            return Ok(());
        }
        // Meanwhile everything may have been shipped.
        let Some(now) = self.header(&key).await? else { return Ok(()) };
        for (slot, what) in bad.into_iter().filter(|(slot, _)| *slot >= now.trim) {
            self.report.broken(Key::Slot { lane, slot }.path(), what);
        }
        Ok(())
    }

    async fn header(&mut self, key: &Key) -> anyhow::Result<Option<LaneHeader>> {
        match self.bucket.read_register(key).await {
            Ok(Some(found)) => match LaneHeader::decode(&found.payload) {
                Ok(header) => return Ok(Some(header)),
                Err(error) => self.report.broken(key.path(), error.to_string()),
            },
            Ok(None) => self.report.broken(key.path(), "is gone: what is in the lane cannot be used without it"),
            Err(error) => self.unreadable(key, error)?,
        }
        Ok(None)
    }

    /// What is wrong with a slot: what its head says of it.
    async fn head(&self, lane: Uuid, slot: u64, bytes: u64) -> anyhow::Result<Option<(u64, String)>> {
        let Some(head) = self.bucket.get_start(&Key::Slot { lane, slot }, SLOT_HEADER_LEN).await? else {
            return Ok(Some((slot, "is gone: it was acknowledged, and may be in no segment".to_owned())));
        };
        Ok(match SlotHeader::decode(&head, lane, slot) {
            Ok(header) if header.kind == SlotKind::Data && header.total_len == bytes => None,
            Ok(header) => Some((slot, format!("has {bytes} bytes; {} bytes are expected", header.total_len))),
            Err(error) => Some((slot, error.to_string())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: u64 = SLOT_HEADER_LEN as u64;
    const DATA: u64 = SEAL + 100;

    fn header(session: u64, trim: u64, end: Option<u64>) -> LaneHeader {
        LaneHeader { lane: Uuid::nil(), session, trim, end }
    }

    fn of(header: &LaneHeader, slots: &[(u64, u64)]) -> Found {
        examine(header, &slots.iter().copied().collect())
    }

    #[test]
    fn a_lane_that_has_ended_has_all_slots_and_its_seal() {
        let ended = header(9, 2, Some(4));
        let whole = [(2, DATA), (3, DATA), (4, SEAL)];
        assert_eq!(of(&ended, &whole), Found { needed: vec![2, 3], ..Found::default() });
        let more = [(1, DATA), (2, DATA), (3, DATA), (4, SEAL), (5, DATA)];
        assert_eq!(of(&ended, &more), Found { needed: vec![2, 3], dead: vec![1, 5], ..Found::default() });
        let holed = Found { needed: vec![3], missing: vec![2], seal_missing: Some(4), ..Found::default() };
        assert_eq!(of(&ended, &[(3, DATA)]), holed);
        assert_eq!(of(&header(0, 0, Some(0)), &[]), Found::default(), "it was never begun");
        assert_eq!(of(&header(9, 4, Some(4)), &[(4, SEAL)]), Found::default(), "it is given back");
    }

    #[test]
    fn in_a_lane_that_is_written_a_hole_counts_once_nothing_can_be_on_its_way_to_it() {
        let open = header(9, 1, None);
        let slots = |last: u64| (1..=last).filter(|slot| *slot != 2).map(|slot| (slot, DATA)).collect::<Vec<_>>();
        assert_eq!(of(&open, &slots(IN_FLIGHT)).missing, [0; 0]);
        assert_eq!(of(&open, &slots(IN_FLIGHT + 5)).missing, [2]);
        assert_eq!(of(&open, &[]), Found::default());
    }
}

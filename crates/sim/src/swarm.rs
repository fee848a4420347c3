//! What a seed makes likely. Each run has faults of its own mix, so that rare combinations come about (swarm testing,
//! Groce et al., ISSTA 2012).

use std::time::Duration;

use runnel_runtime::simulation::Chance;

use crate::kinds::Fault;

/// What goes wrong in some runs only, which are set up for it.
const APART: [Fault; 3] = [Fault::Restore, Fault::Rot, Fault::WriteOff];

/// How often what goes wrong, of a thousand requests or steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rates([u64; Fault::ALL.len()]);

impl Rates {
    /// Nothing fails.
    pub(crate) const NONE: Self = Self([0; Fault::ALL.len()]);

    /// Half of the faults are off, the others between rare and frequent; off is what is not to happen.
    fn of(chance: &mut Chance, is_hasty: bool, off: &[Fault]) -> Self {
        let mut rates = Self::NONE;
        for fault in Fault::ALL.iter().filter(|fault| !APART.contains(fault)) {
            let is_race = matches!(fault, Fault::Ambush | Fault::Usurp | Fault::Succeed);
            let rare = if chance.permille(500) { 0 } else { 1 + chance.below(fault.most()) };
            let rate = match is_hasty {
                true if is_race => fault.most(),
                true => rare.min(1),
                false => rare,
            };
            rates.0[*fault as usize] = if off.contains(fault) { 0 } else { rate };
        }
        rates
    }

    pub(crate) const fn rate(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }
}

/// How one run is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swarm {
    pub(crate) rates: Rates,
    pub(crate) brokers: usize,
    pub(crate) partitions: i32,
    pub(crate) producers: u64,
    /// Records that a producer sends at once, at most.
    pub(crate) batch: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    /// Size of what small segments are merged into; 0 leaves them.
    pub(crate) merge_bytes: u64,
    /// Size of the files of the log on the disk.
    pub(crate) file_bytes: u64,
    /// Bytes of the log that may be in no segment.
    pub(crate) unshipped_bytes: u64,
    pub(crate) object_interval: Duration,
    pub(crate) trim_every: Duration,
    pub(crate) is_local: bool,
    /// Bytes that the lasting topic keeps of a partition, if it does not keep all.
    pub(crate) retention_bytes: Option<u64>,
    /// Who else works: somebody who deletes records, a topic that comes and goes, a group.
    pub(crate) trims: bool,
    pub(crate) topics: bool,
    pub(crate) commits: bool,
    /// Members of another group.
    pub(crate) members: u64,
    /// Somebody who looks for records by their time; whether that is the one at which they were appended.
    pub(crate) asks: bool,
    pub(crate) append_time: bool,
    /// Whether the store may be lost. What was on disks alone is lost then, so there is nothing.
    pub(crate) restores: bool,
    /// Whether disks rot and are given up. What was on them alone is lost then, so there is nothing but producers and readers,
    /// who know how to go on.
    pub(crate) rots: bool,
    /// Whether producers come anew for each batch, so that there are many of them.
    pub(crate) renews: bool,
}

impl Swarm {
    pub(crate) fn of(chance: &mut Chance, off: &[Fault]) -> Self {
        // Some are about races between those who lead and those who come to: little else goes wrong, and everything is quick.
        let is_hasty = chance.permille(300);
        let swarm = Self {
            rates: Rates::of(chance, is_hasty, off),
            brokers: 2 + usize::from(chance.permille(700)),
            partitions: 1 + i32::try_from(chance.below(4)).unwrap_or(0),
            producers: 1 + chance.below(6),
            batch: chance.pick(&[1, 5, 40]),
            segment_bytes: chance.pick(&[1 << 10, 4 << 10, 1 << 20]),
            segment_age: Duration::from_millis(chance.pick(&[100, 300, 1_000, 10_000])),
            merge_bytes: chance.pick(&[0, 64 << 10]),
            file_bytes: chance.pick(&[64 << 10, 256 << 10, 1 << 20]),
            unshipped_bytes: 1 << 30,
            object_interval: Duration::from_millis(chance.pick(&[1, 20, 100])),
            trim_every: Duration::from_millis(chance.pick(&[10, 200, 10_000])),
            is_local: chance.permille(400),
            retention_bytes: chance.permille(150).then_some(16 << 10),
            trims: chance.permille(300),
            topics: chance.permille(400),
            commits: chance.permille(500),
            members: 0,
            asks: false,
            append_time: false,
            restores: false,
            rots: false,
            renews: false,
        };
        // Of a copy, so that all other seeds are what they would be without these.
        let mut apart = chance.clone();
        let restores = apart.permille(150) && !off.contains(&Fault::Restore);
        let members = if apart.permille(600) { 1 + apart.below(4) } else { 0 };
        let (asks, append_time) = (apart.permille(400), apart.permille(150));
        let (renews, may_rot) = (apart.permille(200), apart.permille(200));
        let unshipped_bytes = if apart.permille(250) { 4 * swarm.file_bytes } else { 1 << 30 };
        let is_fine = apart.permille(150);
        let swarm = Self { restores, members, asks, append_time, renews, unshipped_bytes, ..swarm };
        let swarm = if is_fine { swarm.refine() } else { swarm };
        let swarm = if is_hasty { swarm.hasten() } else { swarm };
        match (swarm.restores, may_rot && !is_hasty) {
            (true, _) => swarm.in_bucket(),
            (false, true) => swarm.on_disks(off),
            (false, false) => swarm,
        }
    }

    /// A segment for each batch, and all in one partition: more than a root holds references to.
    fn refine(self) -> Self {
        Self { segment_bytes: 1 << 8, partitions: 1, producers: 4, ..self }
    }

    fn in_bucket(mut self) -> Self {
        self.rates.0[Fault::Settings as usize] = 0;
        self.rates.0[Fault::Restore as usize] = 1;
        Self { is_local: false, ..self }
    }

    fn on_disks(mut self, off: &[Fault]) -> Self {
        for fault in [Fault::Rot, Fault::WriteOff].into_iter().filter(|fault| !off.contains(fault)) {
            self.rates.0[fault as usize] = fault.most();
        }
        let (trims, topics, commits, members, asks) = (false, false, false, 0, false);
        let (is_local, retention_bytes, unshipped_bytes) = (true, None, 1 << 30);
        let swarm = Self { rots: true, is_local, retention_bytes, unshipped_bytes, ..self };
        Self { trims, topics, commits, members, asks, ..swarm }
    }

    fn hasten(self) -> Self {
        let (segment_age, trim_every) = (Duration::from_millis(100), Duration::from_millis(10));
        let object_interval = self.object_interval.min(Duration::from_millis(20));
        Self { segment_age, trim_every, object_interval, is_local: false, partitions: 1 + self.partitions % 2, ..self }
    }
}

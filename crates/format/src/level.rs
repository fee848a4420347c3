//! The level of a cluster: which layouts its brokers write, and what they say to each other.
//!
//! A release supports a range of levels. It reads every layout of the levels that it supports and writes those of the
//! level that the cluster is at, so brokers of two releases work side by side, and the older release can come back until
//! the level is raised. What each level has brought: `docs/formats/levels.md`.

use std::fmt;

/// The levels that a release supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// The lowest.
    pub lowest: u32,
    /// The highest, at which this release makes new clusters.
    pub highest: u32,
}

/// A release that must not work on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The cluster was raised by a newer release.
    #[error(
        "the cluster is at level {level}, and this release supports {supported}: start the release that raised it, or a \
         newer one. There is no way back to this one"
    )]
    Newer {
        /// The level of the cluster.
        level: u32,
        /// What this release supports.
        supported: Levels,
    },
    /// The cluster has not been raised so far.
    #[error(
        "the cluster is at level {level}, and this release supports {supported}: start the release before this one, run \
         `runnel cluster upgrade` with it, then start this one"
    )]
    Older {
        /// The level of the cluster.
        level: u32,
        /// What this release supports.
        supported: Levels,
    },
}

impl Levels {
    /// What this release supports.
    pub const SUPPORTED: Self = Self { lowest: 1, highest: 2 };

    /// What releases support that say nothing about it.
    pub const UNTOLD: Self = Self { lowest: 1, highest: 1 };

    /// Whether a release with these levels may work on a cluster at `level`.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub const fn check(self, level: u32) -> Result<(), Misfit> {
        if level > self.highest {
            return Err(Misfit::Newer { level, supported: self });
        }
        if level < self.lowest {
            return Err(Misfit::Older { level, supported: self });
        }
        Ok(())
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            return write!(f, "level {}", self.highest);
        }
        write!(f, "levels {} to {}", self.lowest, self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_outside_of_the_range_is_refused_with_what_to_do() {
        let supported = Levels { lowest: 3, highest: 5 };
        for level in 3..=5 {
            assert_eq!(supported.check(level), Ok(()));
        }
        assert_eq!(supported.check(6), Err(Misfit::Newer { level: 6, supported }));
        assert_eq!(supported.check(2), Err(Misfit::Older { level: 2, supported }));
        let told = Misfit::Newer { level: 6, supported }.to_string();
        assert!(
            told.starts_with("the cluster is at level 6, and this release supports levels 3 to 5: start"),
            "{told}"
        );
        assert_eq!(Levels::UNTOLD.to_string(), "level 1");
    }

    #[test]
    fn this_release_works_beside_one_that_says_nothing() {
        assert_eq!(Levels::SUPPORTED.check(Levels::UNTOLD.highest), Ok(()));
    }
}

//! Where a reset leads: what is committed, what is asked for and what the log has, without any I/O.

use runnel_proto::consume::v1::position::Position as Named;

use crate::position::Bounds;

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// To a place in the log.
    Position(Named),
    /// So many records on from what is committed, or back.
    Shift(i64),
}

/// The new offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) new_offset: i64,
    /// What was asked for, if the log does not have it.
    pub(super) clipped_from: Option<i64>,
}

/// The offset that a shift means; `None` if there is nothing to shift.
pub(super) fn shifted(committed: Option<i64>, by: i64) -> Option<i64> {
    committed.map(|offset| offset.saturating_add(by))
}

/// What the log has, or its nearest end.
pub(super) fn clip(wanted: i64, bounds: Bounds) -> Planned {
    // A log that lost its end could have it below its start.
    let new_offset = wanted.min(bounds.high_watermark).max(bounds.log_start);
    Planned { new_offset, clipped_from: (new_offset != wanted).then_some(wanted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { log_start: 10, high_watermark: 20 };

    #[test]
    fn what_the_log_does_not_have_becomes_its_nearest_end() {
        let cases = [
            (9, 10, Some(9)),
            (10, 10, None),
            (15, 15, None),
            (20, 20, None),
            (21, 20, Some(21)),
            (-1, 10, Some(-1)),
            (i64::MIN, 10, Some(i64::MIN)),
            (i64::MAX, 20, Some(i64::MAX)),
        ];
        for (wanted, new_offset, clipped_from) in cases {
            assert_eq!(clip(wanted, BOUNDS), Planned { new_offset, clipped_from }, "{wanted}");
        }
        let empty = Bounds { log_start: 7, high_watermark: 7 };
        assert_eq!(clip(0, empty), Planned { new_offset: 7, clipped_from: Some(0) });
    }

    #[test]
    fn a_shift_starts_at_what_is_committed() {
        let cases = [
            (Some(15), 3, Some(18)),
            (Some(15), -15, Some(0)),
            (Some(15), 0, Some(15)),
            (Some(i64::MAX), 1, Some(i64::MAX)),
            (Some(0), i64::MIN, Some(i64::MIN)),
            (None, 3, None),
        ];
        for (committed, by, expected) in cases {
            assert_eq!(shifted(committed, by), expected, "{committed:?} by {by}");
        }
    }
}

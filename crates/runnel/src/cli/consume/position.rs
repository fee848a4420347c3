//! Places in a log as people write them.

use runnel_client::proto::consume::v1::Position;
use runnel_client::proto::consume::v1::position::{Earliest, Latest, Position as At};
use runnel_runtime::Clock;

use crate::cli::time::Time;

/// A place in every partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Offset(i64),
    /// This many records before the end.
    Last(u64),
    Time(Time),
}

impl Place {
    pub(super) fn position(self, clock: &dyn Clock) -> Position {
        let at = match self {
            Self::Start => At::Earliest(Earliest {}),
            Self::End => At::Latest(Latest {}),
            Self::Offset(offset) => At::Offset(offset),
            Self::Last(records) => At::BeforeLatest(records),
            Self::Time(time) => At::TimestampMs(time.ms(clock)),
        };
        Position { position: Some(at) }
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no position: write start, end, an offset, -N for the last N records, or @TIME");
        match (text, text.strip_prefix('@'), text.strip_prefix('-')) {
            ("start", ..) => Ok(Self::Start),
            ("end", ..) => Ok(Self::End),
            (_, Some(time), _) => time.parse().map(Self::Time),
            (_, _, Some(records)) => records.parse().map(Self::Last).map_err(|_| bad()),
            _ => text.parse().map(Self::Offset).map_err(|_| bad()),
        }
    }
}

/// A place to end at.
pub(super) fn until(text: &str) -> Result<Place, String> {
    match text.parse()? {
        Place::Start | Place::Last(_) => Err("reading ends at `end`, at an offset, or @TIME".to_owned()),
        place => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_names_offsets_counts_and_times() {
        let parse = |text: &str| text.parse::<Place>();
        assert_eq!(parse("start"), Ok(Place::Start));
        assert_eq!(parse("end"), Ok(Place::End));
        assert_eq!(parse("47"), Ok(Place::Offset(47)));
        assert_eq!(parse("-3"), Ok(Place::Last(3)));
        assert_eq!(parse("@-1h"), Ok(Place::Time(Time::Ago(3_600_000))));
        assert_eq!(parse("@2013-01-01"), Ok(Place::Time(Time::At(1_356_998_400_000))));
        for bad in ["", "beginning", "--3", "-", "@", "1.5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(until("end").is_ok() && until("-3").is_err() && until("start").is_err());
    }
}

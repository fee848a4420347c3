//! Points in time as people write them.

use chrono::{DateTime, NaiveDate};
use runnel_runtime::Clock;

use crate::config::Span;

/// A point in time, perhaps relative to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// Milliseconds since the Unix epoch.
    At(i64),
    /// Milliseconds before now.
    Ago(i64),
}

impl Time {
    pub(crate) fn ms(self, clock: &dyn Clock) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => clock.now_ms() - ms,
        }
    }
}

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(span) = text.strip_prefix('-') {
            let Span(span) = span.parse()?;
            return i64::try_from(span.as_millis()).map(Self::Ago).map_err(|e| e.to_string());
        }
        if let Ok(ms) = text.parse() {
            return Ok(Self::At(ms));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(time.timestamp_millis()));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::At(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()));
        }
        Err(format!(
            "`{text}` is not a time: write 2024-05-31, 2024-05-31T23:59:00Z, milliseconds since 1970, or -1h for an hour ago"
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let parse = |text: &str| text.parse::<Time>();
        assert_eq!(parse("1700000000123"), Ok(Time::At(1_700_000_000_123)));
        assert_eq!(parse("2013-01-01"), Ok(Time::At(1_356_998_400_000)));
        assert_eq!(parse("2013-01-01T01:00:00.5+01:00"), Ok(Time::At(1_356_998_400_500)));
        assert_eq!(parse("2013-01-01T00:00:00Z"), Ok(Time::At(1_356_998_400_000)));
        assert_eq!(parse("-90s"), Ok(Time::Ago(90_000)));
        for bad in ["", "yesterday", "-1", "-1y", "2013-02-30", "2013-01-01T00:00:00"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("-1y").unwrap_err().contains("`1y`"));
    }
}

//! What was found, and how it is printed.

use serde::Serialize;
use serde_json::Value;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Level {
    /// As it should be.
    #[serde(rename = "ok")]
    Ok,
    /// Works, and may hurt.
    #[serde(rename = "warn")]
    Warn,
    /// Does not work.
    #[serde(rename = "fail")]
    Fail,
}

/// The outcome of one check.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    check: String,
    result: Level,
    detail: String,
    /// What to do about it; empty where there is nothing to do.
    advice: String,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn ok(&mut self, check: impl Into<String>, detail: impl Into<String>) {
        self.add(Level::Ok, check, detail, "");
    }

    pub(super) fn warn(&mut self, check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Warn, check, detail, advice);
    }

    pub(super) fn fail(&mut self, check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Level::Fail, check, detail, advice);
    }

    fn add(&mut self, result: Level, check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check: check.into(), result, detail: detail.into(), advice: advice.into() });
    }

    pub(super) fn failures(&self) -> usize {
        self.0.iter().filter(|finding| finding.result == Level::Fail).count()
    }

    pub(super) fn value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(&self.0)
    }

    pub(super) fn table(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0).max("CHECK".len());
        let mut table = format!("{:width$}  RESULT  DETAIL\n", "CHECK");
        for Finding { check, result, detail, advice } in &self.0 {
            let result = match result {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            table.push_str(&format!("{check:width$}  {result:6}  {detail}\n"));
            if !advice.is_empty() {
                table.push_str(&format!("{:width$}          -> {advice}\n", ""));
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_advice_goes_below() {
        let mut report = Report::default();
        report.ok("settings", "fine");
        report.fail("kafka.listen", "taken", "choose another");
        let expected = "CHECK         RESULT  DETAIL\n\
                        settings      ok      fine\n\
                        kafka.listen  FAIL    taken\n                      -> choose another\n";
        assert_eq!(report.table(), expected);
        assert_eq!(report.failures(), 1);
    }
}

//! Figures of several runs.

/// One figure, run by run.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(Vec<f64>);

impl Series {
    pub(super) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Pair by pair, this over the other.
    pub(super) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub(super) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// `**median** (min–max)` with so many decimals.
    pub(super) fn show(&self, decimals: usize) -> String {
        let sorted = self.sorted();
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return "-".to_owned() };
        let median = self.median();
        if sorted.len() == 1 {
            return format!("**{median:.decimals$}**");
        }
        format!("**{median:.decimals$}** ({min:.decimals$}–{max:.decimals$})")
    }
}

/// A row that compares: runnel, Kafka, and the ratio pair by pair.
pub(super) fn row(name: &str, unit: &str, decimals: usize, ours: &Series, theirs: &Series) -> String {
    format!(
        "| {name} | {unit} | {} | {} | {} |\n",
        ours.show(decimals),
        theirs.show(decimals),
        ours.over(theirs).show(2)
    )
}

/// The head of a table of such rows.
pub(super) const HEAD: &str = "| | | runnel | Apache Kafka | ratio |\n|---|---|---|---|---|\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn series(figures: &[f64]) -> Series {
        Series(figures.to_vec())
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(series(&[3.0, 1.0, 2.0]).show(1), "**2.0** (1.0–3.0)");
        assert_eq!(series(&[4.0, 1.0, 2.0, 3.0]).show(1), "**2.5** (1.0–4.0)");
        assert_eq!(series(&[1.25]).show(2), "**1.25**");
        assert_eq!(series(&[]).show(2), "-");
    }

    #[test]
    fn a_ratio_is_taken_within_a_pair() {
        let row = row("cpu", "s/GB", 1, &series(&[1.0, 4.0]), &series(&[2.0, 16.0]));
        assert_eq!(row, "| cpu | s/GB | **2.5** (1.0–4.0) | **9.0** (2.0–16.0) | **0.38** (0.25–0.50) |\n");
    }
}

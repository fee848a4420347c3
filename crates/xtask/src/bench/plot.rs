//! Pictures of the tables that compare: a bar for each ratio, from 1 to what it is, so that less is to the left.

use super::stats::HEAD;

/// Ratios beyond these are drawn up to the edge.
const LEAST: f64 = 1.0 / 32.0;
const MOST: f64 = 8.0;

const ROW: f64 = 22.0;
const TEXT: f64 = 470.0;
const PLOT: f64 = 400.0;
const FIGURE: f64 = 120.0;
const TOP: f64 = 30.0;

/// A row of a table.
struct Bar<'a> {
    name: &'a str,
    unit: &'a str,
    /// Median, least and greatest of the pairs.
    ratio: [f64; 3],
}

/// The picture of what a section says; `None` if nothing in it is compared.
pub(super) fn draw(section: &str) -> Option<String> {
    let table = section.split_once(HEAD)?.1;
    let mut above = "";
    let bars: Vec<Bar<'_>> = table.lines().map_while(|line| bar(line, &mut above)).flatten().collect();
    if bars.is_empty() {
        return None;
    }
    let (width, height) = (TEXT + PLOT + FIGURE, TOP + ROW * bars.len() as f64 + 8.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<style>text {{ fill: #333 }} .grid {{ stroke: #bbb }} .less {{ fill: #2a9d8f }} \
         .more {{ fill: #e9a03b }} .spread {{ stroke: #333 }}\n@media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} \
         .grid {{ stroke: #555 }} .spread {{ stroke: #ddd }} }}</style>\n"
    );
    out.extend([0.0625, 0.25, 0.5, 1.0, 2.0, 4.0].map(|mark| grid(mark, height)));
    out.extend(bars.iter().enumerate().map(|(index, bar)| drawn(bar, TOP + ROW * index as f64)));
    out += "</svg>\n";
    Some(out)
}

/// A line for a ratio.
fn grid(mark: f64, height: f64) -> String {
    let (x, from) = (place(mark), TOP - 10.0);
    format!(
        "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{height}\"/><text x=\"{x:.1}\" y=\"14\" \
         text-anchor=\"middle\">{mark}</text>\n"
    )
}

/// A bar, what it says, and its spread, from `y` on.
fn drawn(bar: &Bar<'_>, y: f64) -> String {
    let [median, least, greatest] = bar.ratio;
    let (from, to) = (place(median.min(1.0)), place(median.max(1.0)));
    let (spread_from, spread_to) = (place(least), place(greatest));
    let class = if median <= 1.0 { "less" } else { "more" };
    let (name, unit) = (escaped(bar.name), escaped(bar.unit));
    let (name_end, figure_at) = (TEXT - 10.0, TEXT + PLOT + 10.0);
    let (top, middle, base, width) = (y + 4.0, y + ROW / 2.0, y + ROW / 2.0 + 4.0, (to - from).max(1.0));
    format!(
        "<text x=\"{name_end:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{name}, {unit}</text><rect class=\"{class}\" \
         x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"14\"/><line class=\"spread\" x1=\"{spread_from:.1}\" \
         x2=\"{spread_to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/><text x=\"{figure_at:.1}\" y=\"{base:.1}\">{median:.2} \
         × Kafka</text>\n"
    )
}

/// A row as a bar, or as nothing if one side has no figure; `None` behind the table.
fn bar<'a>(line: &'a str, above: &mut &'a str) -> Option<Option<Bar<'a>>> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [name, unit, _, _, ratio] = cells[..] else { return None };
    if name != "the same" {
        *above = name;
    }
    Some(series(ratio).map(|ratio| Bar { name: above, unit, ratio }))
}

/// `**median** (least–greatest)`, or the median alone.
fn series(text: &str) -> Option<[f64; 3]> {
    let (median, spread) = text.strip_prefix("**")?.split_once("**")?;
    let median = median.parse().ok()?;
    let Some(spread) = spread.trim().strip_prefix('(') else { return Some([median; 3]) };
    let (least, greatest) = spread.strip_suffix(')')?.split_once('–')?;
    Some([median, least.parse().ok()?, greatest.parse().ok()?])
}

/// Where a ratio is, from left to right.
fn place(ratio: f64) -> f64 {
    let (from, to) = (LEAST.log2(), MOST.log2());
    TEXT + PLOT * (ratio.clamp(LEAST, MOST).log2() - from) / (to - from)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_goes_from_one_to_the_ratio() {
        let section = format!(
            "{HEAD}| produce | MB/s | **3** (2–4) | **1** (1–1) | **2.00** (1.00–8.00) |\n| the same | s/GB | **1** | **4** | \
             **0.25** |\n| a < b | ms | **1** | - | - |\n\nOther text.\n"
        );
        let picture = draw(&section).unwrap_or_default();
        let at = |ratio: f64| format!("{:.1}", place(ratio));
        let width = |from: f64, to: f64| format!("{:.1}", place(to) - place(from));
        assert!(picture.contains(&format!(
            "class=\"more\" x=\"{}\" y=\"34.0\" width=\"{}\"",
            at(1.0),
            width(1.0, 2.0)
        )));
        assert!(picture.contains(&format!(
            "class=\"less\" x=\"{}\" y=\"56.0\" width=\"{}\"",
            at(0.25),
            width(0.25, 1.0)
        )));
        assert!(
            picture.contains("produce, MB/s") && picture.contains("produce, s/GB") && picture.contains("0.25 × Kafka")
        );
        assert_eq!(picture.matches("<rect").count(), 2, "a side without a figure is not drawn");
    }

    #[test]
    fn what_is_not_compared_has_no_picture() {
        assert_eq!(draw("| | | runnel |\n|---|---|---|\n| a | ms | **1** |\n"), None);
        assert_eq!(draw(HEAD), None);
    }
}

//! Tables and charts of the measurements.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

/// Returns the median, which is the lower of the two middle values if the number of values is even.
///
/// # Panics
///
/// Panics if `values` is empty.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the smallest value that is at least as large as this fraction of all values.
///
/// # Panics
///
/// Panics if `values` is empty.
pub fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * fraction).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The measurements of each contender in each workload, one value per round. Ratios are relative to the first
/// contender.
pub struct Table {
    title: String,
    unit: String,
    contenders: Vec<&'static str>,
    rows: Vec<(String, BTreeMap<&'static str, Vec<f64>>)>,
}

impl Table {
    /// Creates an empty table.
    pub fn new(title: impl Into<String>, unit: impl Into<String>, contenders: Vec<&'static str>) -> Self {
        Table {
            title: title.into(),
            unit: unit.into(),
            contenders,
            rows: Vec::new(),
        }
    }

    /// Starts a new row.
    pub fn row(&mut self, workload: &str) {
        self.rows.push((workload.to_owned(), BTreeMap::new()));
    }

    /// Adds one round's value to the last row.
    pub fn add(&mut self, contender: &'static str, value: f64) {
        if let Some((_, cells)) = self.rows.last_mut() {
            cells.entry(contender).or_default().push(value);
        }
    }

    /// Formats the medians as a Markdown table, with the medians of the rounds' ratios to the first contender.
    pub fn markdown(&self) -> String {
        let baseline = self.contenders[0];
        let mut text = format!(
            "**{}** ({}; in parentheses, the ratio to {baseline})\n\n|  |",
            self.title, self.unit
        );
        for contender in &self.contenders {
            let _ = write!(text, " {contender} |");
        }
        text.push_str("\n|---|");
        text.push_str(&"---:|".repeat(self.contenders.len()));
        text.push('\n');
        for (workload, cells) in &self.rows {
            let _ = write!(text, "| {workload} |");
            let base = cells.get(baseline);
            for (column, contender) in self.contenders.iter().enumerate() {
                match (cells.get(contender), base) {
                    (None, _) => text.push_str(" – |"),
                    (Some(values), Some(base)) if column > 0 => {
                        let ratios: Vec<f64> = values.iter().zip(base).map(|(value, base)| value / base).collect();
                        let _ = write!(text, " {} ({}×) |", short(median(values)), short(median(&ratios)));
                    }
                    (Some(values), _) => {
                        let _ = write!(text, " {} |", short(median(values)));
                    }
                }
            }
            text.push('\n');
        }
        text
    }

    /// Draws a chart of the rows whose names end in `rows`. Each name begins with a number, which is the row's place on
    /// the x axis. Both axes are logarithmic.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn chart(&self, path: &Path, rows: &str, x: &str) -> Result<(), Box<dyn Error>> {
        let selected: Vec<_> = self
            .rows
            .iter()
            .filter(|(name, _)| name.ends_with(rows))
            .filter_map(|(name, cells)| Some((name.split(',').next()?.parse::<f64>().ok()?, cells)))
            .collect();
        let values: Vec<f64> = selected
            .iter()
            .flat_map(|(_, cells)| cells.values().map(|v| median(v)))
            .collect();
        let (low, high) = (quantile(&values, 0.0) * 0.7, quantile(&values, 1.0) * 1.4);
        let last = selected.last().map_or(1.0, |(subscribers, _)| *subscribers);
        let first = selected.first().map_or(1.0, |(subscribers, _)| *subscribers);
        let area = SVGBackend::new(path, (860, 480)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("{} ({rows})", self.title), ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((first * 0.9..last * 1.1).log_scale(), (low..high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(x)
            .y_desc(&self.unit)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .draw()?;
        for (index, contender) in self.contenders.iter().enumerate() {
            let color = Palette99::pick(index).stroke_width(if index == 0 { 4 } else { 2 });
            let points = selected
                .iter()
                .filter_map(|(subscribers, cells)| Some((*subscribers, median(cells.get(contender)?))));
            chart
                .draw_series(LineSeries::new(points, color).point_size(3))?
                .label(*contender)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.4))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// Formats a value with two decimals below 1, one decimal below 10, and none above.
pub fn short(value: f64) -> String {
    if value >= 9.95 {
        format!("{value:.0}")
    } else if value >= 0.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

//! The report as a picture: for each figure, how long our bar is beside theirs.

use std::error::Error;
use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, Color as _, IntoDrawingArea as _, LineSeries, RGBColor, Rectangle,
    SVGBackend, Text, WHITE,
};

use super::Row;

const SIZE: (u32, u32) = (900, 420);
const FONT: (&str, u32) = ("sans-serif", 16);
const TITLE: (&str, u32) = ("sans-serif", 22);
const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const THEIRS: RGBColor = RGBColor(0xbb, 0xbb, 0xbb);

pub(super) fn draw(rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let most = rows.iter().map(|row| row.ours / row.theirs).fold(1.0, f64::max) * 1.35;
    let bottom = rows.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("slackwater run beside websocketd, cat behind both (websocketd = 1)", TITLE)
        .margin(16)
        .x_label_area_size(40)
        .build_cartesian_2d(0.0..most, bottom..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("ratio")
        .label_style(FONT)
        .draw()?;
    for (index, row) in rows.iter().enumerate() {
        let top = index as f64;
        let ratio = row.ours / row.theirs;
        let bar = |from: f64, to: f64, length: f64, colour: RGBColor| {
            Rectangle::new([(0.0, top + from), (length, top + to)], colour.filled())
        };
        chart.draw_series([bar(0.36, 0.60, ratio, OURS), bar(0.62, 0.86, 1.0, THEIRS)])?;
        let better = if row.at_most { "less is better" } else { "more is better" };
        let head = format!("{} ({better})", row.what);
        let of = |value: f64| format!("{value:.1} {}", row.unit);
        chart.draw_series([
            Text::new(head, (0.01 * most, top + 0.12), FONT),
            Text::new(of(row.ours), (ratio + 0.01 * most, top + 0.40), FONT),
            Text::new(of(row.theirs), (1.0 + 0.01 * most, top + 0.66), FONT),
        ])?;
        let limit = [(row.limit, top + 0.34), (row.limit, top + 0.62)];
        chart.draw_series(LineSeries::new(limit, BLACK.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}

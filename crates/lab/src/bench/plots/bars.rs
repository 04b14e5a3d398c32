//! Program mode beside websocketd: for each figure, how long our bar is beside theirs.

use std::error::Error;
use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Color as _, IntoDrawingArea as _, RGBColor, Rectangle, SVGBackend, Text, WHITE,
};

use super::super::record::{Better, Figure, Run};
use super::super::scenario::Scenario;
use super::super::subject::Subject;
use super::{FONT, TITLE};

const SIZE: (u32, u32) = (900, 420);
const OURS: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const THEIRS: RGBColor = RGBColor(0xbb, 0xbb, 0xbb);

struct Bar {
    what: String,
    ours: String,
    theirs: String,
    ratio: f64,
}

pub(super) fn draw(run: &Run, path: &Path) -> Result<(), Box<dyn Error>> {
    let cases = [
        ("round trip", Figure::P50),
        ("messages on one connection", Figure::Rate),
        ("500 connect at once", Figure::MemoryEach),
        ("500 connect at once", Figure::Took),
    ];
    let bars = cases.map(|(case, figure)| {
        let of = |subject| run.median(Scenario::Programs, case, subject, figure);
        let (ours, theirs) = (of(&Subject::Run), of(&Subject::Websocketd));
        let (unit, _, _, better) = figure.shown();
        let better = if better == Better::More { "more" } else { "less" };
        let what = format!("{case}, {unit} ({better} is better)");
        Bar { what, ours: figure.text(ours), theirs: figure.text(theirs), ratio: ours / theirs }
    });
    if bars.iter().any(|bar| bar.ratio.is_nan()) {
        return Ok(());
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let most = bars.iter().map(|bar| bar.ratio).fold(1.0, f64::max) * 1.35;
    let mut chart = ChartBuilder::on(&area)
        .caption("slackwater run beside websocketd, cat behind both (websocketd = 1)", TITLE)
        .margin(16)
        .x_label_area_size(40)
        .build_cartesian_2d(0.0..most, bars.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("ratio")
        .label_style(FONT)
        .draw()?;
    for (index, Bar { what, ours, theirs, ratio }) in bars.into_iter().enumerate() {
        let top = index as f64;
        let bar = |from: f64, to: f64, length: f64, colour: RGBColor| {
            Rectangle::new([(0.0, top + from), (length, top + to)], colour.filled())
        };
        chart.draw_series([bar(0.36, 0.60, ratio, OURS), bar(0.62, 0.86, 1.0, THEIRS)])?;
        chart.draw_series([
            Text::new(what, (0.01 * most, top + 0.12), FONT),
            Text::new(ours, (ratio + 0.01 * most, top + 0.40), FONT),
            Text::new(theirs, (1.0 + 0.01 * most, top + 0.66), FONT),
        ])?;
    }
    area.present()?;
    Ok(())
}

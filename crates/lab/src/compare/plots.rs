//! The report in pictures, over the number of clients: how long a call takes, how many are made,
//! what one costs.

use std::error::Error;
use std::io;
use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Circle, Color as _, DashedLineSeries, IntoDrawingArea as _, IntoLogRange as _,
    LineSeries, PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::report::{Measurement, Report, SUBJECTS, Scenario, Subject};

/// Of every picture, in pixels.
const SIZE: (u32, u32) = (900, 540);
const FONT: (&str, u32) = ("sans-serif", 16);
const TITLE: (&str, u32) = ("sans-serif", 22);

struct Picture {
    file: &'static str,
    title: &'static str,
    /// What is on the vertical axis, and its unit.
    axis: &'static str,
    curves: Vec<Curve>,
    /// Where no curve is.
    legend: SeriesLabelPosition,
}

struct Curve {
    name: String,
    colour: RGBColor,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// Writes `latency.svg`, `rate.svg` and `cpu.svg` to a directory.
///
/// # Errors
/// They cannot be written.
pub(super) fn draw(report: &Report, directory: &Path) -> io::Result<()> {
    let name = |subject: Subject| subject.name().to_owned();
    let latency = SUBJECTS.into_iter().flat_map(|subject| {
        let (p50, p99) = (format!("{}, p50", name(subject)), format!("{}, p99", name(subject)));
        [
            curve(report, subject, p50, |one| milli(one.p50)),
            Curve { dashed: true, ..curve(report, subject, p99, |one| milli(one.p99)) },
        ]
    });
    let rate = SUBJECTS
        .map(|subject| curve(report, subject, name(subject), |one| one.calls_a_second() / 1e3));
    let cpu = [Subject::Relay, Subject::Gateway]
        .map(|subject| curve(report, subject, name(subject), |one| milli(one.cpu_a_call())));
    let pictures = [
        Picture {
            file: "latency.svg",
            title: "How long a call takes",
            axis: "latency, ms (log scale)",
            curves: latency.collect(),
            legend: SeriesLabelPosition::UpperLeft,
        },
        Picture {
            file: "rate.svg",
            title: "How many calls are made",
            axis: "thousand calls a second",
            curves: rate.into(),
            legend: SeriesLabelPosition::UpperLeft,
        },
        Picture {
            file: "cpu.svg",
            title: "What a call costs the process between client and bus",
            axis: "processor time, ms a call",
            curves: cpu.into(),
            legend: SeriesLabelPosition::UpperRight,
        },
    ];
    for picture in pictures {
        let path = directory.join(picture.file);
        let drawn = paint(&path, &picture, picture.file == "latency.svg");
        drawn.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

fn curve(
    report: &Report,
    subject: Subject,
    name: String,
    figure: fn(&Measurement) -> f64,
) -> Curve {
    let colour = match subject {
        Subject::Bare => RGBColor(90, 90, 90),
        Subject::Relay => RGBColor(214, 126, 0),
        Subject::Gateway => RGBColor(0, 98, 178),
    };
    let point = |&clients: &u64| {
        (clients as f64, report.median(subject, Scenario::Load { clients }, figure))
    };
    Curve { name, colour, dashed: false, points: report.loads().iter().map(point).collect() }
}

fn milli(seconds: f64) -> f64 {
    seconds * 1e3
}

/// The clients are on a log scale; the other axis is too if `log` says so, else it begins at 0.
fn paint(path: &Path, picture: &Picture, log: bool) -> Result<(), Box<dyn Error>> {
    let points = || picture.curves.iter().flat_map(|curve| &curve.points);
    let edge = |value: fn(&(f64, f64)) -> f64, better: fn(f64, f64) -> f64| {
        points().map(value).reduce(better).unwrap_or(1.0)
    };
    let most_clients = edge(|point| point.0, f64::max).max(2.0);
    let (low, high) = (edge(|point| point.1, f64::min), edge(|point| point.1, f64::max));
    let clients = (0.9..most_clients * 1.1).log_scale();

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.caption(picture.title, TITLE).margin(14);
    builder.x_label_area_size(50).y_label_area_size(76);
    // The two kinds of axes have different types.
    macro_rules! paint_on {
        ($chart:expr) => {{
            let mut chart = $chart;
            // Steps of 0.02 add up to 0.12000000000000001.
            let number = |value: &f64| format!("{}", (value * 1e6).round() / 1e6);
            chart
                .configure_mesh()
                .light_line_style(RGBColor(238, 238, 238))
                .label_style(FONT)
                .axis_desc_style(FONT)
                .x_desc("clients that call at once (log scale)")
                .y_desc(picture.axis)
                .x_label_formatter(&number)
                .y_label_formatter(&number)
                .draw()?;
            for Curve { name, colour, dashed, points } in &picture.curves {
                let (colour, points) = (*colour, points.iter().copied());
                let drawn = if *dashed {
                    chart.draw_series(DashedLineSeries::new(
                        points.clone(),
                        6,
                        5,
                        colour.stroke_width(2),
                    ))?
                } else {
                    chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                };
                let dashed = *dashed;
                drawn.label(name).legend(move |(x, y)| {
                    let end = if dashed { x + 10 } else { x + 24 };
                    PathElement::new([(x, y), (end, y)], colour.stroke_width(2))
                });
                chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
            }
            chart
                .configure_series_labels()
                .position(picture.legend.clone())
                .background_style(WHITE)
                .border_style(RGBColor(200, 200, 200))
                .label_font(FONT)
                .draw()?;
        }};
    }
    if log {
        paint_on!(builder.build_cartesian_2d(clients, (low * 0.8..high * 1.6).log_scale())?);
    } else {
        paint_on!(builder.build_cartesian_2d(clients, 0.0..high * 1.15)?);
    }
    root.present()?;
    Ok(())
}

//! A run in pictures: latency, rate and processor time against load, memory against clients, the course
//! of a drain, program mode beside websocketd. What was not measured has no picture.

use std::error::Error;
use std::io;
use std::path::Path;

use plotters::prelude::{
    ChartBuilder, Circle, Color as _, DashedLineSeries, IntoDrawingArea as _, IntoLogRange as _,
    LineSeries, PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::record::{Figure, Run};
use super::scenario::Scenario;
use super::subject::Subject;

mod bars;

/// Of every picture, in pixels.
const SIZE: (u32, u32) = (900, 540);
const FONT: (&str, u32) = ("sans-serif", 16);
const TITLE: (&str, u32) = ("sans-serif", 22);

struct Picture {
    file: &'static str,
    title: String,
    /// What is on each axis, and its unit.
    axes: (&'static str, &'static str),
    /// Which of them is on a log scale.
    log: (bool, bool),
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

/// Writes a picture for each thing that was measured to a directory.
///
/// # Errors
/// They cannot be written.
pub(super) fn draw(run: &Run, directory: &Path) -> io::Result<()> {
    let mut pictures = vec![latency(run), open(run), rate(run), processor(run), memory(run)];
    pictures.extend(ebb(run));
    for picture in pictures {
        if picture.curves.iter().all(|curve| curve.points.is_empty()) {
            continue;
        }
        let path = directory.join(picture.file);
        paint(&path, &picture).map_err(|error| named(&path, error.as_ref()))?;
    }
    let path = directory.join("programs.svg");
    bars::draw(run, &path).map_err(|error| named(&path, error.as_ref()))
}

fn named(path: &Path, error: &dyn Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

fn latency(run: &Run) -> Picture {
    Picture {
        file: "latency.svg",
        title: "How long a call takes, closed loop".to_owned(),
        axes: ("clients that call at once (log scale)", "latency, ms (log scale)"),
        log: (true, true),
        curves: percentile_curves(run, Scenario::Closed),
        legend: SeriesLabelPosition::UpperLeft,
    }
}

fn open(run: &Run) -> Picture {
    Picture {
        file: "open.svg",
        title: "How long a call takes from when it is due, open loop".to_owned(),
        axes: ("calls a second that fall due", "latency, ms (log scale)"),
        log: (false, true),
        curves: percentile_curves(run, Scenario::Open),
        legend: SeriesLabelPosition::UpperLeft,
    }
}

fn rate(run: &Run) -> Picture {
    Picture {
        file: "rate.svg",
        title: "How many calls are made".to_owned(),
        axes: ("clients that call at once (log scale)", "thousand calls a second"),
        log: (true, false),
        curves: closed_loop_curves(run, Figure::Rate, 1e-3),
        legend: SeriesLabelPosition::UpperLeft,
    }
}

fn processor(run: &Run) -> Picture {
    Picture {
        file: "cpu.svg",
        title: "What a call costs the process between client and bus".to_owned(),
        axes: ("clients that call at once (log scale)", "processor time, ms a call"),
        log: (true, false),
        curves: closed_loop_curves(run, Figure::Cpu, 1e3),
        legend: SeriesLabelPosition::UpperRight,
    }
}

/// A curve for each subject that has the figure.
fn closed_loop_curves(run: &Run, figure: Figure, factor: f64) -> Vec<Curve> {
    let subjects = run.subjects(Scenario::Closed).into_iter().enumerate();
    let curves = subjects.map(|(index, subject)| {
        curve(run, Scenario::Closed, index, subject, subject.to_string(), figure, factor)
    });
    curves.filter(|curve| !curve.points.is_empty()).collect()
}

/// What the cases of the memory scenario end in.
const STEPS: [&str; 4] = ["connected", "after a call", "after 64 KiB", "gone"];

fn memory(run: &Run) -> Picture {
    let mut curves = Vec::new();
    for subject in run.subjects(Scenario::Memory) {
        for step in STEPS {
            let cases = run.cases(Scenario::Memory);
            let cases = cases.into_iter().filter(|(case, _)| case.ends_with(&format!(", {step}")));
            let point = |(case, at)| {
                (
                    at,
                    run.median(Scenario::Memory, case, subject, Figure::Memory)
                        / f64::from(1 << 20),
                )
            };
            let points = cases.map(point).filter(|point| point.1.is_finite()).collect();
            let (name, dashed) = (format!("{subject}, {step}"), step == "gone");
            curves.push(Curve { name, colour: colour(0, None), dashed, points });
        }
    }
    // A subject that was measured at one number of clients alone gives no line.
    if curves.iter().any(|curve| curve.points.len() > 1) {
        curves.retain(|curve| curve.points.len() > 1);
    }
    for (index, curve) in curves.iter_mut().enumerate() {
        curve.colour = colour(index, None);
    }
    Picture {
        file: "memory.svg",
        title: "Memory, what the allocator keeps included".to_owned(),
        axes: ("clients", "MiB"),
        log: (false, false),
        curves,
        legend: SeriesLabelPosition::UpperLeft,
    }
}

/// The course of the first drain.
fn ebb(run: &Run) -> Option<Picture> {
    let row = run.rows.iter().find(|row| {
        matches!(row.scenario, Scenario::Drain | Scenario::Reconnect) && !row.course.is_empty()
    })?;
    let window = row.figures.get(&Figure::Window).copied().unwrap_or(f64::NAN);
    let all: u64 = row.course.iter().sum();
    let mean = all as f64 / window;
    let closes = row.course.iter().enumerate();
    let points = closes.map(|(index, count)| (index as f64 / 10.0, *count as f64 * 10.0));
    let curves = vec![
        Curve {
            name: "closes a second".to_owned(),
            colour: colour(0, Some(&row.subject)),
            dashed: false,
            points: points.collect(),
        },
        Curve {
            name: "their mean over the window".to_owned(),
            colour: RGBColor(90, 90, 90),
            dashed: true,
            points: vec![(0.0, mean), (window, mean)],
        },
    ];
    Some(Picture {
        file: "ebb.svg",
        title: format!("The ebb of {}", row.case),
        axes: ("s from the drain's beginning", "closes a second"),
        log: (false, false),
        curves,
        legend: SeriesLabelPosition::LowerRight,
    })
}

/// p50 and, dashed, p99 of every subject.
fn percentile_curves(run: &Run, scenario: Scenario) -> Vec<Curve> {
    let subjects = run.subjects(scenario).into_iter().enumerate();
    let curves = subjects.flat_map(|(index, subject)| {
        let of = |name: &str, figure| {
            curve(run, scenario, index, subject, format!("{subject}, {name}"), figure, 1e3)
        };
        let tail = Curve { dashed: true, ..of("p99", Figure::P99) };
        [of("p50", Figure::P50), tail]
    });
    curves.collect()
}

fn curve(
    run: &Run,
    scenario: Scenario,
    index: usize,
    subject: &Subject,
    name: String,
    figure: Figure,
    factor: f64,
) -> Curve {
    let cases = run.cases(scenario).into_iter();
    let point = |(case, at)| (at, factor * run.median(scenario, case, subject, figure));
    let points = cases.map(point).filter(|point| point.1.is_finite()).collect();
    Curve { name, colour: colour(index, Some(subject)), dashed: false, points }
}

/// The same for a kind of subject in all pictures; else by its place.
fn colour(index: usize, subject: Option<&Subject>) -> RGBColor {
    const OTHERS: [RGBColor; 6] = [
        RGBColor(0, 98, 178),
        RGBColor(44, 140, 68),
        RGBColor(160, 60, 160),
        RGBColor(120, 120, 120),
        RGBColor(180, 40, 40),
        RGBColor(20, 150, 160),
    ];
    match subject {
        Some(Subject::Bare(_)) => RGBColor(90, 90, 90),
        Some(Subject::Relay(_)) => RGBColor(214, 126, 0),
        Some(Subject::Gateway(crate::site::Bus::Redis)) => OTHERS[0],
        Some(Subject::Gateway(_) | Subject::Peer(_) | Subject::Run | Subject::Websocketd) => {
            OTHERS[1 + index % (OTHERS.len() - 1)]
        }
        None => OTHERS[index % OTHERS.len()],
    }
}

fn paint(path: &Path, picture: &Picture) -> Result<(), Box<dyn Error>> {
    let points = || picture.curves.iter().flat_map(|curve| &curve.points);
    let edge = |value: fn(&(f64, f64)) -> f64, better: fn(f64, f64) -> f64| {
        points().map(value).reduce(better).unwrap_or(1.0)
    };
    let (left, right) = (edge(|point| point.0, f64::min), edge(|point| point.0, f64::max));
    let (low, high) = (edge(|point| point.1, f64::min), edge(|point| point.1, f64::max));

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&root);
    builder.caption(&picture.title, TITLE).margin(14);
    builder.x_label_area_size(50).y_label_area_size(76);
    // The kinds of axes have different types.
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
                .x_desc(picture.axes.0)
                .y_desc(picture.axes.1)
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
                if points.len() < 40 {
                    chart
                        .draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
                }
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
    let on_log = |low: f64, high: f64| (low * 0.8..high * 1.6).log_scale();
    match picture.log {
        (true, true) => paint_on!(
            builder.build_cartesian_2d((left * 0.9..right * 1.1).log_scale(), on_log(low, high))?
        ),
        (true, false) => paint_on!(
            builder.build_cartesian_2d((left * 0.9..right * 1.1).log_scale(), 0.0..high * 1.15)?
        ),
        (false, true) => {
            paint_on!(builder.build_cartesian_2d(0.0..right * 1.05, on_log(low, high))?);
        }
        (false, false) => {
            paint_on!(builder.build_cartesian_2d(0.0..right * 1.05, 0.0..high * 1.25)?);
        }
    }
    root.present()?;
    Ok(())
}

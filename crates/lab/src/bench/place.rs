//! Where a run is made.

use std::io;
use std::path::Path;
use std::process::Command;

use super::record::Place;

/// This machine, this day, and what the gateway says of itself.
///
/// # Errors
/// The gateway's binary is not there.
pub(super) fn here(program: &Path) -> io::Result<Place> {
    let version = Command::new(program).arg("--version").output();
    let named = |error| io::Error::other(format!("{}: {error}", program.display()));
    let version = version.map_err(named)?;
    let gateway = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    let kernel = format!("Linux {}", read("/proc/sys/kernel/osrelease").trim());
    Ok(Place {
        day: chrono::Utc::now().format("%Y-%m-%d").to_string(),
        processor: processor.unwrap_or("unknown").to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        kernel,
        gateway,
    })
}

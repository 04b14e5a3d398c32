//! `GET /metrics`: the gateway's figures as Prometheus and others of OpenMetrics read them.
//!
//! Law: one scrape is one look, whose figures agree; and nothing that a client makes up is a label:
//! services are named as [`slackwater_core::tally`] keeps them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use slackwater_core::event::Outcome;
use slackwater_core::session;
use slackwater_core::tally::{BOUNDS, Services};

use super::status::{Phase, Status};

/// The media type of [`text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is shown, at one instant.
#[derive(Debug, Clone)]
pub struct Figures {
    /// As `GET /status`.
    pub status: Status,
    /// What each service was asked.
    pub services: Services,
    /// Requests that were handed to the bus and came back unsent.
    pub recalled: u64,
    /// Times that the bus was lost.
    pub bus_losses: u64,
    /// Clients, and what waits for them.
    pub census: Census,
    /// Bytes that came from clients.
    pub received_bytes: u64,
    /// Bytes that clients' connections have taken.
    pub sent_bytes: u64,
}

/// All clients, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// By what their sessions are at; those that are closed are not counted.
    pub open: u64,
    /// See [`session::Phase`].
    pub draining: u64,
    /// See [`session::Phase`].
    pub closing: u64,
    /// See [`session::Phase`].
    pub ending: u64,
    /// Clients with a pending request or an open session.
    pub holding: u64,
    /// Bytes that wait for clients.
    pub waiting_bytes: u64,
}

impl Census {
    /// Counts one client.
    pub(crate) fn count(&mut self, phase: session::Phase, holds: bool, waiting: usize) {
        match phase {
            session::Phase::Open => self.open += 1,
            session::Phase::Draining => self.draining += 1,
            session::Phase::Closing => self.closing += 1,
            session::Phase::Ending => self.ending += 1,
            session::Phase::Closed => {}
        }
        self.holding += u64::from(holds);
        self.waiting_bytes += waiting as u64;
    }
}

/// The figures as text.
///
/// # Errors
/// None that a `String` makes.
pub fn text(figures: Figures) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(figures));
    registry.register_collector(Box::new(Process));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Writes metrics one after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue + 'static,
    ) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue + 'static,
    ) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn counters<'v>(
        &mut self,
        (name, help, label): (&str, &str, &str),
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            let counter = ConstCounter::new(count);
            counter.encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn gauges<'v>(
        &mut self,
        (name, help, label): (&str, &str, &str),
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in values {
            let gauge = ConstGauge::new(count);
            gauge.encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let page = &mut Page(encoder);
        page.gauges(
            ("slackwater_build_info", "The version that runs.", "version"),
            [(self.status.version.as_str(), 1)],
        )?;
        self.connections(page)?;
        self.requests(page)?;
        self.services(page)?;
        self.drain(page)?;
        if let Some(bus) = &self.status.bus {
            let help = "Whether the bus is there.";
            page.gauge("slackwater_bus_up", help, u64::from(bus.healthy))?;
            let help = "Times that the bus was lost.";
            page.counter("slackwater_bus_losses", help, self.bus_losses)?;
        }
        Ok(())
    }
}

impl Figures {
    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let Census { open, draining, closing, ending, holding, waiting_bytes } = self.census;
        page.gauges(
            ("slackwater_connections", "WebSocket connections, by what they are at.", "state"),
            [("open", open), ("draining", draining), ("closing", closing), ("ending", ending)],
        )?;
        page.gauge(
            "slackwater_connections_holding",
            "Connections that would hold a drain: with a pending request or an open session.",
            holding,
        )?;
        page.counters(
            ("slackwater_connections_closed", "Connections that have ended, by reason.", "reason"),
            self.status.closed.iter().map(|(reason, count)| (reason.as_str(), *count)),
        )?;
        page.counter(
            "slackwater_client_received_bytes",
            "Bytes that came from clients, frames and all.",
            self.received_bytes,
        )?;
        page.counter(
            "slackwater_client_sent_bytes",
            "Bytes that were written to clients.",
            self.sent_bytes,
        )?;
        page.gauge(
            "slackwater_client_waiting_bytes",
            "Bytes that wait for clients to read, and of messages that are not whole yet.",
            waiting_bytes,
        )
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.status.counts;
        page.counter("slackwater_requests_received", "Requests that came.", counts.received)?;
        page.counter(
            "slackwater_requests_executed",
            "Requests that were handed to the bus or the program.",
            counts.executed + self.recalled,
        )?;
        page.counters(
            ("slackwater_requests_ended", "Requests that are settled, by how.", "how"),
            [
                ("answered", counts.answered),
                ("rejected", counts.rejected),
                ("crossed", counts.crossed_requests),
                ("cut_off", counts.cut_off),
                ("client_gone", counts.client_gone),
                ("service_gone", counts.service_gone),
                ("bus_lost", counts.bus_lost),
                ("recalled", self.recalled),
            ],
        )?;
        let pending = self.status.pending_requests.saturating_sub(counts.held);
        page.gauges(
            ("slackwater_requests_open", "Requests that are not settled, by where.", "where"),
            [("held", counts.held), ("pending", pending)],
        )?;
        page.gauge("slackwater_sessions", "Stateful sessions.", self.status.sessions)?;
        page.counter(
            "slackwater_lost_replies",
            "Answers that a drain's deadline has cut off: ought to be 0 for ever.",
            counts.lost_replies,
        )?;
        page.counter(
            "slackwater_invalid_messages",
            "Messages in which no request could be read.",
            counts.invalid_messages,
        )?;
        page.counter(
            "slackwater_stray_answers",
            "Answers that nobody awaited.",
            counts.stray_answers,
        )
    }

    fn services(&self, page: &mut Page<'_>) -> fmt::Result {
        let help =
            "Settled requests by service and outcome; (other) are services that never answered.";
        let name = "slackwater_service_requests";
        let mut family = page.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (service, tally) in self.services.iter() {
            for outcome in Outcome::ALL {
                let labels = [("service", service), ("outcome", outcome.name())];
                let counter = ConstCounter::new(tally.count(outcome));
                counter.encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "From a request to its final answer, or to its end without one.";
        let name = "slackwater_request_duration_seconds";
        let mut family = page.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (service, tally) in self.services.iter() {
            let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
            let classes: Vec<_> = bounds.zip(tally.took.classes).collect();
            let (sum, count) = (tally.took.sum.as_secs_f64(), tally.requests());
            family
                .encode_family(&[("service", service)])?
                .encode_histogram::<[(&str, &str); 0]>(sum, count, &classes, None)?;
        }
        Ok(())
    }

    fn drain(&self, page: &mut Page<'_>) -> fmt::Result {
        let phases = [
            ("serving", Phase::Serving),
            ("announce", Phase::Announce),
            ("refuse", Phase::Refuse),
            ("ebb", Phase::Ebb),
            ("drained", Phase::Drained),
        ];
        page.gauges(
            ("slackwater_drain_phase", "1 for the phase that the gateway is in.", "phase"),
            phases.map(|(name, phase)| (name, u64::from(phase == self.status.phase))),
        )?;
        let Some(drain) = &self.status.drain else { return Ok(()) };
        page.gauge(
            "slackwater_drain_duration_seconds",
            "Since the drain began.",
            drain.since_seconds,
        )?;
        if let Some(left) = drain.deadline_seconds_left {
            let help = "Until the drain cuts off what is left.";
            page.gauge("slackwater_drain_deadline_seconds", help, left)?;
        }
        page.gauge(
            "slackwater_drain_connections_at_start",
            "Connections when the drain began.",
            drain.total_at_start,
        )?;
        page.gauge(
            "slackwater_drain_connections_closed",
            "Connections that have ended since.",
            drain.closed_so_far,
        )
    }
}

/// This process, under the names that all of Prometheus's own clients use.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match procfs::process::Process::myself().and_then(|me| Ok((me.stat()?, me))) {
            Ok((stat, me)) => process(&mut Page(encoder), &stat, &me),
            // Without /proc the gateway's own figures are there all the same.
            Err(error) => {
                tracing::debug!(%error, "no figures of the process");
                Ok(())
            }
        }
    }
}

fn process(
    page: &mut Page<'_>,
    stat: &procfs::process::Stat,
    me: &procfs::process::Process,
) -> fmt::Result {
    let ticks = procfs::ticks_per_second();
    let seconds = (stat.utime + stat.stime) as f64 / ticks as f64;
    page.counter("process_cpu_seconds", "Processor time.", seconds)?;
    let resident = stat.rss * procfs::page_size();
    page.gauge("process_resident_memory_bytes", "Resident memory.", resident)?;
    page.gauge("process_virtual_memory_bytes", "Virtual memory.", stat.vsize)?;
    page.gauge("process_threads", "Threads.", stat.num_threads)?;
    if let Ok(open) = me.fd_count() {
        page.gauge("process_open_fds", "Open file descriptors.", open as u64)?;
    }
    if let Ok(limits) = me.limits()
        && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        page.gauge("process_max_fds", "Open file descriptors that are allowed.", most)?;
    }
    if let Ok(booted) = procfs::boot_time_secs() {
        let started = booted as f64 + stat.starttime as f64 / ticks as f64;
        page.gauge("process_start_time_seconds", "When it began, in Unix time.", started)?;
    }
    Ok(())
}

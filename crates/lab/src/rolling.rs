//! A rolling restart: two gateways behind a balancer, each in turn taken away, started again at its
//! own port and put back, while clients go on. What the gateways and their bus have counted is read
//! at each gateway's end, since on the embedded bus it dies with it.

mod place;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::place::Place;
use crate::balancer::{Balancer, Sample};
use crate::chance::Chance;
use crate::crowd::{Crowd, Habits, Seen};
use crate::delay::Delay;
use crate::proof::skipped;
use crate::site::{Bus, Site};

/// How a gateway is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// SIGTERM, and waiting for its end.
    Drained,
    /// SIGKILL: what it is without a drain.
    Killed,
}

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What is in front of the gateways.
    pub sample: Sample,
    /// How they are taken away.
    pub way: Way,
    /// Rounds of both gateways are begun for so long; one is made in any case.
    pub time: Duration,
    /// Clients at a time.
    pub clients: u64,
    /// Theirs.
    pub habits: Habits,
    /// Between the clients and the balancer.
    pub round_trip: Duration,
    /// Options of the gateways.
    pub options: &'static [&'static str],
    /// Of the run.
    pub seed: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// What all clients have seen.
    pub seen: Seen,
    /// The counters of all drained gateways, summed.
    pub status: Value,
    /// Requests that the bus has executed.
    pub executed: u64,
    /// Gateways taken away and started again.
    pub restarts: u64,
    /// The longest that one took to leave.
    pub longest: Duration,
}

/// Takes the gateways away in turn, and at the end both for good. `None`, and a loud word about it,
/// if this host has not got the balancer.
///
/// # Errors
/// A client was not served as its habits ask for, a drain ended otherwise than with 0, a gateway
/// did not come back.
///
/// # Panics
/// Gateways are to be killed that take what their bus has counted with them.
pub async fn run(site: &Site, program: &Path, plan: Plan) -> io::Result<Option<Figures>> {
    assert!(plan.way == Way::Drained || site.bus() != Bus::Embedded, "the count would be lost");
    let mut places = [Place::at([127, 0, 0, 2])?, Place::at([127, 0, 0, 3])?];
    for place in &mut places {
        place.start(site, program, plan.options).await?;
    }
    let members = places.each_ref().map(Place::member);
    let Some(balancer) = Balancer::start(plan.sample, &members).await? else {
        skipped("a rolling restart", &format!("no {}", plan.sample.kind().program()));
        return Ok(None);
    };
    let far = Delay::start(balancer.address(), plan.round_trip).await?;
    let entrance = if plan.round_trip.is_zero() { balancer.address() } else { far.address() };
    let crowd = Crowd::with(plan.habits, entrance, plan.clients, &mut Chance::new(plan.seed));
    let whistle = crowd.whistle();
    let mut figures = Figures::default();
    let driving = async {
        let began = Instant::now();
        loop {
            for turn in 0..places.len() {
                serves(&mut places, plan.clients).await?;
                let [first, second] = &mut places;
                let place = if turn == 0 { first } else { second };
                match plan.way {
                    Way::Drained => figures.leave(place, site.bus()).await?,
                    Way::Killed => place.kill().await?,
                }
                place.start(site, program, plan.options).await?;
                place.is_sent_clients_by(balancer.address()).await?;
                figures.restarts += 1;
            }
            if began.elapsed() >= plan.time {
                break;
            }
        }
        whistle.blow().await;
        for place in &mut places {
            figures.leave(place, site.bus()).await?;
        }
        Ok(figures)
    };
    let (figures, seen) = crowd.during(driving).await?;
    Ok(Some(Figures { seen, ..figures }))
}

impl Figures {
    /// A gateway leaves for good, or until it is started again.
    async fn leave(&mut self, place: &mut Place, bus: Bus) -> io::Result<()> {
        let began = Instant::now();
        let (status, executed) = place.drain().await?;
        self.longest = self.longest.max(began.elapsed());
        self.executed = match bus {
            Bus::Embedded => self.executed + executed,
            // It counts for both gateways, and outlives them.
            Bus::Redis | Bus::Xmpp(_) => executed,
        };
        self.status = sum(&self.status, &status);
        Ok(())
    }
}

/// Waits until as many requests more are answered, wherever they are.
async fn serves(places: &mut [Place; 2], more: u64) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let began = Instant::now();
    let wanted = Place::answered(places).await? + more;
    while Place::answered(places).await? < wanted {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("clients are not served"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Of all that are numbers.
fn sum(one: &Value, other: &Value) -> Value {
    let numbers = other.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let sum = value.as_u64()? + one[name].as_u64().unwrap_or_default();
        Some((name.clone(), Value::from(sum)))
    });
    Value::Object(numbers.collect::<Map<_, _>>())
}

//! What services are: methods that take raw JSON and yield raw JSON. Written once; a
//! [worker](crate::worker) runs them over any bus.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use demo::Demo;
pub use math::Math;
pub use params::Params;
pub use simple_text::SimpleText;

mod demo;
mod math;
mod params;
mod simple_text;
mod system;

/// `opensrf.math`, `opensrf.simple-text` and a new `slackwater.demo`.
pub fn all() -> Vec<Arc<dyn Service>> {
    vec![Arc::new(Math), Arc::new(SimpleText), Arc::new(Demo::default())]
}

/// A service: named methods. The system methods (`opensrf.system.…`) and an `.atomic` form of
/// every method are there by themselves.
pub trait Service: fmt::Debug + Send + Sync + 'static {
    /// The name that clients and routers know it by.
    fn name(&self) -> &'static str;

    /// Its methods, as `opensrf.system.method.all` lists them.
    fn methods(&self) -> &'static [Method];

    /// Whether it has `opensrf.system.time`, as Perl services do and C services do not.
    fn tells_time(&self) -> bool {
        true
    }

    /// Runs one of [`Service::methods`], named by its `name`, with at least its `argc` params.
    /// The future is dropped unfinished when the bus ends.
    fn call<'a>(&'a self, method: &'a str, params: Params<'a>, results: Results) -> Running<'a>;
}

/// A method at work. Its results have gone to [`Results`] before it ends.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// What a service says about one of its methods.
#[derive(Debug)]
pub struct Method {
    /// What a REQUEST calls it.
    pub name: &'static str,
    /// The function that runs it, which only introspection shows.
    pub symbol: &'static str,
    /// One line on what it does.
    pub notes: &'static str,
    /// The fewest params it can be called with.
    pub argc: usize,
    /// Whether it may yield more than one result.
    pub streams: bool,
}

/// A method that cannot do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The STATUS code.
    pub code: u16,
    /// Words for the client.
    pub text: String,
}

impl Failure {
    /// A failure with this STATUS code and these words.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A C service says no more than this, whatever went wrong inside a method.
    fn unknown() -> Self {
        Self::new(404, "An unknown server error occurred")
    }
}

/// Where a method puts its results, in order.
#[derive(Debug)]
pub struct Results(mpsc::Sender<String>);

impl Results {
    /// Yields one result, the text of a JSON value. Waits while the bus is behind.
    ///
    /// # Errors
    /// When nobody takes results any more.
    pub async fn put(&self, content: impl Into<String>) -> Result<(), Failure> {
        self.0.send(content.into()).await.map_err(|_| Failure::new(500, "nobody takes results"))
    }

    /// Waits until all that was put has been sent on: only then is its memory free again.
    pub async fn sent(&self) -> Result<(), Failure> {
        let all = self.0.reserve_many(self.0.max_capacity()).await;
        all.map(drop).map_err(|_| Failure::new(500, "nobody takes results"))
    }
}

/// A place for results, at most `ahead` of them, and its reading end.
pub(crate) fn results(ahead: usize) -> (Results, mpsc::Receiver<String>) {
    let (results, reader) = mpsc::channel(ahead);
    (Results(results), reader)
}

/// The method that a REQUEST means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) method: &'static Method,
    /// All results are to be one array.
    pub(crate) atomic: bool,
    /// It is one that every service has.
    system: bool,
}

/// Looks a method up by the name in a REQUEST.
pub(crate) fn find(service: &dyn Service, name: &str) -> Option<Found> {
    let plain = name.strip_suffix(".atomic").unwrap_or(name);
    let atomic = plain.len() < name.len();
    let named = |method: &&'static Method| method.name == plain;
    let own = service.methods().iter().find(named);
    let method = own.or_else(|| system::methods(service).find(named))?;
    Some(Found { method, atomic, system: own.is_none() })
}

/// Starts a method that [`find`] has found in this service.
pub(crate) fn call<'a>(
    service: &'a dyn Service,
    found: Found,
    params: Params<'a>,
    results: Results,
) -> Running<'a> {
    if found.system {
        Box::pin(system::call(service, found.method.name, params, results))
    } else {
        service.call(found.method.name, params, results)
    }
}

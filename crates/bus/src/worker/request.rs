//! Runs one request and sends its answers: what a method yields in a rush shares bodies, and
//! whenever the method waits for something, what there is goes out at once.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::bundle::{Bundle, slices};
use super::message::Request;
use super::text::{self, Head};
use super::{Asker, Gone, Port};
use crate::services::{self, Failure, Found, Params, Service};

/// Results that a method may be ahead of the bus.
const RESULTS_AHEAD: usize = 16;
/// The most bytes that `.atomic` gathers to one array, and all arrays at one time.
const ARRAY_BYTES: usize = 64 << 20;
static ALL_ARRAYS: Semaphore = Semaphore::const_new(4 * ARRAY_BYTES);
/// The most characters of a client's words that an error repeats.
const REPEATED_CHARACTERS: usize = 256;

/// The answers to one request.
pub(super) struct Answers<'a, P> {
    port: &'a mut P,
    asker: &'a Asker,
    head: Head,
    bundle: Bundle,
}

impl<'a, P: Port> Answers<'a, P> {
    pub(super) fn new(port: &'a mut P, asker: &'a Asker, head: Head) -> Self {
        Self { port, asker, head, bundle: Bundle::default() }
    }

    /// Runs the request and sends its results and its end: STATUS 205, or why it failed.
    pub(super) async fn run(
        &mut self,
        service: &dyn Service,
        request: &Request<'_>,
    ) -> Result<(), Gone> {
        let name = request.method.as_ref();
        let Some(found) = services::find(service, name) else {
            let shown: String = name.chars().take(REPEATED_CHARACTERS).collect();
            let text = format!("Method [{shown}] not found for service {}", service.name());
            return self.fail(404, &text).await;
        };
        if request.params.len() < found.method.argc {
            let text = format!("Not enough params for method {name} / service {}", service.name());
            return self.fail(404, &text).await;
        }
        match self.results(service, found, Params::new(&request.params)).await? {
            Ok(()) => {
                self.push(&self.head.complete()).await?;
                self.flush().await
            }
            Err(failure) => self.fail(failure.code, &failure.text).await,
        }
    }

    /// Sends what there is, then STATUS `code`.
    pub(super) async fn fail(&mut self, code: u16, text: &str) -> Result<(), Gone> {
        self.push(&self.head.method_exception(code, text)).await?;
        self.flush().await
    }

    /// Runs the method and sends what it yields.
    async fn results(
        &mut self,
        service: &dyn Service,
        found: Found,
        params: Params<'_>,
    ) -> Result<Result<(), Failure>, Gone> {
        let (results, mut yielded) = services::results(RESULTS_AHEAD);
        let mut method = services::call(service, found, params, results);
        let mut array = found.atomic.then(Array::default);
        loop {
            let outcome = poll_fn(|context| match method.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending if yielded.is_empty() && self.bundle.is_empty() => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            })
            .await;
            let it_waits_for_us = !yielded.is_empty();
            while let Ok(content) = yielded.try_recv() {
                match &mut array {
                    None => self.result(&content).await?,
                    Some(array) => {
                        if let Err(failure) = array.push(&content) {
                            return Ok(Err(failure));
                        }
                    }
                }
            }
            match outcome {
                None if it_waits_for_us => {}
                None => self.flush().await?,
                Some(Ok(())) => {
                    if let Some(array) = &mut array {
                        self.result(array.finish()).await?;
                    }
                    return Ok(Ok(()));
                }
                Some(failed) => return Ok(failed),
            }
        }
    }

    async fn result(&mut self, content: &str) -> Result<(), Gone> {
        let Some(slices) = slices(content) else {
            return self.push(&self.head.result(content)).await;
        };
        self.flush().await?;
        for slice in slices {
            self.send(text::body(&self.head.partial(slice))).await?;
        }
        self.send(text::body(&self.head.partial_end())).await
    }

    async fn push(&mut self, message: &str) -> Result<(), Gone> {
        match self.bundle.push(message) {
            Some(body) => self.send(body).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        match self.bundle.take() {
            Some(body) => self.send(body).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, body: String) -> Result<(), Gone> {
        self.port.send(self.asker, body).await
    }
}

/// The results of an `.atomic` method: one JSON array.
#[derive(Default)]
struct Array {
    text: String,
    room: Option<SemaphorePermit<'static>>,
}

impl Array {
    fn push(&mut self, content: &str) -> Result<(), Failure> {
        let bytes = content.len() + 1;
        if self.text.len() + bytes >= ARRAY_BYTES {
            return Err(Failure::new(500, "the results are too large for one array"));
        }
        let room =
            u32::try_from(bytes).ok().and_then(|more| ALL_ARRAYS.try_acquire_many(more).ok());
        let Some(more) = room else {
            return Err(Failure::new(500, "too many results are gathered to arrays just now"));
        };
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        self.text.push(if self.text.is_empty() { '[' } else { ',' });
        self.text.push_str(content);
        Ok(())
    }

    fn finish(&mut self) -> &str {
        self.text.push_str(if self.text.is_empty() { "[]" } else { "]" });
        &self.text
    }
}

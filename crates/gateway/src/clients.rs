//! Where the front hands its clients over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::client::Client;
use crate::front::{self, Handler};
use crate::gateway::{Gateway, Place};
use crate::operate::readiness::Probe;
use crate::operate::status::Operations as _;

/// The clients of one gateway.
#[derive(Debug)]
pub(crate) struct Clients {
    gateway: Arc<Gateway>,
    numbers: AtomicU64,
}

impl Clients {
    pub(crate) fn of(gateway: Arc<Gateway>) -> Arc<Self> {
        Arc::new(Self { gateway, numbers: AtomicU64::new(1) })
    }
}

impl Handler for Clients {
    type Permit = Place;

    fn admit(&self) -> Option<Place> {
        Place::take(&self.gateway, self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    fn health(&self, probe: Probe) -> (StatusCode, String) {
        probe.answer(&self.gateway.status_now(), self.gateway.drain_status())
    }

    fn connected(
        self: Arc<Self>,
        client: front::Client<Place>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let front::Client { websocket, address, request, permit } = client;
        // Nothing in the head of the handshake is needed any more.
        drop(request);
        Client::new(Arc::clone(&self.gateway), websocket, address, permit).run()
    }
}

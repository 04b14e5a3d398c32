//! Where the front hands its clients over, if there is a bus behind them.

use std::sync::Arc;

use http::StatusCode;
use slackwater_core::session::Session;

use crate::client::Client;
use crate::clock::now;
use crate::front::{self, Arrival, Denied, Handler};
use crate::gateway::{Gateway, Place};
use crate::operate::readiness::Probe;
use crate::relay::BusEnd;

/// The clients of one gateway.
#[derive(Debug)]
pub(crate) struct Clients {
    gateway: Arc<Gateway>,
}

impl Clients {
    pub(crate) fn of(gateway: Arc<Gateway>) -> Arc<Self> {
        Arc::new(Self { gateway })
    }
}

impl Handler for Clients {
    type Permit = Place;

    fn admit(&self, _arrival: Arrival<'_>) -> Result<Place, Denied> {
        Place::take(&self.gateway).ok_or(Denied::FULL)
    }

    fn health(&self, probe: Probe) -> (StatusCode, String) {
        self.gateway.health(probe)
    }

    fn connected(
        self: Arc<Self>,
        client: front::Client<Place>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let front::Client { websocket, address, permit: place } = client;
        let gateway = Arc::clone(&self.gateway);
        let since = now();
        let session = Session::new(gateway.sessions(), place.id(), place.xid_seed(), since);
        let far_end = (BusEnd::of(Arc::clone(&gateway), Arc::clone(place.mailbox())), session);
        Client::new(gateway, far_end, (websocket, address), place, since).run()
    }
}

//! How much of the front one client address may take.
//!
//! Law: who stays within the bounds is let in whatever others do, and what is noted of an address goes
//! when nothing of it is left. An IPv6 address counts with its /64, which is what one subscriber has;
//! who comes through a unix socket has no address and no bounds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::address::ClientAddress;
use crate::clock::now;

/// What one address may take; no bound if `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Clients at a time.
    pub connections: Option<usize>,
    /// Handshakes a second, and so many at once.
    pub handshakes: Option<u32>,
}

/// Which bound an address has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("too many connections from this address")]
    Connections,
    #[error("too many handshakes from this address")]
    Handshakes,
}

/// What all addresses have taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    by_address: Mutex<ByAddress>,
}

#[derive(Debug, Default)]
struct ByAddress {
    all: HashMap<IpAddr, Share>,
    /// When there are so many, those of which nothing is left are struck out.
    sweeps_at: usize,
}

#[derive(Debug)]
struct Share {
    connections: usize,
    /// When all handshakes so far would have come, had they come one after the other at the rate that
    /// is allowed (the generic cell rate algorithm, ITU-T I.371).
    paid_until: Instant,
}

/// One client's place among those of its address; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    taken: Arc<Taken>,
    address: Option<IpAddr>,
}

/// The fewest entries at which it pays to look for old ones.
const SWEEPS_FROM: usize = 1_024;

impl Taken {
    /// Takes a place for a client whose handshake has come at `now`.
    pub(super) fn admit(
        self: &Arc<Self>,
        client: ClientAddress,
        quota: Quota,
        now: Instant,
    ) -> Result<Seat, Exceeded> {
        let address = subscriber(client);
        if let Some(address) = address {
            self.lock().admit(address, quota, now)?;
        }
        Ok(Seat { taken: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, ByAddress> {
        // No code that holds it can panic half-way through a change.
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByAddress {
    fn admit(&mut self, address: IpAddr, quota: Quota, now: Instant) -> Result<(), Exceeded> {
        if self.all.len() >= self.sweeps_at.max(SWEEPS_FROM) {
            self.all.retain(|_, share| share.is_owed(now));
            self.sweeps_at = self.all.len() * 2;
        }
        let nothing = Share { connections: 0, paid_until: now };
        let share = self.all.entry(address).or_insert(nothing);
        if let Some(rate) = quota.handshakes {
            let each = Duration::from_secs(1) / rate.max(1);
            if share.paid_until.saturating_duration_since(now) + each > Duration::from_secs(1) {
                return Err(Exceeded::Handshakes);
            }
            share.paid_until = share.paid_until.max(now) + each;
        }
        if quota.connections.is_some_and(|most| share.connections >= most) {
            return Err(Exceeded::Connections);
        }
        share.connections += 1;
        Ok(())
    }

    fn leave(&mut self, address: IpAddr, now: Instant) {
        let Some(share) = self.all.get_mut(&address) else { return };
        share.connections -= 1;
        if !share.is_owed(now) {
            self.all.remove(&address);
        }
    }
}

impl Share {
    /// Whether there is anything to remember.
    fn is_owed(&self, now: Instant) -> bool {
        self.connections > 0 || self.paid_until > now
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.taken.lock().leave(address, now());
        }
    }
}

/// Whose address it is.
fn subscriber(client: ClientAddress) -> Option<IpAddr> {
    let address = match client {
        ClientAddress::Direct(address) => address.ip(),
        ClientAddress::Forwarded(address) => address,
        ClientAddress::Unix => return None,
    };
    Some(match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::Forwarded(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let (taken, start) = (Arc::<Taken>::default(), now());
        let quota = Quota { connections: Some(2), handshakes: None };
        let admit = |address| taken.admit(client(address), quota, start);
        let seats: Vec<_> = (0..2).map(|_| admit("10.0.0.1").unwrap()).collect();
        assert_eq!(admit("10.0.0.1").unwrap_err(), Exceeded::Connections);
        let _other = admit("10.0.0.2").unwrap();
        drop(seats);
        let _again = admit("10.0.0.1").unwrap();
        assert_eq!(taken.lock().all.len(), 2);
    }

    #[test]
    fn an_address_may_come_so_often_and_no_oftener() {
        let (taken, start) = (Arc::<Taken>::default(), now());
        let quota = Quota { connections: None, handshakes: Some(5) };
        let admit = |milliseconds| {
            let at = start + Duration::from_millis(milliseconds);
            taken.admit(client("10.0.0.1"), quota, at).map(drop)
        };
        for _ in 0..5 {
            assert_eq!(admit(0), Ok(()));
        }
        assert_eq!(admit(0), Err(Exceeded::Handshakes));
        assert_eq!(admit(199), Err(Exceeded::Handshakes));
        assert_eq!(admit(200), Ok(()));
        assert_eq!(admit(200), Err(Exceeded::Handshakes));
        assert_eq!((0..9).filter(|_| admit(5_000).is_ok()).count(), 5, "no credit is saved up");
    }

    #[test]
    fn a_subscriber_has_a_whole_prefix_and_a_mapped_address_is_the_one_inside() {
        let of = |text: &str| subscriber(client(text));
        assert_eq!(of("2001:db8:1:2::5"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::5"), of("2001:db8:1:3::5"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(subscriber(ClientAddress::Unix), None);
    }

    #[test]
    fn what_is_noted_goes_when_nothing_is_left_of_it() {
        let taken = Arc::<Taken>::default();
        let quota = Quota { connections: Some(1), handshakes: Some(1) };
        let start = now();
        for number in 0..100_000_u32 {
            let address = client(&Ipv6Addr::from_bits(u128::from(number) << 64).to_string());
            // A hundred of them a second, for longer than what is noted of one means anything.
            let at = start + Duration::from_millis(u64::from(number) * 10);
            drop(taken.admit(address, quota, at));
        }
        let left = taken.lock().all.len();
        assert!(left <= SWEEPS_FROM, "{left}");
    }
}

//! Who has a place: each listener has so many, and whoever comes when all are taken gets that of somebody else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::Response;
use tokio_util::sync::CancellationToken;

/// A connection is given so long to ask something before it counts as one that never will.
const TO_ASK: Duration = Duration::from_secs(1);

/// The places of a listener.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    network: IpAddr,
    /// Since when it is as it is.
    since: Instant,
    is_busy: bool,
    /// It has asked something and been answered.
    is_known: bool,
    leave: CancellationToken,
}

/// A place, until it is dropped.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    leave: CancellationToken,
    /// Where the connection comes from: an address, or of IPv6 the network that one machine may have to itself.
    pub network: IpAddr,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// A place for who comes from `address`; if all are taken, somebody loses theirs.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, now: Instant) -> Place {
        let (network, leave) = (network(address), CancellationToken::new());
        let mut taken = self.lock();
        while taken.connections.len() >= self.most && taken.end_one(now) {}
        let number = taken.next;
        taken.next += 1;
        let connection =
            Connection { network, since: now, is_busy: false, is_known: false, leave: leave.clone() };
        taken.connections.insert(number, connection);
        Place { places: Arc::clone(self), number, leave, network }
    }

    /// Takes a place from somebody.
    pub(super) fn end_one(&self, now: Instant) {
        self.lock().end_one(now);
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Of the network that has the most places: one that never asked anything, rather than one that waits for its client,
    /// rather than one that is being answered; of those the one that has been so for longest.
    fn end_one(&mut self, now: Instant) -> bool {
        let mut shares: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.connections.values() {
            *shares.entry(connection.network).or_default() += 1;
        }
        let dear = |connection: &Connection| {
            let asks = connection.is_known || now.duration_since(connection.since) < TO_ASK;
            let share = shares.get(&connection.network).copied().unwrap_or_default();
            (std::cmp::Reverse(share), connection.is_busy, asks, connection.since)
        };
        let least = self.connections.iter().min_by_key(|(_, connection)| dear(connection));
        let Some(number) = least.map(|(number, _)| *number) else { return false };
        if let Some(connection) = self.connections.remove(&number) {
            connection.leave.cancel();
        }
        true
    }
}

impl Place {
    /// A request has come.
    fn begin(&self) {
        self.is_now(|connection| connection.is_busy = true);
    }

    /// It was answered; `is_known` if with what was asked for.
    fn end(&self, is_known: bool) {
        self.is_now(|connection| {
            connection.is_busy = false;
            connection.is_known |= is_known;
        });
    }

    /// A request has come, and this is how it is answered.
    pub fn answer<B, E>(
        self: Arc<Self>,
        answered: impl Future<Output = Result<Response<B>, E>>,
    ) -> impl Future<Output = Result<Response<B>, E>> {
        self.begin();
        async move {
            let answer = answered.await;
            self.end(answer.as_ref().is_ok_and(|answer| answer.status().is_success()));
            answer
        }
    }

    /// Until somebody else is given the place.
    pub(super) async fn lost(&self) {
        self.leave.cancelled().await;
    }

    fn is_now(&self, change: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.places.lock().connections.get_mut(&self.number) {
            change(connection);
            connection.since = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.number);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(most: usize, addresses: &[&str]) -> (Arc<Places>, Vec<Place>, Instant) {
        let places = Places::new(most);
        let began = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        let taken = addresses.iter().zip(0..);
        let taken =
            taken.map(|(address, at)| places.take(address.parse().unwrap(), began + Duration::from_secs(at)));
        (places.clone(), taken.collect(), began)
    }

    fn lost(taken: &[Place]) -> Vec<usize> {
        (0..taken.len()).filter(|at| taken[*at].leave.is_cancelled()).collect()
    }

    #[test]
    fn nobody_loses_a_place_while_there_are_free_ones_and_one_that_is_dropped_is_free() {
        let (places, mut taken, began) = places(3, &["10.0.0.1", "10.0.0.1", "10.0.0.1"]);
        drop(taken.pop());
        taken.push(places.take("10.0.0.2".parse().unwrap(), began));
        assert_eq!(lost(&taken), Vec::<usize>::new());
    }

    #[test]
    fn who_has_the_most_places_loses_one_however_new_they_are() {
        let (places, taken, _) = places(4, &["10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"]);
        taken.iter().skip(1).for_each(|place| place.end(true));
        let _new = places.take("10.0.0.3".parse().unwrap(), Instant::now());
        assert_eq!(lost(&taken), [1]);
        let _new = places.take("10.0.0.1".parse().unwrap(), Instant::now());
        assert_eq!(lost(&taken), [1, 2]);
    }

    #[test]
    fn machines_of_one_network_have_one_share() {
        let (places, taken, _) = places(3, &["fd00::1", "fd00:0:0:1::1", "fd00:0:0:1::2"]);
        let _new = places.take("::ffff:10.0.0.1".parse().unwrap(), Instant::now());
        assert_eq!(lost(&taken), [1]);
    }

    #[test]
    fn of_one_network_who_never_asks_loses_before_who_asked_and_who_asked_before_who_is_answered() {
        let (places, taken, began) = places(4, &["10.0.0.1"; 4]);
        taken[0].begin();
        taken[1].end(true);
        let come = || places.take("10.0.0.1".parse().unwrap(), Instant::now());
        assert!(began < Instant::now());
        let mut new = vec![come()];
        assert_eq!(lost(&taken), [2], "never asked, for longest");
        new.push(come());
        assert_eq!(lost(&taken), [2, 3]);
        // Those that came now may still ask.
        new.push(come());
        assert_eq!((lost(&taken), lost(&new)), (vec![1, 2, 3], vec![]));
    }
}

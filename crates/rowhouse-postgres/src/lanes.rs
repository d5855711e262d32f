//! Lanes: connections that quick requests share, each behind the others.
//!
//! A server process and a task that sleep between two requests cost more than a quick statement
//! itself. On a lane the next request has arrived before the last one is answered. Requests keep
//! transactions of their own; what they share is the wait, so only what is expected to be quick
//! goes here, and what is not is ended by [`LANE_STATEMENT`] and [`LANE_LOCK`] and run again alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool::managed::Object;

use crate::connection::{Connection, Connector};

/// What a statement on a lane may take before it is run alone.
pub(crate) const LANE_STATEMENT: &str = "50ms";
/// What it may wait for a lock: those behind it wait too.
pub(crate) const LANE_LOCK: &str = "10ms";
/// Most requests on a lane at once; further ones take a connection of their own.
const RIDERS_MAX: usize = 16;

/// The lanes of one pool. They are connections of that pool, and go back to it.
pub(crate) struct Lanes {
    open: Mutex<Vec<Arc<Lane>>>,
    lanes_max: usize,
    busy: BusyLanes,
    used: AtomicBool,
}

/// How many lanes of a server somebody is on, over all its databases.
pub(crate) type BusyLanes = Arc<AtomicUsize>;

struct Lane {
    connection: Object<Connector>,
    riders: AtomicUsize,
    /// Requests since lanes were last looked through.
    rides: AtomicUsize,
    busy: BusyLanes,
}

/// A request's place on a lane.
pub(crate) struct Ride(Arc<Lane>);

/// What the lanes offer.
pub(crate) enum Boarding {
    Ride(Ride),
    /// One more may be opened.
    Open,
    /// All are full, or not in use.
    Full,
}

impl Lanes {
    pub(crate) fn new(lanes_max: usize, busy: &BusyLanes, used: bool) -> Arc<Self> {
        let (open, busy) = (Mutex::new(Vec::with_capacity(lanes_max)), busy.clone());
        Arc::new(Self { open, lanes_max, busy, used: AtomicBool::new(used) })
    }

    /// Whether anybody is let on from now on.
    pub(crate) fn set_used(&self, used: bool) {
        if self.used.load(Ordering::Relaxed) != used {
            self.used.store(used, Ordering::Relaxed);
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on the emptiest lane; on a busy one only if no other can be opened at once, or if as
    /// many of the server's are busy as it has cores for: one more would only push them aside.
    pub(crate) fn board(&self, has_room: impl Fn() -> bool) -> Boarding {
        if !self.used.load(Ordering::Relaxed) {
            return Boarding::Full;
        }
        let riders = |lane: &Arc<Lane>| lane.riders.load(Ordering::Relaxed);
        let mut open = self.open();
        loop {
            let is_crowded = self.busy.load(Ordering::Relaxed) >= self.lanes_max;
            let stays_on_busy = is_crowded && open.iter().any(|lane| riders(lane) > 0);
            let allowed = open.iter().enumerate().filter(|(_, lane)| !stays_on_busy || riders(lane) > 0);
            let emptiest = allowed.min_by_key(|(_, lane)| riders(lane));
            let Some((place, lane)) = emptiest else {
                return if self.lanes_max > 0 { Boarding::Open } else { Boarding::Full };
            };
            if !lane.connection.is_open() {
                open.swap_remove(place);
                continue;
            }
            return match riders(lane) {
                0 => Boarding::Ride(Ride::new(lane.clone())),
                _ if !stays_on_busy && open.len() < self.lanes_max && has_room() => Boarding::Open,
                riders if riders < RIDERS_MAX => Boarding::Ride(Ride::new(lane.clone())),
                _ => Boarding::Full,
            };
        }
    }

    /// Makes a lane of a connection, with a first place on it. Where others were faster, the
    /// connection serves this one request.
    pub(crate) fn add(&self, connection: Object<Connector>) -> Ride {
        let (riders, rides) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let lane = Arc::new(Lane { connection, riders, rides, busy: self.busy.clone() });
        let mut open = self.open();
        if open.len() < self.lanes_max {
            open.push(lane.clone());
        }
        Ride::new(lane)
    }

    /// Gives the connections of lanes back that nobody has used since the last call.
    pub(crate) fn give_back_idle(&self) {
        self.open().retain(|lane| lane.rides.swap(0, Ordering::Relaxed) > 0 || lane.riders.load(Ordering::Relaxed) > 0);
    }

    /// Gives all back, each as soon as nobody is on it.
    pub(crate) fn close(&self) {
        self.open().clear();
    }

    pub(crate) fn forget_statements(&self) {
        for lane in &*self.open() {
            lane.connection.forget_statements();
        }
    }

    /// Lanes that nobody is on.
    pub(crate) fn idle(&self) -> usize {
        self.open().iter().filter(|lane| lane.riders.load(Ordering::Relaxed) == 0).count()
    }
}

impl Ride {
    fn new(lane: Arc<Lane>) -> Self {
        if lane.riders.fetch_add(1, Ordering::Relaxed) == 0 {
            lane.busy.fetch_add(1, Ordering::Relaxed);
        }
        lane.rides.fetch_add(1, Ordering::Relaxed);
        Self(lane)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        if self.0.riders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

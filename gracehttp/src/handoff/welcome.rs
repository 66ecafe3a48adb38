//! What the successor does after the commit: it takes in what the predecessor sends.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::conn::{Context, Departure, Family, Moved, Origin, Socket, settle};
use crate::handoff::Channel;
use crate::handoff::message::{Moving, ServerCount};
use crate::handoff::predecessor::{Arrival, FromPredecessor, Predecessor};

/// Takes in connections and permits until the predecessor is gone. Runs on the control runtime: handlers that block
/// every thread that serves keep no connection waiting between the two processes.
pub(crate) async fn welcome(channel: Channel, contexts: Vec<Arc<Context>>, moved: Arc<Moved>) {
    let mut welcome = Welcome { contexts, moved, received: 0, arrived: None };
    loop {
        tokio::select! {
            biased;
            () = confirm(&channel, &welcome.arrived), if welcome.arrived.is_some() => welcome.take_in(),
            // Not only between two confirmations: if both sides waited to be heard, neither would listen.
            said = Predecessor::next(&channel) => match said {
                FromPredecessor::Connections { arrivals, missing } => welcome.receive(arrivals, missing),
                FromPredecessor::Held(held) => count_foreign(&welcome.contexts, &held),
                FromPredecessor::StandbyOver => welcome.moved.forget(),
                FromPredecessor::Gone => return welcome.end(),
            },
        }
    }
}

struct Welcome {
    contexts: Vec<Arc<Context>>,
    moved: Arc<Moved>,
    /// How many connections were sent to us, with those that found no room.
    received: u32,
    /// The last of them, not confirmed yet, and how many were sent before.
    arrived: Option<(u32, Vec<Arrival>)>,
}

impl Welcome {
    fn receive(&mut self, arrivals: Vec<Arrival>, missing: usize) {
        // None are due that were not confirmed; a predecessor that sends more all the same loses none by it.
        self.take_in();
        let before = self.received;
        let count = u32::try_from(arrivals.len() + missing).unwrap_or(u32::MAX);
        self.received = before.saturating_add(count);
        self.arrived = Some((before, arrivals));
    }

    /// Serves the connections that have arrived.
    fn take_in(&mut self) {
        let Some((before, arrivals)) = self.arrived.take() else { return };
        for (place, arrival) in (1..).zip(arrivals) {
            take_in(&self.contexts, before.checked_add(place).and_then(Origin::new), arrival);
        }
    }

    /// The predecessor holds nothing any more, and what it could not hear was confirmed is ours, too.
    fn end(mut self) {
        self.moved.forget();
        self.take_in();
        count_foreign(&self.contexts, &[]);
    }
}

/// Confirms what has arrived, before any of it can be reported as busy: what the predecessor does not know as
/// ours it would not mark. Cancel safe.
async fn confirm(channel: &Channel, arrived: &Option<(u32, Vec<Arrival>)>) {
    if let Some((_, arrivals)) = arrived {
        // A predecessor that can't be told is gone, and so are its descriptors: ours are the last.
        let _ = Predecessor::taken(channel, arrivals.len()).await;
    }
}

fn take_in(contexts: &[Arc<Context>], origin: Option<Origin>, arrival: Arrival) {
    let Arrival { moving: Moving { server, family, stage, ahead }, fd } = arrival;
    // The predecessor only sends what belongs to a server that we have said is ours.
    let Some(context) = contexts.iter().find(|context| context.options.name == server) else { return };
    let Some(socket) = fit(fd, family, origin) else { return };
    let permit = context.permits.adopt();
    settle(context, Departure { socket, stage, ahead: Bytes::from(ahead), permit });
}

/// The descriptor as a socket, if it is one that can be served.
fn fit(fd: OwnedFd, family: Family, origin: Option<Origin>) -> Option<Socket> {
    let socket = socket2::SockRef::from(&fd);
    let connected = socket.peer_addr().is_ok() && socket.r#type().ok()? == socket2::Type::STREAM;
    // A client that is gone by now has no address any more; then there is nobody to serve.
    connected.then_some(Socket { fd, family, origin })
}

/// Notes what earlier generations still hold of each server.
pub(crate) fn count_foreign(contexts: &[Arc<Context>], held: &[ServerCount]) {
    for context in contexts {
        let of_server = held.iter().find(|count| count.server == context.options.name);
        let count = of_server.map_or(0, |count| usize::try_from(count.count).unwrap_or(usize::MAX));
        context.permits.set_foreign(count);
    }
}

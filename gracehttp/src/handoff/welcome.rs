//! What the successor does after the commit: it takes in what the predecessor sends.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::conn::{Context, Departure, Moved, Socket, settle};
use crate::handoff::Channel;
use crate::handoff::message::{Moving, ServerCount};
use crate::handoff::predecessor::{Arrival, FromPredecessor, Predecessor};

/// Takes in connections and permits until the predecessor is gone. Has to run on the runtime that serves.
pub(crate) async fn welcome(channel: Channel, contexts: Vec<Arc<Context>>, moved: Arc<Moved>) {
    let mut next_id = 0;
    loop {
        match Predecessor::next(&channel).await {
            FromPredecessor::Connections { arrivals, missing } => {
                // Confirmed before any of them can be reported as busy: what the predecessor does not know
                // as ours it would not mark.
                if Predecessor::taken(&channel, arrivals.len()).await.is_err() {
                    continue;
                }
                let ids = next_id..;
                next_id += (arrivals.len() + missing) as u64;
                for (id, arrival) in ids.zip(arrivals) {
                    take_in(&contexts, &moved, id, arrival);
                }
            }
            FromPredecessor::Held(held) => count_foreign(&contexts, &held),
            FromPredecessor::StandbyOver => moved.forget(),
            FromPredecessor::Gone => {
                moved.forget();
                return count_foreign(&contexts, &[]);
            }
        }
    }
}

fn take_in(contexts: &[Arc<Context>], moved: &Moved, id: u64, arrival: Arrival) {
    let Arrival { moving: Moving { server, family, stage, ahead }, fd } = arrival;
    // The predecessor only sends what belongs to a server that we have said is ours.
    let Some(context) = contexts.iter().find(|context| context.options.name == server) else { return };
    let Some(socket) = fit(fd, family) else { return };
    moved.arrived(&socket, id);
    let permit = context.permits.adopt();
    settle(context, Departure { socket, stage, ahead: Bytes::from(ahead), permit });
}

/// The descriptor as a socket, if it is one that can be served.
fn fit(fd: OwnedFd, family: crate::conn::Family) -> Option<Socket> {
    let socket = socket2::SockRef::from(&fd);
    let connected = socket.peer_addr().is_ok() && socket.r#type().ok()? == socket2::Type::STREAM;
    // A client that is gone by now has no address any more; then there is nobody to serve.
    connected.then_some(Socket { fd, family })
}

/// Notes what earlier generations still hold of each server.
pub(crate) fn count_foreign(contexts: &[Arc<Context>], held: &[ServerCount]) {
    for context in contexts {
        let of_server = held.iter().find(|count| count.server == context.options.name);
        let count = of_server.map_or(0, |count| usize::try_from(count.count).unwrap_or(usize::MAX));
        context.permits.set_foreign(count);
    }
}

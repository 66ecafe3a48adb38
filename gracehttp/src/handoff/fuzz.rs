//! What another process may write to the channel. For the fuzz target `messages`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handoff::session::Session;
use crate::handoff::wire::{ConnectionV3, ConnectionV7, Hello, ToPredecessor, ToSuccessor};

/// Reads a datagram as each side would, and panics unless what it says survives the way back.
pub(crate) fn read_message(datagram: &[u8]) {
    if let Some(hello) = read::<Hello>(datagram) {
        let _ = hello.agree();
    }
    read::<ToPredecessor>(datagram);
    let connections: Vec<ConnectionV3> = match read(datagram) {
        Some(ToSuccessor::BatchV3 { connections, .. }) => connections,
        Some(ToSuccessor::BatchV7 { connections, .. }) => {
            connections.into_iter().map(|ConnectionV7 { connection, .. }| connection).collect()
        }
        _ => return,
    };
    for ConnectionV3 { session, .. } in connections {
        session.into_iter().for_each(receive);
    }
}

/// The message, which is the same after it was written once more.
fn read<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(datagram: &[u8]) -> Option<M> {
    let message: M = postcard::from_bytes(datagram).ok()?;
    let written = postcard::to_allocvec(&message).expect("it was read");
    assert_eq!(postcard::from_bytes(&written).as_ref(), Ok(&message));
    Some(message)
}

/// Takes a session in, uses it, and sends it on.
fn receive(session: Session) {
    let written = postcard::to_allocvec(&session).expect("it was read");
    let Ok(at_rest) = session.receive() else { return };
    let (_sent, again) = Session::of(at_rest);
    assert_eq!(postcard::to_allocvec(&again).expect("it was written before"), written);
    let Ok(at_rest) = again.receive() else { unreachable!("it was received before") };
    let (mut session, mut cut) = at_rest.wake();
    let mut output = Vec::new();
    if let Err(fault) = session.open(&mut cut, &mut output) {
        session.seal_alert(&fault, &mut output);
    } else {
        session.seal_close_notify(&mut output);
    }
}

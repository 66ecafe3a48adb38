//! What another process may write to the channel. For the fuzz target `messages`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handoff::session::{Session, client_chain};
use crate::handoff::wire::{ConnectionV3, ConnectionV7, ConnectionV8, Hello, ToPredecessor, ToSuccessor};

/// Reads a datagram as each side would, and panics unless what it says survives the way back.
pub(crate) fn read_message(datagram: &[u8]) {
    if let Some(hello) = read::<Hello>(datagram) {
        let _ = hello.agree();
    }
    read::<ToPredecessor>(datagram);
    match read(datagram) {
        Some(ToSuccessor::BatchV3 { connections, .. }) => connections.into_iter().for_each(receive),
        Some(ToSuccessor::BatchV7 { connections, .. }) => {
            connections.into_iter().for_each(|ConnectionV7 { connection, .. }| receive(connection));
        }
        Some(ToSuccessor::BatchV8 { connections, .. }) => {
            for ConnectionV8 { connection, client_chain } in connections {
                receive_from(connection.connection, client_chain);
            }
        }
        _ => {}
    }
}

/// The message, which is the same after it was written once more.
fn read<M: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(datagram: &[u8]) -> Option<M> {
    let message: M = postcard::from_bytes(datagram).ok()?;
    let written = postcard::to_allocvec(&message).expect("it was read");
    assert_eq!(postcard::from_bytes(&written).as_ref(), Ok(&message));
    Some(message)
}

fn receive(connection: ConnectionV3) {
    receive_from(connection, Vec::new());
}

/// Takes the session of a client in, uses it, and sends it on.
fn receive_from(ConnectionV3 { session, .. }: ConnectionV3, of_client: Vec<Vec<u8>>) {
    let Some(session) = session else { return };
    let written = postcard::to_allocvec(&session).expect("it was read");
    let Ok(at_rest) = session.receive(of_client.clone()) else { return };
    assert_eq!(client_chain(&at_rest), of_client);
    let (_sent, again) = Session::of(at_rest);
    assert_eq!(postcard::to_allocvec(&again).expect("it was written before"), written);
    let Ok(at_rest) = again.receive(of_client) else { unreachable!("it was received before") };
    let (mut session, mut cut) = at_rest.wake();
    let mut output = Vec::new();
    if let Err(fault) = session.open(&mut cut, &mut output) {
        session.seal_alert(&fault, &mut output);
    } else {
        session.seal_close_notify(&mut output);
    }
}

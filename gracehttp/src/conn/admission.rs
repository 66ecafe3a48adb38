//! Whether a client that the predecessor has accepted is accepted here, too.

use std::io;
use std::sync::Arc;

use crate::conn::context::{Context, Resting};
use crate::conn::count_failed_handshake;
use crate::conn::info::name_in_messages;
use crate::conn::rest::settle;
use crate::lifecycle::{ConnectionEnd, start_on};
use crate::record::SessionAtRest;
use crate::tls::{TlsAcceptor, kind_of};

/// Settles a connection of the predecessor, or closes it if its client has shown a certificate that is not accepted here:
/// this process may have other authorities and other revocation lists, and certificates expire.
pub(crate) fn admit(context: &Arc<Context>, resting: Resting) {
    if !resting.has_client_cert() {
        return settle(context, resting);
    }
    // Not on the control runtime, which calls this: to verify a chain may take a millisecond.
    let (workers, context) = (context.workers.clone(), context.clone());
    start_on(&workers, async move { admit_client(&context, resting) });
}

fn admit_client(context: &Arc<Context>, mut resting: Resting) {
    let verified = match (&context.tls, &mut resting.socket.session) {
        (Some(acceptor), Some(session)) => verify(acceptor, session),
        _ => Ok(()),
    };
    match verified {
        Ok(()) => settle(context, resting),
        Err(refusal) => {
            note_refused(context, &resting, &refusal);
            let Resting { socket, permit, .. } = resting;
            socket.close();
            permit.ends_as(ConnectionEnd::Finished);
        }
    }
}

/// Verifies the client of a session. If this server asks no client for a certificate, the session forgets its client, since a
/// new connection of that client would have none, either.
fn verify(acceptor: &TlsAcceptor, session: &mut SessionAtRest) -> io::Result<()> {
    let Some(client) = session.facts().client.clone() else { return Ok(()) };
    if !acceptor.verify(&client)? {
        session.forget_client();
    }
    Ok(())
}

/// A refused client counts as a failed handshake, since its next handshake fails for the same reason. The message has the level
/// debug, as those about handshakes have.
fn note_refused(context: &Context, resting: &Resting, refusal: &io::Error) {
    let client = resting.socket.client();
    count_failed_handshake(context, client, kind_of(refusal), refusal);
    let (server, from) = (&context.options.name, name_in_messages(client));
    tracing::debug!(
        target: "gracehttp",
        "server `{server}`: the connection of {from} from the predecessor is closed, since the client's certificate is not \
         accepted any more: {refusal}"
    );
}

//! Connections that come from the predecessor: whose client is who it was there.

use std::io;
use std::sync::Arc;

use crate::conn::context::{Context, Resting};
use crate::conn::info::client_in_words;
use crate::conn::rest::settle;
use crate::lifecycle::ConnectionEnd;
use crate::record::SessionAtRest;
use crate::tls::{TlsAcceptor, kind_of};

/// Settles a connection of the predecessor, unless its client has shown a certificate that is not accepted here: this
/// process may have other authorities and other lists of what they have revoked, and certificates expire.
pub(crate) fn admit(context: &Arc<Context>, resting: Resting) {
    if !resting.has_client_cert() {
        return settle(context, resting);
    }
    // Not on the control runtime, which calls this: to verify a chain may take a millisecond.
    let admitted = context.clone();
    context.workers.spawn(async move { admit_client(&admitted, resting) });
}

fn admit_client(context: &Arc<Context>, mut resting: Resting) {
    let session = resting.socket.session.as_mut();
    match context.tls.as_ref().zip(session).map_or(Ok(()), |(acceptor, session)| verify(acceptor, session)) {
        Ok(()) => settle(context, resting),
        Err(refusal) => {
            note_refused(context, &resting, &refusal);
            let Resting { socket, permit, .. } = resting;
            socket.close();
            permit.ends_as(ConnectionEnd::Finished);
        }
    }
}

/// Verifies the client of a session, or forgets it if clients are not asked who they are: a new connection would not say it
/// either.
fn verify(acceptor: &TlsAcceptor, session: &mut SessionAtRest) -> io::Result<()> {
    let Some(client) = session.facts().client.clone() else { return Ok(()) };
    if !acceptor.verify(&client)? {
        session.forget_client();
    }
    Ok(())
}

/// It counts as a failed handshake: the next one of this client fails for the same reason. Logged at level debug, like those.
fn note_refused(context: &Context, resting: &Resting, refusal: &io::Error) {
    if let Some(metrics) = context.metrics {
        metrics.note_failed_handshake(kind_of(refusal));
    }
    let (server, from) = (&context.options.name, client_in_words(resting.socket.peer()));
    tracing::debug!(
        target: "gracehttp",
        "server `{server}`: the connection of {from} from the predecessor is closed, since the client's certificate is not \
         accepted any more: {refusal}"
    );
}

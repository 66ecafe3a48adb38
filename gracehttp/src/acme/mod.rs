//! Certificates that an authority issues and renews by itself (ACME, RFC 8555), proven on the server's own TLS endpoint
//! (TLS-ALPN-01, RFC 8737).
//!
//! Each server with such a certificate has a [keeper](keeper), a task on the control runtime:
//!
//! 1. It reads the certificate in the cache, and installs it if it is another one: another process may have renewed it.
//! 2. It sleeps until the certificate is [to be renewed](renewal): when the authority [suggests](information) it, or else when two
//!    thirds of its lifetime are over. The cache keeps what the authority has said and when to ask it again, so a restart does
//!    not ask. A process without a certificate goes on at once; meanwhile its server refuses handshakes.
//! 3. It takes the lock of the cache. So of all processes that share the cache, one orders: the others wait and then find the
//!    new certificate.
//! 4. It [orders](order): [account](account), order, challenges, finalization, download. The order and the key are in the cache
//!    before the authority could issue anything, so a later process goes on with the same order.
//! 5. It stores the certificate and installs it. After a failure it waits, longer each time, and at least for as long as the
//!    authority wants.
//!
//! In a restart the predecessor ends its keepers before the successor serves. If it takes its place back, it starts them again.

mod account;
mod cache;
mod client;
mod failure;
mod information;
mod keeper;
mod order;
mod renewal;
mod retry;
mod words;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::acme::keeper::Keeper;
use crate::lifecycle::{Events, start};
use crate::server::ServerOptions;
use crate::tls::TlsAcceptor;

/// The keepers of all servers that have one.
#[derive(Debug)]
pub(crate) struct Keepers {
    all: Vec<Arc<Keeper>>,
    running: Vec<JoinHandle<()>>,
}

impl Keepers {
    /// The keepers of these servers, started on the runtime of the caller.
    pub(crate) fn start<'s>(
        servers: impl IntoIterator<Item = (&'s ServerOptions, &'s Option<TlsAcceptor>)>,
        events: &Events,
    ) -> Self {
        let of_server = |(options, acceptor): (&ServerOptions, &Option<TlsAcceptor>)| {
            let tls = options.tls.as_ref()?;
            let presented = acceptor.as_ref()?.presented().clone();
            Some(Arc::new(Keeper::new(&options.name, tls.authority()?, tls.sni_strict, presented, events)))
        };
        let all = servers.into_iter().filter_map(of_server).collect();
        let mut keepers = Self { all, running: Vec::new() };
        keepers.resume();
        keepers
    }

    /// From now on this process orders nothing. An order under way is left for the next one.
    pub(crate) fn stop(&mut self) {
        self.running.drain(..).for_each(|keeper| keeper.abort());
    }

    /// This process orders again.
    pub(crate) fn resume(&mut self) {
        self.running = self.all.iter().map(|keeper| start(keeper.clone().run())).collect();
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        self.stop();
    }
}

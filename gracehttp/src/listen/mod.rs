//! Where connections come from.

mod accept;
mod accept_errors;
mod accept_queue;
pub(crate) mod bind;
pub(crate) mod descriptors;
mod fault;
mod holder;
mod key_ring;
mod listen_options;
mod listener;
mod offered;
mod running;
mod socket_access;
mod socket_file;
#[cfg(feature = "tls")]
mod tickets;
#[cfg(feature = "tls")]
mod tls;
mod tls_acceptor;
#[cfg(feature = "tls")]
mod validity;

pub(crate) use accept::AcceptState;
pub use descriptors::restore_limits;
pub(crate) use key_ring::{KeyRing, TicketKey};
pub(crate) use listen_options::ListenOptions;
pub(crate) use listener::Listener;
pub(crate) use offered::OfferedListeners;
pub(crate) use running::{Acceptor, Running};
pub(crate) use socket_file::{SocketFile, unlink_if_ours};
#[cfg(all(feature = "tls", feature = "test-kit"))]
pub(crate) use tls::provider as crypto_provider;
pub(crate) use tls_acceptor::tls_acceptor;

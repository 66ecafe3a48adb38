//! Where connections come from.

mod accept;
mod accept_errors;
mod accept_queue;
pub(crate) mod bind;
pub(crate) mod descriptors;
mod fault;
mod holder;
mod listen_options;
mod listener;
mod offered;
mod own;
mod owner;
mod running;
mod socket_access;
mod socket_file;
#[cfg(feature = "cli")]
mod trial;

pub(crate) use accept::AcceptState;
pub(crate) use descriptors::limit_at_start;
pub use descriptors::restore_limits;
pub(crate) use listen_options::ListenOptions;
pub(crate) use listener::Listener;
pub(crate) use offered::{OfferedListeners, PassedSocket};
pub(crate) use own::{OwnAddress, OwnListener, OwnListeners};
#[cfg(feature = "cli")]
pub(crate) use owner::OwnPurpose;
pub(crate) use running::{Acceptor, Running};
pub(crate) use socket_file::{SocketFile, unlink_if_ours};
#[cfg(feature = "cli")]
pub(crate) use trial::{Trial, try_endpoint};

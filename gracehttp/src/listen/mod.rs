//! Where connections come from.

pub(crate) mod bind;
pub(crate) mod descriptors;
mod fault;
mod holder;
pub(crate) mod socket_file;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod validity;

#[cfg(feature = "tls")]
pub use tls::Tls;

//! Where connections come from.

pub(crate) mod bind;
pub(crate) mod descriptors;
mod fault;
mod holder;
pub(crate) mod socket_file;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "tls")]
mod validity;

//! Where connections come from.

pub(crate) mod bind;
mod fault;
mod holder;
pub(crate) mod socket_file;
#[cfg(feature = "tls")]
pub(crate) mod tls;

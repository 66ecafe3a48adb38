//! What a server is.

pub(crate) mod endpoint;
pub(crate) mod options;

//! x
mod config;
mod error;
mod listen;
pub mod log;
mod server;

pub use error::Error;
#[cfg(feature = "tls")]
pub use listen::Tls;
pub use server::Endpoint;

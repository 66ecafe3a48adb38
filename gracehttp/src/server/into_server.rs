//! What an application takes as a server.

use crate::server::Server;

/// A server, or what becomes one in an application of the right state: `ping::server()` of a function `ping`
/// with [`#[server]`](macro@crate::server).
///
/// `S` is the state that the application's start-up code returns; `M` only tells implementations apart, and
/// is always inferred.
pub trait IntoServer<S, M> {
    /// The server in an application with this state.
    fn into_server(self) -> Server<S>;
}

impl<S> IntoServer<S, ()> for Server<S> {
    fn into_server(self) -> Server<S> {
        self
    }
}

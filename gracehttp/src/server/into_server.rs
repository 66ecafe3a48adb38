//! What `App::serve` takes.

use crate::server::Server;

/// A server, or a value that becomes one in an application with a suitable state, such as `ping::server()` for a
/// function `ping` with [`#[server]`](macro@crate::server).
///
/// `S` is the state that the application's start-up code returns; `M` only tells implementations apart, and
/// is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a server",
    label = "not a server of this application",
    note = "a server is `name::server()` of a function or a module with `#[server(port = …)]`, or a result of \
            `Server::builder`"
)]
pub trait IntoServer<S, M> {
    /// The server in an application with this state.
    fn into_server(self) -> Server<S>;
}

impl<S> IntoServer<S, ()> for Server<S> {
    fn into_server(self) -> Server<S> {
        self
    }
}

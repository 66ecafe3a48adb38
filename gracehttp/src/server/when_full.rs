//! How a full server treats the clients that wait.

/// What a server does when it holds `max_conns` connections and further clients wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// Makes room, one connection for each client that waits: closes those that have been idle for longest, and lets
    /// busy ones close with their next response.
    #[default]
    Recycle,
    /// Lets them wait in the kernel's queue until a connection ends by itself.
    Wait,
}

impl WhenFull {
    pub(crate) const ALL: [Self; 2] = [Self::Recycle, Self::Wait];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Recycle => "recycle",
            Self::Wait => "wait",
        }
    }
}

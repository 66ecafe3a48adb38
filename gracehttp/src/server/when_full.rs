//! What a server does for clients that wait while all of its permits are held.

/// What a server does when it holds `max_conns` connections and further clients wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// Makes room: closes the connections that have been idle for longest, and has busy ones close with their
    /// next response, one for each client that waits.
    #[default]
    Recycle,
    /// Lets them wait in the kernel's queue until a connection ends of itself.
    Wait,
}

impl WhenFull {
    pub(crate) const ALL: [Self; 2] = [Self::Recycle, Self::Wait];

    /// As attributes, files and variables have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Recycle => "recycle",
            Self::Wait => "wait",
        }
    }
}

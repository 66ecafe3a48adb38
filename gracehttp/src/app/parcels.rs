//! What travels in a restart beside listeners and connections: the parcels of the rooms, by name.

use crate::app::life::Process;
use crate::handoff::{Parcel, ParcelHandlers};

/// The handlers of parcels that come after a commit. Rooms register theirs before the process serves.
#[derive(Clone, Default)]
pub(super) struct Handlers {
    /// Of the predecessor's parcels.
    pub(super) of_predecessor: ParcelHandlers,
    /// Of the successor's.
    pub(super) of_successor: ParcelHandlers,
}

impl Process {
    /// The parcels that a successor gets before its listeners.
    pub(super) fn parcels_for_successor(&self) -> Vec<Parcel> {
        Vec::new()
    }
}

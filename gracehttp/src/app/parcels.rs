//! What travels in a restart beside listeners and connections: the parcels of the rooms, by name.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(any(feature = "admin", feature = "cli"))]
use crate::app::drain_reports;
use crate::app::life::Process;
use crate::app::metrics;
use crate::app::reopener::Reopener;
use crate::handoff::{DRAIN, Parcel, ParcelHandlers, Predecessor, RECEIPTS, RESTART, STOP};
use crate::lifecycle::{ReceiptHistory, Request, Requester, RestartReceipt, Trigger};
#[cfg(any(feature = "admin", feature = "cli"))]
use crate::log;
#[cfg(any(feature = "admin", feature = "cli"))]
use crate::status::Predecessors;

/// The last messages of the log, before the listeners.
#[cfg(any(feature = "admin", feature = "cli"))]
const MESSAGES: &str = "messages";

/// What the rooms do with parcels. Handlers are registered before the process serves.
#[derive(Clone, Default)]
pub(super) struct Handlers {
    /// For parcels of the predecessor that come after the commit.
    pub(super) of_predecessor: ParcelHandlers,
    /// The same for those of the successor.
    pub(super) of_successor: ParcelHandlers,
    /// Log files are opened anew in all processes.
    pub(super) reopener: Reopener,
    /// The receipts that come before the listeners.
    pub(super) history: ReceiptHistory,
    /// The reports of earlier generations that drain.
    #[cfg(any(feature = "admin", feature = "cli"))]
    pub(super) predecessors: Predecessors,
}

impl Handlers {
    /// This process does what its predecessor was asked for too late.
    pub(super) fn pass_requests_on(&self, requester: &Requester) {
        let restarts = requester.clone();
        let restart = move |_| restarts.ask(Request::Restart(Trigger::Predecessor));
        self.of_predecessor.on(RESTART, restart);
        let stops = requester.clone();
        self.of_predecessor.on(STOP, move |_| stops.ask(Request::Stop(Trigger::Predecessor)));
        let drains = requester.clone();
        self.reopener.obey_successor(self);
        self.of_predecessor.on(DRAIN, move |_| drains.ask(Request::Stop(Trigger::Drain)));
    }

    /// Takes the parcels that have come before the listeners.
    pub(super) fn receive(&self, predecessor: &mut Predecessor) {
        while let Some(parcel) = predecessor.take_parcel(RECEIPTS) {
            if let Some(receipt) = unpack::<RestartReceipt>(&parcel.data) {
                self.history.add(Arc::new(receipt));
            }
        }
        #[cfg(any(feature = "admin", feature = "cli"))]
        drain_reports::follow(self);
        #[cfg(any(feature = "admin", feature = "cli"))]
        if let Some(messages) = predecessor.take_parcel(MESSAGES) {
            log::continue_from(unpack::<Vec<log::Passed>>(&messages.data).unwrap_or_default());
        }
    }
}

impl Process {
    /// The parcels that a successor gets before its listeners.
    pub(super) fn parcels_for_successor(&self) -> Vec<Parcel> {
        let receipts = self.receipts.history().list();
        let receipts = receipts.iter().map(|receipt| pack(RECEIPTS, &**receipt));
        let messages = [
            #[cfg(any(feature = "admin", feature = "cli"))]
            pack(MESSAGES, &log::for_successor()),
        ];
        receipts.chain(metrics::parcel()).chain(self.supervisor_parcel()).chain(messages).collect()
    }
}

/// A value as a parcel.
pub(super) fn pack(name: &str, value: &impl Serialize) -> Parcel {
    // Fails never: the values have no type that postcard does not know.
    Parcel::new(name, postcard::to_allocvec(value).unwrap_or_default())
}

/// The value of a parcel, which may be of another release. A longer form has fields at its end that are not known here.
/// A shorter form is read as if zeroes followed: nothing, none, the first variant.
pub(super) fn unpack<T: DeserializeOwned>(data: &[u8]) -> Option<T> {
    let padded = [data, &[0; 64]].concat();
    postcard::take_from_bytes(&padded).map(|(value, _)| value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_and_longer_forms_are_read() {
        let long = pack("a", &(7_u32, "text", Some(3_u8), vec![1_u16])).data;
        assert_eq!(unpack(&long), Some((7_u32, "text".to_owned())));
        let short = pack("a", &(7_u32, "text")).data;
        let read = unpack::<(u32, String, Option<u8>, Vec<u16>)>(&short);
        assert_eq!(read, Some((7, "text".to_owned(), None, Vec::new())));
        assert_eq!(unpack::<String>(&[0xff; 8]), None);
    }
}

//! The life of a process: its events, its phases, the signals that steer it, and the tasks beside its servers.

mod answers;
mod aside;
mod background;
#[cfg(feature = "acme")]
mod certificate_order;
pub(crate) mod clock;
mod container;
mod drain;
mod ends;
mod event;
mod generation;
mod known_method;
mod privileges;
mod pulse;
mod receipt;
mod reload;
#[cfg(feature = "acme")]
mod renewal_suggestion;
mod requests;
mod shutdown;
mod signals;
mod stalls;
mod supervise;
mod task;
mod threads;
mod time;

pub(crate) use answers::{AnswerCount, Answers};
pub(crate) use aside::{aside, guarded};
pub(crate) use background::{AT_LEAST, Background, CleanUpUnfinished, TasksLeft};
pub use background::{on_exit, spawn};
#[cfg(feature = "acme")]
pub(crate) use certificate_order::{CertificateOrder, OrderOutcome};
pub(crate) use container::Tie;
pub(crate) use drain::{Drain, Phase, Stamp};
pub(crate) use ends::{
    ConnectionEnd, ConnectionEnds, Cut, CutReason, CutRequest, CutWhile, EndCounter, EndCounts, MAX_CUTS,
    moved,
};
#[cfg(feature = "tls")]
pub(crate) use event::ExpiredList;
pub(crate) use event::{
    Address, CertificateExpiry, Event, Events, HeldConnections, LoweredLimit, LoweredLimits, Serving,
    Subscriber, SuccessorDeath, SuccessorFault,
};
pub use generation::generation;
pub(crate) use generation::set_generation;
pub(crate) use known_method::KnownMethod;
pub(crate) use privileges::Privileges;
pub(crate) use pulse::{Answering, Beat, Pulse};
pub(crate) use receipt::{CutConnection, Outcome, ReceiptHistory, RestartReceipt, ServerReceipt, Steps};
pub(crate) use reload::{CertificateReload, CertificateReloader, ReloadOutcome};
#[cfg(feature = "acme")]
pub(crate) use renewal_suggestion::{RenewalSuggestion, SuggestionOutcome};
pub(crate) use requests::{Request, Requester, Requests, Trigger};
pub use shutdown::Shutdown;
pub use signals::Signal;
pub(crate) use signals::{HeldBack, Signals};
pub(crate) use stalls::Stalls;
pub use supervise::Supervise;
pub(crate) use task::{boxed, start, start_on};
pub(crate) use threads::{note_serving_threads, places, thread_number};
pub(crate) use time::{show, show_roughly, until_time};

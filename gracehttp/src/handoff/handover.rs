//! What the predecessor does after the commit: live connections go over, and permits with them.
//!
//! Until standby ends it keeps a duplicate of every connection that it gave away, to take back those that
//! are idle if the successor dies.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::conn::{Context, Departure, Socket};
use crate::handoff::Channel;
use crate::handoff::channel::Incoming;
use crate::handoff::message::{Bequest, MAX_MESSAGE, Moving, Reply, ServerCount};
use crate::parking::Stage;
use crate::server::Permits;
use crate::sys::MAX_FDS;

/// How much of a message the connections' own bytes may fill; the rest is for their description.
const MAX_AHEAD: usize = MAX_MESSAGE / 2;

/// How long a successor without room for more connections is left alone.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long released permits are gathered before they are reported.
const REPORT_EVERY: Duration = Duration::from_millis(1);

/// A connection on its way out, with its server's place in the list of contexts.
pub(crate) type Leaving = (usize, Departure);

/// The hand-over of live connections to one successor.
pub(crate) struct Handover {
    pub(crate) channel: Channel,
    pub(crate) leaving: UnboundedReceiver<Leaving>,
    pub(crate) contexts: Vec<Arc<Context>>,
    /// Until then the connections that were given away are kept.
    pub(crate) standby_until: Instant,
}

/// How a hand-over ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The successor is gone without a farewell. These connections were idle with it.
    Died(Vec<Leaving>),
    /// The successor ended of its own will.
    Left,
}

/// A connection that the successor has, and of which we keep a duplicate.
#[derive(Debug)]
struct Kept {
    server: usize,
    socket: Socket,
    stage: Stage,
    ahead: Bytes,
    /// The successor handles a request of it.
    busy: bool,
}

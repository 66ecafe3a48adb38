//! Reports to the successor how many permits this process holds, and asks for those that it needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::Context;
use crate::handoff::channel::Channel;
use crate::handoff::version::Version;
use crate::handoff::wire::{ServerCount, ToSuccessor};

/// How long released permits are gathered before they are reported.
const REPORT_AFTER: Duration = Duration::from_millis(1);

/// How long to wait after the channel was full.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The permits of a server, as they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    held: u64,
    asked: u64,
}

impl Count {
    fn of(context: &Arc<Context>) -> Self {
        let (permits, permit_requests) = (&context.permits, context.permits.permit_requests());
        let held = permits.held() + permits.foreign() + permit_requests.reserved();
        Self { held: held as u64, asked: permit_requests.asked() as u64 }
    }
}

/// How many permits each server holds: for its own connections, for permits that it asks for, and for connections of
/// an older generation that still drains.
pub(crate) fn held_of(contexts: &[Arc<Context>]) -> Vec<ServerCount> {
    let counts = contexts.iter().map(Count::of);
    named(contexts, counts.map(|count| count.held)).collect()
}

fn named(contexts: &[Arc<Context>], counts: impl Iterator<Item = u64>) -> impl Iterator<Item = ServerCount> {
    let names = contexts.iter().map(|context| context.options.name.clone());
    names.zip(counts).map(|(server, count)| ServerCount { server, count })
}

/// The reports to one successor.
pub(super) struct PermitReports {
    version: Version,
    contexts: Vec<Arc<Context>>,
    /// The counts of the last report, by server.
    reported: Vec<Count>,
    /// The number of the last report.
    number: u32,
    /// When the next report is due.
    due_at: Option<Instant>,
}

impl PermitReports {
    pub(super) fn new(version: Version, contexts: Vec<Arc<Context>>) -> Self {
        Self { version, contexts, reported: Vec::new(), number: 0, due_at: None }
    }

    /// From now on the servers ask the successor for permits. A successor of version 1 grants none.
    pub(super) fn begin(&self) {
        if self.version.grants_permits() {
            self.contexts.iter().for_each(|context| context.permits.permit_requests().share());
        }
    }

    /// Schedules a report if the counts have changed since the last one.
    pub(super) fn schedule(&mut self) {
        if self.due_at.is_none() && !self.is_up_to_date() {
            self.due_at = Some(Instant::now() + REPORT_AFTER);
        }
    }

    /// When the next report is due, if one is.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// Sends a report, or schedules another attempt.
    pub(super) fn send(&mut self, channel: &Channel) {
        let counts: Vec<Count> = self.contexts.iter().map(Count::of).collect();
        let number = self.number.wrapping_add(1);
        let held = named(&self.contexts, counts.iter().map(|count| count.held)).collect();
        let message = if self.version.grants_permits() {
            let asked = named(&self.contexts, counts.iter().map(|count| count.asked));
            ToSuccessor::Counts { number, held, asked: asked.filter(|asked| asked.count > 0).collect() }
        } else {
            ToSuccessor::Held { held }
        };
        if channel.try_send(&message) {
            (self.reported, self.number, self.due_at) = (counts, number, None);
        } else {
            self.due_at = Some(Instant::now() + RETRY_AFTER);
        }
    }

    /// The successor grants permits that the report with this number asked for. Permits granted for an earlier report
    /// are granted again for the last one.
    pub(super) fn grant(&self, number: u32, granted: &ServerCount) {
        if number != self.number {
            return;
        }
        let context = self.contexts.iter().find(|context| context.options.name == granted.server);
        if let Some(context) = context {
            context.permits.grant(usize::try_from(granted.count).unwrap_or(usize::MAX));
        }
    }

    /// The successor is gone, and holds no permits any more.
    pub(super) fn end(&self) {
        self.contexts.iter().for_each(|context| context.permits.stay_alone());
    }

    fn is_up_to_date(&self) -> bool {
        self.contexts.iter().map(Count::of).eq(self.reported.iter().copied())
    }
}

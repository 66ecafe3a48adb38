//! The account of a restart: it is opened when a successor is started, and closed with a receipt.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::app::life::Process;
use crate::app::parcels::{self, Handlers};
use crate::conn::Context;
use crate::handoff::{ParcelSender, RECEIPT, StandbySignals, Successor};
use crate::lifecycle::{
    ConnectionEnd, Cut, CutConnection, CutReason, EndCounts, Event, MAX_CUTS, Outcome, ReceiptHistory,
    RestartReceipt, ServerReceipt, Steps, generation,
};

/// The receipts of a process: those of earlier restarts, and the account of the one under way.
#[derive(Default)]
pub(super) struct Receipts {
    history: ReceiptHistory,
    account: Option<Account>,
    /// The successor gets the receipts that come from our own predecessor.
    successor: Arc<Mutex<Option<ParcelSender>>>,
}

impl Receipts {
    /// With the history of the predecessors. One that is still draining will send the receipt of its restart.
    pub(super) fn of(handlers: &Handlers) -> Self {
        let receipts = Self { history: handlers.history.clone(), ..Self::default() };
        let (history, successor) = (receipts.history.clone(), receipts.successor.clone());
        handlers.of_predecessor.on(RECEIPT, move |parcel| {
            let Some(receipt) = parcels::unpack(&parcel.data) else { return };
            history.add(Arc::new(receipt));
            if let Some(successor) = successor.lock().clone() {
                tokio::spawn(async move { successor.send(parcel).await });
            }
        });
        receipts
    }

    pub(super) fn history(&self) -> &ReceiptHistory {
        &self.history
    }

    /// A successor is about to be started.
    pub(super) fn open_account(&mut self) {
        self.account = Some(Account::open());
    }

    /// The account of the restart that is under way.
    pub(super) fn account(&mut self) -> &mut Account {
        self.account.get_or_insert_with(Account::open)
    }
}

/// A restart under way.
pub(super) struct Account {
    opened_at: Instant,
    began_at: SystemTime,
    successor: Option<Pid>,
    started_at: Option<Instant>,
    ready_at: Option<Instant>,
    committed: Option<Committed>,
    standby_over_at: Option<Instant>,
}

struct Committed {
    at: Instant,
    /// The counts of each server at that moment.
    before: Vec<EndCounts>,
    moves: Arc<StandbySignals>,
}

impl Account {
    fn open() -> Self {
        Self {
            opened_at: Instant::now(),
            began_at: SystemTime::now(),
            successor: None,
            started_at: None,
            ready_at: None,
            committed: None,
            standby_over_at: None,
        }
    }

    pub(super) fn note_started(&mut self, successor: Pid) {
        (self.successor, self.started_at) = (Some(successor), Some(Instant::now()));
    }

    pub(super) fn note_ready(&mut self) {
        self.ready_at = Some(Instant::now());
    }

    pub(super) fn note_standby_over(&mut self) {
        self.standby_over_at = Some(Instant::now());
    }

    fn steps(&self, now: Instant) -> Steps {
        let since = |from: Option<Instant>, to: Option<Instant>| {
            from.zip(to).map(|(from, to)| to.saturating_duration_since(from).as_micros() as u64)
        };
        let committed = self.committed.as_ref();
        let committed_at = committed.map(|committed| committed.at);
        let moved_at = committed.and_then(|committed| committed.moves.moves.last_at());
        Steps {
            start_us: since(Some(self.opened_at), self.started_at),
            ready_us: since(self.started_at, self.ready_at),
            commit_us: since(self.ready_at, committed_at),
            move_us: since(committed_at, moved_at),
            standby_us: since(committed_at, self.standby_over_at),
            drain_us: since(committed_at, Some(now)),
        }
    }
}

impl Process {
    /// The successor is about to accept, and no connection has moved yet.
    pub(super) fn commit_account(&mut self, successor: &Successor, moves: Arc<StandbySignals>) {
        let ends = self.servers.contexts();
        let before = ends.iter().map(|context| {
            // Of a drain that came to nothing.
            drop(context.ends().take_cuts());
            context.ends().counts()
        });
        let before = before.collect();
        self.receipts.account().committed = Some(Committed { at: Instant::now(), before, moves });
        *self.receipts.successor.lock() = Some(successor.parcels());
    }

    /// The successor has died, and all that it had and that has not come back ended with it.
    pub(super) fn lose_moved(&mut self) {
        *self.receipts.successor.lock() = None;
        let Some(committed) = &self.receipts.account().committed else { return };
        for (context, before) in self.servers.contexts().iter().zip(&committed.before) {
            context.ends().lose_moved(before);
        }
    }

    /// The restart is over. `goes_on`: this process keeps its connections.
    pub(super) fn close_account(
        &mut self,
        outcome: Outcome,
        reason: Option<String>,
        goes_on: bool,
    ) -> Arc<RestartReceipt> {
        let now = Instant::now();
        let account = self.receipts.account.take().unwrap_or_else(Account::open);
        let committed = account.committed.as_ref();
        let (mut servers, mut cuts) = (Vec::new(), Vec::new());
        for (place, context) in self.servers.contexts().iter().enumerate() {
            let counts = context.ends().counts();
            // Without a commit nothing has changed.
            let before = committed.and_then(|committed| committed.before.get(place)).copied();
            servers.push(server_receipt(context, before.unwrap_or(counts), counts, goes_on));
            let named = context.ends().take_cuts().into_iter().map(|cut| cut_connection(context, &cut));
            cuts.extend(named);
        }
        cuts.truncate(MAX_CUTS);
        let began_at = account.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let longest_pause = committed.and_then(|committed| committed.moves.moves.longest_pause());
        let mut receipt = RestartReceipt {
            generation: generation(),
            pid: std::process::id(),
            successor: account.successor.map(Pid::as_raw),
            began_at_ms: began_at.as_millis() as u64,
            outcome,
            reason,
            steps: account.steps(now),
            longest_pause_us: longest_pause.map(|pause| pause.as_micros() as u64),
            servers,
            cut: cuts,
            cut_others: 0,
        };
        receipt.cut_others = receipt.cut_count().saturating_sub(receipt.cut.len() as u64);
        let receipt = Arc::new(receipt);
        self.receipts.history.add(receipt.clone());
        receipt
    }

    /// The restart came to nothing before the successor took over.
    pub(super) fn give_up_account(&mut self, outcome: Outcome, reason: String) {
        let receipt = self.close_account(outcome, Some(reason), true);
        self.events.emit(&Event::RestartDone(receipt));
    }

    /// This process holds no connection any more, or ends in spite of those that it holds. The successor, if it lives,
    /// gets the receipt.
    pub(super) async fn finish_account(&mut self, successor: &Successor, died: Option<&str>) {
        let outcome = if died.is_none() { Outcome::Succeeded } else { Outcome::Failed };
        let reason = died.map(|how| format!("the successor died after standby: {how}"));
        let receipt = self.close_account(outcome, reason, false);
        successor.parcels().send(parcels::pack(RECEIPT, &*receipt)).await;
        self.events.emit(&Event::RestartDone(receipt));
    }
}

/// What became of the connections of one server between two counts.
fn server_receipt(context: &Context, before: EndCounts, counts: EndCounts, goes_on: bool) -> ServerReceipt {
    let since = counts.since(&before);
    // One that was taken back was counted again then.
    let taken_back = since.count(ConnectionEnd::TakenBack);
    let left = counts.open().saturating_sub(taken_back);
    let mut receipt = ServerReceipt {
        server: context.options.name.clone(),
        before: before.open(),
        accepted: since.opened().saturating_sub(taken_back),
        stayed: if goes_on { left } else { 0 },
        ..ServerReceipt::default()
    };
    since.ends().for_each(|(end, count)| receipt.add(end, count));
    if !goes_on {
        receipt.add(ConnectionEnd::Cut(CutReason::Exit), left);
    }
    receipt
}

fn cut_connection(context: &Context, cut: &Cut) -> CutConnection {
    CutConnection {
        server: context.options.name.clone(),
        peer: cut.peer.map(|peer| peer.to_string()),
        age_ms: cut.age.as_millis() as u64,
        request: cut.request.request(),
        doing: cut.doing,
    }
}

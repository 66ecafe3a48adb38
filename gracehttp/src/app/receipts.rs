//! The account of a restart: it is opened when a successor is started, and closed with a receipt.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::app::life::Process;
use crate::app::parcels::{self, Handlers};
use crate::conn::{Context, without_deadline};
use crate::handoff::{ParcelSender, RECEIPT, RECEIPTS, StandbySignals, Successor};
use crate::lifecycle::{
    ConnectionEnd, Cut, CutConnection, CutReason, EndCounts, Event, MAX_CUTS, Outcome, ReceiptHistory,
    RestartReceipt, ServerReceipt, Steps, generation, start,
};
use crate::log;
use crate::supervision::{Legacy, Supervised};

/// The receipts of a process: those of earlier restarts, and the account of the one under way.
#[derive(Default)]
pub(super) struct Receipts {
    history: ReceiptHistory,
    account: Option<Account>,
    /// Who else gets the receipts that come from our own predecessor.
    readers: Arc<Mutex<Readers>>,
}

#[derive(Clone, Default)]
struct Readers {
    successor: Option<ParcelSender>,
    /// It keeps them for the process that it starts if this one dies.
    supervisor: Option<Supervised>,
}

impl Receipts {
    /// With the history of the predecessors. A predecessor that still drains will send the receipt of its restart.
    pub(super) fn of(handlers: &Handlers) -> Self {
        let receipts = Self { history: handlers.history.clone(), ..Self::default() };
        let (history, readers) = (receipts.history.clone(), receipts.readers.clone());
        handlers.of_predecessor.on(RECEIPT, move |parcel| {
            let Some(receipt) = parcels::unpack(&parcel.data) else { return };
            history.add(Arc::new(receipt));
            let (Readers { successor, supervisor }, history) = (readers.lock().clone(), history.clone());
            start(async move {
                if let Some(successor) = successor {
                    successor.send(parcel).await;
                }
                if let Some(supervisor) = supervisor {
                    keep(&supervisor, &history.list()).await;
                }
            });
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
            // What was cut in an earlier drain, which was taken back, is no part of this account.
            drop(context.ends().take_cuts());
            context.ends().counts()
        });
        let before = before.collect();
        self.receipts.account().committed = Some(Committed { at: Instant::now(), before, moves });
        self.receipts.readers.lock().successor = Some(successor.parcels());
    }

    /// The successor has died, and all that it had and that has not come back ended with it.
    pub(super) fn lose_moved(&mut self) {
        self.receipts.readers.lock().successor = None;
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
        let account = self.receipts.account.take().unwrap_or_else(Account::open);
        let mut receipt = self.draw_up(&account, outcome, reason, goes_on);
        for (context, server) in self.servers.contexts().iter().zip(&receipt.servers) {
            let mut cuts = context.ends().take_cuts();
            let left = server.count(ConnectionEnd::Cut(CutReason::Exit));
            cuts.extend(
                without_deadline(context).into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)),
            );
            receipt.cut.extend(cuts.iter().map(|cut| cut_connection(context, cut)));
        }
        receipt.cut.truncate(MAX_CUTS);
        receipt.cut_others = receipt.cut_count().saturating_sub(receipt.cut.len() as u64);
        let receipt = Arc::new(receipt);
        self.receipts.history.add(receipt.clone());
        receipt
    }

    /// What became of all connections up to now, without the list of those that were cut.
    fn draw_up(
        &self,
        account: &Account,
        outcome: Outcome,
        reason: Option<String>,
        goes_on: bool,
    ) -> RestartReceipt {
        let committed = account.committed.as_ref();
        let contexts = self.servers.contexts();
        let servers = contexts.iter().enumerate().map(|(place, context)| {
            let counts = context.ends().counts();
            // Without a commit nothing has changed.
            let before = committed.and_then(|committed| committed.before.get(place)).copied();
            server_receipt(context, before.unwrap_or(counts), counts, goes_on)
        });
        let began_at = account.began_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let longest_pause = committed.and_then(|committed| committed.moves.moves.longest_pause());
        RestartReceipt {
            generation: generation(),
            pid: std::process::id(),
            successor: account.successor.map(Pid::as_raw),
            began_at_ms: began_at.as_millis() as u64,
            outcome,
            reason,
            steps: account.steps(Instant::now()),
            longest_pause_us: longest_pause.map(|pause| pause.as_micros() as u64),
            servers: servers.collect(),
            cut: Vec::new(),
            cut_others: 0,
        }
    }

    /// The restart came to nothing before the successor took over.
    pub(super) fn give_up_account(&mut self, outcome: Outcome, reason: String) {
        let receipt = self.close_account(outcome, Some(reason), true);
        self.events.emit(&Event::RestartDone(receipt));
    }

    /// The successor has died after standby, in this way. Has the supervisor keep the account as it is now for the process
    /// that it starts: this process has no channel to that one.
    pub(super) async fn have_death_kept(&self, how: &str) {
        let (Some(supervisor), Some(account)) = (&self.supervised, &self.receipts.account) else { return };
        let reason = Some(death_after_standby(how));
        let mut receipts = self.receipts.history.list();
        receipts.push(Arc::new(self.draw_up(account, Outcome::Failed, reason, true)));
        keep(supervisor, &receipts).await;
    }

    /// Has the supervisor keep the receipts for the process that it starts if this one dies.
    pub(super) async fn have_receipts_kept(&self) {
        let Some(supervisor) = &self.supervised else { return };
        self.receipts.readers.lock().supervisor = Some(supervisor.clone());
        keep(supervisor, &self.receipts.history.list()).await;
    }

    /// This process holds no connection any more, or ends in spite of those that it holds. The successor, if it lives,
    /// gets the receipt.
    pub(super) async fn finish_account(&mut self, successor: &Successor, died: Option<&str>) {
        let outcome = if died.is_none() { Outcome::Succeeded } else { Outcome::Failed };
        let reason = died.map(death_after_standby);
        let receipt = self.close_account(outcome, reason, false);
        successor.parcels().send(parcels::pack(RECEIPT, &*receipt)).await;
        self.events.emit(&Event::RestartDone(receipt));
    }
}

fn death_after_standby(how: &str) -> String {
    format!("the successor died after standby: {how}, and all connections that it had ended with it")
}

async fn keep(supervisor: &Supervised, receipts: &[Arc<RestartReceipt>]) {
    let parts = receipts.iter().map(|receipt| (parcels::pack(RECEIPTS, &**receipt).data, Vec::new()));
    if let Err(error) = supervisor.keep(RECEIPTS, &parts.collect::<Vec<_>>()).await {
        log::error(format_args!(
            "the supervisor, pid {}, does not get the receipts of restarts: {error}; after a crash the next process \
             does not show them",
            supervisor.pid()
        ));
    }
}

/// Takes in the receipts that a crashed process had the supervisor keep. If it crashed while its predecessor still drained,
/// the last of them is the account of this crash, and goes to the log.
pub(super) fn adopt_kept(legacy: &mut Legacy, history: &ReceiptHistory) {
    let kept = legacy.take(RECEIPTS);
    let receipts = kept.iter().filter_map(|kept| parcels::unpack::<RestartReceipt>(&kept.data));
    receipts.for_each(|receipt| history.add(Arc::new(receipt)));
    let died = |last: &&Arc<RestartReceipt>| {
        last.failed_after_commit() && last.generation.saturating_add(2) == legacy.generation
    };
    if let Some(last) = history.list().last().filter(died) {
        let reason = last.reason.as_deref().unwrap_or("for a reason that is not known");
        log::error(format_args!("the restart of generation {} failed: {reason}; {last}", last.generation));
    }
}

/// What became of the connections of one server between two counts.
fn server_receipt(context: &Context, before: EndCounts, counts: EndCounts, goes_on: bool) -> ServerReceipt {
    let since = counts.since(&before);
    // A connection that was taken back was counted as opened once more.
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

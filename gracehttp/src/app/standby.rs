//! After the commit: the successor serves, and this process drains. In standby it can still take over again.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

#[cfg(any(feature = "admin", feature = "cli"))]
use crate::app::drain_reports::DrainReports;
use crate::app::life::{Next, Process};
use crate::app::prepare;
use crate::app::rehearsal::refuse_rehearsal;
use crate::app::stop::GRACE;
use crate::conn::{Capabilities, Leaving, settle};
use crate::handoff::{
    Claims, DRAIN, Handover, HandoverEnd, Parcel, Predecessor, RESTART, Recovered, STOP, StandbySignals,
    Successor, UNRESPONSIVE_AFTER, held_of,
};
use crate::lifecycle::{Event, Outcome, Phase, Request, SuccessorDeath, Trigger, boxed, until_time};
use crate::listen::{AcceptState, Acceptor, Running};

impl Process {
    /// The commit and what follows: standby, and the drain.
    pub(super) async fn hand_over(
        &mut self,
        mut successor: Box<Successor>,
        claims: &Claims,
        again: Option<Trigger>,
    ) -> Next {
        let pid = successor.pid();
        let now = Instant::now();
        if let Some(predecessor) = self.to_predecessor() {
            Predecessor::announce_successor(&predecessor).await;
        }
        self.pause_accepting(claims);
        // From the commit on the successor orders.
        #[cfg(feature = "acme")]
        self.keepers.stop();
        let signals = Arc::new(StandbySignals::default());
        self.commit_account(&successor, signals.clone());
        self.observed.begin_drain();
        // First: if this process died now, the successor would serve.
        if let Some(supervised) = &self.supervised {
            supervised.give_place(pid);
        }
        let contexts = self.servers.contexts();
        // If the successor dies in this very moment, the hand-over notices it.
        successor.commit(held_of(&contexts)).await;
        let leaving = self.start_moving(claims, successor.capabilities());
        // Not earlier: an operator who reads this message can rely on it that the drain has begun.
        self.events.emit(&Event::Committed { successor: pid });
        let standby_until = now + self.settings.standby;
        let released = self.servers.released();
        let parcels = self.parcels.of_successor.clone();
        let handover = Handover::new(
            &mut successor,
            leaving,
            contexts,
            released,
            standby_until,
            signals.clone(),
            parcels,
        );
        let deadline = now + self.settings.drain_timeout.max(self.settings.standby);
        let close_before = CLOSE_BEFORE_DEADLINE.min(self.settings.drain_timeout / 2);
        #[cfg(any(feature = "admin", feature = "cli"))]
        let _reports = DrainReports::begin(self.observed.clone(), successor.parcels(), now, deadline);
        let watch = Watch {
            pid,
            handover: tokio::spawn(handover.run()),
            standby_signals: signals,
            stands_by: true,
            close_idle_at: Some(now + GRACE),
            give_up_at: Some(deadline - close_before),
            deadline,
            stopping: false,
        };
        if let Some(trigger) = again {
            // Passed on below, in any case.
            self.was_forwarded(trigger);
            self.pass_restart_on(trigger, &successor).await;
        }
        let next = self.stand_by(&mut successor, watch).await;
        if let Next::End = next {
            successor.announce_end().await;
            successor.leave();
        }
        next
    }

    /// Starts to move the connections of the servers that the successor has, and to close those of the others.
    fn start_moving(&self, claims: &Claims, capabilities: Capabilities) -> UnboundedReceiver<Leaving> {
        let (to_successor, leaving) = unbounded_channel();
        for server in self.servers.iter() {
            if claims.servers.iter().any(|claimed| claimed == server.name()) {
                let needs_client_certs =
                    claims.with_client_certs.iter().any(|claimed| claimed == server.name());
                let capabilities = Capabilities { needs_client_certs, ..capabilities };
                server.context.set_successor(to_successor.clone(), capabilities);
                server.context.spread.begin(self.settings.drain_timeout);
                server.enter(Phase::HandingOver);
            } else {
                server.enter(Phase::Stopping);
            }
        }
        leaving
    }

    /// Stops accepting, also where the successor does not: taking over again, this process would need all of its
    /// listeners.
    fn pause_accepting(&mut self, claims: &Claims) {
        let acceptors = self.servers.iter_mut().flat_map(|server| &mut server.acceptors);
        for (place, acceptor) in acceptors.enumerate() {
            acceptor.claimed = claims.listeners.contains(&place);
            acceptor.former_access = acceptor.listener.access();
            acceptor.set(AcceptState::Paused);
        }
        let of_servers = self.servers.acceptors().count();
        self.own.pause(|place| claims.listeners.contains(&(of_servers + place)));
        self.servers.iter().for_each(|server| server.context.permits.pause());
    }

    /// Leaves the listeners that the successor has to it. The others are emptied and closed.
    fn release_listeners(&mut self) {
        let Self { servers, own, closing, .. } = self;
        own.leave();
        for acceptor in servers.take_acceptors() {
            if acceptor.claimed {
                acceptor.leave();
            } else {
                closing.spawn(boxed(acceptor.close()));
            }
        }
    }

    /// Serves the clients in the queues of all listeners, and closes the listeners. Of a listener that two processes
    /// had, the one that closes it last would otherwise reset the clients that came after the other had emptied the
    /// queue.
    fn empty_queues(&mut self) {
        let Self { servers, own, closing, .. } = self;
        own.leave();
        for acceptor in servers.take_acceptors() {
            if acceptor.claimed {
                closing.spawn(boxed(acceptor.empty()));
            } else {
                closing.spawn(boxed(acceptor.close()));
            }
        }
    }

    /// Watches the successor for as long as this process could take over again, and drains.
    async fn stand_by(&mut self, successor: &mut Successor, mut watch: Watch) -> Next {
        loop {
            match watch.next(self).await {
                Due::Drained => return self.end_for(successor, &watch).await,
                Due::StandbyOver => {
                    watch.stands_by = false;
                    self.receipts.account().note_standby_over();
                    self.events.emit(&Event::StandbyOver { successor: watch.pid });
                    let limit = watch.deadline.saturating_duration_since(Instant::now());
                    self.events.emit(&Event::Draining { connections: self.servers.held(), limit });
                    // Not earlier: a process that takes over again needs them.
                    self.background.shut_down();
                    self.release_listeners();
                }
                Due::CloseIdle => {
                    watch.close_idle_at = None;
                    let stopping = self.servers.iter().filter(|server| server.phase() == Phase::Stopping);
                    stopping.for_each(|server| server.enter(Phase::ClosingIdle));
                }
                Due::GiveUp => {
                    watch.give_up_at = None;
                    watch.close_idle_at = Some(Instant::now() + (watch.deadline - Instant::now()) / 2);
                    // The successor had no room for the connections that still rest here. They are closed in order
                    // while there is time.
                    let left = self.servers.iter().filter(|server| !server.context.lot.is_empty());
                    left.for_each(|server| server.enter(Phase::Stopping));
                }
                Due::Deadline => {
                    self.cut().await;
                    return self.end_for(successor, &watch).await;
                }
                Due::SuccessorGone(end) if watch.may_take_back(&end) && self.takes_back_place(watch.pid) => {
                    self.take_back(successor, end).await;
                    return Next::ServeOn;
                }
                Due::SuccessorGone(end) => {
                    let died = self.death_of(successor, &end).await;
                    if let Some(why) = died.clone() {
                        let is_supervised = self.supervised.is_some();
                        self.events.emit(&Event::SuccessorDied { successor: watch.pid, why, is_supervised });
                    }
                    self.events.emit(&Event::SuccessorGone { successor: watch.pid });
                    let has_own_successor = end.has_own_successor;
                    let back = end.recover(successor).back;
                    self.finish_alone(has_own_successor, back, watch.deadline).await;
                    self.finish_account(successor, died.as_deref()).await;
                    self.clean_up(watch.deadline).await;
                    self.events.emit(&Event::Stopped);
                    return Next::End;
                }
                Due::Asked(Request::Restart(trigger)) if self.was_forwarded(trigger) => {
                    self.pass_restart_on(trigger, successor).await;
                }
                Due::Asked(Request::Restart(trigger)) => {
                    self.events.emit(&Event::RestartIgnored { trigger, successor: Some(watch.pid) });
                }
                Due::Asked(Request::Rehearse(_)) => refuse_rehearsal(&self.events),
                // It drains as it is, and nobody is in a hurry.
                Due::Asked(Request::Stop(Trigger::SupervisorGone)) if watch.stopping => {}
                Due::Asked(Request::Stop(trigger)) if watch.stopping => {
                    self.end_at_once(trigger);
                    return self.end_for(successor, &watch).await;
                }
                Due::Asked(Request::Stop(trigger)) => {
                    self.events.emit(&Event::StopRequested { trigger });
                    self.pass_stop_on(trigger, successor).await;
                    // It is draining already. Only its standby ends.
                    watch.stopping = true;
                    watch.standby_signals.cancelled.notify_one();
                }
            }
        }
    }

    /// Asks the successor for the restart that this process was asked for too late.
    async fn pass_restart_on(&self, trigger: Trigger, successor: &Successor) {
        self.events.emit(&Event::RestartPassedOn { trigger, successor: successor.pid() });
        let parcels = successor.parcels();
        if parcels.can_send() {
            // If it is not sent, the successor is gone or does not answer, which the hand-over notices.
            let _ = parcels.send(Parcel::new(RESTART, Vec::new())).await;
        } else {
            // It is of a release without parcels.
            self.pass_on(trigger, successor.pid());
        }
    }

    /// Asks the successor to stop, too, if a command has asked the service.
    async fn pass_stop_on(&self, trigger: Trigger, successor: &Successor) {
        let name = match trigger {
            Trigger::Command | Trigger::Predecessor => STOP,
            Trigger::Drain => DRAIN,
            // If the service was asked, its supervisor tells the successor, too.
            Trigger::Signal(_) | Trigger::SupervisorGone => return,
        };
        // If it is not sent, the successor is gone or does not answer, which the hand-over notices.
        let _ = successor.parcels().send(Parcel::new(name, Vec::new())).await;
    }

    /// Takes over again from a successor that died in standby.
    async fn take_back(&mut self, successor: &mut Successor, end: HandoverEnd) {
        // First of all: no other process may touch the connections that come back.
        let how = successor.end().await;
        let why = match end.was_unresponsive {
            true => SuccessorDeath::Unresponsive { after: UNRESPONSIVE_AFTER },
            false => SuccessorDeath::Ended(how),
        };
        let Recovered { back, lost, busy } = end.recover(successor);
        let connections = back.len();
        for server in self.servers.iter() {
            server.context.clear_successor();
            server.context.permits.resume();
            server.enter(Phase::Serving);
            server.update_options(|acceptor| acceptor.claimed);
            server.open();
        }
        self.own.resume();
        #[cfg(feature = "acme")]
        self.keepers.resume();
        self.lose_moved();
        let receipt = self.close_account(Outcome::TakenBack, Some(why.to_string()), true);
        self.settle_all(back);
        self.have_listeners_kept().await;
        self.have_receipts_kept().await;
        let former_access = |_: &Running, acceptor: &Acceptor| acceptor.former_access.clone();
        prepare::update_access(&self.servers, &self.events, former_access).await;
        self.announcer.took_back().await;
        self.events.emit(&Event::TookBack { successor: successor.pid(), why, connections, lost, busy });
        self.events.emit(&Event::RestartDone(receipt));
    }

    /// Lets the connections finish that can't go anywhere any more.
    async fn finish_alone(&mut self, has_own_successor: bool, back: Vec<Leaving>, deadline: Instant) {
        self.servers.iter().for_each(|server| server.context.clear_successor());
        if has_own_successor {
            self.release_listeners();
        } else {
            self.empty_queues();
        }
        self.servers.enter(Phase::Stopping);
        self.settle_all(back);
        self.finish(deadline).await;
    }

    /// The end of a process whose successor serves.
    async fn end_for(&mut self, successor: &Successor, watch: &Watch) -> Next {
        self.finish_account(successor, None).await;
        self.clean_up(watch.deadline).await;
        self.events.emit(&Event::Replaced { successor: watch.pid });
        Next::End
    }

    fn settle_all(&self, back: Vec<Leaving>) {
        for (context, resting) in back {
            settle(&context, resting);
        }
    }
}

/// Connections that could not move are closed this long before the deadline. Half of it is for their last request.
const CLOSE_BEFORE_DEADLINE: Duration = GRACE.saturating_mul(2);

/// What a process waits for after its commit.
struct Watch {
    pid: Pid,
    handover: JoinHandle<HandoverEnd>,
    standby_signals: Arc<StandbySignals>,
    /// It could take over again.
    stands_by: bool,
    /// When idle connections of servers that the successor does not have are closed.
    close_idle_at: Option<Instant>,
    /// When the connections for which the successor has no room stop trying to move.
    give_up_at: Option<Instant>,
    deadline: Instant,
    /// This process was asked to stop.
    stopping: bool,
}

/// What comes next for a process after its commit.
enum Due {
    Drained,
    StandbyOver,
    CloseIdle,
    GiveUp,
    Deadline,
    SuccessorGone(HandoverEnd),
    Asked(Request),
}

impl Watch {
    /// Whether this process serves again after such an end. One that stops does not.
    fn may_take_back(&self, end: &HandoverEnd) -> bool {
        end.leaves_no_server() && self.stands_by && !self.stopping
    }

    async fn next(&mut self, process: &mut Process) -> Due {
        let stands_by = self.stands_by;
        let Process { servers, requests, closing, background, .. } = process;
        let drained = async {
            // Clients in the queue of a listener that the successor does not have are still to be served.
            while closing.join_next().await.is_some() {}
            // A generation before us that still drains reports to the successor through us.
            servers.until(|servers| !stands_by && servers.held() + servers.foreign() == 0).await;
            background.idle().await;
        };
        tokio::select! {
            biased;
            request = requests.next() => Due::Asked(request),
            end = &mut self.handover => Due::SuccessorGone(end.unwrap_or_else(|_| HandoverEnd::panicked())),
            () = self.standby_signals.over.notified(), if stands_by => Due::StandbyOver,
            () = until_time(self.close_idle_at) => Due::CloseIdle,
            () = until_time(self.give_up_at), if !stands_by => Due::GiveUp,
            () = drained => Due::Drained,
            // Until the successor has shown that it lives, this process may have to serve again.
            () = sleep_until(self.deadline), if !stands_by => Due::Deadline,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handover.abort();
    }
}

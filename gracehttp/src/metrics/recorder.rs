//! What happens in the life of the process, counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::access_log;
use crate::lifecycle::{ConnectionEnd, CutReason, Event, Outcome, RestartReceipt, Subscriber};
use crate::log;
#[cfg(feature = "acme")]
use crate::metrics::families::{CERTIFICATE_ORDERS, RENEWAL_SUGGESTIONS};
use crate::metrics::families::{
    CERTIFICATE_RELOADS, CPU, ENDS, Family, LONGEST_PAUSE, LOST_LINES, LOST_MESSAGES, PHASE_DURATION,
    RESTARTS,
};
use crate::metrics::process;
use crate::metrics::scrape::{DrainGauges, ServerGauges, Source};
use crate::metrics::shared::{Count, Durations};
use crate::metrics::table::Layout;

const ONE: Layout = Layout::Shared { values: 1 };

/// How restarts come out.
const OUTCOMES: [&str; 5] = ["succeeded", "failed", "taken_back", "stopped", "refused"];

/// Counts the events of the process.
pub(super) struct Recorder {
    source: Arc<dyn Source>,
    life: Mutex<Life>,
    carried: Mutex<CarriedTotals>,
    serving_since: f64,
}

#[derive(Default)]
struct Life {
    drain_until: Option<Instant>,
    has_failed: bool,
}

impl Recorder {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        // A series that is there from the start shows its first increase.
        OUTCOMES.into_iter().for_each(|outcome| _ = of_label(&RESTARTS, outcome));
        Self { source, life: Mutex::default(), carried: Mutex::default(), serving_since: process::now() }
    }

    /// What the servers are at the moment. Also adds to the table what the kernel and the log have counted since the last
    /// time.
    pub(super) fn carry(&self) -> Vec<ServerGauges> {
        let servers = self.source.servers();
        let mut carried = self.carried.lock();
        carried.add(&CPU, &[], u64::try_from(process::cpu().as_micros()).unwrap_or(u64::MAX));
        carried.add(&LOST_MESSAGES, &[], log::lost());
        carried.add(&LOST_LINES, &[], access_log::lost());
        servers
    }

    /// The process ends, and with it the connections that it still holds.
    fn note_exit(&self) {
        for server in self.carry() {
            let end = ConnectionEnd::Cut(CutReason::Exit).name();
            let labels = ENDS.labels.iter().copied().zip([&*server.server, end]);
            Count::of(&ENDS.full_name(), labels, ONE).add(server.held);
        }
    }

    fn note_restart(&self, outcome: &str) {
        self.life.lock().has_failed = !matches!(outcome, "succeeded" | "stopped");
        of_label(&RESTARTS, outcome).add(1);
    }

    /// The generations before this one that still drain.
    pub(super) fn draining(&self) -> Vec<DrainGauges> {
        self.source.draining()
    }

    /// How long the drain of this process may still take.
    pub(super) fn drain_remaining(&self) -> Option<Duration> {
        let until = self.life.lock().drain_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Whether the last restart succeeded. A process that has not tried to restart yet has itself started with success.
    pub(super) fn last_reload_succeeded(&self) -> bool {
        !self.life.lock().has_failed
    }

    /// When this process began to serve, in seconds since 1970.
    pub(super) fn serving_since(&self) -> f64 {
        self.serving_since
    }
}

impl Subscriber for Recorder {
    fn on_event(&self, event: &Event) {
        match event {
            Event::RestartRefused { .. } => self.note_restart("refused"),
            Event::RestartDone(receipt) => {
                self.note_restart(outcome(receipt.outcome));
                note_steps(receipt);
            }
            Event::CertificateReloaded(reload) => {
                let values = [&*reload.server, reload.outcome.name()];
                let labels = CERTIFICATE_RELOADS.labels.iter().copied().zip(values);
                Count::of(&CERTIFICATE_RELOADS.full_name(), labels, ONE).add(1);
            }
            #[cfg(feature = "acme")]
            Event::CertificateOrdered(order) => {
                let labels = CERTIFICATE_ORDERS.labels.iter().copied();
                let labels = labels.zip([&*order.server, order.outcome.name()]);
                Count::of(&CERTIFICATE_ORDERS.full_name(), labels, ONE).add(1);
            }
            #[cfg(feature = "acme")]
            Event::RenewalSuggested(suggestion) => {
                let labels = RENEWAL_SUGGESTIONS.labels.iter().copied();
                let labels = labels.zip([&*suggestion.server, suggestion.outcome.name()]);
                Count::of(&RENEWAL_SUGGESTIONS.full_name(), labels, ONE).add(1);
            }
            Event::Draining { limit, .. } => self.life.lock().drain_until = Some(Instant::now() + *limit),
            Event::StandbyOver { .. } => _ = self.carry(),
            Event::Replaced { .. } | Event::Stopped => self.note_exit(),
            _ => {}
        }
    }
}

/// The name of an outcome.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::TakenBack => "taken_back",
        Outcome::Stopped => "stopped",
    }
}

fn note_steps(receipt: &RestartReceipt) {
    let steps = &receipt.steps;
    let names = ["start", "ready", "commit", "move", "standby", "drain"];
    let durations =
        [steps.start_us, steps.ready_us, steps.commit_us, steps.move_us, steps.standby_us, steps.drain_us];
    for (name, micros) in names.into_iter().zip(durations) {
        note_duration(&PHASE_DURATION, &[name], micros);
    }
    note_duration(&LONGEST_PAUSE, &[], receipt.longest_pause_us);
}

fn note_duration(family: &Family, values: &[&str], micros: Option<u64>) {
    let labels = family.labels.iter().copied().zip(values.iter().copied());
    if let Some((micros, bounds)) = micros.zip(family.kind.bounds())
        && let Some(durations) = Durations::of(&family.full_name(), labels, bounds)
    {
        durations.observe(Duration::from_micros(micros));
    }
}

/// Totals of this process that the kernel or another room keeps. The table gets what they grow by.
#[derive(Default)]
struct CarriedTotals(HashMap<(&'static str, Vec<String>), Carried>);

struct Carried {
    count: Count,
    total: u64,
}

impl CarriedTotals {
    /// The total of a series; `values` are those of its labels.
    fn add(&mut self, family: &'static Family, values: &[&str], total: u64) {
        let key = (family.name, values.iter().copied().map(str::to_owned).collect());
        let carried = self.0.entry(key).or_insert_with(|| {
            let labels = family.labels.iter().copied().zip(values.iter().copied());
            Carried { count: Count::of(&family.full_name(), labels, ONE), total: 0 }
        });
        carried.count.add(total.saturating_sub(carried.total));
        carried.total = carried.total.max(total);
    }
}

fn of_label(family: &Family, value: &str) -> Count {
    Count::of(&family.full_name(), [(family.labels[0], value)], ONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Steps;
    use crate::metrics::families::Kind;
    use crate::metrics::key;
    use crate::metrics::shared::table;

    struct NoServers;

    impl Source for NoServers {
        fn servers(&self) -> Vec<ServerGauges> {
            Vec::new()
        }

        fn draining(&self) -> Vec<DrainGauges> {
            Vec::new()
        }
    }

    fn restarts(outcome: &str) -> u64 {
        let key = key::encode("gracehttp_restarts", [("outcome", outcome)], None);
        table().unwrap().values(&key)[0]
    }

    #[test]
    fn every_receipt_counts_as_one_restart() {
        let recorder = Recorder::new(Arc::new(NoServers));
        let before = OUTCOMES.map(restarts);
        let steps = Steps { start_us: Some(1), commit_us: Some(1), ..Steps::default() };
        for outcome in [Outcome::Failed, Outcome::TakenBack, Outcome::Succeeded] {
            assert_eq!(recorder.last_reload_succeeded(), outcome == Outcome::Failed, "as it was before");
            let receipt = RestartReceipt { outcome, steps, ..RestartReceipt::default() };
            recorder.on_event(&Event::RestartDone(Arc::new(receipt)));
        }
        assert!(recorder.last_reload_succeeded());
        let after = OUTCOMES.map(restarts);
        let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(grown, [1, 1, 1, 0, 0]);
    }

    #[test]
    fn a_total_is_carried_once() {
        static FAMILY: Family =
            Family { name: "carried", unit: None, kind: Kind::Counter, labels: &[], help: "of a test" };
        let mut carried = CarriedTotals::default();
        [3, 3, 5, 4].into_iter().for_each(|total| carried.add(&FAMILY, &[], total));
        assert_eq!(table().unwrap().values(&key::encode("carried", [], None)), [5]);
    }
}

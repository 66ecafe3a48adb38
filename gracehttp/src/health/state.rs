//! Whether this process is ready for requests: its stage, its worker threads, and the checks of the application.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::Error;
use crate::health::{Outcome, Probe};
use crate::lifecycle::{Answering, Beat, Event, Subscriber, start_on};

/// What the checks have said counts for so long, so that many questions cost no more than one.
const FRESH: Duration = Duration::from_secs(1);

/// The health of a process, known from its first moment to its last.
pub(crate) struct Health {
    stage: Mutex<Stage>,
    checks: OnceLock<Checks>,
}

/// What a process does with new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It does not serve yet.
    Starting,
    Serving,
    /// Its successor serves.
    HandedOver,
    /// It stops, and still accepts as long as the lame duck lasts.
    Stopping,
}

/// The checks of the application, and the runtimes that they need.
pub(crate) struct Checks {
    probes: Arc<[Probe]>,
    control: Handle,
    workers: Handle,
    /// Only where someone asks.
    pulse: Option<watch::Receiver<Beat>>,
    latest: Mutex<Option<Round>>,
}

/// One run of all checks: nothing as long as it goes on.
type Round = watch::Receiver<Option<Checked>>;

#[derive(Clone)]
struct Checked {
    at: Instant,
    outcomes: Arc<[Outcome]>,
}

/// The answer to the question whether a process is ready.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) stage: Stage,
    /// Unknown where nothing beats.
    pub(crate) workers: Option<Answering>,
    pub(crate) checks: Arc<[Outcome]>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { stage: Mutex::new(Stage::Starting), checks: OnceLock::new() }
    }

    /// Runs all checks for the first time. A process in which one fails must not serve.
    pub(crate) async fn begin(&self, checks: Checks) -> Result<(), Error> {
        let checks = self.checks.get_or_init(|| checks);
        let faults = checks.run().await.iter().filter_map(Outcome::fault).collect();
        Error::check(faults)
    }

    /// The process serves from now on.
    pub(crate) fn serve(&self) {
        self.enter(&[Stage::Starting, Stage::HandedOver], Stage::Serving);
    }

    /// Whether the process is ready, at most a second old where it comes from checks.
    pub(crate) async fn verdict(&self) -> Verdict {
        let outcomes = match self.checks.get() {
            Some(checks) if self.stage() != Stage::Starting => checks.run().await,
            _ => Arc::default(),
        };
        // Looked at last: a stop that has come meanwhile counts.
        Verdict { stage: self.stage(), workers: self.workers(), checks: outcomes }
    }

    /// Whether it was ready when the checks ran last.
    #[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "the status page shows it"))]
    pub(crate) fn last_verdict(&self) -> Verdict {
        let checks = self.checks.get().and_then(Checks::last).unwrap_or_default();
        Verdict { stage: self.stage(), workers: self.workers(), checks }
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.lock()
    }

    /// Whether the worker threads answer; unknown before they exist, and where nothing beats.
    pub(crate) fn workers(&self) -> Option<Answering> {
        let pulse = self.checks.get()?.pulse.as_ref()?;
        Some(pulse.borrow().workers)
    }

    fn enter(&self, from: &[Stage], stage: Stage) {
        let mut current = self.stage.lock();
        if from.contains(&current) {
            *current = stage;
        }
    }
}

impl Subscriber for Health {
    fn on_event(&self, event: &Event) {
        use Stage::{HandedOver, Serving, Starting, Stopping};
        match event {
            Event::Committed { .. } => self.enter(&[Serving], HandedOver),
            Event::TookBack { .. } => self.enter(&[HandedOver], Serving),
            // After a commit it is the successor that matters.
            Event::StopRequested { .. } => self.enter(&[Starting, Serving], Stopping),
            Event::SuccessorDied { .. } => self.enter(&[HandedOver], Stopping),
            _ => {}
        }
    }
}

impl Checks {
    /// Has to be called on the control runtime.
    pub(crate) fn new(probes: Vec<Probe>, workers: Handle, pulse: Option<watch::Receiver<Beat>>) -> Self {
        Self { probes: probes.into(), control: Handle::current(), workers, pulse, latest: Mutex::new(None) }
    }

    /// What all checks say, now or less than a second ago. All that ask at once share one run.
    async fn run(&self) -> Arc<[Outcome]> {
        if self.probes.is_empty() {
            return Arc::default();
        }
        let mut round = self.round();
        let checked = round.wait_for(Option::is_some).await.ok().and_then(|checked| checked.clone());
        match checked {
            Some(checked) => checked.outcomes,
            // The control runtime has ended, and with it the process.
            None => self.probes.iter().map(Probe::given_up).collect(),
        }
    }

    /// What they have said last, unless they are running now.
    fn last(&self) -> Option<Arc<[Outcome]>> {
        let latest = self.latest.lock();
        let round = latest.as_ref()?.borrow();
        round.as_ref().map(|checked| checked.outcomes.clone())
    }

    fn round(&self) -> Round {
        let mut latest = self.latest.lock();
        let is_fresh = |round: &Round| match &*round.borrow() {
            Some(checked) => checked.at.elapsed() < FRESH,
            None => round.has_changed().is_ok(),
        };
        match &*latest {
            Some(round) if is_fresh(round) => round.clone(),
            _ => latest.insert(self.begin_round()).clone(),
        }
    }

    fn begin_round(&self) -> Round {
        let (done, round) = watch::channel(None);
        let (probes, workers) = (self.probes.clone(), self.workers.clone());
        start_on(&self.control, async move {
            let outcomes = run_all(probes, &workers).await;
            done.send_replace(Some(Checked { at: Instant::now(), outcomes }));
        });
        round
    }
}

/// Runs all checks at the same time. Returns what they say in their order.
async fn run_all(probes: Arc<[Probe]>, workers: &Handle) -> Arc<[Outcome]> {
    let runs: Vec<_> = (0..probes.len())
        .map(|index| {
            let (probes, workers) = (probes.clone(), workers.clone());
            tokio::spawn(async move { probes[index].run(&workers).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for (run, probe) in runs.into_iter().zip(&*probes) {
        outcomes.push(run.await.unwrap_or_else(|_| probe.given_up()));
    }
    outcomes.into()
}

impl Verdict {
    /// Whether the process should get new requests.
    pub(crate) fn is_ready(&self) -> bool {
        let serves = matches!(self.stage, Stage::Serving | Stage::HandedOver);
        let answers = self.workers.is_none_or(Answering::is_live);
        serves && answers && self.checks.iter().all(|check| check.result.is_ok())
    }
}

impl Stage {
    /// What the process does, in a word.
    #[cfg_attr(not(any(feature = "admin", feature = "cli")), expect(dead_code, reason = "operators read it"))]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::HandedOver => "handed over",
            Self::Stopping => "stopping",
        }
    }
}

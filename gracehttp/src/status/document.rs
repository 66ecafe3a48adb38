//! The document that operators read: the answer to the command `status` on the control socket, and `/status.json`.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::health::{Health, Outcome, Verdict};
use crate::status::report::Report;
use crate::status::snapshot::Observed;

/// Makes the document for everybody who asks.
pub(crate) struct Document {
    health: Arc<Health>,
    /// Empty until the process serves.
    observed: OnceLock<Arc<Observed>>,
}

impl Document {
    pub(crate) fn new(health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self { health, observed: OnceLock::new() })
    }

    /// The process serves from now on, and this is what it does.
    pub(crate) fn show(&self, observed: Arc<Observed>) {
        // Called once.
        let _ = self.observed.set(observed);
    }

    /// The document. The health checks run, unless their last results are fresh.
    pub(crate) async fn checked(&self) -> Report {
        self.with(&self.health.verdict().await)
    }

    /// The document with the last results of the health checks.
    #[cfg(feature = "admin")]
    pub(crate) fn now(&self) -> Report {
        self.with(&self.health.last_verdict())
    }

    fn with(&self, verdict: &Verdict) -> Report {
        let report = self.observed.get().map_or_else(Report::starting, |observed| observed.report());
        Report { health: verdict.into(), ..report }
    }
}

/// Whether the process should get requests, and why not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HealthReport {
    pub(crate) is_ready: bool,
    /// `starting`, `serving`, `handed over` or `stopping`.
    pub(crate) stage: String,
    /// Whether the worker threads answer, in words; unknown where no address or path for health asks.
    pub(crate) worker_threads: Option<String>,
    pub(crate) worker_threads_are_live: Option<bool>,
    pub(crate) checks: Vec<CheckReport>,
}

/// What a check of the application has said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CheckReport {
    pub(crate) name: String,
    pub(crate) is_well: bool,
    pub(crate) error: Option<String>,
    pub(crate) took_ms: u64,
}

/// The certificate of a server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CertificateReport {
    pub(crate) server: String,
    pub(crate) names: Vec<String>,
    /// As in RFC 3339.
    pub(crate) not_after: Option<String>,
}

impl From<&Verdict> for HealthReport {
    fn from(verdict: &Verdict) -> Self {
        Self {
            is_ready: verdict.is_ready(),
            stage: verdict.stage.word().to_owned(),
            worker_threads: verdict.workers.map(|workers| workers.to_string()),
            worker_threads_are_live: verdict.workers.map(|workers| workers.is_live()),
            checks: verdict.checks.iter().map(CheckReport::from).collect(),
        }
    }
}

impl From<&Outcome> for CheckReport {
    fn from(Outcome { name, result, took }: &Outcome) -> Self {
        Self {
            name: name.to_string(),
            is_well: result.is_ok(),
            error: result.as_ref().err().cloned(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

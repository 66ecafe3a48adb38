//! The document that the status page shows: the report that all ways of asking share, and what only is known here.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::health::{Health, Outcome, Verdict};
use crate::lifecycle::{ReceiptHistory, generation};
use crate::status::Observed;

/// What the process knows of itself.
pub(super) struct Sources {
    pub(super) health: Arc<Health>,
    /// Nothing before the process serves.
    pub(super) serving: OnceLock<Serving>,
}

/// What a process knows once it serves.
pub(super) struct Serving {
    pub(super) observed: Arc<Observed>,
    /// The last receipts.
    pub(super) history: ReceiptHistory,
}

impl Sources {
    /// The document, for which the checks may run.
    pub(super) async fn document(&self) -> String {
        self.with(&self.health.verdict().await)
    }

    /// The document with what the checks have said last.
    pub(super) fn document_now(&self) -> String {
        self.with(&self.health.last_verdict())
    }

    fn with(&self, verdict: &Verdict) -> String {
        let mut document = self.report();
        document["health"] = health(verdict);
        document.to_string()
    }

    fn report(&self) -> Value {
        self.serving.get().map(Serving::report).unwrap_or_else(|| {
            let process =
                json!({ "pid": std::process::id(), "generation": generation(), "phase": "starting" });
            json!({ "version": 1, "process": process, "servers": [], "receipts": [], "messages": [] })
        })
    }
}

impl Serving {
    fn report(&self) -> Value {
        let mut report = json!(self.observed.report());
        report["receipts"] = self.history.list().iter().map(|receipt| json!(**receipt)).collect();
        report["certificates"] = self.observed.certificates().into();
        report
    }
}

fn health(verdict: &Verdict) -> Value {
    let check = |Outcome { name, result, took }: &Outcome| {
        json!({
            "name": **name,
            "is_well": result.is_ok(),
            "error": result.as_ref().err(),
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({
        "is_ready": verdict.is_ready(),
        "stage": verdict.stage.word(),
        "worker_threads": verdict.workers.map(|workers| workers.to_string()),
        "worker_threads_are_live": verdict.workers.map(|workers| workers.is_live()),
        "checks": verdict.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

//! The report for people who read it on a terminal.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::lifecycle::show;
use crate::status::document::{CheckReport, HealthReport};
use crate::status::report::{
    ConnectionCounts, DrainingCounts, DrainingServerReport, PredecessorReport, ProcessReport, Report,
    ServerReport,
};

/// How many messages are shown.
const MESSAGES: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessReport { pid, generation, phase, uptime_seconds, .. } = &self.process;
        let uptime = show(Duration::from_secs(*uptime_seconds));
        writeln!(f, "generation {generation}, pid {pid}: {phase} for {uptime}{}", self.others())?;
        write!(f, "{}", self.health)?;
        for predecessor in &self.predecessors {
            write!(f, "{predecessor}")?;
        }
        if let Some(tasks) = &self.process.tasks {
            writeln!(f, "background: {tasks}")?;
        }
        let width = self.servers.iter().map(|server| server.name.chars().count()).max().unwrap_or(0);
        for server in &self.servers {
            writeln!(f, "  {:width$}  {}", server.name, line_of(server))?;
        }
        let counts = &self.restarts;
        if counts.failed + counts.taken_back > 0 {
            let (failed, taken_back) = (counts.failed, counts.taken_back);
            writeln!(f, "restarts of this process: {failed} failed, {taken_back} taken back")?;
        }
        for receipt in self.receipts.iter().rev().take(1) {
            let text = receipt["text"].as_str().unwrap_or_default();
            writeln!(f, "last restart, of generation {}: {text}", receipt["generation"])?;
        }
        let first = self.messages.len().saturating_sub(MESSAGES);
        for message in &self.messages[first..] {
            writeln!(f, "{message}")?;
        }
        Ok(())
    }
}

/// In lines of its own.
impl fmt::Display for PredecessorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, generation, phase, drains_for_seconds, deadline_in_seconds, connections, .. } = self;
        let DrainingCounts { before, moved, held, .. } = connections;
        let lasts = show(seconds(*drains_for_seconds));
        write!(f, "generation {generation}, pid {pid}: {phase} for {lasts}")?;
        if let Some(left) = deadline_in_seconds {
            write!(f, ", cuts what is left in {}", show(seconds(*left)))?;
        }
        writeln!(f, "; {moved} of {before} connections have moved, {held} are left")?;
        if let Some(tasks) = &self.tasks {
            writeln!(f, "  background: {tasks}")?;
        }
        for DrainingServerReport { name, phase, connections } in &self.servers {
            let DrainingCounts { held, parked, .. } = connections;
            if *held > 0 {
                writeln!(f, "  {name}  {held} connections, {parked} idle; {phase}")?;
            }
        }
        Ok(())
    }
}

/// In lines of its own; none for an application without health checks whose process serves.
impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_ready, stage, worker_threads, worker_threads_are_live, checks } = self;
        match (is_ready, checks.len()) {
            (true, 0) => return Ok(()),
            (true, 1) => return writeln!(f, "ready: the health check passes"),
            (true, count) => return writeln!(f, "ready: all {count} health checks pass"),
            // A process of another release may tell nothing of it.
            (false, _) if stage.is_empty() => return Ok(()),
            (false, _) => writeln!(f, "not ready: {stage}")?,
        }
        if let (Some(words), Some(false)) = (worker_threads, worker_threads_are_live) {
            writeln!(f, "  worker threads: {words}")?;
        }
        for CheckReport { name, error, .. } in checks.iter().filter(|check| !check.is_well) {
            writeln!(f, "  {name}: {}", error.as_deref().unwrap_or("failed"))?;
        }
        Ok(())
    }
}

/// Whole seconds. Another release may send anything.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.trunc()).unwrap_or_default()
}

impl Report {
    /// The other processes of the service.
    fn others(&self) -> String {
        let mut others = String::new();
        if let Some(successor) = self.process.successor {
            _ = write!(others, "; the successor is pid {successor}");
        }
        if self.process.has_predecessor && self.predecessors.is_empty() {
            others.push_str("; the predecessor drains");
        }
        others
    }
}

fn line_of(server: &ServerReport) -> String {
    let ConnectionCounts { held, parked, foreign, .. } = server.connections;
    let endpoints = server.endpoints.iter().map(|endpoint| match server.plain_endpoints.contains(endpoint) {
        true => format!("{endpoint} (plain)"),
        false => endpoint.clone(),
    });
    let endpoints = endpoints.collect::<Vec<_>>().join(", ");
    let mut line = format!("{endpoints}  {held} of {} connections", server.max_conns);
    if parked > 0 {
        _ = write!(line, ", {parked} idle");
    }
    if foreign > 0 {
        _ = write!(line, ", {foreign} more of earlier generations");
    }
    if server.phase != "serving" {
        _ = write!(line, "; {}", server.phase);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Recorded;

    #[test]
    fn it_says_who_serves_what_and_for_how_many() {
        let report = Report {
            process: ProcessReport {
                pid: 7,
                generation: 3,
                phase: "serving".into(),
                uptime_seconds: 61,
                has_predecessor: true,
                ..ProcessReport::default()
            },
            servers: vec![ServerReport {
                name: "api".into(),
                endpoints: vec!["127.0.0.1:443".into(), "127.0.0.1:80".into()],
                plain_endpoints: vec!["127.0.0.1:80".into()],
                phase: "serving".into(),
                max_conns: 100,
                connections: ConnectionCounts { held: 3, parked: 2, awake: 1, foreign: 1 },
                ..ServerReport::default()
            }],
            messages: vec![Recorded { at: "T".into(), level: "info".into(), text: "hello".into() }],
            ..Report::default()
        };
        let text = "generation 3, pid 7: serving for 1m 1s; the predecessor drains\n  \
                    api  127.0.0.1:443, 127.0.0.1:80 (plain)  3 of 100 connections, 2 idle, 1 more of earlier generations\n\
                    T INFO hello\n";
        assert_eq!(report.to_string(), text);

        let counts = DrainingCounts { before: 9, moved: 8, held: 1, parked: 0, awake: 1 };
        let phase = "handing over".to_owned();
        let server = DrainingServerReport { name: "api".into(), phase, connections: counts };
        let predecessor = PredecessorReport {
            pid: 6,
            generation: 2,
            phase: "draining".into(),
            drains_for_seconds: 3.4,
            deadline_in_seconds: Some(26.6),
            connections: counts,
            servers: vec![server],
            tasks: None,
        };
        let report = Report { predecessors: vec![predecessor], ..report };
        let text = "generation 3, pid 7: serving for 1m 1s\n\
                    generation 2, pid 6: draining for 3s, cuts what is left in 26s; 8 of 9 connections have moved, 1 \
                    are left\n  \
                    api  1 connections, 0 idle; handing over\n";
        assert!(report.to_string().starts_with(text), "{report}");
    }

    #[test]
    fn it_says_what_keeps_a_process_from_being_ready() {
        let check = |name: &str, error: Option<&str>| CheckReport {
            name: name.into(),
            is_well: error.is_none(),
            error: error.map(str::to_owned),
            took_ms: 1,
        };
        let serving = HealthReport { is_ready: true, stage: "serving".into(), ..HealthReport::default() };
        assert_eq!(serving.to_string(), "");
        assert_eq!(HealthReport::default().to_string(), "", "another release has told nothing");
        let well = HealthReport { checks: vec![check("a", None), check("b", None)], ..serving.clone() };
        assert_eq!(well.to_string(), "ready: all 2 health checks pass\n");
        let checks = vec![check("a", None), check("database", Some("no route to host"))];
        let ill = HealthReport { is_ready: false, checks, ..serving };
        assert_eq!(ill.to_string(), "not ready: serving\n  database: no route to host\n");
    }

    /// Another release may send less, and more.
    #[test]
    fn a_report_of_another_release_is_read() {
        let sent = r#"{"version": 9, "process": {"pid": 7, "mood": "good"}, "weather": {}}"#;
        let report: Report = serde_json::from_str(sent).unwrap();
        assert_eq!((report.version, report.process.pid), (9, 7));
    }
}

//! The report for people who read it on a terminal.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::lifecycle::show;
use crate::status::report::{ConnectionCounts, ProcessReport, Report, ServerReport};

/// How many messages are shown.
const MESSAGES: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProcessReport { pid, generation, phase, uptime_seconds, .. } = &self.process;
        let uptime = show(Duration::from_secs(*uptime_seconds));
        writeln!(f, "generation {generation}, pid {pid}: {phase} for {uptime}{}", self.others())?;
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

impl Report {
    /// The other processes of the service.
    fn others(&self) -> String {
        let mut others = String::new();
        if let Some(successor) = self.process.successor {
            _ = write!(others, "; the successor is pid {successor}");
        }
        if self.process.has_predecessor {
            others.push_str("; the predecessor drains");
        }
        others
    }
}

fn line_of(server: &ServerReport) -> String {
    let ConnectionCounts { held, parked, foreign, .. } = server.connections;
    let mut line = format!("{}  {held} of {} connections", server.endpoints.join(", "), server.max_conns);
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
                endpoints: vec!["127.0.0.1:80".into()],
                phase: "serving".into(),
                max_conns: 100,
                connections: ConnectionCounts { held: 3, parked: 2, awake: 1, foreign: 1 },
                ..ServerReport::default()
            }],
            messages: vec![Recorded { at: "T".into(), level: "info".into(), text: "hello".into() }],
            ..Report::default()
        };
        let text = "generation 3, pid 7: serving for 1m 1s; the predecessor drains\n  \
                    api  127.0.0.1:80  3 of 100 connections, 2 idle, 1 more of earlier generations\n\
                    T INFO hello\n";
        assert_eq!(report.to_string(), text);
    }

    /// Another release may send less, and more.
    #[test]
    fn a_report_of_another_release_is_read() {
        let sent = r#"{"version": 9, "process": {"pid": 7, "mood": "good"}, "weather": {}}"#;
        let report: Report = serde_json::from_str(sent).unwrap();
        assert_eq!((report.version, report.process.pid), (9, 7));
    }
}

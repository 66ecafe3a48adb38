//! The access log of an application under test, read strictly: every line is whole.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::patience::eventually;

/// Files to which an application logs its requests as JSON.
#[derive(Debug)]
pub struct AccessLog {
    paths: Vec<PathBuf>,
}

impl AccessLog {
    /// The log in this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { paths: vec![path.into()] }
    }

    /// The same, and another file that had lines before.
    pub fn and(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// The complete lines so far. A fragment at the end is not one; any other is a failure.
    pub fn lines(&self) -> Vec<Value> {
        self.paths.iter().flat_map(|path| lines(path)).collect()
    }

    /// The lines of requests whose path is this.
    pub fn of(&self, path: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["path"] == path).collect()
    }

    /// Waits for so many lines in all.
    pub async fn has(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} lines in the access log"), || self.lines().len() >= count).await;
        let lines = self.lines();
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read(path).unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            assert!(line.iter().all(|byte| (0x20..0x7f).contains(byte)), "{}", line.escape_ascii());
            serde_json::from_slice(line)
                .unwrap_or_else(|error| panic!("a torn line: {error}: {}", line.escape_ascii()))
        })
        .collect()
}

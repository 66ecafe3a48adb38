//! A table of raw HTTP/1.1 requests. Each row runs on plain text and over TLS, and all rows use one process.
//!
//! The head of the table, `conformance/http1.txt`, explains the format of its rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tests::{App, Client, Exit, Launch, Scratch, Target};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const TABLE: &str = include_str!("conformance/http1.txt");

/// The time limit of a head. Rows that reach it are `late`.
const HEAD_LIMIT: Duration = Duration::from_secs(8);

/// How many rows run at the same time.
const AT_ONCE: usize = 100;

/// The next request, which proves that a connection is open.
const NEXT: &str = "GET /numbered?number=4711 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The statuses of refusals, with their names in the log's counts. The server would not count refusals by hyper itself.
const REFUSALS: [(u16, &str); 7] = [
    (400, "malformed"),
    (408, "request timed out"),
    (413, "body too large"),
    (414, "target too long"),
    (421, "misdirected"),
    (431, "head too large"),
    (501, "not implemented"),
];

#[derive(Debug, Clone)]
struct Row {
    name: String,
    input: Vec<u8>,
    statuses: Vec<u16>,
    stays_open: bool,
    is_late: bool,
}

impl Row {
    fn parse(line: &str, scheme: &str, other: &str) -> Self {
        let fields: Vec<&str> = line.split('│').map(str::trim).collect();
        let [section, name, input, statuses, then, when] = fields[..] else {
            panic!("not six fields: {line}")
        };
        let expand = |text: &str| {
            let chunked = "POST /echo HTTP/1.1⏎Host: a⏎Transfer-Encoding: chunked⏎⏎";
            let text = text.replace("{chunked}", chunked);
            repeat(&text.replace("{scheme}", scheme).replace("{other}", other))
        };
        let statuses = expand(statuses).split_whitespace().map(|text| text.parse().expect(line)).collect();
        let one_of = |text: &str, yes: &str, no: &str| {
            assert!([yes, no].contains(&text), "neither {yes} nor {no}: {line}");
            text == yes
        };
        Self {
            name: format!("{name} (section {section})"),
            input: bytes(&expand(input)),
            statuses,
            stays_open: one_of(then, "open", "closes"),
            is_late: one_of(when, "late", "at once"),
        }
    }

    /// The difference between the outcome and the row, if there is one.
    async fn fault(&self, target: &Target) -> Option<String> {
        let start = Instant::now();
        let talk = Talk::of(self, target).await;
        let took = start.elapsed();
        let mut expected = self.statuses.clone();
        if self.stays_open {
            // The answer to the next request.
            expected.push(200);
        }
        if talk.statuses() != expected || talk.failure.is_some() {
            let came = String::from_utf8_lossy(&talk.came);
            return Some(format!(
                "{:?} instead of {expected:?}, {:?}: {came:?}",
                talk.statuses(),
                talk.failure
            ));
        }
        let in_time =
            if self.is_late { took > HEAD_LIMIT - Duration::from_millis(500) } else { took < HEAD_LIMIT };
        (!in_time).then(|| format!("after {took:?}"))
    }
}

/// The outcome of a row.
#[derive(Debug, Default)]
struct Talk {
    came: BytesMut,
    failure: Option<String>,
}

impl Talk {
    async fn of(row: &Row, target: &Target) -> Self {
        let mut talk = Self::default();
        let mut client = match Client::connect(target).await {
            Ok(client) => client.limit(HEAD_LIMIT * 2),
            Err(failure) => return Self { failure: Some(failure.to_string()), ..talk },
        };
        // The server may refuse early and close before the client has sent everything. So a failed send is no fault:
        // the answer decides.
        _ = client.send(&row.input).await;
        let mut asked = false;
        loop {
            if row.stays_open && !asked && talk.statuses().len() >= row.statuses.len() {
                asked = true;
                _ = client.send(NEXT).await;
            }
            match client.piece().await {
                Ok(Some(piece)) => talk.came.extend_from_slice(&piece),
                Ok(None) if row.stays_open => talk.failure = Some("closed".to_owned()),
                Ok(None) => return talk,
                Err(failure) => talk.failure = Some(failure.to_string()),
            }
            let is_answered = asked && talk.came.windows(14).any(|bytes| bytes == b"number: 4711\r\n");
            if is_answered || talk.failure.is_some() {
                return talk;
            }
        }
    }

    fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.came);
        let lines = text.split("HTTP/1.").skip(1);
        lines.filter_map(|line| line.get(2..5)?.parse().ok()).collect()
    }
}

/// `{5*x}` is `xxxxx`. Braces may contain braces.
fn repeat(text: &str) -> String {
    let mut rest = text;
    let mut whole = String::new();
    while let Some(begin) = rest.find('{') {
        let inner = &rest[begin + 1..];
        let count = inner.split_once('*').and_then(|(count, _)| count.parse::<usize>().ok());
        let (Some(count), Some(end)) = (count, end_of(inner)) else {
            whole.push_str(&rest[..=begin]);
            rest = inner;
            continue;
        };
        let (_, repeated) = inner[..end].split_once('*').expect("a count before an asterisk");
        whole.push_str(&rest[..begin]);
        whole.push_str(&repeat(repeated).repeat(count));
        rest = &inner[end + 1..];
    }
    whole + rest
}

/// The index of the closing brace that belongs to the opening one.
fn end_of(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, letter)| {
        depth += match letter {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '⏎' => bytes.extend_from_slice(b"\r\n"),
            '\\' => bytes.push(match letters.next() {
                Some('r') => b'\r',
                Some('n') => b'\n',
                Some('t') => b'\t',
                Some('0') => 0,
                Some('x') => {
                    let digits: String = letters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
                }
                other => panic!("there is no escape \\{other:?}"),
            }),
            _ => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

struct Stage {
    app: App,
    plain: Target,
    tls: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let limit = format!("header_read_timeout={}ms", HEAD_LIMIT.as_millis());
        let plan =
            format!("server web 127.0.0.1:0 {limit}\nserver tls 127.0.0.1:0 tls=self_signed {limit}\n");
        let app = Launch::app(&scratch, &plan).env("RUST_LOG", "gracehttp=debug").spawn();
        let (plain, tls) = (app.target("web").await, app.target("tls").await);
        Self { app, plain, tls, _scratch: scratch }
    }

    fn rows(&self) -> Vec<(Row, Target)> {
        let lines = || TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let plain = lines().map(|line| (Row::parse(line, "http", "https"), self.plain.clone()));
        let tls = lines().map(|line| (Row::parse(line, "https", "http"), self.tls.clone()));
        let mut rows: Vec<_> = plain.chain(tls).collect();
        // Slow rows run first.
        rows.sort_by_key(|(row, _)| !row.is_late);
        rows
    }
}

/// Also C10: gracehttp itself answers and counts all refusals.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_holds_on_plain_text_and_over_tls() {
    let stage = Stage::new().await;
    let rows = stage.rows();
    assert!(rows.len() >= 2 * 150, "{} rows", rows.len());
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for (row, target) in rows {
        let turns = turns.clone();
        under_way.spawn(async move {
            let _turn = turns.acquire().await.expect("an open semaphore");
            let fault = row.fault(&target).await?;
            Some(format!("{target:?}: {}: {fault}", row.name))
        });
    }
    let faults: Vec<String> = under_way.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(stage.app.stop().await, Exit::Code(0), "{}", stage.app.log);
    for server in ["web", "tls"] {
        let message = format!("server `{server}` has answered: ");
        let line =
            stage.app.log.since(0).into_iter().find(|line| line.contains(&message)).expect("the counts");
        for (status, cause) in REFUSALS {
            let rows = TABLE.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
            let rows = rows.map(|line| Row::parse(line, "http", "https"));
            let count = rows.filter(|row| !row.stays_open && row.statuses.last() == Some(&status)).count();
            let message = format!("{cause} {}xx {count}", status / 100);
            assert!(line.split([':', ',']).any(|part| part.trim() == message), "no {message:?} in {line:?}");
        }
    }
}

//! The bytes that a load's clients write, and the answers that they expect.

use std::time::Duration;

use bytes::Bytes;

use crate::client::{Client, Reply, get, post_head};
use crate::fault::{Failure, Kind};
use crate::load::Style;
use crate::random::Random;

/// The fields that Java's HttpClient adds to the first request of a connection on plain text.
const OFFER_OF_H2C: &str = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n";

/// The fields that Apache HttpClient 5.4 adds to every request on plain text.
const OFFER_OF_TLS: &str = "Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n";

/// The longest pause between a head and a body in a separate packet.
const BODY_IS_LATE: Duration = Duration::from_millis(20);

/// The length of a large answer: many records, and more than the buffers of a socket hold at first.
const LARGE: usize = 300_000;

/// After this time, a client can't know whether the server treats its connection as idle. The server does so after a
/// second, but the answer may have been on its way for a while.
const IDLE: Duration = Duration::from_millis(500);

/// One request, or a pipelined pair of them.
#[derive(Debug)]
pub(super) struct Script {
    /// The pieces that the client writes, each after its pause.
    pieces: Vec<(Duration, Bytes)>,
    /// The answers that must come, in this order.
    pub(super) expected: Vec<Expected>,
    /// Whether the sending direction ends with the request.
    pub(super) half_closes: bool,
}

/// An expected answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The process's pid.
    Pong,
    /// The pid, and this number.
    Numbered(u64),
    /// Exactly these bytes.
    Echo(Bytes),
    /// The pid, or a refusal of the body's length.
    PongOrTooLarge,
    /// So many bytes of one kind.
    Large(usize),
}

impl Expected {
    /// Whether `reply` is this.
    pub(super) fn is(&self, reply: &Reply) -> bool {
        let pong = reply.status == 200 && reply.pid().is_some();
        match self {
            Self::Pong => pong,
            Self::Numbered(number) => pong && reply.header("number") == Some(&number.to_string()),
            Self::Echo(body) => reply.status == 200 && reply.body == body,
            Self::PongOrTooLarge => pong || reply.status == 413,
            Self::Large(length) => {
                reply.status == 200
                    && reply.body.len() == *length
                    && reply.body.iter().all(|byte| *byte == b'x')
            }
        }
    }
}

/// The outcome of a script: the answers, and the failure that ended them early.
pub(super) struct Outcome {
    pub(super) replies: Vec<Reply>,
    pub(super) failure: Option<Failure>,
    /// How long the connection had been idle before.
    idle: Duration,
}

impl Outcome {
    /// The reason for a missing answer, if the request was lost only because it crossed the close of an idle
    /// connection.
    pub(super) fn raced(&self) -> Option<&Failure> {
        let closed = self.failure.as_ref().filter(|failure| failure.kind == Kind::Unanswered);
        closed.filter(|_| self.replies.is_empty() && self.idle >= IDLE)
    }
}

impl Script {
    fn new(pieces: impl IntoIterator<Item = (Duration, Bytes)>, expected: Expected) -> Self {
        Self { pieces: pieces.into_iter().collect(), expected: vec![expected], half_closes: false }
    }

    fn at_once(bytes: impl Into<Bytes>, expected: Expected) -> Self {
        Self::new([(Duration::ZERO, bytes.into())], expected)
    }

    /// Writes the script, and reads the answers.
    pub(super) async fn run(&self, client: &mut Client) -> Outcome {
        let (idle, mut replies) = (client.idle_for(), Vec::new());
        let failure = self.try_run(client, &mut replies).await.err().map(|failure| {
            let port = client.port().map_or_else(String::new, |port| format!("from port {port}, "));
            let detail = format!("{} ({port}idle for {idle:?} before)", failure.detail);
            Failure { detail, ..failure }
        });
        Outcome { replies, failure, idle }
    }

    async fn try_run(&self, client: &mut Client, replies: &mut Vec<Reply>) -> Result<(), Failure> {
        for (pause, piece) in &self.pieces {
            if !pause.is_zero() {
                tokio::time::sleep(*pause).await;
            }
            client.send(piece).await?;
        }
        if self.half_closes {
            client.half_close().await?;
        }
        let pair = self.expected.len() > 1;
        for number in 1..=self.expected.len() {
            match client.reply().await {
                Ok(reply) => replies.push(reply),
                Err(failure) if pair => {
                    let detail = format!("{} (number {number} of a pipelined pair)", failure.detail);
                    return Err(Failure { detail, ..failure });
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

/// Creates the requests of one client.
pub(super) struct Author {
    style: Style,
    client: usize,
    random: Random,
    /// The longest pause.
    pause: Duration,
    written: u64,
}

impl Author {
    pub(super) fn new(style: Style, client: usize, pause: Duration) -> Self {
        Self { style, client, random: Random::new(client as u64), pause, written: 0 }
    }

    /// A pause between two requests.
    pub(super) fn pause(&mut self) -> Duration {
        self.random.pause(self.pause)
    }

    /// Between 1 and `most`.
    pub(super) fn some(&mut self, most: usize) -> usize {
        1 + self.random.below(most as u64) as usize
    }

    /// The next request; `fresh` means that the connection has had none.
    pub(super) fn request(&mut self, fresh: bool) -> Script {
        match self.style {
            Style::Get | Style::Fresh | Style::Silent | Style::Http2 => {
                Script::at_once(get("/ping"), Expected::Pong)
            }
            Style::Post => self.post_in_pieces(),
            Style::HalfHead => self.get_in_halves(),
            Style::Pipelined => self.pair(),
            Style::OffersH2c | Style::JavaPool => {
                self.in_turn(if fresh { OFFER_OF_H2C } else { "" }, Packets::HeadAndBody)
            }
            Style::OffersTls => self.in_turn(OFFER_OF_TLS, Packets::HeadAndBody),
            Style::GoPool => self.in_turn("", Packets::One),
            Style::LateBody => self.late_body(),
            Style::EarlyAnswer => self.upload(),
            Style::Large => Script::at_once(get(&format!("/large?bytes={LARGE}")), Expected::Large(LARGE)),
            Style::HalfClose => Script { half_closes: true, ..Script::at_once(get("/ping"), Expected::Pong) },
        }
    }

    /// A body that is unique to its request.
    pub(super) fn body(&mut self) -> Bytes {
        self.written += 1;
        let word = format!("client {} request {};", self.client, self.written);
        word.repeat(self.some(64)).into()
    }

    fn post_in_pieces(&mut self) -> Script {
        let body = self.body();
        let mut pieces = vec![(Duration::ZERO, post_head("/echo", body.len()).into())];
        for piece in body.chunks(body.len() / 3 + 1) {
            pieces.push((self.random.pause(self.pause / 4), body.slice_ref(piece)));
        }
        Script::new(pieces, Expected::Echo(body))
    }

    fn get_in_halves(&mut self) -> Script {
        let head = Bytes::from(get("/ping"));
        let middle = self.some(head.len() - 2);
        Script::new(
            [(Duration::ZERO, head.slice(..middle)), (self.pause(), head.slice(middle..))],
            Expected::Pong,
        )
    }

    fn pair(&mut self) -> Script {
        let numbers = [self.written + 1, self.written + 2];
        self.written += 2;
        let both: String = numbers.iter().map(|number| get(&format!("/numbered?number={number}"))).collect();
        let expected = numbers.map(Expected::Numbered).into();
        Script { expected, ..Script::at_once(both, Expected::Pong) }
    }

    /// A GET, then a POST, and so on.
    fn in_turn(&mut self, fields: &str, packets: Packets) -> Script {
        let with = |head: String| head.replacen("\r\n\r\n", &format!("\r\n{fields}\r\n"), 1);
        if self.written.is_multiple_of(2) {
            self.written += 1;
            return Script::at_once(with(get("/ping")), Expected::Pong);
        }
        let body = self.body();
        let head = Bytes::from(with(post_head("/echo", body.len())));
        match packets {
            Packets::One => Script::at_once([&head[..], &body[..]].concat(), Expected::Echo(body)),
            Packets::HeadAndBody => {
                Script::new([(Duration::ZERO, head), (Duration::ZERO, body.clone())], Expected::Echo(body))
            }
        }
    }

    fn late_body(&mut self) -> Script {
        let body = self.body();
        let late = Duration::from_micros(self.random.below(BODY_IS_LATE.as_micros() as u64));
        let head = post_head("/unread", body.len()).into();
        Script::new([(Duration::ZERO, head), (late, body)], Expected::Pong)
    }

    /// 1 to 5 MB; the client writes all of it before it reads the answer.
    fn upload(&mut self) -> Script {
        let length = 1_000_000 + self.random.below(4_000_000) as usize;
        let head = post_head("/unread", length).into();
        let body = vec![b'x'; length].into();
        Script::new([(Duration::ZERO, head), (Duration::ZERO, body)], Expected::PongOrTooLarge)
    }
}

/// How a client splits a request into packets.
#[derive(Clone, Copy)]
enum Packets {
    One,
    HeadAndBody,
}

/// Explains how an answer differs from the expected one.
pub(super) fn unexpected(expected: &Expected, reply: &Reply) -> Failure {
    let (status, length) = (reply.status, reply.body.len());
    let text: String = reply.text().chars().take(1000).collect();
    let what = format!("status {status} with {length} bytes {text:?} instead of {expected:?}");
    Failure::new(Kind::Unexpected, what)
}

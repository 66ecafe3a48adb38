use super::*;
use http::HeaderMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::Waker;

/// What the client sends; `None` is a pause.
struct Script(VecDeque<Next>);

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Next> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(next) => Poll::Ready(next),
        }
    }
}

#[derive(Clone, Default)]
struct Account {
    /// How many bytes have come to the connection.
    arrived: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Upload<Script> for Account {
    fn poll_fate(&self, _: &Context<'_>) -> Fate {
        Fate::Open
    }

    fn is_at_hand(&self, received: u64) -> bool {
        self.arrived.load(SeqCst) > received
    }

    fn pass(&self, piece: Bytes) -> Bytes {
        assert!(!self.is_over.load(SeqCst), "a piece behind the end");
        self.passed.fetch_add(piece.len() as u64, SeqCst);
        piece
    }

    fn end(&self, _: bool) {
        assert!(!self.is_over.swap(true, SeqCst), "a second end");
    }

    fn leave(&self, _: Script, _: Option<u64>) {
        self.end(false);
    }
}

const PAUSE: Next = None;

fn data(bytes: usize) -> Next {
    Some(Ok(Frame::data(Bytes::from(vec![b'x'; bytes]))))
}

struct Read {
    body: RequestBody<Script, Account>,
    account: Account,
}

impl Read {
    fn of(limit: u64, script: impl IntoIterator<Item = Next>) -> Self {
        let account = Account::default();
        let script = Script(script.into_iter().collect());
        Self { body: RequestBody::new(script, limit, account.clone()), account }
    }

    fn poll(&mut self) -> String {
        let cx = &mut Context::from_waker(Waker::noop());
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => "pending".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Err(error))) => error.to_string(),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => piece.len().to_string(),
                Err(_) => "trailers".to_owned(),
            },
        }
    }

    fn polls(&mut self, expected: &[&str]) {
        for (number, expected) in expected.iter().enumerate() {
            assert_eq!(self.poll(), *expected, "poll {number}");
        }
    }
}

#[test]
fn a_small_piece_goes_on_at_once_if_no_more_has_come() {
    let mut read = Read::of(100, [data(1), PAUSE, PAUSE, data(2), PAUSE]);
    read.polls(&["1", "pending", "2", "end"]);
    assert_eq!(read.account.passed.load(SeqCst), 3);
}

#[test]
fn small_pieces_come_together_and_large_ones_as_they_are() {
    let mut read = Read::of(1 << 20, [data(1), data(0), data(2), data(5000), data(5000), data(3), PAUSE]);
    read.polls(&["3", "5000", "5000", "3", "end"]);
    Read::of(1 << 20, (0..20_000).map(|_| data(1))).polls(&["8192", "8192", "3616", "end"]);
}

#[test]
fn a_piece_waits_for_those_that_are_on_their_way_through_the_connection() {
    let mut read = Read::of(100, [data(1), PAUSE, data(1), PAUSE, data(1), PAUSE]);
    read.account.arrived.store(3, SeqCst);
    read.polls(&["pending", "pending"]);
    assert_eq!(read.body.size_hint().lower(), 2);
    assert!(!read.body.is_end_stream());
    read.polls(&["3", "end"]);
}

#[test]
fn trailers_errors_and_the_limit_come_behind_what_was_gathered() {
    let trailers = Some(Ok(Frame::trailers(HeaderMap::new())));
    Read::of(100, [data(1), data(1), trailers]).polls(&["2", "trailers", "end"]);
    Read::of(100, [data(1), data(1), Some(Err("cut".into()))]).polls(&["2", "cut", "end"]);
    let limit = BodyTooLarge { limit: 2 }.to_string();
    Read::of(2, (0..5).map(|_| data(1))).polls(&["2", "1", &limit, "end"]);
}

#[test]
fn what_was_gathered_is_counted_if_its_handler_lets_it_go() {
    let mut read = Read::of(1 << 20, [data(1), data(2), data(4000), data(1)]);
    read.polls(&["3"]);
    let account = read.account.clone();
    drop(read);
    assert_eq!(account.passed.load(SeqCst), 4003);
    assert!(account.is_over.load(SeqCst));
}

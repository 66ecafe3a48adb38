use super::*;
use crate::server::ServerOptions;

const KIB: usize = 1 << 10;
const BODY: usize = 2 << 20;

/// A client that sends what it may, and the handlers of its requests.
struct Connection {
    account: Account,
    told: BTreeMap<u32, i64>,
    sent: BTreeMap<u32, usize>,
}

impl Connection {
    fn new() -> Self {
        let mut account = Account::new(Shares::of(&ServerOptions::new("test")));
        account.acknowledge();
        Self { account, told: BTreeMap::new(), sent: BTreeMap::new() }
    }

    /// A request whose handler begins to read.
    fn posts(&mut self, stream: u32, length: impl Into<Option<usize>>) {
        self.account.open(stream);
        self.account.declare(stream, length.into().map(|length| length as u64));
        self.told.insert(stream, self.account.shares.first as i64);
        self.account.ask(stream);
    }

    /// What the client may send on a stream.
    fn credit(&mut self, stream: u32) -> usize {
        let mut bytes = BytesMut::new();
        self.account.put_due(&mut bytes);
        for frame in bytes.chunks(13) {
            assert_eq!(frame[..5], HEAD);
            let number = |at: usize| u32::from_be_bytes(*frame[at..].first_chunk().unwrap());
            *self.told.entry(number(5)).or_default() += i64::from(number(9));
        }
        usize::try_from(self.told.get(&stream).copied().unwrap_or(0)).unwrap_or(0)
    }

    /// Sends so much, which the handler reads at once and holds.
    fn sends(&mut self, stream: u32, bytes: usize) {
        assert!(self.credit(stream) >= bytes, "{stream}");
        *self.told.get_mut(&stream).unwrap() -= bytes as i64;
        *self.sent.entry(stream).or_default() += bytes;
        self.account.receive(stream, bytes, 0).unwrap();
        assert!(self.account.take(stream, bytes, bytes));
        self.account.ask(stream);
    }

    /// Sends in frames all that it may, up to the end of the body. Whether there was something to send.
    fn sends_all(&mut self, stream: u32, body: usize) -> bool {
        let mut has_sent = false;
        loop {
            let left = body - self.sent.get(&stream).copied().unwrap_or(0);
            let bytes = self.credit(stream).min(16 * KIB).min(left);
            if bytes == 0 {
                return has_sent;
            }
            self.sends(stream, bytes);
            has_sent = true;
        }
    }

    fn ends(&mut self, stream: u32) {
        self.account.close(stream);
        self.account.is_whole(stream);
    }

    fn answers(&mut self, stream: u32) {
        self.account.is_answered(stream);
        self.account.end(stream);
    }

    /// What all uploads may come to now.
    fn sum(&self) -> i64 {
        self.account.uploads.values().map(Upload::sum).sum()
    }
}

#[test]
fn a_small_body_of_known_length_needs_no_frame() {
    let mut connection = Connection::new();
    connection.posts(1, 8 * KIB);
    assert!(!connection.account.has_due());
    connection.sends(1, 8 * KIB);
    assert!(!connection.account.has_due());
}

#[test]
fn a_large_body_gets_a_large_window_and_a_long_one_grows_into_it() {
    let mut connection = Connection::new();
    connection.posts(1, 64 << 20);
    assert_eq!(connection.credit(1), (1 << 20) + 8 * KIB, "none is there to share with");
    connection.posts(3, 64 << 20);
    assert_eq!(connection.credit(3), 8 * KIB);
    connection.answers(1);
    connection.account.end(3);
    connection.posts(3, None);
    assert_eq!(connection.credit(3), 8 * KIB, "it may be a word now and then");
    let mut windows = Vec::new();
    for _ in 0..5 {
        let credit = connection.credit(3);
        windows.push(credit);
        *connection.told.get_mut(&3).unwrap() = 0;
        connection.account.receive(3, credit, 0).unwrap();
        // Its handler passes all of it on.
        connection.account.take(3, credit, credit);
        connection.account.let_go(3, credit);
        connection.account.ask(3);
    }
    assert!(windows[..4].is_sorted() && windows[4] >= 512 * KIB, "{windows:?}");
}

/// The prototype of a page that uploads a hundred photos.
#[test]
fn a_hundred_bodies_that_are_collected_come_one_after_another_and_all_of_them() {
    let mut connection = Connection::new();
    let mut open: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    open.iter().for_each(|stream| connection.posts(*stream, BODY));
    let mut most = 0;
    while !open.is_empty() {
        let mut has_sent = false;
        open.retain(|stream| {
            has_sent |= connection.sends_all(*stream, BODY);
            most = most.max(connection.sum());
            let is_whole = connection.sent[stream] == BODY;
            if is_whole {
                connection.ends(*stream);
                most = most.max(connection.sum());
                connection.answers(*stream);
            }
            !is_whole
        });
        assert!(has_sent, "a deadlock with {} left", open.len());
    }
    let shares = connection.account.shares;
    let bound = BODY + 100 * shares.first + shares.pool;
    assert!(most <= bound as i64, "{} KiB", most >> 10);
    assert_eq!(connection.account.used, 0);
}

/// Fills the pool: the oldest upload has the right then.
fn full(streams: &[u32]) -> Connection {
    let mut connection = Connection::new();
    streams.iter().for_each(|stream| connection.posts(*stream, BODY));
    while connection.account.right.is_none() {
        for stream in streams.iter().rev() {
            let bytes = connection.credit(*stream).min(16 * KIB);
            if connection.account.right.is_none() && bytes > 0 {
                connection.sends(*stream, bytes);
            }
        }
    }
    connection
}

#[test]
fn the_right_goes_to_the_oldest_that_waits_and_on_with_its_answer() {
    let mut connection = full(&[1, 3, 5, 7]);
    let holder = connection.account.right.as_ref().unwrap().stream;
    assert!(connection.credit(holder) >= 256 * KIB);
    for stream in [1, 3, 5, 7].into_iter().filter(|stream| *stream != holder) {
        connection.sends_all(stream, BODY);
        assert!(!connection.account.may_send(stream), "its clock stands");
    }
    connection.sends_all(holder, BODY);
    connection.ends(holder);
    assert!(connection.account.has_right(holder), "its handler may hold all of it");
    connection.answers(holder);
    let oldest = [1, 3, 5, 7].into_iter().find(|stream| *stream != holder).unwrap();
    assert!(connection.account.has_right(oldest) || connection.credit(oldest) > 0);
}

#[test]
fn a_body_within_the_first_window_waits_for_none() {
    let mut connection = full(&[1, 3, 5, 7]);
    connection.posts(9, 8 * KIB);
    connection.sends(9, 8 * KIB);
    connection.ends(9);
    connection.answers(9);
}

#[test]
fn a_handler_that_passes_on_what_it_reads_waits_for_none_and_does_not_keep_the_right() {
    let mut connection = full(&[1, 3, 5, 7]);
    connection.posts(9, None);
    for _ in 0..1000 {
        let credit = connection.credit(9);
        assert!(credit > 0);
        *connection.told.get_mut(&9).unwrap() -= credit as i64;
        connection.account.receive(9, credit, 0).unwrap();
        connection.account.take(9, credit, credit);
        connection.account.ask(9);
        connection.account.let_go(9, credit);
    }
    // The same of the one that has the right.
    let holder = connection.account.right.as_ref().unwrap().stream;
    let others: Vec<u32> = [1, 3, 5, 7].into_iter().filter(|stream| *stream != holder).collect();
    connection.account.let_go(holder, BODY);
    connection.account.declare(holder, None);
    let mut passed = 0;
    while connection.account.has_right(holder) {
        let credit = connection.credit(holder);
        assert!(credit > 0 && passed < 8 * BODY, "after {passed}: {:?}", connection.account);
        others.iter().for_each(|stream| _ = connection.sends_all(*stream, BODY));
        *connection.told.get_mut(&holder).unwrap() -= credit as i64;
        connection.account.receive(holder, credit, 0).unwrap();
        connection.account.take(holder, credit, credit);
        connection.account.let_go(holder, credit);
        connection.account.ask(holder);
        passed += credit;
    }
    assert!(connection.account.right.is_some(), "another has it");
}

#[test]
fn a_client_that_lets_all_others_wait_is_found() {
    let mut connection = full(&[1, 3, 5, 7]);
    let holder = connection.account.right.as_ref().unwrap().stream;
    let others: Vec<u32> = [1, 3, 5, 7].into_iter().filter(|stream| *stream != holder).collect();
    others.iter().for_each(|stream| _ = connection.sends_all(*stream, BODY));
    let (stream, _) = connection.account.blocking().expect("it has credit, and the others have none");
    assert_eq!(stream, holder);
    others.iter().for_each(|stream| connection.answers(*stream));
    assert_eq!(connection.account.blocking(), None, "no stream waits for it");
}

#[test]
fn padding_counts_and_comes_back_at_once() {
    let mut connection = Connection::new();
    connection.posts(1, None);
    for _ in 0..100 {
        let credit = connection.credit(1).min(257);
        assert_eq!(connection.account.receive(1, credit, credit - 1), Ok(()));
        *connection.told.get_mut(&1).unwrap() -= credit as i64;
        connection.account.take(1, 1, 1);
    }
    let credit = connection.credit(1);
    assert_eq!(connection.account.receive(1, credit + 1, 256), Err(Fault::FlowControl));
}

#[test]
fn a_client_has_the_windows_of_the_protocol_until_it_knows_better() {
    let untold = || {
        let mut account = Account::new(Shares::of(&ServerOptions::new("test")));
        account.open_connection(1 << 20);
        account.open(1);
        account.open(3);
        account
    };
    let mut account = untold();
    assert_eq!(account.receive(1, 60_000, 0), Ok(()));
    assert_eq!(account.receive(3, 5535, 0), Ok(()));
    assert!(!account.has_due(), "the window of the connection stays small");
    assert_eq!(account.receive(3, 1, 0), Err(Fault::FlowControl), "it is that of the connection");

    let mut account = untold();
    assert_eq!(account.receive(1, 60_000, 0), Ok(()));
    account.acknowledge();
    assert!(account.has_due());
    assert!(!account.may_send(1), "its window is negative (RFC 9113 section 6.9.2)");
    account.ask(1);
    account.take(1, 60_000, 60_000);
    account.ask(1);
    assert!(account.may_send(1));
    assert_eq!(account.receive(3, 16_385, 0), Err(Fault::FlowControl));
}

#[test]
fn an_overstep_is_found_and_streams_that_are_over_are_left_to_h2() {
    let mut connection = Connection::new();
    connection.account.open(1);
    assert_eq!(connection.account.receive(1, 16 * KIB, 0), Ok(()), "a first frame is taken in any case");
    assert!(!connection.account.may_send(1));
    assert_eq!(connection.account.receive(1, 1, 0), Err(Fault::FlowControl));
    connection.account.end(1);
    assert_eq!(connection.account.receive(1, 100 * KIB, 0), Ok(()));
}

#[test]
fn a_first_frame_over_the_credit_is_read_and_the_upload_goes_on() {
    let mut connection = Connection::new();
    connection.posts(1, 8 * KIB + 16 * KIB);
    connection.account.receive(1, 16 * KIB, 0).unwrap();
    *connection.told.get_mut(&1).unwrap() -= 16 * KIB as i64;
    assert!(connection.account.take(1, 16 * KIB, 16 * KIB));
    connection.account.ask(1);
    assert_eq!(connection.credit(1), 8 * KIB);
    connection.sends(1, 8 * KIB);
}

#[test]
fn the_rest_of_a_body_that_no_handler_reads_gets_its_window_at_once() {
    let mut connection = Connection::new();
    connection.account.open(1);
    connection.account.declare(1, Some(500 << 10));
    connection.told.insert(1, 8 << 10);
    assert!(connection.account.allow_rest(1, 500 << 10));
    assert_eq!(connection.credit(1), 500 << 10);
    connection.account.open(3);
    assert!(!connection.account.allow_rest(3, 600 << 10), "too much");
    connection.account.open(5);
    assert!(connection.account.allow_rest(5, 500 << 10));
    connection.account.open(7);
    assert!(!connection.account.allow_rest(7, 500 << 10), "no more room");
    assert!(connection.account.allow_rest(7, 5 << 10), "it fits in its window");
}

#[test]
fn a_tunnel_keeps_its_window_to_its_end() {
    let mut connection = Connection::new();
    connection.account.open(1);
    connection.told.insert(1, 8 << 10);
    connection.account.is_tunnel(1);
    connection.account.end(1);
    for _ in 0..100 {
        let credit = connection.credit(1);
        assert_eq!(credit, TUNNEL, "it outlives its exchange");
        connection.told.insert(1, 0);
        connection.account.receive(1, credit, 0).unwrap();
    }
    connection.account.close(1);
    assert!(connection.account.uploads.is_empty() && !connection.account.has_due());
}

/// Its client sent it before it knew.
#[test]
fn what_comes_on_a_stream_that_was_reset_is_for_h2_to_judge() {
    let mut account = Account::new(Shares::of(&ServerOptions::new("test")));
    account.acknowledge();
    account.open(1);
    account.ask(1);
    account.close(1);
    assert_eq!(account.receive(1, 8192, 0), Ok(()));
    assert_eq!((account.uploads[&1].unread, account.overhead), (0, 0));
}

#[test]
fn what_h2_holds_for_small_frames_is_bounded_too() {
    let mut account = Account::new(Shares::of(&ServerOptions::new("test")));
    account.acknowledge();
    let mut sent = 0;
    'all: for stream in (1..200).step_by(2) {
        account.open(stream);
        for _ in 0..1000 {
            match account.receive(stream, 1, 0) {
                Ok(()) => sent += 1,
                fault => {
                    assert_eq!(fault, Err(Fault::Flood));
                    break 'all;
                }
            }
        }
    }
    assert!((2000..2100).contains(&sent), "{sent}");
    for stream in (1..200).step_by(2) {
        account.take(stream, 1, 1);
        account.end(stream);
    }
    assert_eq!((account.overhead, account.used), (0, 0));
}

/// One byte that is not read, then much that is: each of these bytes keeps one of h2's buffers.
#[test]
fn the_parts_of_the_input_that_small_frames_keep_are_bounded() {
    let mut connection = Connection::new();
    connection.posts(1, 1 << 30);
    let mut kept = 0;
    'all: for stream in (3..203).step_by(2) {
        connection.account.open(stream);
        for _ in 0..10 {
            if connection.account.receive(stream, 1, 0) == Err(Fault::Flood) {
                break 'all;
            }
            kept += 1;
            let credit = connection.credit(1).min(16 * KIB);
            *connection.told.get_mut(&1).unwrap() -= credit as i64;
            if connection.account.receive(1, credit, 0) == Err(Fault::Flood) {
                break 'all;
            }
            connection.account.take(1, credit, 0);
            connection.account.ask(1);
        }
    }
    assert!((300..340).contains(&kept), "{kept}");
    for stream in (1..203).step_by(2) {
        connection.account.end(stream);
    }
    assert_eq!((connection.account.pinned.bytes(), connection.account.used), (0, 0));
}

#[test]
fn small_messages_may_wait_beside_a_fast_upload() {
    let mut connection = Connection::new();
    connection.posts(1, 1 << 30);
    connection.account.open(3);
    for _ in 0..80 {
        assert_eq!(connection.account.receive(3, 50, 0), Ok(()));
        for _ in 0..4 {
            let credit = connection.credit(1).min(16 * KIB);
            *connection.told.get_mut(&1).unwrap() -= credit as i64;
            assert_eq!(connection.account.receive(1, credit, 0), Ok(()));
            connection.account.take(1, credit, 0);
            connection.account.ask(1);
        }
    }
}

/// Whatever happens in whatever order, the sums are those of the uploads, and nothing is said on a stream that is over.
#[test]
fn the_sums_hold_whatever_happens() {
    for seed in 1..200_u64 {
        let mut account = Account::new(Shares::of(&ServerOptions::new("test")));
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |limit: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % limit as u64) as usize
        };
        let mut next = 1;
        for _ in 0..2000 {
            let stream = 1 + 2 * below(20) as u32;
            let bytes = below(20_000);
            match below(14) {
                0 | 1 if next < 41 => {
                    account.open(next);
                    account.declare(next, (bytes % 2 == 0).then_some(4 << 20));
                    next += 2;
                }
                2 => account.acknowledge(),
                3..=6 => _ = account.receive(stream, bytes, bytes / 100),
                7 | 8 => _ = account.take(stream, bytes, bytes),
                9 => account.let_go(stream, bytes),
                10 if bytes < 2000 => account.close(stream),
                11 if bytes < 1000 => account.is_answered(stream),
                12 if bytes < 1000 => account.end(stream),
                13 if bytes < 500 => _ = account.allow_rest(stream, bytes as u64 * 100),
                13 if bytes < 600 => account.is_tunnel(stream),
                13 if bytes < 700 => account.is_whole(stream),
                _ => account.ask(stream),
            }
            let shares = account.shares;
            let share = |(stream, upload): (&u32, &Upload)| upload.share(account.has_right(*stream), &shares);
            assert_eq!(account.used, account.uploads.iter().map(share).sum::<usize>(), "seed {seed}");
            let overhead = account.uploads.values().map(|upload| upload.overhead).sum::<usize>();
            assert_eq!(account.overhead, overhead, "seed {seed}");
            let is_pinned = account.uploads.values().any(|upload| upload.unread > 0);
            assert_eq!(account.pinned.bytes() > 0, is_pinned, "seed {seed}");
            let is_open = |stream: &u32| account.uploads.get(stream).is_some_and(|upload| upload.is_open);
            assert!(account.due.keys().all(is_open), "seed {seed}");
            let holder = account.right.as_ref().map(|right| right.stream);
            assert!(holder.is_none_or(|stream| account.uploads.contains_key(&stream)), "seed {seed}");
            // One that has unread bytes is read first.
            let waits = account.uploads.values().any(|upload| upload.waits(&shares) && upload.unread == 0);
            assert!(
                !waits || account.has_waiting || account.right.is_some(),
                "seed {seed}: it would wait without end"
            );
        }
    }
}

use super::*;

const UNKNOWN: u8 = 0xbb;

fn frame(kind: u8, flags: u8, stream: u32, length: usize) -> Vec<u8> {
    let size = (length as u32).to_be_bytes();
    let head = [&size[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, vec![0; length]].concat()
}

struct Client {
    frames: Frames,
    sent: Sent,
}

impl Client {
    fn new() -> Self {
        let mut client = Self { frames: Frames::new(Instant::now()), sent: Sent::default() };
        client.sends(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client
    }

    fn sends(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.frames.read(rest, self.sent)?..];
            self.frames.take_arrived();
            self.frames.ends_turn();
        }
        Ok(())
    }

    /// How many times it may send this, up to a limit.
    fn sends_again(&mut self, limit: u64, bytes: &[u8]) -> u64 {
        (0..limit).find(|_| self.sends(bytes).is_err()).unwrap_or(limit)
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_bring_nothing_are_a_flood() {
    for (name, bytes) in [
        ("PRIORITY", frame(PRIORITY, 0, 3, 5)),
        ("SETTINGS", frame(SETTINGS, 0, 0, 6)),
        ("SETTINGS ACK", frame(SETTINGS, ACK, 0, 0)),
        ("PING", frame(PING, 0, 0, 8)),
        ("PING ACK", frame(PING, ACK, 0, 8)),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, 4)),
        ("empty DATA", frame(DATA, 0, 1, 0)),
        ("DATA of padding", frame(DATA, PADDED, 1, 256)),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, 4)),
        ("GOAWAY", frame(GOAWAY, 0, 0, 8)),
        ("CONTINUATION", frame(CONTINUATION, 0, 1, 0)),
        ("trailers", frame(HEADERS, END_HEADERS, 0, 0)),
        ("unknown", frame(UNKNOWN, 0, 0, 100)),
    ] {
        let mut client = Client::new();
        let sent = client.sends_again(BURST + 1, &bytes);
        assert!(sent <= BURST, "{name}: {sent}");
        assert!(sent >= BURST / PONG_COSTS, "{name}: {sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_have_the_size_of_their_kind() {
    for (kind, flags, size) in [
        (PRIORITY, 0, 4),
        (RST_STREAM, 0, 5),
        (SETTINGS, 0, 5),
        (SETTINGS, ACK, 6),
        (PING, 0, 7),
        (PING, ACK, 9),
        (GOAWAY, 0, 7),
        (WINDOW_UPDATE, 0, 5),
    ] {
        let outcome = Client::new().sends(&frame(kind, flags, 1, size));
        assert_eq!(outcome, Err(Fault::FrameSize), "kind {kind} of {size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_allowance_grows_with_time() {
    let mut client = Client::new();
    let ping = frame(PING, 0, 0, 8);
    assert_eq!(client.sends_again(BURST + 1, &ping), BURST);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(client.sends_again(BURST, &ping), A_SECOND);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(client.sends_again(BURST + 1, &ping), BURST);
}

#[tokio::test(start_paused = true)]
async fn the_allowance_grows_in_parts_of_a_frame_too() {
    let mut client = Client::new();
    let ping = frame(PING, 0, 0, 8);
    assert_eq!(client.sends_again(BURST, &ping), BURST);
    for step in 0..A_SECOND {
        // One and a half.
        tokio::time::advance(Duration::from_millis(5)).await;
        client.sends(&ping.repeat(1 + step as usize % 2)).expect("300 a second are allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn honest_clients_never_run_out() {
    let update = frame(WINDOW_UPDATE, 0, 0, 4);
    let mut client = Client::new();
    for stream in (1..50_001).step_by(2) {
        // A priority, a request, a piece of a response, two windows for it, and a PING for the delay.
        let request = [frame(PRIORITY, 0, stream, 5), frame(HEADERS, 5, stream, 30)].concat();
        client.sends(&request).unwrap();
        client.sent.pieces += 1;
        client.sent.bytes += 200;
        client.sends(&[&update[..], &update, &frame(PING, 0, 0, 8)].concat()).unwrap();
    }
    for _ in 0..50_000 {
        // Go's client, in a long download.
        client.sent.bytes += 4096;
        client.sends(&[&update[..], &update].concat()).unwrap();
    }
    for _ in 0..12_500 {
        // A client with a window of 1 KiB for the stream, and of 4 KiB for the connection.
        client.sent.bytes += 4 * (512 + 9);
        client.sends(&update.repeat(5)).unwrap();
    }
    for _ in 0..50_000 {
        client.sends(&frame(DATA, 0, 1, 20)).unwrap();
    }
    for stream in (50_001..100_001).step_by(4) {
        let requests = [frame(HEADERS, 5, stream, 30), frame(HEADERS, 5, stream + 2, 30)].concat();
        client.sends(&[&requests[..], &frame(RST_STREAM, 0, stream, 4)].concat()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cancels_all_its_requests_runs_out() {
    let mut client = Client::new();
    let given_up = (1..100_001).step_by(2).position(|stream| {
        let both = [frame(HEADERS, 5, stream, 30), frame(RST_STREAM, 0, stream, 4)].concat();
        client.sends(&both).is_err()
    });
    assert!((400..600).contains(&given_up.unwrap()), "{given_up:?}");
}

#[tokio::test(start_paused = true)]
async fn padding_is_told_from_data() {
    let mut padded = frame(DATA, PADDED | END_STREAM, 1, 100);
    padded[HEAD] = 20;
    let bytes = [frame(HEADERS, END_HEADERS, 1, 10), padded, frame(SETTINGS, ACK, 0, 0)].concat();
    for size in [1, 8, bytes.len()] {
        let mut client = Client::new();
        bytes.chunks(size).for_each(|piece| client.sends(piece).unwrap());
        let data = Event::Data { stream: 1, length: 100, padding: 21, place: 52 };
        assert_eq!(
            *client.frames.events(),
            [Event::Opened(1), data, Event::Closed(1), Event::Acknowledged],
            "in pieces of {size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_a_body_follows_comes_alone_in_its_turn() {
    let mut client = Client::new();
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, 10);
    let post = frame(HEADERS, END_HEADERS, 3, 10);
    let bytes = [&get[..], &post, &get].concat();
    assert_eq!(client.frames.read(&bytes, client.sent), Ok(get.len() + HEAD));
    assert!(client.frames.ends_turn() && !client.frames.take_arrived());
    assert_eq!(client.frames.read(&bytes[get.len() + HEAD..], client.sent), Ok(post.len() - HEAD));
    assert!(client.frames.take_arrived() && !client.frames.ends_turn());
    assert!(!client.frames.take_arrived());
}

#[tokio::test(start_paused = true)]
async fn frames_are_followed_in_pieces_of_any_size() {
    let update =
        [frame(WINDOW_UPDATE, 0, 0, 0)[..2].to_vec(), vec![4], frame(WINDOW_UPDATE, 0, 0, 0)[3..].to_vec()];
    let bytes = [
        frame(HEADERS, END_HEADERS | END_STREAM, 1, 30),
        frame(HEADERS, 0, 3, 16),
        frame(CONTINUATION, 0, 3, 16),
        frame(CONTINUATION, END_HEADERS, 3, 0),
        frame(DATA, 0, 3, 100),
        // Trailers.
        frame(HEADERS, END_HEADERS | END_STREAM, 3, 10),
        frame(WINDOW_UPDATE, 0, 3, 4),
        update.concat(),
        0x8000_1234_u32.to_be_bytes().to_vec(),
        frame(HEADERS, END_HEADERS, 7, 10),
    ]
    .concat();
    for size in [1, 2, 7, 9, 10, 64, bytes.len()] {
        let mut client = Client::new();
        for piece in bytes.chunks(size) {
            client.sends(piece).unwrap();
        }
        assert_eq!(
            (client.frames.last_stream(), client.frames.granted()),
            (7, 0x1234),
            "in pieces of {size}"
        );
        let data = Event::Data { stream: 3, length: 100, padding: 0, place: 131 };
        let events = [Event::Opened(3), data, Event::Closed(3), Event::Opened(7)];
        assert_eq!(std::mem::take(client.frames.events()), events, "in pieces of {size}");
        assert!(!client.frames.is_inside_head());
        client.sends(&frame(HEADERS, 0, 9, 3)).unwrap();
        assert!(client.frames.is_inside_head());
    }
}

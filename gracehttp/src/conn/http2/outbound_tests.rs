use super::*;
use crate::conn::http2::frames::Event;
use crate::conn::http2::room::Shares;
use crate::server::ServerOptions;

const DATA: u8 = 0;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    [&size[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

fn setting(id: u8, value: u32) -> Vec<u8> {
    [&[0, id][..], &value.to_be_bytes()].concat()
}

struct Server {
    credit: Arc<Credit>,
    outbound: Outbound,
    seen: BytesMut,
}

impl Server {
    fn new() -> Self {
        let credit = Arc::new(Credit::new(Shares::of(&ServerOptions::new("test"))));
        Self { outbound: Outbound::new(credit.clone(), 8192), credit, seen: BytesMut::new() }
    }

    /// h2 writes these slices again and again until all of them are gone; each time so many bytes go out at most.
    fn writes(&mut self, slices: &[&[u8]], at_once: usize) {
        let whole = slices.concat();
        let lens: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
        let mut gone = 0;
        while gone < whole.len() {
            let mut bufs = Vec::new();
            let mut begin = 0;
            for len in &lens {
                let end = begin + len;
                bufs.push(IoSlice::new(&whole[begin.max(gone).min(end)..end]));
                begin = end;
            }
            gone += match self.outbound.plan(&bufs) {
                Plan::Take(count) => self.outbound.take(&bufs, count.min(at_once), &mut self.seen),
                plan => {
                    let most = if let Plan::Part(count) = plan { count } else { usize::MAX };
                    let count = at_once.min(most).min(whole.len() - gone);
                    self.outbound.note_written(&bufs, count);
                    self.seen.extend_from_slice(&whole[gone..gone + count]);
                    count
                }
            };
        }
    }
}

#[test]
fn the_client_sees_a_small_window_and_no_window_that_h2_opens() {
    let settings = [setting(3, 128), setting(4, 2 << 20), setting(6, 100)].concat();
    let told = [setting(3, 128), setting(4, 8192), setting(6, 100)].concat();
    let data = frame(DATA, 0, 1, &[b'x'; 40]);
    let slices =
        [frame(SETTINGS, 0, 0, &settings), update(0, 1 << 20), data[..9].to_vec(), data[9..].to_vec(), {
            [update(1, 1 << 20), frame(SETTINGS, 1, 0, &[]), data.clone(), update(3, 5)].concat()
        }];
    let slices: Vec<&[u8]> = slices.iter().map(|slice| &slice[..]).collect();
    let seen = [frame(SETTINGS, 0, 0, &told), data.clone(), frame(SETTINGS, 1, 0, &[]), data].concat();
    for at_once in [1, 5, 9, 13, 20, 1000] {
        let mut server = Server::new();
        assert!(!server.outbound.is_between_frames(), "SETTINGS come first");
        server.writes(&slices, at_once);
        assert_eq!(server.seen[..], seen, "{at_once} bytes at once");
        assert!(server.outbound.is_between_frames());
    }
}

#[test]
fn the_window_of_the_connection_is_opened_once_the_client_knows_those_of_streams() {
    let mut server = Server::new();
    server.writes(&[&frame(SETTINGS, 0, 0, &[]), &update(0, 1 << 20)], 1000);
    let mut told = BytesMut::new();
    server.credit.put_due(&mut told);
    assert!(told.is_empty());
    server.credit.note(&mut vec![Event::Acknowledged]).unwrap();
    server.credit.put_due(&mut told);
    assert_eq!(told[..], update(0, 1 << 20));
}

#[test]
fn nothing_is_said_on_a_stream_that_h2_has_reset() {
    for is_reset in [false, true] {
        let mut server = Server::new();
        server.writes(&[&frame(SETTINGS, 0, 0, &[])], 1000);
        server.credit.note(&mut vec![Event::Acknowledged, Event::Opened(1)]).unwrap();
        server.credit.declare(1, Some(100_000));
        server.credit.ask(1);
        if is_reset {
            server.writes(&[&frame(RST_STREAM, 0, 1, &[0; 4])], 4);
        }
        let mut told = BytesMut::new();
        server.credit.put_due(&mut told);
        assert_eq!(told.is_empty(), is_reset);
    }
}

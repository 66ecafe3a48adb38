//! Which request the handler on each thread is working on at this moment.
//!
//! While a handler blocks its thread, its connection can't notice a deadline. If the process ends all the same, its receipt
//! finds the request here. Each poll of a handler notes its request in the place of its thread.
//!
//! Every request passes here, but a receipt is rare. So the thread takes no lock and counts no reference: it copies what a
//! receipt needs into words of its own. A reader that finds them changed meanwhile has met a handler that blocks nothing.

use std::cell::OnceCell;
use std::marker::PhantomData;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::conn::context::Context;
use crate::conn::info::{ConnectionInfo, name_in_log};
use crate::lifecycle::{Cut, CutWhile, clock};
use crate::proxy::Peer;
use crate::server::{Asked, Line};

/// The place of one thread. The thread alone writes it.
#[derive(Debug, Default)]
struct Place {
    /// Odd while a handler runs on the thread, and another number each time. Even while the words change.
    turn: AtomicU64,
    client: [AtomicU64; CLIENT],
    line: [AtomicU64; LINE],
    /// In bytes.
    line_length: AtomicU64,
    /// When the request came, or this part of the work began, in nanoseconds.
    since: AtomicU64,
}

/// The words of a client's address.
const ADDRESS: usize = 3;

/// The words of a client: its server's, and its address.
const CLIENT: usize = 1 + ADDRESS;

/// Bits above the port: the client has an address, or a Unix socket.
const HAS_ADDRESS: u64 = 1 << 16;
const IS_UNIX: u64 = 1 << 17;

/// The words of a line. Longer ones are cut off.
const LINE: usize = 28;

/// The client of a connection, in machine words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client([u64; CLIENT]);

impl Client {
    pub(super) fn of(info: &ConnectionInfo) -> Self {
        let [rest, high, low] = client_to_words(info.client);
        Self([address(&info.context), rest, high, low])
    }
}

#[derive(Debug)]
struct AtWork {
    /// The address of the server's context, which tells the servers apart.
    server: u64,
    client: Peer,
    line: String,
    /// In nanoseconds.
    since: u64,
}

/// The places of all threads that handlers have run on.
static PLACES: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

thread_local! {
    static PLACE: OnceCell<Arc<Place>> = const { OnceCell::new() };
}

/// Notes, until the result is dropped, that this thread works on a handler's request.
///
/// A guard rather than a function around the work: a request and its response are large, and each function that they pass
/// copies them.
///
/// `now` is the time, if the caller knows it.
pub(super) fn enter(client: &Client, asked: &Asked, now: Option<u64>) -> Working {
    let now = now.unwrap_or_else(clock::coarse);
    let turn = PLACE.with(|place| place.get_or_init(new_place).enter(client, asked.line(), now));
    Working { turn, of_this_thread: PhantomData }
}

fn new_place() -> Arc<Place> {
    let place = Arc::new(Place::default());
    let mut places = PLACES.lock();
    places.retain(|place| place.strong_count() > 0);
    places.push(Arc::downgrade(&place));
    place
}

impl Place {
    /// Returns the turn in which the handler works.
    fn enter(&self, client: &Client, line: &Line, now: u64) -> u64 {
        let turn = self.turn.load(Ordering::Relaxed).next_multiple_of(2);
        self.turn.store(turn, Ordering::Relaxed);
        // A reader that sees one of the new words sees this turn, too.
        fence(Ordering::Release);
        self.client.iter().zip(client.0).for_each(|(word, value)| store(word, value));
        match line.short() {
            // Almost all lines. The words behind the line cost less than finding its end.
            Some((words, length)) => {
                self.line.iter().zip(words).for_each(|(word, value)| store(word, value));
                store(&self.line_length, length as u64);
            }
            None => self.note_long(line.as_bytes()),
        }
        store(&self.since, now);
        self.turn.store(turn + 1, Ordering::Release);
        turn
    }

    #[cold]
    fn note_long(&self, line: &[u8]) {
        let line = &line[..line.len().min(8 * LINE)];
        store(&self.line_length, line.len() as u64);
        for (word, bytes) in self.line.iter().zip(line.chunks(8)) {
            store(word, bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    /// The handler that runs on the thread.
    fn read(&self) -> Option<AtWork> {
        let turn = self.turn.load(Ordering::Acquire);
        let at_work = self.words();
        fence(Ordering::Acquire);
        let is_whole = turn % 2 == 1 && self.turn.load(Ordering::Relaxed) == turn;
        is_whole.then_some(at_work)
    }

    fn words(&self) -> AtWork {
        let mut line: Vec<u8> = self.line.iter().flat_map(|word| load(word).to_le_bytes()).collect();
        line.truncate(load(&self.line_length) as usize);
        let [server, address @ ..] = self.client.each_ref().map(load);
        AtWork {
            server,
            client: client_from_words(address),
            line: String::from_utf8_lossy(&line).into_owned(),
            since: load(&self.since),
        }
    }
}

/// A handler works on the thread. Dropped when the handler has returned, or has panicked.
pub(super) struct Working {
    turn: u64,
    /// It has to be dropped on its thread.
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Working {
    fn drop(&mut self) {
        // A thread that ends has no place any more, and nothing reads it.
        _ = PLACE.try_with(|place| {
            if let Some(place) = place.get() {
                place.turn.store(self.turn + 2, Ordering::Release);
            }
        });
    }
}

/// The handlers of a server that are at work at this moment.
pub(in crate::conn) fn handlers_at_work(context: &Arc<Context>) -> Vec<Cut> {
    at_work(context).into_iter().map(AtWork::cut).collect()
}

/// Logs the requests of a server whose handlers are at work: the process ends, and with it their threads.
pub(crate) fn log_handlers_at_work(context: &Arc<Context>) {
    let Some(log) = &context.access_log else { return };
    for at_work in at_work(context) {
        log.write_last(&name_in_log(at_work.client), &at_work.line, at_work.lasted());
    }
}

fn at_work(context: &Arc<Context>) -> Vec<AtWork> {
    let places: Vec<Arc<Place>> = PLACES.lock().iter().filter_map(Weak::upgrade).collect();
    let at_work = places.iter().filter_map(|place| place.read());
    at_work.filter(|at_work| at_work.server == address(context)).collect()
}

impl AtWork {
    fn lasted(&self) -> Duration {
        Duration::from_nanos(clock::coarse().saturating_sub(self.since))
    }

    fn cut(self) -> Cut {
        Cut {
            peer: self.client.address(),
            doing: CutWhile::Handler,
            age: self.lasted(),
            request: Arc::new(self.line),
        }
    }
}

/// A client as words. IPv4 is mapped into IPv6: no client has such an address here.
fn client_to_words(client: Peer) -> [u64; ADDRESS] {
    let (ip, scope, port) = match client {
        Peer::Unix => return [IS_UNIX, 0, 0],
        Peer::Gone => return [0; ADDRESS],
        Peer::Tcp(SocketAddr::V4(address)) => (address.ip().to_ipv6_mapped(), 0, address.port()),
        Peer::Tcp(SocketAddr::V6(address)) => (*address.ip(), address.scope_id(), address.port()),
    };
    let bits = ip.to_bits();
    [u64::from(scope) << 32 | HAS_ADDRESS | u64::from(port), (bits >> 64) as u64, bits as u64]
}

fn client_from_words([rest, high, low]: [u64; ADDRESS]) -> Peer {
    if rest & HAS_ADDRESS == 0 {
        return if rest & IS_UNIX == 0 { Peer::Gone } else { Peer::Unix };
    }
    let (ip, port) = (Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)), rest as u16);
    Peer::Tcp(match ip.to_ipv4_mapped() {
        Some(ip) => (ip, port).into(),
        None => SocketAddrV6::new(ip, port, 0, (rest >> 32) as u32).into(),
    })
}

fn address(context: &Arc<Context>) -> u64 {
    Arc::as_ptr(context).addr() as u64
}

fn store(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Relaxed);
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_back_from_its_words() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 65_535, 0, 7).into();
        let named =
            ["127.0.0.1:80", "0.0.0.0:0", "[::1]:443", "[2001:db8::1]:1"].map(|peer| peer.parse().unwrap());
        let addresses = named.into_iter().chain([scoped]).map(Peer::Tcp);
        for client in addresses.chain([Peer::Unix, Peer::Gone]) {
            assert_eq!(client_from_words(client_to_words(client)), client);
        }
    }
}

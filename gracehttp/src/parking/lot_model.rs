//! Whatever the order in which connections are parked, woken and taken out: each has one owner, and no byte of a client is
//! left lying. The epoll instance and the sockets are real.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use shuttle::thread;

use super::*;
use crate::socket::{Family, ProxyHeader, Untaken};
use crate::sync::model::check;

const LONG: Duration = Duration::from_secs(600);

/// A lot, and the runtime that watches it.
fn new_lot() -> (Arc<Lot>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lot = {
        let _entered = runtime.enter();
        Lot::new(LONG, LONG, Arc::default()).unwrap()
    };
    (Arc::new(lot), runtime)
}

fn connection() -> (Parked, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    let socket = Socket {
        fd: ours.into(),
        family: Family::Unix,
        origin: None,
        listener: None,
        session: None,
        proxy_header: ProxyHeader::AsListed,
        untaken: Untaken::NOTHING,
    };
    (Parked { socket, stage: Stage::Idle }, client)
}

/// Answers each byte that has come with the same byte.
fn answer(fd: &impl AsFd) {
    let mut stream = UnixStream::from(fd.as_fd().try_clone_to_owned().unwrap());
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1..)) {
        stream.write_all(&byte).unwrap();
    }
}

/// Serves all that has woken, as tasks do: with a new registration, or with the one that stands.
fn serve_woken(lot: &Lot, stands: bool) -> usize {
    let (woken, _) = lot.ready();
    let count = woken.len();
    for woken in woken {
        let Woken::Ready(Wakened { mut socket, stage, .. }) = woken else { panic!("nothing expires") };
        thread::yield_now();
        answer(&socket.fd);
        thread::yield_now();
        if stands {
            while let Err(unread) = lot.park_again(socket, stage) {
                answer(&unread.fd);
                socket = unread;
            }
        } else {
            lot.park(Parked { socket: socket.map_fd(Descriptor::into_fd), stage }).unwrap();
        }
    }
    count
}

fn assert_answered(clients: &mut [UnixStream], requests: usize) {
    for client in clients {
        let mut answers = [0; 8];
        let count = client.read(&mut answers).unwrap_or(0);
        assert_eq!(count, requests, "answers of {requests}");
    }
}

/// Two clients ask while two threads wake and park, and a third takes connections out and brings them back: keys are used
/// again while older events are on their way.
#[test]
fn each_connection_has_one_owner_and_each_request_an_answer() {
    check(|| {
        let (lot, _runtime) = new_lot();
        let (parked, mut clients): (Vec<_>, Vec<_>) = [0; 2].map(|_| connection()).into_iter().unzip();
        let mut descriptors: Vec<_> = parked.iter().map(|parked| parked.socket.fd.as_raw_fd()).collect();
        parked.into_iter().for_each(|parked| lot.park(parked).unwrap());
        let serving = [true, false].map(|stands| {
            let lot = lot.clone();
            thread::spawn(move || {
                for _ in 0..3 {
                    serve_woken(&lot, stands);
                    thread::yield_now();
                }
            })
        });
        let taking = thread::spawn({
            let lot = lot.clone();
            move || {
                let taken: Vec<_> =
                    lot.evict(Stage::Idle, Duration::ZERO).into_iter().chain(lot.take(1)).collect();
                taken.into_iter().rev().for_each(|parked| lot.park(parked).unwrap());
            }
        });
        for _ in 0..2 {
            for client in &mut clients {
                client.write_all(b"r").unwrap();
                thread::yield_now();
            }
        }
        serving.into_iter().for_each(|thread| thread.join().unwrap());
        taking.join().unwrap();
        while serve_woken(&lot, true) > 0 {}
        assert_answered(&mut clients, 2);
        let mut left: Vec<_> = lot.take(9).iter().map(|parked| parked.socket.fd.as_raw_fd()).collect();
        left.sort_unstable();
        descriptors.sort_unstable();
        assert_eq!(left, descriptors);
    });
}

/// One that is taken out for the successor never wakes here, and its requests are answered there.
#[test]
fn what_was_taken_out_is_answered_by_its_new_owner() {
    check(|| {
        let (lot, _runtime) = new_lot();
        let (parked, mut clients): (Vec<_>, Vec<_>) = [0; 2].map(|_| connection()).into_iter().unzip();
        parked.into_iter().for_each(|parked| lot.park(parked).unwrap());
        let serving = thread::spawn({
            let lot = lot.clone();
            move || (0..3).for_each(|_| _ = serve_woken(&lot, true))
        });
        let successor = thread::spawn({
            let lot = lot.clone();
            move || lot.take(1)
        });
        for client in &mut clients {
            client.write_all(b"r").unwrap();
            thread::yield_now();
        }
        serving.join().unwrap();
        let taken = successor.join().unwrap();
        while serve_woken(&lot, true) > 0 {}
        taken.iter().for_each(|parked| answer(&parked.socket.fd));
        // No registration is left behind.
        taken.iter().for_each(|parked| lot.occupy(parked.socket.fd.as_fd()));
        assert_answered(&mut clients, 1);
        assert_eq!(taken.len() + lot.len(), 2);
    });
}

//! A lot wakes the connections that have bytes, and ends those that rested too long.

use super::*;
use crate::socket::{Family, ProxyHeader, Untaken};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use tokio::task::{JoinSet, yield_now};

fn connection(stage: Stage) -> (Parked, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let socket = Socket {
        fd: ours.into(),
        family: Family::Unix,
        origin: None,
        listener: None,
        session: None,
        proxy_header: ProxyHeader::AsListed,
        untaken: Untaken::NOTHING,
    };
    (Parked { socket, stage }, theirs)
}

const LONG: Duration = Duration::from_secs(600);

fn new_lot(fresh: Duration, idle: Duration) -> Lot {
    Lot::new(fresh, idle, Arc::default()).unwrap()
}

#[tokio::test]
async fn a_byte_wakes_just_its_connection() {
    let lot = new_lot(LONG, LONG);
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (parked, client) = connection(Stage::Idle);
        lot.park(parked).unwrap();
        clients.push(client);
    }
    clients[3].write_all(b"x").unwrap();
    let woken = lot.wait().await;
    assert!(matches!(woken[..], [Woken::Ready(_)]));
    assert_eq!(lot.len(), 9);
}

#[tokio::test]
async fn a_client_that_closes_wakes_too() {
    let lot = new_lot(LONG, LONG);
    let (parked, client) = connection(Stage::Idle);
    lot.park(parked).unwrap();
    drop(client);
    assert!(matches!(lot.wait().await[..], [Woken::Ready(_)]));
}

/// One report tells of the bytes and of the end. After the bytes were read, the connection is not parked: the end is unread.
#[tokio::test]
async fn an_end_behind_bytes_is_not_lost() {
    let lot = new_lot(LONG, LONG);
    for bytes_follow in [false, true] {
        let (parked, mut client) = connection(Stage::Idle);
        lot.park(parked).unwrap();
        client.write_all(b"x").unwrap();
        if !bytes_follow {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let [Woken::Ready(awake)] = <[Woken; 1]>::try_from(lot.wait().await).unwrap() else {
            panic!("a byte")
        };
        assert!(echo(&awake.socket.fd));
        let mut socket = awake.socket;
        if bytes_follow {
            client.write_all(b"y").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            // The lot notes the report, since the connection is awake.
            assert!(lot.ready().0.is_empty());
            socket = lot.park_again(socket, Stage::Idle).expect_err("a byte has come");
            assert!(echo(&socket.fd));
        }
        let socket = lot.park_again(socket, Stage::Idle).expect_err("the end has come");
        assert!(!echo(&socket.fd));
        assert!(lot.is_empty());
    }
}

#[tokio::test]
async fn a_silent_connection_beside_an_idle_one_has_its_own_limit() {
    let lot = Arc::new(new_lot(Duration::from_millis(200), LONG));
    let (idle, _idle_client) = connection(Stage::Idle);
    lot.park(idle).unwrap();
    let waiting = tokio::spawn({
        let lot = lot.clone();
        async move { lot.wait().await }
    });
    // The wait for the idle one's limit has begun.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (fresh, _fresh_client) = connection(Stage::Fresh);
    lot.park(fresh).unwrap();
    let woken = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert!(matches!(woken[..], [Woken::Expired(Parked { stage: Stage::Fresh, .. })]));
}

#[tokio::test]
async fn the_oldest_silent_connection_is_evicted() {
    let lot = new_lot(LONG, LONG);
    let mut clients = Vec::new();
    for stage in [Stage::Fresh, Stage::Idle, Stage::Idle] {
        let (parked, client) = connection(stage);
        lot.park(parked).unwrap();
        clients.push(client);
    }
    assert!(lot.evict(Stage::Idle, Duration::from_millis(200)).is_none(), "too young");
    tokio::time::sleep(Duration::from_millis(400)).await;
    clients[1].write_all(b"x").unwrap();
    assert!(lot.evict(Stage::Idle, Duration::from_millis(200)).is_some());
    assert_eq!((lot.count(Stage::Fresh), lot.count(Stage::Idle)), (1, 1));
    assert!(lot.evict(Stage::Idle, Duration::from_millis(200)).is_none(), "its byte has come");
    assert!(matches!(lot.wait().await[..], [Woken::Ready(Wakened { stage: Stage::Idle, .. })]));
}

/// What a connection does with its byte: it is parked again with its registration, or without one, or the runtime
/// has watched it meanwhile. False if its client is gone.
fn echo_and_park(lot: &Lot, awake: Wakened, how: u64) -> bool {
    let Wakened { mut socket, stage, .. } = awake;
    loop {
        if !echo(&socket.fd) {
            return false;
        }
        if how == 0 {
            socket.fd.watch().unwrap();
        }
        if how < 2 {
            lot.park(Parked { socket: socket.map_fd(Descriptor::into_fd), stage }).unwrap();
            return true;
        }
        match lot.park_again(socket, stage) {
            Ok(()) => return true,
            Err(unread) => socket = unread,
        }
    }
}

fn echo(fd: &Descriptor) -> bool {
    let mut stream = UnixStream::from(fd.as_fd().try_clone_to_owned().unwrap());
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(1) => stream.write_all(&byte).map(|()| true).unwrap(),
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            true
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_byte_wakes_its_connection_however_it_was_parked() {
    each_byte_wakes_its_connection(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_byte_wakes_its_connection_wherever_it_is_parked_meanwhile() {
    each_byte_wakes_its_connection(true).await;
}

/// Clients send byte after byte, each when its last one came back. A byte that wakes nothing shows as a client that waits.
/// Meanwhile connections may be taken out and parked elsewhere, so that events are older than their slots.
async fn each_byte_wakes_its_connection(shuffles: bool) {
    const CLIENTS: usize = 40;
    let bytes = if std::env::var_os("GRACEHTTP_LONG").is_some() { 200_000 } else { 1000 };
    let lot = Arc::new(new_lot(LONG, LONG));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (parked, mut client) = connection(Stage::Idle);
            lot.park(parked).unwrap();
            client.set_read_timeout(Some(LONG / 20)).unwrap();
            std::thread::spawn(move || {
                for byte in 0..bytes {
                    let sent = [(number + byte) as u8];
                    client.write_all(&sent).unwrap();
                    let mut back = [0];
                    client.read_exact(&mut back).expect("its byte woke it");
                    assert_eq!(sent, back);
                }
            })
        })
        .collect();
    let shuffling = shuffles.then(|| {
        let lot = lot.clone();
        tokio::spawn(async move {
            loop {
                for parked in lot.take(3).into_iter().rev() {
                    lot.park(parked).unwrap();
                }
                yield_now().await;
            }
        })
    });
    let (mut tasks, mut turn, mut open) = (JoinSet::<bool>::new(), 0, CLIENTS);
    while open > 0 {
        let woken = tokio::select! {
            Some(is_open) = tasks.join_next() => {
                open -= usize::from(!is_open.unwrap());
                continue;
            }
            woken = tokio::time::timeout(LONG / 20, lot.wait()) => woken.expect("a client's byte has woken it"),
        };
        for woken in woken {
            let Woken::Ready(awake) = woken else { panic!("none has rested for long") };
            turn += 1;
            let (lot, how) = (lot.clone(), turn % 5);
            // Its next byte may come while it is awake, on another thread.
            tasks.spawn(async move { echo_and_park(&lot, awake, how) });
        }
    }
    if let Some(shuffling) = shuffling {
        shuffling.abort();
    }
    for client in clients {
        client.join().unwrap();
    }
    assert!(lot.is_empty());
}

#[tokio::test]
async fn each_stage_has_its_limit() {
    let lot = new_lot(Duration::from_millis(200), LONG);
    let (idle, _idle_client) = connection(Stage::Idle);
    let (fresh, _fresh_client) = connection(Stage::Fresh);
    lot.park(idle).unwrap();
    lot.park(fresh).unwrap();
    let woken = lot.wait().await;
    assert!(matches!(woken[..], [Woken::Expired(Parked { stage: Stage::Fresh, .. })]));
    assert_eq!(lot.take(10).len(), 1);
    assert_eq!(lot.len(), 0);
}

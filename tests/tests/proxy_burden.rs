//! PROXY headers of the greatest size, in great numbers: memory is bounded, and each connection keeps its client.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tests::client::get;
use tests::h2::{Http2, Outcome};
use tests::patience::eventually;
use tests::tls;
use tests::{App, Client, Launch, Scratch, Target};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What follows the fixed part of a header, at most.
const LARGEST: usize = 8 << 10;

/// How many connections come before memory is measured.
const WARM_UP: usize = 500;

/// A header of version 2 and of the greatest size, for this client: the longest name that TLS has, TLS with as long a common
/// name, the longest unique id, and padding.
fn largest(client: Ipv4Addr) -> Vec<u8> {
    let tlv = |kind: u8, value: &[u8]| [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat();
    let addresses =
        [&client.octets()[..], &[198, 51, 100, 1], &4711_u16.to_be_bytes(), &443_u16.to_be_bytes()];
    let name = format!("{}.example", "a".repeat(247));
    let ssl = [&[7, 0, 0, 0, 0][..], &tlv(0x21, b"TLSv1.3"), &tlv(0x22, &[b'c'; 1024])].concat();
    let known = [tlv(0x02, name.as_bytes()), tlv(0x20, &ssl), tlv(0x05, &[b'u'; 128])].concat();
    let mut rest = [&addresses.concat()[..], &known].concat();
    rest.extend(tlv(0x04, &vec![0; LARGEST - rest.len() - 3]));
    assert_eq!(rest.len(), LARGEST);
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &(LARGEST as u16).to_be_bytes(), &rest].concat()
}

/// The client of a connection, by its number.
fn client(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(0xc000_0200 + number as u32)
}

async fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((PROXY, 0).into()).expect("a free port");
    socket.connect(to).await.expect("a connection")
}

/// What a process has in RAM, in bytes.
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("the process lives");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

fn launch(scratch: &Scratch) -> Launch {
    Launch::app(scratch, &format!("server web 127.0.0.1:0 proxy_protocol={PROXY}"))
}

async fn restart(app: &App, target: &Target) -> u32 {
    let successor = app.restart().await;
    app.serves(target, &successor).await;
    successor.pid()
}

#[tokio::test]
async fn thousands_of_the_largest_headers_cost_their_size_and_move() {
    let count = if std::env::var_os("GRACEHTTP_LONG").is_some() { 10_000 } else { 2000 };
    let scratch = Scratch::new();
    let app = launch(&scratch).spawn();
    let (address, target) = (app.address("web").await, app.target("web").await);
    let fresh = resident(app.pid());
    let mut clients = Vec::new();
    let mut before = 0;
    for number in 0..WARM_UP + count {
        // By now the allocator has what it keeps for later, which does not grow with the connections.
        if number == WARM_UP {
            before = resident(app.pid());
        }
        let mut stream = connect(address).await;
        stream.write_all(&largest(client(number))).await.expect("room");
        let mut of_client = Client::over(stream);
        let reply = of_client.get("/facts").await.expect("an answer");
        assert_eq!(reply.header("client"), Some(&*client(number).to_string()));
        clients.push(of_client);
    }
    // The header, and what any connection costs: less than a second header.
    let most = count * (LARGEST + (2 << 10)) + (1 << 20);
    let used = resident(app.pid()).saturating_sub(before);
    assert!(used < most, "{used} bytes for {count} connections, and {most} are the most");
    let pid = restart(&app, &target).await;
    for (number, of_client) in clients.iter_mut().enumerate() {
        let reply = of_client.get("/facts").await.expect("no connection is lost");
        assert_eq!(reply.header("client"), Some(&*client(number).to_string()));
        if number == 0 {
            of_client.moves_to(pid).await;
        }
    }
    // This includes the memory of the allocator, and is still less than a second header for each connection.
    let most = (WARM_UP + count) * (LARGEST + (2 << 10)) + (4 << 20);
    let used = resident(pid).saturating_sub(fresh);
    assert!(used < most, "{used} bytes in the successor, and {most} are the most");
}

/// Each one has come as far as another byte, in two restarts.
#[tokio::test]
async fn headers_that_are_cut_anywhere_by_a_restart_are_read_to_their_end() {
    let scratch = Scratch::new();
    let app = launch(&scratch).spawn();
    let (address, target) = (app.address("web").await, app.target("web").await);
    let mut halves = Vec::new();
    for number in 0..200 {
        let header = largest(client(number));
        // Everywhere in the fixed part and the addresses, then further apart.
        let cut = if number < 64 { number } else { (number - 64) * header.len() / 136 };
        let mut stream = connect(address).await;
        stream.write_all(&header[..cut]).await.expect("room");
        halves.push((stream, header[cut..].to_vec()));
    }
    // The last of them was read.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..2 {
        restart(&app, &target).await;
    }
    for (number, (mut stream, rest)) in halves.into_iter().enumerate() {
        stream.write_all(&[&rest[..], get("/facts").as_bytes()].concat()).await.expect("room");
        let reply = Client::over(stream).reply().await.expect("an answer");
        assert_eq!(reply.header("client"), Some(&*client(number).to_string()));
        assert_eq!(reply.header("proxy").map(str::len), Some(255));
    }
}

/// HTTP/2 says goodbye in a restart, and its streams keep their client until then.
#[tokio::test]
async fn http2_behind_a_proxy_knows_its_client_and_leaves_in_order() {
    let scratch = Scratch::new();
    let plan = format!(
        "server web 127.0.0.1:0 proxy_protocol={PROXY}\n\
         server secure 127.0.0.1:0 tls=self_signed proxy_protocol={PROXY}"
    );
    let app = Launch::app(&scratch, &plan).env("GRACEHTTP_DRAIN_TIMEOUT", "20s").spawn();
    let (address, target) = (app.address("web").await, app.target("web").await);
    let secure = app.address("secure").await;
    let mut plain = connect(address).await;
    plain.write_all(&largest(client(1))).await.expect("room");
    let plain = Http2::over(plain, "http").await.expect("HTTP/2");
    let mut over_tls = connect(secure).await;
    over_tls.write_all(&largest(client(2))).await.expect("room");
    let name = "localhost".try_into().expect("a name");
    let over_tls = tls::connector(&["h2"]).connect(name, over_tls).await.expect("a handshake");
    let over_tls = Http2::over(over_tls, "https").await.expect("HTTP/2");
    let mut in_flight = Vec::new();
    for (number, mut connection) in [(1, plain), (2, over_tls)] {
        let Outcome::Reply(reply) = connection.get("/facts").await.unwrap() else {
            panic!("it was not sent")
        };
        assert_eq!(reply.header("client"), Some(&*client(number).to_string()));
        in_flight.push(tokio::spawn(async move { (connection.get("/slow?ms=1500").await, connection) }));
        eventually("the handler", || app.log.count(0, "slow begins") == number).await;
    }
    restart(&app, &target).await;
    for request in in_flight {
        let (outcome, mut connection) = request.await.unwrap();
        assert!(matches!(outcome.unwrap(), Outcome::Reply(reply) if reply.status == 200));
        assert!(!connection.is_open().await, "it was told to go");
    }
}

/// The list is gone. What has come, or has begun to come, still counts; new connections are ordinary ones.
#[tokio::test]
async fn a_successor_without_the_protocol_keeps_what_it_was_told() {
    let scratch = Scratch::new();
    let app = launch(&scratch).spawn();
    let (address, target) = (app.address("web").await, app.target("web").await);
    let header = largest(client(7));
    let mut known = connect(address).await;
    known.write_all(&header).await.expect("room");
    let mut known = Client::over(known);
    known.get("/facts").await.expect("an answer");
    let mut half = connect(address).await;
    half.write_all(&header[..5000]).await.expect("room");
    let mut liar = Client::over(connect(address).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    scratch.write("plan", "server web 127.0.0.1:0");
    let pid = restart(&app, &target).await;
    known.moves_to(pid).await;
    half.write_all(&header[5000..]).await.expect("room");
    let mut half = Client::over(half);
    for of_client in [&mut known, &mut half] {
        let reply = of_client.get("/facts").await.expect("an answer");
        assert_eq!(reply.header("client"), Some("192.0.2.7"));
    }
    assert!(liar.get("/facts").await.is_err(), "it still owes its header");
    let mut new = Client::over(connect(address).await);
    assert_eq!(new.get("/facts").await.expect("an answer").header("client"), Some("127.0.0.2"));
    let mut stranger = connect(address).await;
    stranger.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n").await.expect("room");
    let reply = Client::over(stranger).reply().await;
    assert!(reply.as_ref().map_or(true, |reply| reply.status == 400), "{reply:?}");
}

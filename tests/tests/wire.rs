//! Bytes that a client puts on the wire between its requests and around them: offers to upgrade, empty lines, half
//! heads, expectations, garbage.

use std::time::{Duration, Instant};

use tests::client::{Pause, get, post_head};
use tests::{Service, Signal};

const WEB: &str = "server web 127.0.0.1:0";
const TLS: &str = "server web 127.0.0.1:0 tls=self_signed";

/// Shorter than the limit of a drain.
const SOON: Duration = Duration::from_secs(8);

/// Offers that clients make by themselves: Java's and curl, Apache's, and a browser that gets 404.
const OFFERS: [&str; 3] = [
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "Upgrade: TLS/1.2\r\nConnection: Upgrade",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];

fn offering(path: &str, offer: &str) -> String {
    get(path).replace("\r\n\r\n", &format!("\r\n{offer}\r\n\r\n"))
}

#[tokio::test]
async fn a1_connection_with_a_declined_upgrade_parks_and_moves() {
    let service = Service::new(WEB).await;
    let mut clients = Vec::new();
    for offer in OFFERS {
        for path in ["/ping", "/nowhere"] {
            let mut client = service.client().await;
            for _ in 0..2 {
                client.send(offering(path, offer)).await.unwrap();
                assert!(!client.reply().await.unwrap().closes(), "{offer}");
            }
            clients.push(client);
        }
    }
    let start = Instant::now();
    service.restart().await;
    for client in &mut clients {
        client.moves_to(service.app.pid()).await;
    }
    service.first_leaves(start, SOON).await;
}

#[tokio::test]
async fn a1_request_with_a_declined_upgrade_is_answered_and_its_busy_connection_moves() {
    let service = Service::new(WEB).await;
    let mut clients = Vec::new();
    for offer in OFFERS {
        let begun = service.app.log.end();
        let mut client = service.client().await;
        client.send(offering("/slow?ms=3000", offer)).await.unwrap();
        service.app.log.line(begun, "slow begins").await;
        clients.push(client);
    }
    let start = Instant::now();
    service.restart().await;
    for client in &mut clients {
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.pid(), reply.closes()), (Some(service.app.first().pid()), false), "{reply:?}");
        client.moves_to(service.app.pid()).await;
    }
    service.first_leaves(start, SOON).await;
}

/// The process that owns the connection at that time answers the requests behind it.
#[tokio::test]
async fn a1_requests_after_a_declined_upgrade_are_answered() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        for offer in OFFERS {
            let mut client = service.client().await;
            let half = &get("/numbered?number=2")[..20];
            let row = [&offering("/slow?ms=100", offer), &get("/numbered?number=1"), half].concat();
            client.send(row).await.unwrap();
            assert_eq!(client.reply().await.unwrap().status, 200);
            assert_eq!(client.reply().await.unwrap().header("number"), Some("1"));
            client.send(&get("/numbered?number=2")[20..]).await.unwrap();
            assert_eq!(client.reply().await.unwrap().header("number"), Some("2"));
        }
    }
}

#[tokio::test]
async fn a1_declined_upgrade_is_answered_as_the_last_request() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        for path in ["/ping", "/slow?ms=50"] {
            let offer = offering(path, "Connection: close, Upgrade\r\nUpgrade: h2c");
            let mut client = service.client().await;
            client.send(&offer).await.unwrap();
            assert!(client.reply().await.unwrap().closes(), "{plan}");
            client.closed().await.unwrap();
        }
        // Its client sends everything at once, and nothing more.
        for path in ["/ping", "/slow?ms=50"] {
            let mut client = service.client().await;
            let head = post_head("/echo", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
            let upload = head + "2\r\nhe\r\n3\r\nllo\r\n0\r\nsum: 5\r\n\r\n";
            client.send(offering(path, OFFERS[0]) + &upload + &get("/ping") + &upload).await.unwrap();
            client.half_close().await.unwrap();
            for _ in 0..4 {
                assert_eq!(client.reply().await.unwrap().status, 200, "{plan}");
            }
            client.closed().await.unwrap();
        }
    }
}

/// This holds with later requests right behind it.
#[tokio::test]
async fn a1_later_requests_are_answered_after_a_declined_upgrade_up_to_the_close() {
    let last = get("/ping").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        for offer in OFFERS {
            let mut client = service.client().await;
            client.send(offering("/ping", offer) + &last + &last).await.unwrap();
            assert!(!client.reply().await.unwrap().closes(), "{plan}: {offer}");
            assert!(client.reply().await.unwrap().closes(), "{plan}: {offer}");
            client.closed().await.unwrap();
        }
    }
}

/// These bytes are more than travel with a connection: the predecessor answers them, and no client sees a close.
#[tokio::test]
async fn a1_connection_with_large_data_after_a_declined_upgrade_survives_a_restart() {
    let service = Service::new(WEB).await;
    let mut client = service.client().await;
    let upload = |length| [post_head("/echo", length).into_bytes(), vec![b'x'; length]].concat();
    // From now on the server reads much at once.
    for _ in 0..4 {
        client.send(upload(400_000)).await.unwrap();
        assert_eq!(client.reply().await.unwrap().body.len(), 400_000);
    }
    for offer in OFFERS {
        let begun = service.app.log.end();
        client.send([offering("/slow?ms=1000", offer).into_bytes(), upload(200_000)].concat()).await.unwrap();
        service.app.log.line(begun, "slow begins").await;
        let before = service.app.pid();
        let successor = service.app.restart().await;
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.pid(), reply.closes()), (Some(before), false), "{reply:?}");
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.body.len(), reply.closes()), (200_000, false), "{offer}");
        client.moves_to(successor.pid()).await;
    }
}

/// This holds for every protocol, and for a client that uses it at once.
#[tokio::test]
async fn a1_bytes_right_after_an_accepted_upgrade_belong_to_the_new_protocol() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        let mut client = service.client().await;
        let offer = offering("/upgrade", "Connection: Upgrade\r\nUpgrade: echo");
        client.send([offer.as_bytes(), b"\0no\nHTTP"].concat()).await.unwrap();
        let mut came = Vec::new();
        while !came.ends_with(b"\0no\nHTTP") {
            let piece = client.piece().await.unwrap().expect("an open connection");
            came.extend_from_slice(&piece);
        }
        assert!(came.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&came));
        client.send("more").await.unwrap();
        assert_eq!(client.piece().await.unwrap().as_deref(), Some(&b"more"[..]));
    }
}

/// The server sends the whole answer, even to a slow reader, before it refuses the bytes that follow.
#[tokio::test]
async fn a14_request_before_garbage_is_answered() {
    const LENGTH: usize = 12 << 20;
    let garbage = ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0", "GET / HTTP/1.1\r\n\r\n"];
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        for garbage in garbage {
            let mut client = service.client().await;
            let row = [&get("/slow?ms=200"), &get(&format!("/big?bytes={LENGTH}")), garbage].concat();
            client.send(row).await.unwrap();
            assert_eq!(client.reply().await.unwrap().status, 200);
            // The kernel holds a few megabytes: the rest of it waits for the client.
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(client.reply().await.unwrap().body.len(), LENGTH);
            let refusal = client.reply().await.unwrap();
            assert_eq!((refusal.status, refusal.closes()), (400, true), "{garbage:?}");
            client.closed().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a15_refused_expectation_ends_the_connection() {
    for plan in [WEB, TLS] {
        let service = Service::new(plan).await;
        for head in [
            post_head("/nowhere", 5),
            post_head("/nowhere", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked"),
        ] {
            let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
            let mut client = service.client().await;
            client.send(&head).await.unwrap();
            let reply = client.reply().await.unwrap();
            assert_eq!((reply.status, reply.closes()), (404, true), "{head}");
            // Its client sends the next request instead of the body.
            _ = client.send(get("/ping")).await;
            client.closed().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a16_empty_line_is_ignored_and_the_connection_idles() {
    let limits = "header_read_timeout=1000ms idle_timeout=4000ms";
    for plan in [WEB, TLS] {
        let service = Service::new(&format!("{plan} {limits}")).await;
        let idles = async |line: &str| {
            let mut client = service.client().await;
            client.send(format!("{}hi{line}", post_head("/echo", 2))).await.unwrap();
            assert_eq!(client.reply().await.unwrap().status, 200);
            let start = Instant::now();
            assert_eq!(client.pause(Duration::from_secs(14)).await, Pause::Closed, "{line:?}");
            assert!(start.elapsed() > Duration::from_millis(3500), "{line:?}: {:?}", start.elapsed());
        };
        let apart = async {
            let mut client = service.client().await;
            assert_eq!(client.post("/echo", b"hi").await.unwrap().status, 200);
            assert_eq!(client.pause(Duration::from_millis(200)).await, Pause::Open);
            client.send("\r\n").await.unwrap();
            assert_eq!(client.pause(Duration::from_secs(2)).await, Pause::Open);
            assert_eq!(client.get("/ping").await.unwrap().status, 200);
        };
        tokio::join!(idles(""), idles("\r\n"), idles("\r\n\r\n"), apart);
    }
}

/// The process is stopped while the limit passes, as a machine that pauses stops it. It finds the request and the end of the
/// limit together.
#[tokio::test]
async fn a_request_that_comes_before_the_idle_limit_is_answered_however_late_it_is_found() {
    for plan in [WEB, TLS] {
        let service = Service::new(&format!("{plan} idle_timeout=2000ms")).await;
        let mut client = service.client().await;
        client.get("/ping").await.unwrap();
        assert_eq!(client.pause(Duration::from_millis(300)).await, Pause::Open);
        service.app.signal(Signal::STOP);
        client.send(get("/ping")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3000)).await;
        service.app.signal(Signal::CONT);
        let reply = client.reply().await.unwrap_or_else(|failure| panic!("{plan}: {failure}"));
        assert_eq!(reply.status, 200, "{plan}");
    }
}

/// The time limit of a head begins with its first byte: behind a request in one record, during the answer to that
/// request, and on a connection that moves.
#[tokio::test]
async fn a18_half_a_head_times_out_wherever_it_begins() {
    let limit = Duration::from_secs(3);
    for plan in [WEB, TLS] {
        let service = Service::new(&format!("{plan} header_read_timeout=3000ms")).await;
        let times_out = async |ahead: &str| {
            let mut client = service.client().await;
            let start = Instant::now();
            client.send(format!("{ahead}GET /pi")).await.unwrap();
            for _ in 0..ahead.matches("GET").count() {
                assert_eq!(client.reply().await.unwrap().status, 200, "{ahead:?}");
            }
            let refusal = client.reply().await.unwrap();
            assert_eq!((refusal.status, refusal.closes()), (408, true), "{ahead:?}");
            let took = start.elapsed();
            assert!(took > limit - Duration::from_millis(100) && took < limit * 3, "{ahead:?}: {took:?}");
        };
        let (ping, slow) = (get("/ping"), get("/slow?ms=2000"));
        let row = ping.repeat(3);
        tokio::join!(times_out(""), times_out(&ping), times_out(&slow), times_out(&row));
        if plan == WEB {
            let mut client = service.client().await;
            client.send(format!("{ping}GET /pi")).await.unwrap();
            assert_eq!(client.reply().await.unwrap().status, 200);
            service.restart().await;
            let refusal = client.reply().await.unwrap();
            assert_eq!((refusal.status, refusal.closes()), (408, true));
        }
    }
}

#[tokio::test]
async fn b13_authority_of_the_target_overrides_host() {
    for (plan, scheme) in [(WEB, "http"), (TLS, "https")] {
        let service = Service::new(plan).await;
        let mut client = service.client().await;
        for (target, host) in [
            ("/seen".to_owned(), "a"),
            (format!("{scheme}://b/seen"), "b"),
            (format!("{}://B:80/seen", scheme.to_uppercase()), "B:80"),
            (format!("{scheme}://[::1]:80/seen"), "[::1]:80"),
        ] {
            client.send(get(&target).replace("localhost", "a")).await.unwrap();
            let seen = client.reply().await.unwrap().text();
            assert!(seen.contains(&format!("host: {host},")), "{target}: {seen}");
        }
        client.send(format!("GET {scheme}://b/seen HTTP/1.0\r\n\r\n")).await.unwrap();
        let mut came = Vec::new();
        while let Some(piece) = client.piece().await.unwrap() {
            came.extend_from_slice(&piece);
        }
        let came = String::from_utf8_lossy(&came);
        assert!(came.contains("host: b,"), "{came}");
    }
}

//! Responses that are taken slowly, or not at all.

use super::*;

/// By a client that opens its windows wide, so that only the kernel holds anything back.
fn http2_download() -> Vec<u8> {
    let window = (16 * MIB) as u32;
    let frames = [
        Frame::window(window),
        Frame::new(WINDOW_UPDATE, 0, 0, &window.to_be_bytes()),
        Frame::get(1, "/big?bytes=16777216"),
    ];
    [PREFACE.to_vec(), frames.iter().flat_map(Frame::bytes).collect()].concat()
}

/// What lies in the kernel for a client that has reset its connection is not waited for.
#[tokio::test]
async fn a12_a_reset_in_the_middle_of_a_response_frees_the_permit() {
    let options = "max_conns=1 when_full=wait";
    let plan =
        format!("server web 127.0.0.1:0 {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}\n");
    let service = Service::new(&plan).await;
    for server in ["web", "tls"] {
        let target = service.app.target(server).await;
        let mut raw = Raw::asks(&target, get("/big?bytes=16777216")).await;
        // The response is on its way, and fills the kernel's buffers.
        raw.stream.read_exact(&mut [0; 1000]).await.unwrap();
        let start = Instant::now();
        raw.vanish();
        let mut next = Client::connect(&target).await.unwrap();
        assert_eq!(next.get("/ping").await.unwrap().status, 200);
        assert!(start.elapsed() < 10 * SECOND, "{server}: {:?}", start.elapsed());
    }
}

const TAKES_BIG: &str = "/big?bytes=67108864";

/// Its limits are of half a minute, and there is no key for them: all cases at once. The next client of a server with
/// one permit tells when the connection ends.
#[tokio::test]
async fn a9_a10_b15_a_download_may_be_slow_but_not_stand_still_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let options = "max_conns=1 when_full=wait idle_timeout=2000ms";
    let kinds = |name: &str| {
        let unix = scratch.join(&format!("{name}-unix"));
        format!(
            "server {name}-plain 127.0.0.1:0 {options}\nserver {name}-tls 127.0.0.1:0 tls=self_signed {options}\n\
             server {name}-unix unix:{} {options}\n",
            unix.display()
        )
    };
    let names = ["steady", "drip", "never", "tail", "last"];
    let http2 = ["steady", "never"].map(|name| format!("server http2-{name} 127.0.0.1:0 {options}\n"));
    let service = Service::new(&(names.map(kinds).concat() + &http2.concat() + WEB)).await;
    let closing = get("/big?bytes=600000").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let asked = [get(TAKES_BIG), get(TAKES_BIG), get(TAKES_BIG), get("/big?bytes=600000"), closing];
    let mut cases = JoinSet::new();
    for (name, request) in names.into_iter().zip(asked) {
        for kind in ["plain", "tls", "unix"] {
            // A Unix socket has less room: such a response is not in the kernel, but on its way.
            let target = service.app.target(&format!("{name}-{kind}")).await;
            let mut raw = Raw::asks(&target, &request).await;
            cases.spawn(async move {
                let case = format!("{name}, {kind}");
                let start = Instant::now();
                if name == "steady" {
                    let read = raw.reads(4096, Duration::from_millis(200), 42 * SECOND).await;
                    return read
                        .unwrap_or_else(|error| panic!("{case}: after {:?}: {error}", start.elapsed()));
                }
                let next = async {
                    // Its handshake waits for the permit, too.
                    let mut next = target.connect(&["http/1.1"]).await.unwrap();
                    next.write_all(get("/ping").as_bytes()).await.unwrap();
                    let mut first = [0; 12];
                    next.read_exact(&mut first).await.unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(&first, b"HTTP/1.1 200", "{case}");
                    start.elapsed()
                };
                let next = within(90 * SECOND, &case, next);
                let reading = async {
                    if name == "drip" {
                        // It may end with what was sent before.
                        _ = raw.reads(10, SECOND, 100 * SECOND).await;
                    }
                    std::future::pending::<()>().await;
                };
                let took = tokio::select! {
                    took = next => took,
                    () = reading => unreachable!("it reads for ever"),
                };
                println!("{case}: ended after {took:?}");
                assert!(took > 20 * SECOND && took < 60 * SECOND, "{case}: ended after {took:?}");
                assert!(
                    kind == "unix" || !raw.lies_in_the_kernel(&target),
                    "{case}: its end lies in the kernel"
                );
            });
        }
    }
    for name in ["http2-steady", "http2-never"] {
        let target = service.app.target(name).await;
        let mut raw = Raw::asks(&target, http2_download()).await;
        cases.spawn(async move {
            let start = Instant::now();
            if name == "http2-steady" {
                let read = raw.reads(4096, Duration::from_millis(200), 45 * SECOND).await;
                return read.unwrap_or_else(|error| panic!("{name}: after {:?}: {error}", start.elapsed()));
            }
            let next = Client::connect(&target).await.unwrap().limit(90 * SECOND).get("/ping").await;
            next.unwrap_or_else(|failure| panic!("{name}: {failure}"));
            let took = start.elapsed();
            println!("{name}: ended after {took:?}");
            assert!(took > 20 * SECOND && took < 60 * SECOND, "{name}: ended after {took:?}");
            assert!(!raw.lies_in_the_kernel(&target), "{name}: its end lies in the kernel");
        });
    }
    let mut faults = Vec::new();
    while let Some(outcome) = cases.join_next().await {
        faults.extend(outcome.err().map(|panic| panic.to_string()));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn b15_a_client_that_is_cut_at_the_deadline_leaves_nothing_in_the_kernel() {
    let scratch = Scratch::new();
    let plan = format!("{WEB}\nserver tls 127.0.0.1:0 tls=self_signed");
    let app = Launch::app(&scratch, &plan).env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms").spawn();
    let mut stuck = Vec::new();
    for name in ["web", "tls"] {
        let target = app.target(name).await;
        stuck.push((Raw::asks(&target, get(TAKES_BIG)).await, target));
    }
    eventually("both handlers to begin", || app.log.count(0, "big begins") == 2).await;
    // The kernel is full when a later request was answered.
    get_once(&app.target("web").await, "/ping").await.unwrap();
    assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
    for (raw, target) in &stuck {
        assert!(!raw.lies_in_the_kernel(target));
    }
}

//! Clients that take a response slowly, or not at all.

use super::*;

/// After a client's reset, the server does not wait for the data in the kernel.
#[tokio::test]
async fn a12_reset_during_a_response_frees_the_permit() {
    let options = "max_conns=1 when_full=wait";
    let plan =
        format!("server web 127.0.0.1:0 {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}\n");
    let service = Service::new(&plan).await;
    for server in ["web", "tls"] {
        let target = service.app.target(server).await;
        let mut raw = Raw::asks(&target, get("/big?bytes=16777216")).await;
        // The server sends the response, which fills the kernel's buffers.
        raw.stream.read_exact(&mut [0; 1000]).await.unwrap();
        let start = Instant::now();
        raw.vanish();
        let mut next = Client::connect(&target).await.unwrap();
        assert_eq!(next.get("/ping").await.unwrap().status, 200);
        assert!(start.elapsed() < 10 * SECOND, "{server}: {:?}", start.elapsed());
    }
}

/// More than both kernels hold; the server makes it once, ahead of the requests.
const BIG: &str = "/large";

/// The kernel holds all of it at once.
const TAIL: &str = "/big?bytes=600000";

/// How a client takes a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// 20 KiB a second, for longer than the limit.
    Steadily,
    /// Too little within each limit to count as progress, but more than nothing.
    InDrips,
    Not,
}

impl Taking {
    async fn read(self, raw: &mut Raw) -> io::Result<()> {
        match self {
            Self::Steadily => raw.reads(4096, Duration::from_millis(200), 42 * SECOND).await,
            Self::InDrips => raw.drips(700, 10 * SECOND).await,
            Self::Not => std::future::pending().await,
        }
    }
}

/// A client of a server that serves one connection at a time.
#[derive(Clone, Copy, Debug)]
struct Download {
    server: usize,
    /// Plain text, TLS, or a Unix socket.
    kind: &'static str,
    is_http2: bool,
    path: &'static str,
    /// Whether the request asks for the end of the connection.
    is_last: bool,
    taking: Taking,
}

impl Download {
    fn all() -> Vec<Self> {
        use Taking::{InDrips, Not, Steadily};
        let rows = [
            (false, BIG, false, Steadily),
            (false, BIG, false, InDrips),
            (false, BIG, false, Not),
            (false, TAIL, false, Steadily),
            (false, TAIL, false, Not),
            (false, TAIL, true, Not),
            (true, BIG, false, Steadily),
            (true, BIG, false, InDrips),
            (true, BIG, false, Not),
            (true, TAIL, false, Steadily),
            (true, TAIL, false, InDrips),
            (true, TAIL, false, Not),
        ];
        let kinds = rows.iter().flat_map(|row| ["plain", "tls", "unix"].map(|kind| (kind, *row)));
        kinds
            .enumerate()
            .map(|(server, (kind, (is_http2, path, is_last, taking)))| Self {
                server,
                kind,
                is_http2,
                path,
                is_last,
                taking,
            })
            .collect()
    }

    fn name(&self) -> String {
        format!("d{}", self.server)
    }

    fn plan(&self, scratch: &Scratch) -> String {
        let listen = match self.kind {
            "plain" => "127.0.0.1:0".to_owned(),
            "tls" => "127.0.0.1:0 tls=self_signed".to_owned(),
            _ => format!("unix:{}", scratch.join(&self.name()).display()),
        };
        format!("server {} {listen} max_conns=1 when_full=wait idle_timeout=2000ms\n", self.name())
    }

    /// Over HTTP/2 the windows are so wide that only the kernel holds data back.
    fn request(&self) -> Vec<u8> {
        if !self.is_http2 {
            let last = if self.is_last { "\r\nConnection: close\r\n\r\n" } else { "\r\n\r\n" };
            return get(self.path).replace("\r\n\r\n", last).into_bytes();
        }
        let window = (80 * MIB) as u32;
        let frames = [
            Frame::window(window),
            Frame::new(WINDOW_UPDATE, 0, 0, &window.to_be_bytes()),
            Frame::get(1, self.path),
        ];
        [PREFACE.to_vec(), frames.iter().flat_map(Frame::bytes).collect()].concat()
    }

    /// The next client gets its answer when this connection ends.
    async fn runs(self, target: Target) {
        let alpn = if self.is_http2 { "h2" } else { "http/1.1" };
        let room = if self.taking == Taking::InDrips { 1 } else { Raw::LITTLE_ROOM };
        let mut raw = Raw::open_as(&target, alpn, room).await;
        raw.send(self.request()).await;
        let start = Instant::now();
        if self.taking == Taking::Steadily {
            let read = self.taking.read(&mut raw).await;
            // The connection may end early only after the whole response.
            let is_good = read.is_ok() || (self.path == TAIL && raw.received > 600_000);
            assert!(is_good, "{self:?}: {read:?} after {} bytes and {:?}", raw.received, start.elapsed());
            return;
        }
        let next = async {
            // Its handshake needs the permit, too.
            let mut next = target.connect(&["http/1.1"]).await.expect("a connection");
            next.write_all(get("/ping").as_bytes()).await.expect("room for it");
            let mut first = [0; 12];
            next.read_exact(&mut first).await.unwrap_or_else(|error| panic!("{self:?}: {error}"));
            assert_eq!(&first, b"HTTP/1.1 200", "{self:?}");
            start.elapsed()
        };
        let reading = async {
            // The read may end with data that the server sent before.
            _ = self.taking.read(&mut raw).await;
            std::future::pending::<()>().await;
        };
        let what = format!("the end of {self:?}");
        let took = tokio::select! {
            took = within(90 * SECOND, &what, next) => took,
            () = reading => unreachable!("the read has no end"),
        };
        println!("{self:?}: ended after {took:?}");
        assert!(took > 20 * SECOND && took < 70 * SECOND, "{self:?}: ended after {took:?}");
        let lies_in_the_kernel = self.kind != "unix" && raw.lies_in_the_kernel(&target);
        assert!(!lies_in_the_kernel, "{self:?}: its end lies in the kernel");
    }
}

/// Half a minute is the limit, and no key changes it, so all cases run at once.
#[tokio::test]
async fn a9_a10_b15_slow_download_completes_and_stalled_download_is_cut_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let downloads = Download::all();
    let plan: String = downloads.iter().map(|download| download.plan(&scratch)).collect();
    let service = Service::new(&plan).await;
    let mut cases = JoinSet::new();
    for download in downloads {
        cases.spawn(download.runs(service.app.target(&download.name()).await));
    }
    let mut faults = Vec::new();
    while let Some(outcome) = cases.join_next().await {
        faults.extend(outcome.err().map(|panic| panic.to_string()));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn b15_client_cut_at_the_deadline_leaves_nothing_in_the_kernel() {
    let scratch = Scratch::new();
    let plan = format!("{WEB}\nserver tls 127.0.0.1:0 tls=self_signed");
    let app = Launch::app(&scratch, &plan).env("GRACEHTTP_DRAIN_TIMEOUT", "1500ms").spawn();
    let mut stuck = Vec::new();
    for name in ["web", "tls"] {
        let target = app.target(name).await;
        stuck.push((Raw::asks(&target, get("/big?bytes=67108864")).await, target));
    }
    eventually("both handlers to begin", || app.log.count(0, "big begins") == 2).await;
    // After the answer to a later request, the kernel's buffers are full.
    get_once(&app.target("web").await, "/ping").await.unwrap();
    assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
    for (raw, target) in &stuck {
        assert!(!raw.lies_in_the_kernel(target));
    }
}

/// GOAWAY and its PING wait behind data that the client has not read.
#[tokio::test]
async fn a9_slow_http2_reader_gets_its_response_in_a_restart() {
    let gets_its_response = async |plan: String| {
        let service = Service::new(&plan).await;
        let download = Download {
            server: 0,
            kind: "",
            is_http2: true,
            path: TAIL,
            is_last: false,
            taking: Taking::Steadily,
        };
        let mut raw = Raw::open_as(&service.target, "h2", Raw::LITTLE_ROOM).await;
        raw.send(download.request()).await;
        service.app.log.line(0, "big begins").await;
        service.restart().await;
        let end = raw.reads(4096, Duration::from_millis(40), 42 * SECOND).await.expect_err("an end");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof, "{plan}: {end} after {} bytes", raw.received);
        assert!(raw.received > 600_000, "{plan}: {} bytes", raw.received);
        assert_eq!(service.app.first().exit().await, Exit::Code(0), "{}", service.app.log);
    };
    tokio::join!(gets_its_response(WEB.to_owned()), gets_its_response(format!("{WEB} tls=self_signed")));
}

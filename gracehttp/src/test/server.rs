//! A server on a port of its own, for the length of a test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::conn::{Context, redirected};
use crate::lifecycle::{Address, Background, Phase};
use crate::listen::bind::bind;
use crate::listen::{ListenOptions, Listener, Running};
use crate::log;
use crate::server::{Endpoint, IntoServer, Permits, Server, ServerOptions};
use crate::test::sound;
use crate::tls::{KeyRing, TlsAcceptor};

/// How long what is in flight may take at the end; as [`App::drain_timeout`](crate::App::drain_timeout) is
/// where an application sets nothing.
const DRAIN: Duration = Duration::from_secs(10);

/// A server that runs in the test's own runtime, on a port of 127.0.0.1 that the kernel chose, and serves as
/// it would in production: its limits, its TLS, the parking of idle connections.
///
/// It ends when it is dropped, and cuts what is then in flight. [`shutdown`](Self::shutdown) ends it as a
/// signal does: `Shutdown` resolves, requests in flight are answered, background tasks and clean-up code have
/// their end.
///
/// ```
/// use gracehttp::test::TestServer;
/// use gracehttp::{PeerAddr, server};
///
/// #[server(port = 8080)]
/// async fn whoami(PeerAddr(peer): PeerAddr) -> String {
///     peer.ip().to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = TestServer::spawn(whoami::server(), ()).await;
/// assert!(server.url().starts_with("http://127.0.0.1:"));
/// server.shutdown().await;
/// # }
/// ```
#[must_use = "it ends when it is dropped"]
pub struct TestServer {
    /// Empty once it has ended.
    running: Option<Running>,
    released: Arc<Notify>,
    address: SocketAddr,
    is_secure: bool,
    /// Where it listens in plain text beside TLS.
    plain: Option<SocketAddr>,
}

impl TestServer {
    /// Starts a server on a port of its own, wherever its attribute has it listen; all other keys of the attribute hold. A server
    /// with TLS and `plain_listen` also listens in plain text, at [`plain_url`](Self::plain_url).
    ///
    /// # Panics
    ///
    /// If the description of the server is at fault, or its certificate.
    pub async fn spawn<S, M>(server: impl IntoServer<S, M>, state: S) -> Self {
        let Server { options, make, .. } = sound(server.into_server());
        let is_secure = options.is_tls();
        let (mut listeners, address) = listen(&options, is_secure);
        let plain = (!options.plain_endpoints().is_empty()).then(|| {
            let (beside, address) = listen(&options, false);
            listeners.extend(beside);
            address
        });

        let tls = TlsAcceptor::of(&options, &KeyRing::default()).unwrap_or_else(|error| panic!("{error}"));
        let released = Arc::new(Notify::new());
        let permits = Arc::new(Permits::new(options.max_conns, released.clone()));
        let dispatch = redirected(&options, make(&state));
        let context = Context::new(options, tls, dispatch, permits, Arc::default(), Arc::default())
            .unwrap_or_else(|error| panic!("no parking lot for its connections: {error}"));
        let running = Running::start(&Handle::current(), &Arc::new(context), listeners);
        running.open();
        Self { running: Some(running), released, address, is_secure, plain }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL, without a slash at the end: `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where a server with TLS listens in plain text; `None` without `plain_listen`.
    pub fn plain_address(&self) -> Option<SocketAddr> {
        self.plain
    }

    /// The [address in plain text](Self::plain_address) as a URL, without a slash at the end.
    ///
    /// ```
    /// # #[cfg(all(feature = "self-signed", feature = "test-kit"))] mod program {
    /// use gracehttp::server;
    /// use gracehttp::test::TestServer;
    ///
    /// #[server(port = 443, tls = self_signed, plain_listen = ":80", redirect_to_https = true)]
    /// async fn web() -> &'static str {
    ///     "hello, in private"
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # pub async fn main() {
    /// let server = TestServer::spawn(web::server(), ()).await;
    /// assert!(server.url().starts_with("https://"));
    /// assert!(server.plain_url().is_some_and(|url| url.starts_with("http://")));
    /// assert_eq!(server.get("/").await.status(), 200);
    /// assert_eq!(server.get_plain("/").await.status(), 308);
    /// # }
    /// # }
    /// # #[cfg(all(feature = "self-signed", feature = "test-kit"))] fn main() { program::main() }
    /// # #[cfg(not(all(feature = "self-signed", feature = "test-kit")))] fn main() {}
    /// ```
    pub fn plain_url(&self) -> Option<String> {
        self.plain.map(|address| format!("http://{address}"))
    }

    /// How many connections it holds.
    pub fn connections(&self) -> usize {
        self.running.as_ref().map_or(0, held)
    }

    /// Ends as a process does on a stop signal, and panics if something has to be cut after 10 s.
    ///
    /// # Panics
    ///
    /// If a request or a background task is still under way then: most likely it does not look at its
    /// `Shutdown`.
    pub async fn shutdown(mut self) {
        let Some(mut running) = self.running.take() else { return };
        let deadline = Instant::now() + DRAIN;
        let (runtime, background) = (Handle::current(), Background::of(&Handle::current()));
        for acceptor in running.acceptors.drain(..) {
            acceptor.close().await;
        }
        running.enter(Phase::Stopping);
        background.shut_down();
        // A test's clients have no last request on the wire: no grace, idle connections are closed now.
        running.enter(Phase::ClosingIdle);
        let drained = async {
            while held(&running) > 0 {
                let released = self.released.notified();
                if held(&running) > 0 {
                    released.await;
                }
            }
            background.idle().await;
        };
        let in_time = timeout_at(deadline, drained).await.is_ok();
        let left = background.left().map_or_else(String::new, |tasks| format!(" and {tasks}"));
        let held = held(&running);
        let plural = if held == 1 { "" } else { "s" };
        running.enter(Phase::Cutting);
        background.cut();
        if let Err(unfinished) = background.clean_up_by(deadline, &runtime).await {
            log::error(format_args!("{unfinished}"));
        }
        Background::forget(&runtime);
        assert!(in_time, "after {DRAIN:?} {held} connection{plural}{left} had to be cut");
    }

    #[cfg(feature = "test-kit")]
    fn target(&self) -> super::client::Target {
        super::client::Target { address: self.address, tls: self.is_secure }
    }

    /// Sends a `GET` request; see [`request`](Self::request).
    ///
    /// # Panics
    ///
    /// If it is not answered to the end.
    #[cfg(feature = "test-kit")]
    pub fn get(&self, path: &str) -> impl Future<Output = crate::Response> + Send + use<> {
        self.request(super::get(path))
    }

    /// Sends a request over a connection of its own, in HTTP/1.1, and returns the response once it has come
    /// to its end. The certificate of a server with TLS is not checked.
    ///
    /// The future borrows nothing: a task can wait for the answer to a long poll while the test shuts the
    /// server down.
    ///
    /// # Panics
    ///
    /// If it is not answered to the end.
    #[cfg(feature = "test-kit")]
    pub fn request(&self, request: crate::Request) -> impl Future<Output = crate::Response> + Send + use<> {
        ask(self.target(), &self.url(), request)
    }

    /// Sends a `GET` request in plain text to a server with TLS and `plain_listen`; see [`request`](Self::request).
    ///
    /// # Panics
    ///
    /// If it is not answered to the end, or if the server listens over TLS alone.
    #[cfg(feature = "test-kit")]
    pub fn get_plain(&self, path: &str) -> impl Future<Output = crate::Response> + Send + use<> {
        self.request_plain(super::get(path))
    }

    /// Sends a request in plain text to a server with TLS and `plain_listen`; see [`request`](Self::request).
    ///
    /// # Panics
    ///
    /// If it is not answered to the end, or if the server listens over TLS alone.
    #[cfg(feature = "test-kit")]
    pub fn request_plain(
        &self,
        request: crate::Request,
    ) -> impl Future<Output = crate::Response> + Send + use<> {
        let (Some(address), Some(url)) = (self.plain, self.plain_url()) else {
            panic!(
                "the server has no endpoint in plain text beside TLS: give it one, `plain_listen = \":80\"`"
            );
        };
        ask(super::client::Target { address, tls: false }, &url, request)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.acceptors.drain(..).for_each(crate::listen::Acceptor::leave);
            running.enter(Phase::Cutting);
        }
    }
}

impl std::fmt::Debug for TestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Listens on a port that the kernel chooses.
fn listen(options: &ServerOptions, is_secure: bool) -> (Vec<Listener>, SocketAddr) {
    let endpoint = Endpoint::Tcp { host: Some("127.0.0.1".to_owned()), port: 0 };
    let name = &options.name;
    let listeners =
        bind(name, &endpoint, &ListenOptions::of(options)).unwrap_or_else(|error| panic!("{error}"));
    let Some(Address::Tcp(address)) = listeners.first().map(|listener| listener.local.clone()) else {
        panic!("server `{name}`: 127.0.0.1 has no TCP");
    };
    (listeners.into_iter().map(|listener| Listener { is_secure, ..listener }).collect(), address)
}

/// One request over a connection of its own.
#[cfg(feature = "test-kit")]
fn ask(
    target: super::client::Target,
    url: &str,
    request: crate::Request,
) -> impl Future<Output = crate::Response> + Send + use<> {
    let what = format!("{} {url}{}", request.method(), request.uri());
    async move {
        let answered = async { super::client::Connection::open(&target).await?.send(request).await };
        answered.await.unwrap_or_else(|fault| panic!("{what}: {fault}"))
    }
}

fn held(running: &Running) -> usize {
    running.context.permits.held()
}

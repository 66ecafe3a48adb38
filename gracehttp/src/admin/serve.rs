//! The connections of operators: few, short, and none that could hold up another.

use std::fmt;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::admin::events::Feed;
use crate::admin::host::Hosts;
use crate::admin::patience::Patient;
use crate::admin::routes::Routes;
use crate::health::Health;
use crate::lifecycle::{Event, Subscriber};
use crate::socket::{Family, Socket};
use crate::status::Document;

/// How long connections get for a last request after the commit. One may be on the wire.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections there are at once. One more closes the oldest that has no request.
const MOST_CONNECTIONS: usize = 32;

/// How many of them may get events.
const MOST_FEEDS: usize = 8;

/// The least that hyper takes: a larger request head gets 431.
const MOST_HEAD: usize = 8 << 10;

/// How long a client may take for a head, or between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The place where a process answers its operators.
pub(crate) struct Admin {
    routes: Routes,
    feed: Arc<Feed>,
    connections: Mutex<Vec<Connection>>,
    /// Whether the successor answers in place of this process.
    has_left: watch::Sender<bool>,
}

struct Connection {
    task: AbortHandle,
    /// A response is on its way.
    is_busy: Arc<AtomicBool>,
}

impl Admin {
    /// It answers from its first connection on, also while the application starts.
    pub(crate) fn new(health: Arc<Health>, document: Arc<Document>, hosts: Hosts) -> Arc<Self> {
        let feed = Arc::new(Feed::new(document.clone(), MOST_FEEDS));
        let routes = Routes::new(health, document, feed.clone(), hosts);
        let has_left = watch::Sender::new(false);
        Arc::new(Self { routes, feed, connections: Mutex::default(), has_left })
    }

    /// Takes in a connection, on the control runtime.
    pub(crate) fn take_in(self: &Arc<Self>, socket: Socket) {
        let Socket { fd, family, .. } = socket;
        let stream: io::Result<Box<dyn Stream>> = match family {
            Family::Tcp => tcp(fd).map(|stream| Box::new(stream) as _),
            Family::Unix => unix(fd).map(|stream| Box::new(stream) as _),
        };
        // One that the client has reset meanwhile.
        let Ok(stream) = stream else { return };
        let mut connections = self.connections.lock();
        connections.retain(|connection| !connection.task.is_finished());
        if connections.len() >= MOST_CONNECTIONS {
            let idle = |connection: &Connection| !connection.is_busy.load(Ordering::Relaxed);
            // No place for this one if all get an answer.
            let Some(oldest) = connections.iter().position(idle) else { return };
            connections.remove(oldest).task.abort();
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let task =
            tokio::spawn(serve(Arc::downgrade(self), stream, is_busy.clone(), self.has_left.subscribe()));
        connections.push(Connection { task: task.abort_handle(), is_busy });
    }
}

impl Subscriber for Admin {
    fn on_event(&self, event: &Event) {
        match event {
            Event::Committed { .. } => {
                // Clients that come again reach the successor.
                self.has_left.send_replace(true);
                self.feed.leave();
            }
            Event::TookBack { .. } => {
                self.feed.come_back();
                self.has_left.send_replace(false);
            }
            _ => {}
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn tcp(fd: OwnedFd) -> io::Result<TcpStream> {
    TcpStream::from_std(StdTcpStream::from(fd))
}

fn unix(fd: OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(StdUnixStream::from(fd))
}

async fn serve(
    admin: Weak<Admin>,
    stream: Box<dyn Stream>,
    is_busy: Arc<AtomicBool>,
    mut has_left: watch::Receiver<bool>,
) {
    let leaving = has_left.clone();
    let service = service_fn(move |request| {
        let (admin, is_busy, leaving) = (admin.clone(), is_busy.clone(), leaving.clone());
        async move {
            let admin = admin.upgrade().ok_or_else(|| io::Error::other("the process ends"))?;
            let mut response = admin.routes.answer(&request, is_busy).await;
            if *leaving.borrow() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, io::Error>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = pin!(connection);
    let leaves = async move {
        drop(has_left.wait_for(|has_left| *has_left).await);
        tokio::time::sleep(GRACE).await;
    };
    // However it ends, there is no one to tell.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = leaves => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("connections", &self.connections.lock().len()).finish_non_exhaustive()
    }
}

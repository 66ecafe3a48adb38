//! Listeners of the process itself, beside those of its servers: the control socket, the address for operators.
//!
//! In a restart they pass on as those of servers do. They are served on the control runtime.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::accept_errors::{AcceptErrors, Remedy};
use super::bind;
use super::listen_options::ListenOptions;
use super::listener::Listener;
use super::offered::OfferedListeners;
use super::owner::OwnPurpose;
use super::socket_file::unlink_if_ours;
use crate::error::Error;
use crate::lifecycle::{Address, start};
use crate::server::{Endpoint, Mode, SocketAccess};
use crate::socket::{Family, ProxyHeader, Socket, Untaken};
use crate::sys::{self, Accepted};

/// A few operators and scripts connect, not all the world.
const BACKLOG: u32 = 128;

/// If a listener can't be watched, the next attempt comes after this time.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Takes in one accepted connection. It must not block.
type Serve = Arc<dyn Fn(Socket) + Send + Sync>;

/// Where the process itself is to listen.
#[derive(Clone, Debug)]
pub(crate) struct OwnAddress {
    pub(crate) purpose: OwnPurpose,
    pub(crate) endpoint: Endpoint,
    /// Without it the process does not start.
    pub(crate) is_required: bool,
    /// Owner and mode of the file of a Unix socket.
    pub(crate) socket: SocketAccess,
}

impl OwnAddress {
    #[cfg_attr(
        not(any(test, feature = "admin", feature = "cli")),
        expect(dead_code, reason = "there is none then")
    )]
    pub(crate) fn new(purpose: OwnPurpose, endpoint: Endpoint, is_required: bool) -> Self {
        let socket = SocketAccess { mode: Mode::new(0o600), ..SocketAccess::default() };
        Self { purpose, endpoint, is_required, socket }
    }
}

/// All listeners of the process itself.
#[derive(Default)]
pub(crate) struct OwnListeners(Vec<OwnListener>);

/// One of them.
pub(crate) struct OwnListener {
    pub(crate) purpose: OwnPurpose,
    pub(crate) listener: Arc<Listener>,
    /// The successor has it, too.
    claimed: bool,
    serve: Option<Serve>,
    accepting: Option<JoinHandle<()>>,
}

impl OwnListeners {
    /// Opens the listeners of one address, or adopts them.
    pub(crate) fn open(
        &mut self,
        address: &OwnAddress,
        offered: &mut OfferedListeners,
    ) -> Result<Vec<Arc<Listener>>, Error> {
        let OwnAddress { purpose, endpoint, socket, .. } = address;
        let options = ListenOptions {
            backlog: BACKLOG,
            tcp_keepalive: Some(Duration::from_secs(60)),
            nodelay: true,
            access: socket,
        };
        let opened = bind::open(purpose.name(), endpoint, &options, offered)?;
        let opened: Vec<Arc<Listener>> = opened.into_iter().map(Arc::new).collect();
        self.0.extend(opened.iter().map(|listener| OwnListener::new(*purpose, listener.clone())));
        Ok(opened)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OwnListener> {
        self.0.iter()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Accepts the connections that come for one purpose, on the caller's runtime.
    #[cfg_attr(
        not(any(test, feature = "admin", feature = "cli")),
        expect(dead_code, reason = "there is none then")
    )]
    pub(crate) fn serve(&mut self, purpose: OwnPurpose, serve: impl Fn(Socket) + Send + Sync + 'static) {
        let serve: Serve = Arc::new(serve);
        for own in self.0.iter_mut().filter(|own| own.purpose == purpose) {
            own.serve = Some(serve.clone());
            own.accept();
        }
    }

    /// Stops accepting: the successor serves. `is_claimed` says which listeners it has, by their places.
    pub(crate) fn pause(&mut self, is_claimed: impl Fn(usize) -> bool) {
        for (place, own) in self.0.iter_mut().enumerate() {
            own.claimed = is_claimed(place);
            own.stop_accepting();
        }
    }

    /// Accepts again, after the successor has died in standby.
    pub(crate) fn resume(&mut self) {
        self.0.iter_mut().for_each(OwnListener::accept);
    }

    /// Leaves the listeners that the successor has to it, and closes the others.
    pub(crate) fn leave(&mut self) {
        self.0.drain(..).filter(|own| !own.claimed).for_each(|own| own.remove_file());
    }

    /// Closes all of them: no process serves any more.
    pub(crate) fn close(&mut self) {
        self.0.drain(..).for_each(|own| own.remove_file());
    }
}

impl OwnListener {
    fn new(purpose: OwnPurpose, listener: Arc<Listener>) -> Self {
        Self { purpose, listener, claimed: false, serve: None, accepting: None }
    }

    fn accept(&mut self) {
        if let Some(serve) = &self.serve {
            let task = accept_all(self.purpose, self.listener.clone(), serve.clone());
            self.accepting = Some(start(task));
        }
    }

    fn stop_accepting(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }

    fn remove_file(&self) {
        if let Some(file) = &self.listener.socket_file {
            unlink_if_ours(file);
        }
    }
}

impl Drop for OwnListener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

/// Accepts until it is aborted.
async fn accept_all(purpose: OwnPurpose, listener: Arc<Listener>, serve: Serve) {
    let mut errors = AcceptErrors::new(purpose.name(), &listener.local);
    let family = match listener.local {
        Address::Tcp(_) => Family::Tcp,
        Address::Unix(_) => Family::Unix,
    };
    loop {
        let registered = match sys::watch(listener.clone(), Interest::READABLE) {
            Ok(registered) => registered,
            Err(error) => {
                errors.note_unwatched(&error, Instant::now());
                tokio::time::sleep(UNWATCHED).await;
                continue;
            }
        };
        while let Ok(mut ready) = registered.readable().await {
            match ready.try_io(|listener| sys::accept(listener.get_ref().0.as_fd())) {
                Ok(Ok(Accepted { fd, .. })) => {
                    errors.note_accepted();
                    serve(Socket {
                        fd,
                        family,
                        origin: None,
                        listener: None,
                        session: None,
                        proxy_header: ProxyHeader::AsListed,
                        untaken: Untaken::NOTHING,
                    });
                    tokio::task::consume_budget().await;
                }
                Ok(Err(error)) => match errors.note_error(&error, Instant::now()) {
                    Remedy::Next => tokio::task::consume_budget().await,
                    Remedy::Wait(pause) | Remedy::GiveUp(pause) => tokio::time::sleep(pause).await,
                },
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("gracehttp-own-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn control_at(path: &Path) -> OwnAddress {
        let endpoint = Endpoint::Unix(path.to_owned());
        OwnAddress::new(OwnPurpose::Control, endpoint, true)
    }

    /// Whether a connection is taken in: its other end is closed at once.
    async fn is_served(path: PathBuf) -> bool {
        let read = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            stream.read(&mut [0]).ok()
        });
        read.await.unwrap() == Some(0)
    }

    #[tokio::test]
    async fn it_accepts_pauses_resumes_and_removes_its_file() {
        let folder = folder("life");
        let path = folder.join("a.sock");
        let mut own = OwnListeners::default();
        own.open(&control_at(&path), &mut OfferedListeners::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        own.serve(OwnPurpose::Control, drop);
        assert!(is_served(path.clone()).await);
        own.pause(|_| false);
        tokio::task::yield_now().await;
        assert!(!is_served(path.clone()).await);
        own.resume();
        assert!(is_served(path.clone()).await);
        own.close();
        assert!(!path.exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_successor_that_has_it_keeps_its_file_and_messages_name_the_key() {
        let folder = folder("keeps");
        let control = control_at(&folder.join("a.sock"));
        let mut own = OwnListeners::default();
        own.open(&control, &mut OfferedListeners::default()).unwrap();
        let mut second = OwnListeners::default();
        let fault = second.open(&control, &mut OfferedListeners::default());
        let told = fault.unwrap_err().to_string();
        assert!(told.starts_with("the control socket cannot listen on unix:/"), "{told}");
        assert!(told.ends_with("by GRACEHTTP_CONTROL; `off` for none"), "{told}");
        own.pause(|place| place == 0);
        own.leave();
        assert_eq!(own.count(), 0);
        fs::remove_file(folder.join("a.sock")).unwrap();
        fs::remove_dir(&folder).unwrap();
    }
}

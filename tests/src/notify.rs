//! A service manager that only listens: the messages of `sd_notify(3)`, in their order.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::patience::eventually;
use crate::scratch::Scratch;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its lines, such as `READY=1`.
    pub lines: Vec<String>,
    /// How many descriptors came with it.
    pub descriptors: usize,
}

impl Message {
    /// The value of a line of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether it has such a line.
    pub fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|found| found == line)
    }
}

/// What a test has in place of a service manager.
#[derive(Debug)]
pub struct Manager {
    /// The value of `NOTIFY_SOCKET`.
    pub address: String,
    socket: UnixDatagram,
    messages: Arc<Mutex<Vec<Message>>>,
    /// The descriptors that came along, of one that never closes them.
    kept: Option<Arc<Mutex<Vec<OwnedFd>>>>,
}

impl Manager {
    /// One with a socket file, which reads at once.
    pub fn new(scratch: &Scratch) -> Self {
        let manager = Self::that_does_not_read(scratch);
        manager.read();
        manager
    }

    /// One that lets messages wait until [`read`](Self::read).
    pub fn that_does_not_read(scratch: &Scratch) -> Self {
        let path = scratch.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        Self { address: path.display().to_string(), socket, messages: Arc::default(), kept: None }
    }

    /// One that reads, and keeps the descriptors of barriers open.
    pub fn that_keeps_descriptors(scratch: &Scratch) -> Self {
        let manager = Self { kept: Some(Arc::default()), ..Self::that_does_not_read(scratch) };
        manager.read();
        manager
    }

    /// One with an abstract socket.
    pub fn without_file() -> Self {
        let name = format!("gracehttp-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let manager = Self { address: format!("@{name}"), socket, messages: Arc::default(), kept: None };
        manager.read();
        manager
    }

    /// Fills the queue, so that it takes no message until [`read`](Self::read).
    pub fn fill(&self) {
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.set_nonblocking(true).expect("a socket");
        while sender.send_to(b"FILL=1", &self.address).is_ok() {}
    }

    /// Reads all messages from now on, on a thread that ends with the process.
    pub fn read(&self) {
        let socket = self.socket.try_clone().expect("a duplicate");
        let messages = Arc::clone(&self.messages);
        let kept = self.kept.clone();
        std::thread::spawn(move || {
            loop {
                let (message, descriptors) = receive(&socket);
                if let Some(kept) = &kept {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).extend(descriptors);
                }
                if !message.has("FILL=1") {
                    messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                }
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All messages so far.
    pub fn messages(&self) -> Vec<Message> {
        self.lock().clone()
    }

    /// How many there have been: later messages come after this point.
    pub fn end(&self) -> usize {
        self.lock().len()
    }

    /// The place of the first message at or after `start` that `matches`, and the message.
    pub async fn find(
        &self,
        start: usize,
        what: &str,
        matches: impl Fn(&Message) -> bool,
    ) -> (usize, Message) {
        let mut found = None;
        eventually(&format!("the message {what}"), || {
            let messages = self.lock();
            let place = messages.iter().enumerate().skip(start).find(|(_, message)| matches(message));
            found = place.map(|(place, message)| (place, message.clone()));
            found.is_some()
        })
        .await;
        found.expect("found")
    }

    /// The place of the first message at or after `start` with this line, and the message.
    pub async fn line(&self, start: usize, line: &str) -> (usize, Message) {
        self.find(start, line, |message| message.has(line)).await
    }

    /// How many messages with this line come within a time.
    pub async fn count_within(&self, time: Duration, line: &str) -> usize {
        let start = self.end();
        tokio::time::sleep(time).await;
        self.lock().iter().skip(start).filter(|message| message.has(line)).count()
    }
}

/// The next message, and the descriptors that came with it.
fn receive(socket: &UnixDatagram) -> (Message, Vec<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [std::io::IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .expect("a message of at most 4096 bytes");
    let length = received.bytes;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let message =
        Message { lines: text.lines().map(str::to_owned).collect(), descriptors: descriptors.len() };
    (message, descriptors)
}

//! A load generator: one thread, raw sockets, fixed bytes, every answer checked.

use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::bench::answer::Answer;
use crate::bench::bare::gift;
use crate::bench::security::Endpoint;
use crate::bench::socket::{Connection, Got, learn};
use crate::bench::wire::Buffers;

/// How many bytes a download has.
pub const GIFT: usize = 1 << 20;

/// The work of the clients.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// How many connections are open at any time.
    pub connections: usize,
    /// How many requests one write contains.
    pub depth: usize,
    /// Whether each request has a connection of its own, which the server closes.
    pub renews: bool,
    /// The bytes of one request.
    pub request: Vec<u8>,
    /// The body of its answer; `None` means that of `/ping`.
    pub body: Option<Vec<u8>>,
}

/// The result of a load.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Correct answers in time.
    pub answers: u64,
    /// The time.
    pub elapsed: Duration,
    /// Connections with a full TLS handshake; the others have none, or a resumed session.
    pub full_handshakes: u64,
}

impl Traffic {
    /// GETs on `connections` connections that stay open.
    pub fn keep_alive(connections: usize) -> Self {
        let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Self { connections, depth: 1, renews: false, request, body: None }
    }

    /// GETs, `depth` of them in one write.
    pub fn pipelined(connections: usize, depth: usize) -> Self {
        Self { depth, ..Self::keep_alive(connections) }
    }

    /// A GET on a connection of its own, which says `Connection: close`.
    pub fn renewed(connections: usize) -> Self {
        let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec();
        Self { renews: true, request, ..Self::keep_alive(connections) }
    }

    /// POSTs of `length` bytes, which come back.
    pub fn echo(connections: usize, length: usize) -> Self {
        let body = gift(length);
        Self { body: Some(body.clone()), ..Self::post(connections, "/echo", &body) }
    }

    /// POSTs of `length` bytes, which are counted.
    pub fn upload(connections: usize, length: usize) -> Self {
        Self { body: Some(length.to_string().into()), ..Self::post(connections, "/take", &gift(length)) }
    }

    fn post(connections: usize, path: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        Self { request: [head.as_bytes(), body].concat(), ..Self::keep_alive(connections) }
    }

    /// GETs of [`GIFT`] bytes.
    pub fn download(connections: usize) -> Self {
        let request = b"GET /give HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Self { request, body: Some(gift(GIFT)), ..Self::keep_alive(connections) }
    }

    /// The answer that a server gives to this request, if it gives `pong` at `/ping`.
    pub fn learn(&self, endpoint: &Endpoint, pong: &str) -> Result<Answer, String> {
        learn(endpoint, &self.request, self.body.as_deref().unwrap_or(pong.as_bytes()))
    }

    /// Opens its connections. If they stay open, their handshakes are over.
    pub fn open(&self, endpoint: &Endpoint) -> Result<Clients, String> {
        let mut clients = Clients::new()?;
        for _ in 0..self.connections {
            match self.renews {
                true => clients.open(endpoint)?,
                false => clients.shake_hands(endpoint)?,
            }
        }
        Ok(clients)
    }

    /// Sends requests on these connections for `time`. The first wrong answer, refused connection or early end ends it.
    pub fn drive(
        &self,
        clients: Clients,
        endpoint: &Endpoint,
        answer: &Answer,
        time: Duration,
    ) -> Result<Tally, String> {
        self.drive_while(clients, endpoint, answer, |_, elapsed| elapsed < time)
    }

    /// The same until this many answers have come.
    pub fn drive_to(
        &self,
        clients: Clients,
        endpoint: &Endpoint,
        answer: &Answer,
        answers: u64,
    ) -> Result<Tally, String> {
        self.drive_while(clients, endpoint, answer, |came, _| came < answers)
    }

    fn drive_while(
        &self,
        mut clients: Clients,
        endpoint: &Endpoint,
        answer: &Answer,
        goes_on: impl Fn(u64, Duration) -> bool,
    ) -> Result<Tally, String> {
        let requests = self.request.repeat(self.depth);
        let start = Instant::now();
        for key in 0..self.connections {
            clients.ask(key, &requests, self.depth)?;
        }
        let (mut answers, mut full_handshakes) = (0, 0);
        while goes_on(answers, start.elapsed()) {
            for key in clients.ready(Duration::from_secs(5))? {
                let (came, ended) = clients.read(key, answer)?;
                answers += came as u64;
                let owes = clients.connection(key).owed() > 0;
                match (self.renews, ended) {
                    (false, false) if !owes && came > 0 => clients.ask(key, &requests, self.depth)?,
                    (true, true) if !owes => {
                        full_handshakes += u64::from(clients.connection(key).shook_hands_in_full());
                        clients.reopen(key, endpoint)?;
                        clients.ask(key, &requests, self.depth)?;
                    }
                    (_, false) => {}
                    (_, true) => return Err("the server closed a connection".to_owned()),
                }
            }
        }
        match (answers, start.elapsed()) {
            (0, elapsed) => Err(format!("no answer within {elapsed:?}")),
            (_, elapsed) => Ok(Tally { answers, elapsed, full_handshakes }),
        }
    }
}

/// Connections behind one epoll instance, each with a number.
pub struct Clients {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<Event>,
    buffers: Buffers,
}

impl Clients {
    /// No connections yet.
    pub fn new() -> Result<Self, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|errno| format!("epoll: {errno}"))?;
        let events = Vec::with_capacity(256);
        Ok(Self { epoll, connections: Vec::new(), events, buffers: Buffers::default() })
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// One connection.
    pub fn connection(&self, key: usize) -> &Connection {
        &self.connections[key]
    }

    /// Adds a connection.
    pub fn open(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        self.add(Connection::open(endpoint)?)
    }

    /// Adds a connection whose TLS handshake is over.
    pub fn shake_hands(&mut self, endpoint: &Endpoint) -> Result<(), String> {
        self.add(Connection::shake_hands(endpoint)?)
    }

    fn add(&mut self, connection: Connection) -> Result<(), String> {
        self.watch(&connection, self.connections.len())?;
        self.connections.push(connection);
        Ok(())
    }

    /// Replaces a connection.
    pub fn reopen(&mut self, key: usize, endpoint: &Endpoint) -> Result<(), String> {
        let connection = Connection::open(endpoint)?;
        self.watch(&connection, key)?;
        // The old connection's registration ends with its only descriptor.
        self.connections[key] = connection;
        Ok(())
    }

    fn watch(&self, connection: &Connection, key: usize) -> Result<(), String> {
        let added = epoll::add(&self.epoll, connection, data(key), EventFlags::IN);
        added.map_err(|errno| format!("epoll: {errno}"))
    }

    /// Writes `requests` requests in one piece. What the socket has no room for follows while the caller waits for
    /// answers.
    pub fn ask(&mut self, key: usize, bytes: &[u8], requests: usize) -> Result<(), String> {
        self.connections[key].ask(bytes, requests)?;
        if self.connections[key].is_blocked() {
            self.watch_for(key, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    fn flush(&mut self, key: usize) -> Result<(), String> {
        self.connections[key].flush()?;
        if !self.connections[key].is_blocked() {
            self.watch_for(key, EventFlags::IN)?;
        }
        Ok(())
    }

    fn watch_for(&self, key: usize, flags: EventFlags) -> Result<(), String> {
        let modified = epoll::modify(&self.epoll, &self.connections[key], data(key), flags);
        modified.map_err(|errno| format!("epoll: {errno}"))
    }

    /// The connections with something to read; an error if there is none in all that time.
    pub fn ready(&mut self, limit: Duration) -> Result<Vec<usize>, String> {
        let end = Instant::now() + limit;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            let ready = self.ready_within(rest)?;
            if !ready.is_empty() {
                return Ok(ready);
            }
        }
        Err(format!("no answer within {limit:?}"))
    }

    /// The connections with something to read, perhaps none.
    pub fn ready_within(&mut self, limit: Duration) -> Result<Vec<usize>, String> {
        self.events.clear();
        let limit = Timespec::try_from(limit).map_err(|error| error.to_string())?;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(format!("epoll: {errno}")),
        }
        let mut readable = Vec::with_capacity(self.events.len());
        for place in 0..self.events.len() {
            let Event { flags, data } = self.events[place];
            let key = data.u64() as usize;
            if flags.contains(EventFlags::OUT) {
                self.flush(key)?;
            }
            if flags != EventFlags::OUT {
                readable.push(key);
            }
        }
        Ok(readable)
    }

    /// Reads on one connection: returns the number of answers, and whether the server closed it.
    pub fn read(&mut self, key: usize, answer: &Answer) -> Result<(usize, bool), String> {
        Ok(match self.connections[key].read(answer, &mut self.buffers)? {
            Got::Answers(answers) => (answers, false),
            Got::End => (0, true),
        })
    }
}

fn data(key: usize) -> EventData {
    EventData::new_u64(key as u64)
}

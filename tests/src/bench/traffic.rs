//! A load generator: one thread, raw sockets, fixed bytes, every answer checked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::bench::answer::Answer;
use crate::bench::socket::{Connection, Got, learn};

/// The work of the clients.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Its name.
    pub name: &'static str,
    /// How many connections are open at any time.
    pub connections: usize,
    /// How many requests one write contains.
    pub depth: usize,
    /// Whether each request has a connection of its own, which the server closes.
    pub renews: bool,
    /// The bytes of one request.
    pub request: Vec<u8>,
    /// The body of its answer; `None` means the pid of the server.
    pub body: Option<Vec<u8>>,
}

/// The result of a load.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    /// Correct answers in time.
    pub answers: u64,
    /// The time.
    pub elapsed: Duration,
}

impl Traffic {
    /// GETs on `connections` connections that stay open.
    pub fn keep_alive(connections: usize) -> Self {
        let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec();
        Self { name: "keep-alive", connections, depth: 1, renews: false, request, body: None }
    }

    /// GETs, `depth` of them in one write.
    pub fn pipelined(connections: usize, depth: usize) -> Self {
        Self { name: "pipelined", depth, ..Self::keep_alive(connections) }
    }

    /// A GET on a connection of its own, which says `Connection: close`.
    pub fn renewed(connections: usize) -> Self {
        let request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec();
        Self { name: "new-connections", renews: true, request, ..Self::keep_alive(connections) }
    }

    /// POSTs of `length` bytes.
    pub fn echo(connections: usize, length: usize) -> Self {
        let body: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        let head = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), &body].concat();
        Self { name: "post-echo", request, body: Some(body), ..Self::keep_alive(connections) }
    }

    /// The answer that the server `pid` gives to this request.
    pub fn learn(&self, address: SocketAddr, pid: u32) -> Result<Answer, String> {
        let pong = || format!("pong by pid:{pid}").into_bytes();
        learn(address, &self.request, &self.body.clone().unwrap_or_else(pong))
    }

    /// Sends requests for `time`. The first wrong answer, refused connection or early end ends it.
    pub fn drive(&self, address: SocketAddr, answer: &Answer, time: Duration) -> Result<Tally, String> {
        let requests = self.request.repeat(self.depth);
        let mut clients = Clients::new()?;
        for _ in 0..self.connections {
            clients.open(address)?;
        }
        let start = Instant::now();
        for key in 0..self.connections {
            clients.connection(key).ask(&requests, self.depth)?;
        }
        let mut answers = 0;
        while start.elapsed() < time {
            for key in clients.ready(Duration::from_secs(5))? {
                let (came, ended) = clients.read(key, answer)?;
                answers += came as u64;
                let owes = clients.connection(key).owed() > 0;
                match (self.renews, ended) {
                    (false, false) if !owes => clients.connection(key).ask(&requests, self.depth)?,
                    (true, true) if !owes => {
                        clients.reopen(key, address)?;
                        clients.connection(key).ask(&requests, self.depth)?;
                    }
                    (_, false) => {}
                    (_, true) => return Err("the server closed a connection".to_owned()),
                }
            }
        }
        Ok(Tally { answers, elapsed: start.elapsed() })
    }
}

/// Connections behind one epoll instance, each with a number.
pub struct Clients {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    events: Vec<Event>,
    buffer: Vec<u8>,
}

impl Clients {
    /// No connections yet.
    pub fn new() -> Result<Self, String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|errno| format!("epoll: {errno}"))?;
        let events = Vec::with_capacity(256);
        Ok(Self { epoll, connections: Vec::new(), events, buffer: vec![0; 64 << 10] })
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
    pub fn connection(&mut self, key: usize) -> &mut Connection {
        &mut self.connections[key]
    }

    /// Adds a connection.
    pub fn open(&mut self, address: SocketAddr) -> Result<(), String> {
        let connection = Connection::open(address)?;
        self.watch(&connection, self.connections.len())?;
        self.connections.push(connection);
        Ok(())
    }

    /// Replaces a connection.
    pub fn reopen(&mut self, key: usize, address: SocketAddr) -> Result<(), String> {
        let connection = Connection::open(address)?;
        self.watch(&connection, key)?;
        // The old connection's registration ends with its only descriptor.
        self.connections[key] = connection;
        Ok(())
    }

    fn watch(&self, connection: &Connection, key: usize) -> Result<(), String> {
        let added = epoll::add(&self.epoll, connection, EventData::new_u64(key as u64), EventFlags::IN);
        added.map_err(|errno| format!("epoll: {errno}"))
    }

    /// The connections with something to read; an error if there is none in all that time.
    pub fn ready(&mut self, limit: Duration) -> Result<Vec<usize>, String> {
        match self.ready_within(limit)? {
            ready if ready.is_empty() => Err(format!("no answer within {limit:?}")),
            ready => Ok(ready),
        }
    }

    /// The connections with something to read, perhaps none.
    pub fn ready_within(&mut self, limit: Duration) -> Result<Vec<usize>, String> {
        self.events.clear();
        let limit = Timespec::try_from(limit).map_err(|error| error.to_string())?;
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(format!("epoll: {errno}")),
        }
        Ok(self.events.iter().map(|event| event.data.u64() as usize).collect())
    }

    /// Reads on one connection: returns the number of answers, and whether the server closed it.
    pub fn read(&mut self, key: usize, answer: &Answer) -> Result<(usize, bool), String> {
        Ok(match self.connections[key].read(answer, &mut self.buffer)? {
            Got::Answers(answers) => (answers, false),
            Got::End(answers) => (answers, true),
        })
    }
}

//! Many connections that are idle most of the time.

use std::time::{Duration, Instant};

use crate::bench::answer::Answer;
use crate::bench::contestant::Contestant;
use crate::bench::security::Endpoint;
use crate::bench::traffic::{Clients, Traffic};

/// The time limit of every answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How often a paced load sends its due requests.
const TICK: Duration = Duration::from_millis(1);

/// The order in which connections open and send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Each sends its request when it is open, and the next one opens after its answer.
    OneByOne,
    /// All of them open, and then all send a request at once.
    AtOnce,
    /// They open, one after the other, and send nothing after the TLS handshake.
    Silent,
}

/// How to send requests to one server.
#[derive(Debug)]
pub struct Idle {
    endpoint: Endpoint,
    request: Vec<u8>,
    answer: Answer,
}

impl Idle {
    /// Learns the answer of this server's present process.
    pub fn of(contestant: &Contestant) -> Result<Self, String> {
        let traffic = Traffic::keep_alive(1);
        let endpoint = contestant.endpoint.clone();
        let answer = traffic.learn(&endpoint, &contestant.pong())?;
        Ok(Self { endpoint, answer, request: traffic.request })
    }

    /// Opens connections, each of which sends one request, unless they are silent.
    pub fn gather(&self, connections: usize, arrival: Arrival) -> Result<Clients, String> {
        let mut clients = Clients::new()?;
        for key in 0..connections {
            match arrival {
                Arrival::OneByOne => {
                    clients.open(&self.endpoint)?;
                    clients.ask(key, &self.request, 1)?;
                    self.answers(&mut clients, 1)?;
                }
                Arrival::AtOnce | Arrival::Silent => clients.shake_hands(&self.endpoint)?,
            }
        }
        if arrival == Arrival::AtOnce {
            self.ask_all(&mut clients)?;
        }
        Ok(clients)
    }

    /// Sends a request on every connection, and reads every answer.
    pub fn ask_all(&self, clients: &mut Clients) -> Result<(), String> {
        for key in 0..clients.len() {
            clients.ask(key, &self.request, 1)?;
        }
        self.answers(clients, clients.len())
    }

    /// Does this again and again for `time`, and returns the number of requests.
    pub fn keep_asking(&self, clients: &mut Clients, time: Duration) -> Result<u64, String> {
        let start = Instant::now();
        let mut asked = 0;
        while start.elapsed() < time {
            self.ask_all(clients)?;
            asked += clients.len() as u64;
        }
        Ok(asked)
    }

    /// Sends this many requests a second, on the connections in turn, and returns the number of requests.
    pub fn pace(&self, clients: &mut Clients, rate: u32, time: Duration) -> Result<u64, String> {
        let start = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        while start.elapsed() < time {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while asked < due {
                let key = asked as usize % clients.len();
                clients.ask(key, &self.request, 1)?;
                asked += 1;
            }
            let next = Instant::now() + TICK;
            while let Some(rest) = next.checked_duration_since(Instant::now()) {
                answered += self.read_ready(clients, rest)? as u64;
            }
        }
        let missing = (asked - answered) as usize;
        self.answers(clients, missing)?;
        Ok(asked)
    }

    /// Reads this many answers.
    fn answers(&self, clients: &mut Clients, count: usize) -> Result<(), String> {
        let limit = Instant::now() + LIMIT;
        let mut missing = count;
        while missing > 0 {
            missing -= self.read_ready(clients, Duration::from_millis(100))?;
            if Instant::now() > limit {
                return Err(format!("{missing} of {count} answers did not come within {LIMIT:?}"));
            }
        }
        Ok(())
    }

    fn read_ready(&self, clients: &mut Clients, wait: Duration) -> Result<usize, String> {
        let mut answers = 0;
        for key in clients.ready_within(wait)? {
            match clients.read(key, &self.answer)? {
                (count, false) => answers += count,
                (_, true) => return Err("the server closed a connection".to_owned()),
            }
        }
        Ok(answers)
    }
}

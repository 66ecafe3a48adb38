//! One sequence of frames and its expected outcome.

use std::time::Duration;

use tests::Target;
use tests::frames::{ACK, Connection, Frame, GOAWAY, HEADERS, PING, RST_STREAM};

/// A row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The section of RFC 9113, unless the text names another RFC.
    pub(crate) section: &'static str,
    pub(crate) frames: Vec<Frame>,
    pub(crate) expect: Expect,
    /// The outcome over TLS, if it differs.
    pub(crate) over_tls: Option<Expect>,
    pub(crate) then: Then,
    pub(crate) time: Time,
}

/// The server's first reaction to the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// The response to this stream has this status.
    Status(u32, u16),
    /// The server resets the stream with this code.
    Reset(u32, u32),
    /// The server ends the connection with this code.
    Goaway(u32),
    /// The server does none of these.
    Nothing,
}

/// The state of the connection afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Open,
    Closed,
}

/// The time until the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// No time limit has to pass.
    Soon,
    /// `header_read_timeout` has to pass.
    HeadTimeout,
}

/// The time that the table's server allows for a head.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for an immediate event on a busy machine.
const SOON: Duration = Duration::from_secs(20);

const MARKER: &[u8; 8] = b"a marker";

impl Case {
    /// Runs the case on its own connection. An error says what differs.
    pub(crate) async fn run(&self, target: &Target) -> Result<(), String> {
        let expect = match target {
            Target::Tls(_) => self.over_tls.unwrap_or(self.expect),
            _ => self.expect,
        };
        let mut connection = Connection::open(target).await;
        // A server that has already decided reads no further.
        _ = connection.try_send(&self.frames).await;
        let marker = Frame::new(PING, 0, 0, MARKER);
        if expect == Expect::Nothing && self.then == Then::Open {
            _ = connection.try_send(std::slice::from_ref(&marker)).await;
        }
        let limit = match self.time {
            Time::Soon => SOON,
            Time::HeadTimeout => HEAD_TIMEOUT + SOON,
        };
        let seen = soon(limit, Seen::first(&mut connection, expect)).await?;
        if seen.first != expect {
            return Err(format!("{expect:?} was expected: {seen:?}"));
        }
        if self.then == Then::Open && !seen.has_marker {
            _ = connection.try_send(&[marker]).await;
            let more = soon(limit, Seen::until_marker(&mut connection)).await?;
            if !more.has_marker {
                return Err(format!("it should be open: {more:?}"));
            }
        }
        if self.then == Then::Closed && !seen.has_ended {
            soon(limit, connection.until_end()).await?;
        }
        Ok(())
    }
}

async fn soon<T>(limit: Duration, event: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, event).await.map_err(|_| format!("nothing came of it within {limit:?}"))
}

#[derive(Debug)]
struct Seen {
    first: Expect,
    has_marker: bool,
    has_ended: bool,
}

impl Seen {
    /// Reads until the server reacts, the marker comes back, or the connection ends.
    async fn first(connection: &mut Connection, expect: Expect) -> Self {
        loop {
            let seen = Self::more(connection, expect).await;
            // Reactions to streams before the end of the connection do not count against it.
            let is_awaited = !matches!(expect, Expect::Goaway(_)) || matches!(seen.first, Expect::Goaway(_));
            if (seen.first != Expect::Nothing && is_awaited) || seen.has_marker || seen.has_ended {
                return seen;
            }
        }
    }

    async fn until_marker(connection: &mut Connection) -> Self {
        loop {
            let seen = Self::more(connection, Expect::Nothing).await;
            if matches!(seen.first, Expect::Goaway(_)) || seen.has_marker || seen.has_ended {
                return seen;
            }
        }
    }

    async fn more(connection: &mut Connection, expect: Expect) -> Self {
        let frames = connection.try_frames().await.unwrap_or_default();
        // A response may be on its way when the server finds the fault of the connection.
        let is_wanted = |reaction: &Expect| match expect {
            Expect::Goaway(_) => matches!(reaction, Expect::Goaway(_)),
            _ => *reaction == expect,
        };
        let wanted = frames.iter().filter_map(reaction).find(is_wanted);
        Self {
            first: wanted.or_else(|| frames.iter().find_map(reaction)).unwrap_or(Expect::Nothing),
            has_marker: frames.iter().any(|frame| frame.payload == MARKER && frame.flags == ACK),
            has_ended: frames.is_empty(),
        }
    }
}

fn reaction(frame: &Frame) -> Option<Expect> {
    match frame.kind {
        HEADERS => Some(Expect::Status(frame.stream, frame.status()?)),
        RST_STREAM => {
            Some(Expect::Reset(frame.stream, u32::from_be_bytes(frame.payload[..].try_into().ok()?)))
        }
        GOAWAY => frame.goaway().map(|(_, code)| Expect::Goaway(code)),
        _ => None,
    }
}

//! One connection of an attacker, until the server ends it.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use crate::attack::{Addresses, Attacker, Reads, Then, Wire};
use crate::client::Stream;
use crate::{frames, tls};

/// The segments of Ethernet. Those of loopback are 64 KiB, and with them the kernel takes megabytes for a client that
/// reads nothing.
const SEGMENT: u32 = 1448;

/// The receive buffer of a client that reads nothing.
const SMALL_BUFFER: u32 = 4096;

/// How often a client that reads nothing checks for a reset.
const LOOK: Duration = Duration::from_millis(250);

/// The pause between two rounds of a flood: 1 000 of them a second keep any server busy.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(1);

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// The same socket, to check it for errors when the client reads nothing.
    probe: Option<TcpStream>,
}

impl Connection {
    pub(super) async fn open(attacker: &Attacker, addresses: Addresses) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let reads_nothing = attacker.reads == Reads::Nothing;
        if reads_nothing {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
            SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
        }
        let address = if attacker.wire == Wire::Plain { addresses.plain } else { addresses.tls };
        let tcp = socket.connect(address).await?;
        tcp.set_nodelay(true)?;
        let probe = if reads_nothing { Some(second_handle(&tcp)?) } else { None };
        let stream: Box<dyn Stream> = match attacker.wire {
            Wire::Plain | Wire::UnderTls => Box::new(tcp),
            Wire::Tls(protocol) => {
                let name = "localhost".try_into().expect("a name");
                Box::new(tls::connector(&[protocol]).connect(name, tcp).await?)
            }
        };
        Ok(Self { stream, probe })
    }

    /// Performs the attack until the server ends the connection.
    pub(super) async fn hold(self, attacker: &Attacker) {
        let (reader, mut writer) = tokio::io::split(self.stream);
        if attacker.reads == Reads::AnswersFrames {
            if writer.write_all(&attacker.opening).await.is_ok() {
                frames::Connection::over(reader.unsplit(writer)).until_end().await;
            }
            return;
        }
        tokio::select! {
            _ = write(writer, attacker) => (),
            () = ended(reader, self.probe) => (),
        }
    }
}

/// A duplicate of the socket, with a descriptor of its own.
fn second_handle(tcp: &TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(tcp).try_clone()?;
    TcpStream::from_std(socket.into())
}

/// Writes until a write fails.
async fn write(mut writer: WriteHalf<Box<dyn Stream>>, attacker: &Attacker) -> io::Result<()> {
    writer.write_all(&attacker.opening).await?;
    writer.flush().await?;
    let (bytes, pause) = match attacker.then {
        Then::Waits => return std::future::pending().await,
        Then::Drips(bytes) => (bytes, Duration::from_secs(1)),
        Then::Floods(bytes) => (bytes, BETWEEN_ROUNDS),
    };
    for round in 0.. {
        tokio::time::sleep(pause).await;
        writer.write_all(&bytes(round)).await?;
        writer.flush().await?;
    }
    Ok(())
}

/// Waits for any end of the connection.
async fn ended(mut reader: ReadHalf<Box<dyn Stream>>, probe: Option<TcpStream>) {
    match probe {
        None => {
            let mut bytes = [0; 4096];
            while reader.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        }
        Some(probe) => {
            // The check fails if the socket has an error, that is a reset.
            while matches!(probe.take_error(), Ok(None)) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

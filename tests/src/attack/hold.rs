//! One connection of an attacker, until the server ends it.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};

use crate::attack::{Attacker, Doors, Reads, Then, Wire};
use crate::client::Stream;
use crate::{frames, tls};

/// The segments of Ethernet. Those of loopback are 64 KiB, and let the kernel take megabytes for a client that reads
/// nothing.
const SEGMENT: u32 = 1448;

/// What a client that reads nothing has room for.
const SMALL_BUFFER: u32 = 4096;

/// How often a client that reads nothing looks whether it was reset.
const LOOK: Duration = Duration::from_millis(250);

/// Between two rounds of a flood: 1 000 of them a second keep any server busy.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(1);

/// A connection.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// The same socket, to ask after its errors, where nothing is read.
    probe: Option<TcpStream>,
}

impl Connection {
    pub(super) async fn open(attacker: &Attacker, doors: Doors) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let reads_nothing = attacker.reads == Reads::Nothing;
        if reads_nothing {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
            SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
        }
        let address = if attacker.wire == Wire::Plain { doors.plain } else { doors.tls };
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

    /// Does what the attacker does until the server has had enough.
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

/// The socket once more, with a descriptor of its own.
fn second_handle(tcp: &TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(tcp).try_clone()?;
    TcpStream::from_std(socket.into())
}

/// Writes, for ever, unless that fails.
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

/// Awaits the end of the connection, by whatever means.
async fn ended(mut reader: ReadHalf<Box<dyn Stream>>, probe: Option<TcpStream>) {
    match probe {
        None => {
            let mut bytes = [0; 4096];
            while reader.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        }
        Some(probe) => {
            // A look fails where the socket has an error, that of a reset.
            while matches!(probe.take_error(), Ok(None)) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

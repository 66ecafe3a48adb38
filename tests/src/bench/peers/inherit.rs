//! A restart written by hand: the successor gets the listener as its standard input, and reports on its standard
//! output that it is ready.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;

use crate::bench::security::scheme;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpSocket;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The variable that marks a successor.
const INHERITS: &str = "RESTARTS_INHERITS";

/// The length of the accept queue, gracehttp's default.
pub(super) const BACKLOG: u32 = 4096;

/// Tells the benchmark where this process listens, and how.
pub(super) fn banner(address: SocketAddr) -> String {
    format!("serving ping on {}://{address} (pid {})", scheme(), std::process::id())
}

/// The state that passes from process to process.
pub(super) struct Inheritance {
    listener: TcpListener,
    restarts: Signal,
}

impl Inheritance {
    /// The predecessor's listener, or a new one. The caller must be within a runtime.
    pub(super) fn take() -> io::Result<Self> {
        // This comes first: a signal may come as soon as another process knows that this one is ready.
        let restarts = signal(SignalKind::user_defined2())?;
        let listener = match std::env::var_os(INHERITS) {
            Some(_) => TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?),
            None => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
                socket.listen(BACKLOG)?.into_std()?
            }
        };
        listener.set_nonblocking(true)?;
        Ok(Self { listener, restarts })
    }

    /// The listener, to accept from.
    pub(super) fn listener(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.listener.try_clone()?)
    }

    /// Reports that this process serves: to its predecessor, and in the words that the benchmark expects.
    pub(super) fn announce(&self) -> io::Result<()> {
        eprintln!("{}", banner(self.listener.local_addr()?));
        // Without a predecessor, no process reads this.
        let mut stdout = io::stdout();
        _ = writeln!(stdout, "ready").and_then(|()| stdout.flush());
        Ok(())
    }

    /// Resolves after a signal, when the successor that it started is ready.
    pub(super) async fn replaced(mut self) {
        while self.restarts.recv().await.is_some() {
            match self.start_successor().await {
                Ok(pid) => {
                    eprintln!("start new process success, pid {pid}.");
                    return;
                }
                Err(error) => eprintln!("start new process failed: {error}"),
            }
        }
    }

    async fn start_successor(&self) -> io::Result<u32> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(INHERITS, "1")
            .stdin(Stdio::from(OwnedFd::from(self.listener.try_clone()?)))
            .stdout(Stdio::piped())
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.trim() == "ready" { Ok(pid) } else { Err(io::Error::other("it ended before it was ready")) }
    }
}

//! The control socket in a process that serves. It runs on the control runtime.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::control::progress::{Progress, Step, Subject};
use crate::control::protocol::{Command, MAX_REQUEST, error, replaced, reply};
use crate::error::Error;
use crate::lifecycle::{
    CertificateReload, CertificateReloader, Outcome, Request, Requester, RestartReceipt, Trigger, generation,
};
use crate::log;
use crate::status::{Document, Observed, with_text};
use crate::sys::{Presence, Probe};

/// The most clients at once. One more takes the place of the oldest one that has no request under way.
const MOST_CLIENTS: usize = 32;

/// The connection of a client that sends no request for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// The connection of a client that does not read for so long is closed.
const UNREAD: Duration = Duration::from_secs(5);

/// How long the end of the process waits for what clients are still to be told.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The pause between two looks for the receipt of an earlier generation.
const RECEIPT_CHECK: Duration = Duration::from_millis(100);

/// The pause between two looks whether a client that waits is still there. A client that is gone frees its place.
const PRESENCE_CHECK: Duration = Duration::from_millis(500);

/// The answer where there are no files to read: without TLS, or if an authority issues all certificates.
const NO_FILES: &str = "no server has certificates in files: there is nothing to read";

/// What clients can ask for, and ask of.
pub(crate) struct Control {
    document: Arc<Document>,
    observed: Arc<Observed>,
    requester: Requester,
    progress: Arc<Progress>,
    reopen: Reopen,
    /// `None` if no server has certificates, or an authority renews all of them.
    certificates: Option<CertificateReloader>,
    clients: Mutex<Vec<Client>>,
}

/// Opens the log files anew, and says how many.
pub(crate) type Reopen =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<usize, Error>> + Send>> + Send + Sync>;

/// One connection.
struct Client {
    task: JoinHandle<()>,
    /// A request of it is being met.
    is_busy: Arc<AtomicBool>,
}

impl Control {
    /// `progress` has to be a subscriber of the process's events.
    pub(crate) fn new(
        document: Arc<Document>,
        observed: Arc<Observed>,
        requester: Requester,
        progress: Arc<Progress>,
        reopen: Reopen,
        certificates: Option<CertificateReloader>,
    ) -> Arc<Self> {
        let clients = Mutex::default();
        Arc::new(Self { document, observed, requester, progress, reopen, certificates, clients })
    }

    /// Takes in a connection. It has to be called on the control runtime.
    pub(crate) fn take_in(self: &Arc<Self>, fd: OwnedFd) {
        // A socket that the runtime can't take is closed.
        let Ok(stream) = UnixStream::from_std(fd.into()) else { return };
        let mut clients = self.clients.lock();
        clients.retain(|client| !client.task.is_finished());
        if clients.len() >= MOST_CLIENTS {
            let idle = clients.iter().position(|client| !client.is_busy.load(Ordering::Relaxed));
            let Some(idle) = idle else {
                let line = format!("{}\n", error("too many clients wait for this process: try again later"));
                // The socket is new, so the line has room.
                let _ = stream.try_write(line.as_bytes());
                return;
            };
            clients.remove(idle).task.abort();
        }
        let is_busy = Arc::new(AtomicBool::new(false));
        let conversation = Conversation::new(self.clone(), stream, is_busy.clone());
        let task = tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = conversation.hold().await;
        });
        clients.push(Client { task, is_busy });
    }

    /// The receipt of the restart of an earlier generation. It comes when that process has drained.
    async fn receipt_of(&self, wanted: u64) -> Option<Arc<RestartReceipt>> {
        loop {
            let may_come = self.observed.has_predecessor();
            match self.observed.last_receipt_of(wanted) {
                // A failure may not be the last word: this process lives, so a later restart of that generation has
                // succeeded, unless the supervisor has started this process.
                Some(receipt) if receipt.outcome == Outcome::Succeeded || !may_come => return Some(receipt),
                None if !may_come => return None,
                _ => sleep(RECEIPT_CHECK).await,
            }
        }
    }

    /// Has all certificates read again, and says what became of each.
    async fn reload_certificates(&self) -> Value {
        let Some(reloader) = &self.certificates else {
            return error(NO_FILES);
        };
        let Some(outcomes) = reloader.ask().await else {
            return error("the certificates are not looked after any more: restart");
        };
        if outcomes.is_empty() {
            return error(NO_FILES);
        }
        let is_ok = |reload: &CertificateReload| reload.outcome.fault().is_none();
        let shown = outcomes.iter().map(|reload| {
            json!({
                "server": reload.server,
                "certificate": reload.certificate,
                "outcome": reload.outcome.name(),
                "ok": is_ok(reload),
                "text": reload.to_string(),
            })
        });
        reply("done", json!({ "ok": outcomes.iter().all(is_ok), "certificates": shown.collect::<Vec<_>>() }))
    }

    /// Lets clients hear the last that they wait for. The process ends afterwards.
    pub(crate) async fn finish(&self) {
        let clients = std::mem::take(&mut *self.clients.lock());
        let busy = clients.into_iter().filter(|client| client.is_busy.load(Ordering::Relaxed));
        let last_words = async {
            for client in busy {
                let _ = client.task.await;
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }
}

/// The conversation with one client.
struct Conversation {
    control: Arc<Control>,
    from_client: BufReader<OwnedReadHalf>,
    to_client: OwnedWriteHalf,
    is_busy: Arc<AtomicBool>,
}

impl Conversation {
    fn new(control: Arc<Control>, stream: UnixStream, is_busy: Arc<AtomicBool>) -> Self {
        let (from_client, to_client) = stream.into_split();
        Self { control, from_client: BufReader::with_capacity(MAX_REQUEST, from_client), to_client, is_busy }
    }

    /// Meets requests until the client leaves or says nothing any more.
    async fn hold(mut self) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            let most = MAX_REQUEST as u64 + 1;
            match timeout(IDLE, (&mut self.from_client).take(most).read_until(b'\n', &mut line)).await {
                Err(_silence) => return Ok(()),
                Ok(read) => _ = read?,
            }
            if line.is_empty() {
                return Ok(());
            }
            if line.len() > MAX_REQUEST {
                let reason = format!("the request is longer than {MAX_REQUEST} bytes");
                return self.send(&error(&reason)).await;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.is_busy.store(true, Ordering::Relaxed);
            match Command::read(&line) {
                Ok(command) => self.meet(command).await?,
                Err(reason) => self.send(&error(&reason)).await?,
            }
            self.is_busy.store(false, Ordering::Relaxed);
        }
    }

    async fn meet(&mut self, command: Command) -> io::Result<()> {
        if command.changes_service() && self.control.progress.is_replaced() {
            return self.send(&replaced()).await;
        }
        match command {
            Command::Status => {
                let status = serde_json::to_value(self.control.document.checked().await)?;
                self.send(&reply("status", json!({ "status": status }))).await
            }
            Command::Restart { wait } => {
                let Some((number, steps, is_new)) = self.control.progress.ask_restart() else {
                    return self.send(&error("there is no restart: this process is stopping")).await;
                };
                if is_new {
                    self.control.requester.ask(Request::Restart(Trigger::Command));
                }
                self.accept().await?;
                if wait { self.follow(Subject::Restart(number), steps).await } else { Ok(()) }
            }
            Command::Rehearse => {
                let Some((number, steps, is_new)) = self.control.progress.ask_rehearsal() else {
                    return self.send(&error("there is no rehearsal: this process is stopping")).await;
                };
                if is_new {
                    self.control.requester.ask(Request::Rehearse(Trigger::Command));
                }
                self.accept().await?;
                self.follow(Subject::Rehearsal(number), steps).await
            }
            Command::ReloadCerts => {
                let done = self.control.reload_certificates().await;
                self.send(&done).await
            }
            Command::Stop { wait } => self.stop(Trigger::Command, wait).await,
            Command::Drain { wait } => self.stop(Trigger::Drain, wait).await,
            Command::ReopenLogs => {
                self.accept().await?;
                let done = match (self.control.reopen)().await {
                    Ok(files) => json!({ "ok": true, "text": reopened(files) }),
                    Err(error) => json!({ "ok": false, "error": error.to_string() }),
                };
                self.send(&reply("done", done)).await
            }
            Command::Logs { minutes } => {
                for message in log::history(minutes.map(|minutes| Duration::from_secs(minutes * 60))) {
                    self.send(&reply("message", serde_json::to_value(message)?)).await?;
                }
                self.send(&reply("end", json!({}))).await
            }
            Command::Follow { generation: wanted } => self.follow_generation(wanted).await,
        }
    }

    async fn stop(&mut self, trigger: Trigger, wait: bool) -> io::Result<()> {
        let steps = self.control.progress.follow_stop();
        self.control.requester.ask(Request::Stop(trigger));
        self.accept().await?;
        if wait { self.follow(Subject::Stop, steps).await } else { Ok(()) }
    }

    /// Tells of the restart of one generation, which need not be this one.
    async fn follow_generation(&mut self, wanted: u64) -> io::Result<()> {
        let own = generation();
        if wanted == own {
            let (number, steps) = self.control.progress.follow_restart();
            self.accept().await?;
            return self.follow(Subject::Restart(number), steps).await;
        }
        let done = match wanted < own {
            true => {
                self.accept().await?;
                earlier_restart(wanted, own, self.control.receipt_of(wanted).await.as_deref())
            }
            false => json!({
                "ok": false,
                "error": format!("generation {own} serves, and generation {wanted} does not live"),
            }),
        };
        self.send(&reply("done", done)).await
    }

    async fn accept(&mut self) -> io::Result<()> {
        self.send(&reply("accepted", json!({ "pid": std::process::id(), "generation": generation() }))).await
    }

    /// Sends the steps of a subject up to the last, unless the client leaves.
    async fn follow(&mut self, subject: Subject, mut steps: Receiver<Step>) -> io::Result<()> {
        loop {
            let step = tokio::select! {
                step = steps.recv() => step,
                () = self.departure() => return Ok(()),
            };
            match step {
                Ok(step) if subject.concerns(&step) => {
                    self.send(&step.line).await?;
                    if step.is_last {
                        return Ok(());
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => self.send(&reply("lost", json!({ "lines": lost }))).await?,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Waits until the client is gone. One that only sends no more may wait for replies.
    async fn departure(&self) {
        let probe = Probe::of(self.to_client.as_ref().as_fd());
        while probe.presence() != Presence::Gone {
            sleep(PRESENCE_CHECK).await;
        }
    }

    async fn send(&mut self, line: &Value) -> io::Result<()> {
        let line = format!("{line}\n");
        timeout(UNREAD, self.to_client.write_all(line.as_bytes())).await.map_err(io::Error::from)?
    }
}

fn reopened(files: usize) -> String {
    match files {
        0 => "no server keeps an access log".to_owned(),
        1 => "the access log was opened anew".to_owned(),
        _ => format!("the {files} access logs were opened anew"),
    }
}

/// The end of the restart of an earlier generation than our own.
fn earlier_restart(wanted: u64, own: u64, receipt: Option<&RestartReceipt>) -> Value {
    let Some(receipt) = receipt else {
        let error = format!(
            "how the restart of generation {wanted} ended is not known here: it has left no receipt; generation {own} \
             serves"
        );
        return json!({ "ok": false, "error": error, "generation": own });
    };
    let shown = with_text(receipt);
    match receipt.outcome {
        Outcome::Succeeded => json!({
            "ok": true,
            "text": format!("generation {wanted} has restarted, and generation {own} serves; {receipt}"),
            "generation": own,
            "receipt": shown,
        }),
        _ => json!({
            "ok": false,
            "error": receipt.reason.as_deref().unwrap_or("it has failed"),
            "generation": own,
            "receipt": shown,
        }),
    }
}

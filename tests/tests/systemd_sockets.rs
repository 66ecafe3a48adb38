//! Under a real systemd: sockets that it opens, of every kind, through all that happens to a service.

use std::net::TcpListener;

use tests::client::get_once;
use tests::load::Style;
use tests::patience::eventually;
use tests::process::ipv6;
use tests::systemd::{OFF, pid, reloads, unit};
use tests::{Kind, Load, Systemd, Target};

/// A port that is free now.
fn free(host: &str) -> u16 {
    TcpListener::bind((host, 0)).expect("a free port").local_addr().expect("bound").port()
}

/// A service whose sockets systemd has opened: `web` has one of each family, the operators have their own.
struct Activated {
    systemd: Systemd,
    tcp: Target,
    /// All addresses of `web`.
    web: Vec<Target>,
    admin: Target,
}

/// A socket unit of `app.service`.
fn socket(name: &str, listen: &[String]) -> String {
    let listen: String = listen.iter().map(|address| format!("ListenStream={address}\n")).collect();
    format!("[Socket]\n{listen}FileDescriptorName={name}\nService=app.service\n")
}

impl Activated {
    async fn boot(more: &str) -> Option<Self> {
        let (port, admin) = (free("127.0.0.1"), free("127.0.0.1"));
        let mut listen = vec![format!("127.0.0.1:{port}"), "{at}/web.sock".to_owned()];
        if ipv6() {
            listen.push(format!("[::1]:{}", free("::1")));
        }
        let own = "Environment=GRACEHTTP_ADMIN=systemd:admin GRACEHTTP_CONTROL=unix:{at}/control.sock";
        let systemd = Systemd::boot(&[
            ("app.service", &unit(&format!("{own}\n{more}"))),
            ("app.socket", &socket("web", &listen)),
            ("app-admin.socket", &socket("admin", &[format!("127.0.0.1:{admin}")])),
            ("app-control.socket", &socket("control", &["{at}/control.sock".to_owned()])),
        ])
        .await?;
        systemd.write("plan", "server web systemd:web");
        systemd.succeeds(&["start", "app.socket", "app-admin.socket", "app-control.socket"]);
        let plain = |address: &str| Target::Plain(address.parse().expect("an address"));
        let web = listen.iter().map(|address| match address.strip_prefix("{at}/") {
            Some(name) => Target::Unix(systemd.join(name)),
            None => plain(address),
        });
        let (web, admin) = (web.collect(), plain(&format!("127.0.0.1:{admin}")));
        Some(Self { tcp: plain(&format!("127.0.0.1:{port}")), web, admin, systemd })
    }

    /// The process that answers, which has to be the same at all addresses.
    async fn serves(&self) -> u32 {
        let first = pid(&self.tcp).await;
        for target in &self.web {
            assert_eq!(pid(target).await, first, "{target:?}\n{}", self.systemd.journal());
        }
        assert_eq!(get_once(&self.admin, "/readyz").await.expect("an answer").status, 200);
        first
    }

    /// Waits until another process answers. Clients may be cut until then, and are never refused.
    async fn another_serves(&self, than: u32) -> u32 {
        loop {
            match get_once(&self.tcp, "/ping").await {
                Ok(reply) if reply.pid() != Some(than) => return self.serves().await,
                Ok(_) => {}
                Err(failure) => assert_ne!(failure.kind, Kind::Refused, "{failure}"),
            }
        }
    }
}

#[tokio::test]
async fn the_first_client_starts_a_service_whose_sockets_survive_reloads_unnoticed() {
    for more in ["", OFF] {
        let Some(service) = Activated::boot(more).await else { return };
        let first = service.serves().await;
        let load = Load::on(&service.tcp).clients(2, Style::Get).clients(2, Style::Fresh);
        for _ in 0..reloads() {
            let before = service.serves().await;
            service.systemd.reload().await;
            load.answers(5).await;
            assert_ne!(service.serves().await, before);
        }
        assert_ne!(service.serves().await, first);
        load.stop().await.assert_unnoticed();
        assert!(service.systemd.is_untouched());
        let sockets = ["app.socket", "app-admin.socket", "app-control.socket"];
        assert!(sockets.iter().all(|socket| service.systemd.property(socket, "ActiveState") == "active"));
    }
}

/// The sockets stay open, and clients wait in their queues until the service runs again.
#[tokio::test]
async fn a_stop_and_a_start_lose_no_client() {
    for more in ["", OFF] {
        let Some(service) = Activated::boot(more).await else { return };
        service.serves().await;
        service.systemd.reload().await;
        let load = Load::on(&service.tcp).clients(3, Style::Fresh);
        load.answers(10).await;
        for _ in 0..2 {
            let before = service.serves().await;
            let output = service.systemd.finish(&["restart", "app.service"]).await;
            assert!(output.status.success(), "{output:?}");
            assert_ne!(service.serves().await, before);
        }
        // The last answers of a process say that it closes, and that is all that clients see.
        load.stop().await.assert_lossless();
        let before = service.serves().await;
        service.systemd.succeeds(&["stop", "app.service"]);
        assert_eq!(service.systemd.property("app", "ActiveState"), "inactive");
        assert_eq!(service.systemd.property("app.socket", "ActiveState"), "active");
        assert!(service.systemd.join("web.sock").exists() && service.systemd.join("control.sock").exists());
        // The next client starts it.
        assert_ne!(service.serves().await, before);
    }
}

#[tokio::test]
async fn sockets_survive_failed_restarts_and_crashes() {
    for more in ["", OFF] {
        let Some(service) = Activated::boot(more).await else { return };
        let first = service.serves().await;
        service.systemd.write("plan", "server web systemd:web\nstart refuse no database");
        assert!(!service.systemd.finish(&["reload", "app"]).await.status.success());
        assert_eq!(service.serves().await, first);
        service.systemd.write("plan", "server web systemd:web");
        service.systemd.reload().await;
        let mut generation = service.serves().await;
        for _ in 0..2 {
            service.systemd.kill("-KILL", generation);
            let next = service.another_serves(generation).await;
            assert_ne!(next, generation);
            generation = next;
        }
        service.systemd.reload().await;
        assert_ne!(service.serves().await, generation);
        if more.is_empty() {
            assert!(service.systemd.is_untouched(), "the supervisor has started the generations");
        }
        service.systemd.stop();
    }
}

#[tokio::test]
async fn sockets_survive_a_successor_that_dies_in_standby() {
    for more in ["", OFF] {
        let standby = "Environment=GRACEHTTP_STANDBY=20s\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID";
        let Some(service) = Activated::boot(&format!("{more}\n{standby}")).await else { return };
        let first = service.serves().await;
        for _ in 0..2 {
            service.systemd.reload().await;
            let successor = service.another_serves(first).await;
            service.systemd.kill("-KILL", successor);
            assert_eq!(service.another_serves(successor).await, first);
        }
        assert!(service.systemd.is_untouched());
        service.systemd.stop();
    }
}

/// They are faults of the unit, which the journal names.
#[tokio::test]
async fn sockets_of_another_kind_are_refused_with_the_reason() {
    let wrong = [
        ("app", "ListenDatagram={at}/a.sock", "it is a datagram socket"),
        ("app", "ListenSequentialPacket={at}/a.sock", "it is not a stream socket (`ListenStream=`)"),
        ("app", "ListenFIFO={at}/a.fifo", "the descriptor is not a socket"),
        ("app", "ListenStream={at}/a.sock\nFileDescriptorName=other", "those that were are `systemd:other`"),
        ("app@", "ListenStream={at}/a.sock\nAccept=yes", "with `Accept=yes` systemd passes connections"),
    ];
    let unit = unit("Restart=no");
    for (service, lines, words) in wrong {
        let socket = match lines.contains("FileDescriptorName") {
            true => format!("[Socket]\n{lines}\n"),
            false => format!("[Socket]\n{lines}\nFileDescriptorName=web\n"),
        };
        let service = format!("{service}.service");
        let units = [(service.as_str(), unit.as_str()), ("app.socket", socket.as_str())];
        let Some(systemd) = Systemd::boot(&units).await else { return };
        // The name of a connection depends on the version of systemd.
        let endpoint = if service.contains('@') { "fd:3" } else { "systemd:web" };
        systemd.write("plan", &format!("server web {endpoint}"));
        systemd.succeeds(&["start", "app.socket"]);
        if service.contains('@') {
            let _connection =
                std::os::unix::net::UnixStream::connect(systemd.join("a.sock")).expect("systemd");
            let journal = || {
                let output = systemd.run(&["journalctl", "--no-pager"]);
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            eventually(words, || journal().contains(words)).await;
        } else {
            assert!(!systemd.systemctl(&["start", "app.service"]).status.success());
            eventually(words, || systemd.journal().contains(words)).await;
            assert_eq!(systemd.property("app", "Result"), "exit-code");
        }
    }
}

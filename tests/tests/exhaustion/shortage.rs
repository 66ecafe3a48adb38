//! The kernel refuses a call for a moment, or watches no more descriptors.

use super::*;

/// The kernel runs out of a resource for single messages of the handoff, for the first message and for those with
/// connections: gracehttp repeats them.
#[tokio::test]
async fn a_kernel_shortage_during_the_handoff_loses_neither_the_restart_nor_a_client() {
    kernel_shortage_loses_nothing(WEB).await;
}

#[tokio::test]
async fn a_kernel_shortage_during_the_handoff_loses_no_tls_client() {
    kernel_shortage_loses_nothing(&format!("{WEB} tls=self_signed")).await;
}

async fn kernel_shortage_loses_nothing(plan: &str) {
    if !tool("strace") {
        return;
    }
    let of_predecessor = [
        "sendmsg:error=ENOBUFS:when=1..3",
        "sendmsg:error=ETOOMANYREFS:when=5..9",
        "recvmsg:error=ENOMEM:when=1+2",
    ];
    for fault in of_predecessor {
        let stage = Stage::new(plan).await;
        let old = stage.app.current();
        let _faults = Strace::on(&old, fault).await;
        stage.restarts_unnoticed(&old, fault).await;
    }
    for fault in ["recvmsg:error=ENOMEM:when=1+2", "sendmsg:error=ENOBUFS:when=1+2"] {
        let stage = Stage::new(plan).await;
        let call = &fault[..7];
        stage
            .next_starts_by(&format!("exec strace -D -f -qq -o /dev/null -e trace={call} -e inject={fault}"));
        stage.restarts_unnoticed(&stage.app.current(), fault).await;
    }
}

/// Every second write to the socket fails for want of memory. No client gets an answer twice, or for the answer to its
/// next request.
#[tokio::test]
async fn a_write_that_the_kernel_refuses_repeats_no_answer_over_tls() {
    shortage_costs_no_answer(&format!("{WEB} tls=self_signed"), "sendto:error=ENOBUFS:when=1+2").await;
}

/// The same for reads, for signals that interrupt, and for other rhythms.
#[tokio::test]
async fn a_call_that_the_kernel_refuses_for_a_moment_costs_no_answer() {
    for plan in [WEB, &format!("{WEB} tls=self_signed")] {
        for call in ["sendto", "recvfrom"] {
            for fault in ["ENOBUFS:when=2+3", "ENOMEM:when=1+2", "EINTR:when=1+2"] {
                shortage_costs_no_answer(plan, &format!("{call}:error={fault}")).await;
            }
        }
    }
}

async fn shortage_costs_no_answer(plan: &str, fault: &str) {
    if !tool("strace") {
        return;
    }
    let stage = Stage::new(plan).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(&stage.target).await.expect("a connection"));
    }
    let _faults = Strace::on(&stage.app.current(), fault).await;
    for (client, connection) in clients.iter_mut().zip(0..) {
        for request in 0..5 {
            let number = (10 * connection + request).to_string();
            let reply = client.get(&format!("/numbered?number={number}")).await;
            let reply = reply.unwrap_or_else(|failure| panic!("{fault}: {failure}"));
            assert_eq!((reply.header("number"), reply.closes()), (Some(&*number), false), "{fault}");
        }
    }
}

/// The kernel watches no more descriptors (`fs.epoll.max_user_watches`): connections are served all the same, only later.
#[tokio::test]
async fn connections_that_the_kernel_does_not_watch_are_served() {
    for tls in ["", " tls=self_signed"] {
        unwatched_connections_are_served(&format!(
            "{WEB} header_read_timeout=4000ms idle_timeout=4000ms{tls}"
        ))
        .await;
    }
}

async fn unwatched_connections_are_served(plan: &str) {
    if !tool("cc") {
        return;
    }
    let scratch = Scratch::new();
    let (source, library) = (scratch.write("watches.c", WATCHES), scratch.join("watches.so"));
    let cc = ["-shared", "-fPIC", "-O1", "-o"].map(std::ffi::OsStr::new);
    run("cc", &[&cc[..], &[library.as_os_str(), source.as_os_str(), "-ldl".as_ref()]].concat());
    let stage = Stage::with(plan, |launch| launch.env("LD_PRELOAD", &library)).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(&stage.target).await.expect("a connection"));
    }
    for round in 0..3 {
        for (client, number) in clients.iter_mut().zip(0..) {
            let number = (10 * number + round).to_string();
            let reply = client.get(&format!("/numbered?number={number}")).await.expect("an answer");
            assert_eq!((reply.header("number"), reply.closes()), (Some(&*number), false));
        }
        let big = clients[round].get("/big?bytes=3000000").await.expect("an answer");
        assert_eq!(big.body.len(), 3_000_000);
    }
    let before = stage.app.current().cpu();
    for client in &mut clients {
        assert_eq!(client.pause(Duration::from_millis(100)).await, Pause::Open);
    }
    println!("{:?} of CPU in 2 s for 20 silent connections", stage.app.current().cpu() - before);
    let load =
        Load::on(&stage.target).clients(4, Style::Get).clients(2, Style::Post).clients(2, Style::Fresh);
    load.answers(20).await;
    let old = stage.app.current();
    stage.restart().await;
    load.answers(20).await;
    load.stop().await.assert_unnoticed();
    assert_eq!(old.exit().await, Exit::Code(0), "{}", stage.app.log);
    assert_eq!(stage.app.log.count(0, "ERROR"), 0, "{}", stage.app.log);
    assert_eq!(stage.app.stop().await, Exit::Code(0));
}

/// Refuses to watch a connected TCP socket.
const WATCHES: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
    static int (*real)(int, int, int, struct epoll_event *);
    if (!real) real = dlsym(RTLD_NEXT, "epoll_ctl");
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (operation == EPOLL_CTL_ADD && getpeername(descriptor, (void *)&peer, &length) == 0
        && (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)) {
        errno = ENOSPC;
        return -1;
    }
    return real(epoll, operation, descriptor, event);
}
"#;

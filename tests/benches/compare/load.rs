//! Servers under load: requests per second, and CPU time for each request.

use tests::bench::contestant::{BARE, OURS, ROUTED};
use tests::bench::entrant::{Case, Entrant, Figure, Rounds, Work};
use tests::bench::multiplexed::Multiplexed;
use tests::bench::peers::AXUM;
use tests::bench::security::{Security, Version};
use tests::bench::traffic::Traffic;

use crate::report::{Report, Table, Target, Unit, Words};
use crate::setting::{Peer, Setting};

/// How many connections are open; over HTTP/2 each of a few has as many streams as there are connections.
const CONNECTIONS: usize = 64;
const FEW: usize = 8;

const HYPER: Peer = Peer::Own(BARE);

/// A load, and its figures with a target.
struct Contest {
    case: Case,
    /// The first one is gracehttp.
    servers: &'static [Peer],
    /// How many rounds replace one, each as much shorter.
    split: u32,
    goals: &'static [Goal],
}

/// A ratio of gracehttp to a peer.
struct Goal {
    name: Words,
    /// The peer's place among the servers.
    peer: usize,
    figure: fn(&Figure) -> f64,
    target: Option<Target>,
}

/// The names of the cases.
pub(crate) const CASES: [&str; 8] = [
    "keep-alive",
    "access-log",
    "routed",
    "pipelined",
    "new-connections",
    "tls-keep-alive",
    "tls-http2",
    "tls-handshakes",
];

fn contest(name: &'static str) -> Contest {
    let tls = Security::tls(Version::Tls13);
    let plain = Security::Plain;
    let http1 = |security, traffic| Case { name, security, work: Work::Http1(traffic) };
    let all: &[Peer] = &[Peer::Own(OURS), HYPER, Peer::Own(AXUM), Peer::Actix, Peer::Nginx];
    let secure: &[Peer] = &[Peer::Own(OURS), HYPER, Peer::Nginx];
    match name {
        "keep-alive" => Contest {
            case: http1(plain, Traffic::keep_alive(CONNECTIONS)),
            servers: all,
            split: 1,
            goals: &[Goal {
                name: [
                    "CPU of a keep-alive request, handler / hyper",
                    "keep-alive 请求的 CPU，处理函数 / hyper",
                ],
                peer: 1,
                figure: cpu,
                target: Some(Target::AtMost(1.03)),
            }],
        },
        // A difference that small needs many rounds.
        "access-log" => Contest {
            case: http1(plain, Traffic::keep_alive(CONNECTIONS)),
            servers: &[Peer::Logged, Peer::Own(OURS)],
            split: 4,
            goals: &[Goal {
                name: [
                    "CPU of a keep-alive request, with an access log / without",
                    "keep-alive 请求的 CPU，有访问日志 / 无",
                ],
                peer: 1,
                figure: cpu,
                target: Some(Target::AtMost(1.03)),
            }],
        },
        "routed" => Contest {
            case: http1(plain, Traffic::keep_alive(CONNECTIONS)),
            servers: &[Peer::Own(ROUTED), HYPER, Peer::Own(AXUM)],
            split: 1,
            goals: &[
                Goal {
                    name: ["CPU of a routed request / hyper", "路由请求的 CPU / hyper"],
                    peer: 1,
                    figure: cpu,
                    target: Some(Target::AtMost(1.06)),
                },
                Goal {
                    name: ["CPU of a routed request / axum", "路由请求的 CPU / axum"],
                    peer: 2,
                    figure: cpu,
                    target: Some(Target::AtMost(0.93)),
                },
            ],
        },
        "pipelined" => Contest {
            case: http1(plain, Traffic::pipelined(CONNECTIONS, 16)),
            servers: &[Peer::Own(OURS), HYPER, Peer::Actix, Peer::Nginx],
            split: 1,
            goals: &[Goal {
                name: [
                    "16 pipelined: requests per second / actix-web",
                    "16 个流水线请求：每秒请求数 / actix-web",
                ],
                peer: 2,
                figure: throughput,
                target: Some(Target::AtLeast(1.0)),
            }],
        },
        "new-connections" => Contest {
            case: http1(plain, Traffic::renewed(CONNECTIONS)),
            servers: all,
            split: 1,
            goals: &[Goal {
                name: ["CPU of a new connection with one request / hyper", "新连接加一个请求的 CPU / hyper"],
                peer: 1,
                figure: cpu,
                target: Some(Target::AtMost(1.05)),
            }],
        },
        "tls-keep-alive" => Contest {
            case: http1(tls, Traffic::keep_alive(CONNECTIONS)),
            servers: secure,
            split: 1,
            goals: &[Goal {
                name: [
                    "CPU of a TLS request / hyper with tokio-rustls",
                    "TLS 请求的 CPU / hyper 加 tokio-rustls",
                ],
                peer: 1,
                figure: cpu,
                target: Some(Target::AtMost(1.02)),
            }],
        },
        "tls-http2" => Contest {
            case: Case { name, security: tls, work: Work::Http2(Multiplexed::keep_alive(FEW, FEW)) },
            servers: secure,
            split: 1,
            goals: &[Goal {
                name: [
                    "CPU of an HTTP/2-over-TLS request / hyper with tokio-rustls",
                    "TLS 上 HTTP/2 请求的 CPU / hyper 加 tokio-rustls",
                ],
                peer: 1,
                figure: cpu,
                target: Some(Target::AtMost(1.02)),
            }],
        },
        "tls-handshakes" => Contest {
            case: http1(tls, Traffic::renewed(CONNECTIONS)),
            servers: secure,
            split: 1,
            goals: &[
                Goal {
                    name: [
                        "CPU of a TLS handshake with one request / hyper with tokio-rustls",
                        "TLS 握手加一个请求的 CPU / hyper 加 tokio-rustls",
                    ],
                    peer: 1,
                    figure: cpu,
                    target: None,
                },
                Goal {
                    name: [
                        "CPU of a TLS handshake with one request / nginx",
                        "TLS 握手加一个请求的 CPU / nginx",
                    ],
                    peer: 2,
                    figure: cpu,
                    target: None,
                },
            ],
        },
        other => unreachable!("no load is named {other}"),
    }
}

fn cpu(figure: &Figure) -> f64 {
    figure.cpu_microseconds
}

fn throughput(figure: &Figure) -> f64 {
    figure.per_second
}

/// Runs one of the [`CASES`].
pub(crate) async fn run(name: &'static str, setting: &Setting, report: &mut Report) -> Result<(), String> {
    let Contest { case, servers, split, goals } = contest(name);
    let (rounds, time) = (setting.rounds * split as usize, setting.time / split);
    let mut entrants = Vec::new();
    // Where each of the servers is among those that are there.
    let mut places = Vec::new();
    for &server in servers {
        let contestant = setting.start(server, case.security).await;
        places.push(contestant.is_some().then_some(entrants.len()));
        if let Some(contestant) = contestant {
            entrants.push(Entrant::new(&case, contestant)?);
        }
    }
    all_do_the_same(&entrants)?;
    let measured = Rounds::measure(&case, &entrants, rounds, time, |_, _| ()).await?;
    for goal in goals {
        if let Some(peer) = places[goal.peer] {
            report.goal(goal.name, measured.ratio(0, peer, goal.figure), Unit::Ratio, goal.target);
        }
    }
    let mut table = Table::new(
        format!("{name}, in each of {rounds} rounds of {time:?}:"),
        &["server", "requests/s", "CPU µs per request", "requests/s, gracehttp / it", "CPU, gracehttp / it"],
    );
    let ratio = |place: usize, figure| match place {
        0 => String::new(),
        _ => format!("{:.2}", measured.ratio(0, place, figure)),
    };
    for (place, entrant) in entrants.iter().enumerate() {
        table.row(vec![
            entrant.contestant.name.to_owned(),
            format!("{:.0}", measured.spread(place, throughput)),
            format!("{:.2}", measured.spread(place, cpu)),
            ratio(place, throughput),
            ratio(place, cpu),
        ]);
    }
    report.table(table);
    Ok(())
}

/// Compares the answers: all have the same fields. nginx adds two that no setting of it takes away.
fn all_do_the_same(entrants: &[Entrant]) -> Result<(), String> {
    let expected = entrants[0].fields();
    for entrant in entrants {
        let added = |field: &String| {
            entrant.contestant.name == "nginx"
                && (field.starts_with("server:") || field == "connection: keep-alive")
        };
        let fields: Vec<String> = entrant.fields().into_iter().filter(|field| !added(field)).collect();
        if fields != expected {
            let name = entrant.contestant.name;
            return Err(format!("{name} answers with {fields:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

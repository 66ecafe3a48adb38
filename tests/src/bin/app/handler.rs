//! The handler of all servers: what it answers, by the path.

use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gracehttp::{
    Body, ClientAddr, ClientCert, FromRequestParts as _, IntoResponse, PeerAddr, ProxyInfo, Request,
    Response, Scheme, Shutdown, TlsInfo,
};
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use crate::say;
use crate::streams::{echo, events, silence, stream, switching_to_echo};

/// Requests in the handler now, and their highest number so far.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// All responses of a megabyte or more share these bytes, so that they cost their handler nothing.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 16 << 20].into());

/// What a handler can know of its connection.
struct Facts {
    peer: Option<PeerAddr>,
    tls: Option<TlsInfo>,
    client: Option<ClientCert>,
}

impl Facts {
    /// As fields of a response.
    fn fields(&self) -> [(&'static str, String); 7] {
        let tls = |fact: fn(&TlsInfo) -> Option<&str>| match &self.tls {
            Some(tls) => fact(tls).unwrap_or("none").to_owned(),
            None => "no TLS".to_owned(),
        };
        [
            ("peer", self.peer.map_or("none".to_owned(), |PeerAddr(peer)| peer.to_string())),
            ("tls-version", tls(|tls| Some(tls.version()))),
            ("tls-cipher", tls(|tls| Some(tls.cipher()))),
            ("tls-sni", tls(TlsInfo::sni)),
            ("tls-alpn", tls(|tls| tls.alpn())),
            ("client-subject", self.client.as_ref().map_or("none".to_owned(), ClientCert::subject)),
            ("client-print", self.client.as_ref().map_or("none".to_owned(), ClientCert::fingerprint)),
        ]
    }
}

/// What is known of the client behind a proxy, as fields of a response.
async fn proxied(mut head: http::request::Parts) -> [(&'static str, String); 3] {
    let client = ClientAddr::from_request_parts(&mut head, &()).await;
    let proxy = ProxyInfo::from_request_parts(&mut head, &()).await;
    let scheme = Scheme::from_request_parts(&mut head, &()).await;
    [
        ("client", client.map_or("none".to_owned(), |client| client.0.to_string())),
        ("scheme", scheme.map_or_else(|never| match never {}, |scheme| scheme.to_string())),
        ("proxy", proxy.map_or("none".to_owned(), |proxy| proxy.authority().unwrap_or("unnamed").to_owned())),
    ]
}

pub(crate) async fn answer(
    shutdown: Shutdown,
    peer: Option<PeerAddr>,
    tls: Option<TlsInfo>,
    client: Option<ClientCert>,
    request: Request,
) -> Response {
    let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(running, Ordering::SeqCst);
    let response = route(shutdown, Facts { peer, tls, client }, request).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn route(shutdown: Shutdown, facts: Facts, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let number = |default: u64| {
        let query = head.uri.query();
        query.and_then(|query| query.rsplit('=').next()?.parse().ok()).unwrap_or(default)
    };
    let pong = || format!("pong by pid:{}", std::process::id());
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/ping") => pong().into_response(),
        // The number distinguishes this answer from all others.
        (&Method::GET, "/numbered") => ([("number", number(0).to_string())], pong()).into_response(),
        (&Method::GET, "/own_hsts") => ([(STRICT_TRANSPORT_SECURITY, "max-age=1")], pong()).into_response(),
        (&Method::GET, "/facts") => {
            let proxied = proxied(head.clone()).await;
            (facts.fields(), proxied, pong()).into_response()
        }
        (&Method::POST, "/echo") => match body.collect().await {
            Ok(body) => body.to_bytes().into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        // Collects the body, holds it for a while, and answers with its length.
        (&Method::POST, "/length") => match body.collect().await {
            Ok(body) => {
                let body = body.to_bytes();
                tokio::time::sleep(Duration::from_millis(number(0))).await;
                body.len().to_string().into_response()
            }
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        // Answers with the length, and keeps none of the body.
        (&Method::POST, "/count") => {
            let (mut body, mut count) = (body, 0);
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            count.to_string().into_response()
        }
        // Answers at once, and returns each piece as it arrives.
        (&Method::POST, "/back") => Response::new(body),
        // Takes no body.
        (&Method::POST, "/unread") => pong().into_response(),
        // Never answers, and holds the body without a read.
        (&Method::POST, "/never") => {
            let _body = body;
            say("never begins");
            std::future::pending().await
        }
        // Answers at once; another task decides about the body.
        (&Method::POST, "/later/read") => {
            tokio::spawn(body.collect());
            pong().into_response()
        }
        (&Method::POST, "/later/dropped") => {
            let held = Duration::from_millis(number(100));
            tokio::spawn(async move {
                tokio::time::sleep(held).await;
                drop(body);
            });
            pong().into_response()
        }
        // The authority and the cookies of a request as a handler sees them.
        (&Method::GET, "/seen") => {
            let field = |name| match head.headers.get_all(name).iter().collect::<Vec<_>>()[..] {
                [value] => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                ref values => format!("{} fields", values.len()),
            };
            let authority = head.uri.authority().map_or("none", |authority| authority.as_str());
            format!("authority: {authority}, host: {}, cookie: {}", field("host"), field("cookie"))
                .into_response()
        }
        (&Method::GET, "/most") => MOST.load(Ordering::SeqCst).to_string().into_response(),
        (&Method::GET, "/slow") => {
            say("slow begins");
            tokio::time::sleep(Duration::from_millis(number(1000))).await;
            pong().into_response()
        }
        (&Method::GET, "/abort") => std::process::abort(),
        (&Method::GET, "/block") => {
            say("block begins");
            std::thread::sleep(Duration::from_millis(number(1000)));
            pong().into_response()
        }
        (&Method::GET, "/stream") => stream(number(10)),
        (&Method::GET, "/silence") => silence(number(1000)),
        (&Method::GET, "/big") => {
            say("big begins");
            vec![b'x'; number(1 << 20) as usize].into_response()
        }
        (&Method::GET, "/large") => {
            Body::from(LARGE.slice(..number(LARGE.len() as u64) as usize)).into_response()
        }
        // It waits until all others have begun, too.
        (&Method::GET, "/big/slow") => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            vec![b'x'; number(1 << 20) as usize].into_response()
        }
        (&Method::GET, "/poll") => {
            say("poll begins");
            shutdown.await;
            "no news; ask again".into_response()
        }
        (_, "/never") => {
            say("never begins");
            std::future::pending().await
        }
        (&Method::GET, "/events") => events(Some(shutdown)),
        (&Method::GET, "/events/endless") => events(None),
        (&Method::GET, "/upgrade") => {
            tokio::spawn(echo(upgrade, Some(shutdown)));
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/stubborn") => {
            tokio::spawn(echo(upgrade, None));
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/dropped") => {
            tokio::spawn(async { drop(upgrade.await) });
            switching_to_echo()
        }
        (&Method::GET, "/upgrade/untaken") => switching_to_echo(),
        // A tunnel of HTTP/2.
        (&Method::CONNECT, "") if head.uri.port_u16() == Some(7) => {
            tokio::spawn(echo(upgrade, None));
            StatusCode::OK.into_response()
        }
        (&Method::GET, "/limit/raised") => limit_of_child(&mut Command::new("sh")),
        (&Method::GET, "/limit/restored") => {
            limit_of_child(gracehttp::restore_limits(&mut Command::new("sh")))
        }
        (&Method::GET, "/panic") => panic!("the handler panics"),
        _ => (StatusCode::NOT_FOUND, "unknown").into_response(),
    }
}

/// The soft limit of open descriptors of a child process.
fn limit_of_child(shell: &mut Command) -> Response {
    let output = shell.arg("-c").arg("ulimit -Sn").output().expect("a shell");
    output.stdout.into_response()
}

//! Certificates that an authority issues: against one of the test's own that speaks ACME and is strict, and against pebble
//! where it is installed.

mod account;
mod authority;
mod books;
mod cache;
mod der;
mod expiry;
mod hostile;
mod jws;
mod pebble;
mod renewal;
mod strangers;
mod suggestions;
mod unknown_account;
mod validation;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use authority::Authority;
use tests::client::get_once;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::{App, Exit, Launch, Scratch, Target};
use validation::trusted_get;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A server with a certificate of this authority for these names.
fn plan(scratch: &Scratch, authority: &Authority, names: &str) -> String {
    let (cache, directory) = (scratch.join("cache"), authority.directory());
    format!("server web 127.0.0.1:0 acme={names};{};{directory};{}", cache.display(), authority.ca.display())
}

async fn endpoint(app: &App) -> SocketAddr {
    app.address("web").await
}

/// Waits until a counter has this value: the log may have the event first.
async fn until_counted(app: &App, series: &str, times: f64) {
    within(PATIENCE, &format!("{times} of {series}"), async {
        while sample(app, series).await != Some(times) {
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await;
}

/// A sample of this app's metrics. None if the series has not begun.
async fn sample(app: &App, series: &str) -> Option<f64> {
    let line = app.log.line(0, "status page on ").await;
    let url = line.split("status page on ").nth(1).and_then(|rest| rest.split(['"', ' ']).next());
    let text = get_once(&Target::from_url(url.expect("a URL")), "/metrics").await.expect("metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix("gracehttp_")?.strip_prefix(series))?;
    Some(value.trim().parse().expect("a number"))
}

const ISSUED: &str = "there is a new certificate for";

#[tokio::test]
async fn a_certificate_is_ordered_installed_and_kept() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    (authority.books().refuse_nonce, authority.books().refuse_order) = (true, true);
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test,b.test")).spawn();
    let endpoint = endpoint(&app).await;
    app.log.line(0, "once: rateLimited").await;
    // It serves, and refuses handshakes until there is a certificate.
    assert!(trusted_get(endpoint, "a.test", authority.root()).await.is_err());
    authority.validate_at(endpoint);
    app.log.line(0, ISSUED).await;
    for name in ["a.test", "b.test"] {
        let (line, _) = trusted_get(endpoint, name, authority.root()).await.unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK", "{name}");
    }
    let folder = std::fs::read_dir(scratch.join("cache")).unwrap().next().unwrap().unwrap().path();
    for file in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.path().display());
        assert!(!file.file_name().to_string_lossy().ends_with(".order"), "the order is over");
    }
    assert_eq!(authority.books().orders.len(), 1);
    // Whether it suggests when to renew the certificate is asked once.
    let is_asked =
        |books: &books::Books| books.requests.iter().filter(|path| *path == "/directory").count() == 3;
    authority.until("no look at the directory", is_asked).await;
    let renewal = folder.join("a.test.pem.renewal");
    eventually("the answer to be kept", || renewal.exists()).await;
    // A successor has the certificate, and so has a process that starts while the authority is down.
    let asked = authority.books().requests.len();
    let successor = app.restart().await;
    app.serves(&Target::Tls(endpoint), &successor).await;
    assert!(trusted_get(endpoint, "a.test", authority.root()).await.is_ok());
    assert!(app.stop().await.is_clean());
    assert_eq!(authority.books().requests.len(), asked, "nobody was asked for anything");
    let root = authority.root();
    drop(authority);
    let app = Launch::app(&scratch, &std::fs::read_to_string(scratch.join("plan")).unwrap()).spawn();
    assert!(trusted_get(self::endpoint(&app).await, "b.test", root).await.is_ok());
}

/// An authority has no client certificate. Who may be a client is read again all the same.
#[tokio::test]
async fn a_server_that_requires_client_certificates_shows_an_authority_its_challenge() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let issuer = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.self_signed(&key).unwrap().pem()
    };
    let clients = scratch.write("clients.pem", issuer("clients"));
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
        .env("GRACEHTTP_SERVER__WEB__TLS__CLIENT_CA", &clients)
        .spawn();
    let endpoint = endpoint(&app).await;
    authority.validate_at(endpoint);
    app.log.line(0, ISSUED).await;
    // Others are refused as before, after the challenge as well.
    assert!(trusted_get(endpoint, "a.test", authority.root()).await.is_err());
    scratch.write("clients.pem", issuer("others"));
    app.log.line(0, "new handshakes use the renewed client authorities").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_expires() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, Duration::from_secs(9)).await;
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
        .env("GRACEHTTP_LOG_FORMAT", "json")
        .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        .spawn();
    let endpoint = endpoint(&app).await;
    authority.validate_at(endpoint);
    let line = app.log.line(0, ISSUED).await;
    assert!(line.contains(r#""event":"certificate_ordered""#), "{line}");
    assert!(line.contains(r#""outcome":"issued""#) && line.contains(r#""names":"a.test""#), "{line}");
    let (_, first) = trusted_get(endpoint, "a.test", authority.root()).await.unwrap();
    let start = app.log.end();
    let line = app.log.line(start, ISSUED).await;
    assert!(line.contains(r#""outcome":"renewed""#), "{line}");
    let (_, second) = trusted_get(endpoint, "a.test", authority.root()).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(authority.books().orders.len(), 2);
    for outcome in ["issued", "renewed"] {
        let series = format!("certificate_orders_total{{server=\"web\",outcome=\"{outcome}\"}}");
        until_counted(&app, &series, 1.0).await;
    }
}

/// Such as one that comes where the clock of this machine is months ahead.
#[tokio::test]
async fn a_certificate_that_is_due_at_once_is_not_ordered_again_and_again() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, Duration::ZERO).await;
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
        .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        .spawn();
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    let line = app.log.line(0, "no new certificate").await;
    assert!(
        line.contains("due for renewal already") && line.contains("the next attempt is in 1day"),
        "{line}"
    );
    assert_eq!(authority.books().orders.len(), 1);
    until_counted(&app, "certificate_orders_total{server=\"web\",outcome=\"failed\"}", 1.0).await;
}

/// Restarts, and waits until the successor goes on with this order: it looks at the authorization, answers the challenge, and
/// asks for the order.
async fn restart_during_order(app: &App, authority: &Authority, order: &str) {
    app.restart().await;
    let asked = authority.books().requests.len();
    authority
        .until("the successor did not go on", |books| {
            let asked = &books.requests[asked..];
            let authorization = asked.iter().position(|path| path.starts_with("/authz/"));
            authorization.is_some_and(|at| asked[at..].iter().any(|path| path == order))
        })
        .await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_an_order_goes_on_with_it() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    // The predecessor lives on, and has to leave the order.
    let app =
        Launch::app(&scratch, &plan(&scratch, &authority, "a.test")).env("GRACEHTTP_STANDBY", "60s").spawn();
    let endpoint = endpoint(&app).await;
    let is_under_way =
        |books: &books::Books| books.orders.first().is_some_and(|order| order.statuses == ["processing"]);
    authority.until("no challenge was answered", is_under_way).await;
    restart_during_order(&app, &authority, "/order/0").await;
    authority.validate_at(endpoint);
    app.log.line(0, ISSUED).await;
    assert!(trusted_get(endpoint, "a.test", authority.root()).await.is_ok());
    assert_eq!(authority.books().orders.len(), 1, "it is the order of the predecessor");
}

#[tokio::test]
async fn two_processes_that_share_a_cache_order_once() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let plan = plan(&scratch, &authority, "a.test");
    let one = Launch::app(&scratch, &plan).spawn();
    authority.until("no order", |books| !books.orders.is_empty()).await;
    let other = Launch::app(&scratch, &plan).spawn();
    let (endpoint, other_endpoint) = (endpoint(&one).await, endpoint(&other).await);
    authority.validate_at(endpoint);
    one.log.line(0, ISSUED).await;
    let mut certificates = Vec::new();
    for at in [endpoint, other_endpoint] {
        let mut got = None;
        for _ in 0..100 {
            got = trusted_get(at, "a.test", authority.root()).await.ok();
            if got.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        certificates.push(got.expect("a certificate").1);
    }
    assert_eq!(certificates[0], certificates[1]);
    assert_eq!(authority.books().orders.len(), 1);
    assert_eq!(other.log.count(0, ISSUED), 0);
}

#[tokio::test]
async fn a_refused_challenge_a_lost_authority_and_a_bad_cache_are_told_and_the_service_lives_on() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    // Somebody else listens where the authority looks.
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger_at = stranger.local_addr().unwrap();
    std::thread::spawn(move || while stranger.accept().is_ok() {});
    authority.validate_at(stranger_at);
    let app =
        Launch::app(&scratch, &format!("{} plain=127.0.0.2:0", plan(&scratch, &authority, "a.test"))).spawn();
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("a.test: API error: a stranger is there"), "{line}");
    assert!(line.contains("handshakes are refused until there is one; the next attempt is in 1m"), "{line}");
    let plain = app.log.line(0, "serving web on http://").await;
    let plain = plain.split("serving web on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(get_once(&Target::from_url(&plain), "/ping").await.unwrap().status, 200);

    let other = Scratch::new();
    let lost = plan(&other, &authority, "a.test");
    let file = other.write("file", "no directory");
    let spoiled =
        lost.replace(&other.join("cache").display().to_string(), &file.join("cache").display().to_string());
    drop(authority);
    let app = Launch::app(&other, &lost).spawn();
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("refused") && line.contains("the next attempt is in"), "{line}");
    let app = Launch::app(&other, &spoiled).spawn();
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("cannot be created"), "{line}");
    eventually("it to serve", || app.current().listening_ports().len() == 1).await;
}

#[tokio::test]
async fn what_can_not_be_ordered_is_refused_at_the_start() {
    for (acme, reason) in [
        ("*.a.test;c;staging;ca", "`*.a.test` is not a domain"),
        ("a.test;c;http://a.test;ca", "nor the URL of a directory"),
    ] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("server web 127.0.0.1:0 acme={acme}")).spawn();
        app.log.line(0, reason).await;
        assert_ne!(app.first().exit().await, Exit::Code(0));
    }
}

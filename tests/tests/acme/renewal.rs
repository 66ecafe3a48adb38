//! A certificate is renewed when its authority suggests it (RFC 9773), and by its dates if the authority says nothing of use.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::patience::{eventually, within};
use tests::{App, Exit, Launch, Scratch, Target};
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::books::Books;
use crate::suggestions::{Suggestion, identifier};
use crate::validation::trusted_get;
use crate::{DAY, ISSUED, endpoint, plan, restart_during_order, until_counted};

const SUGGESTED: &str = "the authority suggests to renew the certificate for a.test between";
const SILENT: &str = "the authority does not say when to renew the certificate for a.test: ";

/// A window that begins and ends so many days from now.
fn days(start: i32, end: i32) -> Suggestion {
    let at = |days: i32| match u32::try_from(days) {
        Ok(days) => SystemTime::now() + DAY * days,
        Err(_) => SystemTime::now() - DAY * days.unsigned_abs(),
    };
    Suggestion::window(at(start), at(end))
}

/// An authority whose certificates are valid for 90 days, and that suggests this for each, by its number and how often it was
/// asked about before.
async fn suggesting(
    scratch: &Scratch,
    suggest: impl Fn(usize, usize) -> Suggestion + Send + 'static,
) -> Authority {
    let authority = Authority::start(scratch, 90 * DAY).await;
    authority.books().suggest = Some(Box::new(suggest));
    authority
}

/// An application that gets its certificate from this authority.
async fn served(scratch: &Scratch, authority: &Authority) -> App {
    let app = Launch::app(scratch, &plan(scratch, authority, "a.test"))
        .env("GRACEHTTP_LOG_FORMAT", "json")
        .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
        .spawn();
    authority.validate_at(endpoint(&app).await);
    app
}

async fn until_suggested(app: &App, outcome: &str, times: f64) {
    let series = "certificate_renewal_suggestions_total";
    until_counted(app, &format!("{series}{{server=\"web\",outcome=\"{outcome}\"}}"), times).await;
}

/// Changes when the authority is asked again about this certificate, in the cache.
async fn set_next_question(scratch: &Scratch, certificate: usize, at: SystemTime) {
    let mut folders = fs::read_dir(scratch.join("cache")).expect("a cache");
    let file = folders.next().expect("a folder").expect("a folder").path().join("a.test.pem.renewal");
    let read = || serde_json::from_slice::<Value>(&fs::read(&file).ok()?).ok();
    let is_kept = || read().is_some_and(|kept| kept["certificate"] == identifier(certificate).as_str());
    eventually("the answer to be kept", is_kept).await;
    let mut kept = read().expect("an answer");
    kept["ask_at"] = json!(at.duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs());
    fs::write(&file, kept.to_string()).expect("the cache is ours");
}

/// The authority is going to revoke it.
#[tokio::test]
async fn a_certificate_whose_window_is_over_is_replaced_at_once() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |certificate, _| match certificate {
        0 => days(-3, -2).explained("https://ca.test/why?\n\u{1b}[31m"),
        _ => days(58, 60),
    })
    .await;
    let app = served(&scratch, &authority).await;
    let line = app.log.line(0, SUGGESTED).await;
    assert!(line.contains(r#""event":"renewal_suggested""#) && line.contains(r#""outcome":"new""#), "{line}");
    assert!(
        line.contains(r"it is renewed now; the authority explains it at https://ca.test/why?\\u{a}"),
        "{line}"
    );
    app.log.line(0, "which suggests it").await;
    let line = app.log.line(0, r#""outcome":"renewed""#).await;
    assert!(line.contains(ISSUED), "{line}");
    let start = app.log.end();
    authority.until("the new one is asked about", |books| books.questions == [0, 1]).await;
    app.log.line(0, "it is renewed at ").await;
    {
        let books = authority.books();
        let replaced: Vec<_> = books.orders.iter().map(|order| order.replaces.clone()).collect();
        assert_eq!(replaced, [None, Some(identifier(0))]);
    }
    assert_eq!(app.log.count(0, "the authority explains it"), 1);
    assert!(trusted_get(endpoint(&app).await, "a.test", authority.root()).await.is_ok());
    until_suggested(&app, "new", 2.0).await;
    let successor = app.restart().await;
    app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(start, "is ordered from"), 0);
}

#[tokio::test]
async fn a_window_ahead_is_asked_for_once_over_restarts_and_starts() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |_, _| days(30, 32)).await;
    let app = served(&scratch, &authority).await;
    let line = app.log.line(0, SUGGESTED).await;
    let at = line.split(r#""renewal":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a time");
    let at = humantime::parse_rfc3339(at).expect("a time");
    let now = SystemTime::now();
    assert!(at >= now + 30 * DAY - Duration::from_secs(60) && at <= now + 32 * DAY, "{line}");
    for _ in 0..2 {
        let successor = app.restart().await;
        app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
    }
    assert!(app.stop().await.is_clean());
    let again = Launch::app(&scratch, &plan(&scratch, &authority, "a.test")).spawn();
    assert!(trusted_get(endpoint(&again).await, "a.test", authority.root()).await.is_ok());
    assert!(again.stop().await.is_clean());
    assert_eq!(authority.books().questions, [0]);
    assert_eq!(authority.books().orders.len(), 1);
    assert_eq!(app.log.count(0, SUGGESTED) + again.log.count(0, SUGGESTED), 1);
}

#[tokio::test]
async fn a_certificate_is_renewed_within_the_window() {
    let scratch = Scratch::new();
    let start = SystemTime::now() + Duration::from_secs(4);
    let end = start + Duration::from_secs(3);
    let authority = suggesting(&scratch, move |certificate, _| match certificate {
        0 => Suggestion::window(start, end),
        _ => days(58, 60),
    })
    .await;
    let _app = served(&scratch, &authority).await;
    authority.until("no second order", |books| books.orders.len() == 2).await;
    let at = authority.books().orders[1].at;
    // Times in JSON are whole seconds, and a busy machine is late.
    let second = Duration::from_secs(1);
    assert!(at >= start - second && at <= end + 5 * second, "{:?} of {start:?}", at.duration_since(start));
}

/// It takes a minute: however often the authority wants to be asked, it is not asked more often.
#[tokio::test]
async fn a_window_that_moves_ahead_is_heard_of_at_the_next_question() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |certificate, before| match (certificate, before) {
        (0, 0) => days(50, 52).retry_after(Some("1")),
        (0, _) => days(-2, -1),
        _ => days(58, 60),
    })
    .await;
    let app = served(&scratch, &authority).await;
    app.log.line(0, SUGGESTED).await;
    let first = SystemTime::now();
    let replaced = |books: &Books| books.orders.len() == 2 && books.questions.len() == 3;
    within(Duration::from_secs(100), "the renewal", async {
        while !replaced(&authority.books()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(authority.books().questions, [0, 0, 1]);
    let pause = authority.books().orders[1].at.duration_since(first).expect("later");
    assert!(pause >= Duration::from_secs(58), "{pause:?}");
}

/// The answer of before is in the cache, with the time of the next question. A successor asks when that time has come.
#[tokio::test]
async fn a_successor_asks_again_when_it_is_time() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |certificate, before| match (certificate, before) {
        (0, 0) => days(50, 52),
        (0, _) => days(-2, -1),
        _ => days(58, 60),
    })
    .await;
    let app = served(&scratch, &authority).await;
    app.log.line(0, SUGGESTED).await;
    // Also one that lies far ahead, as after the clock was set back.
    let far = SystemTime::now() + 400 * DAY;
    for (certificate, at) in [(0, SystemTime::UNIX_EPOCH), (1, far)] {
        set_next_question(&scratch, certificate, at).await;
        let asked = authority.books().questions.len();
        app.restart().await;
        authority.until("no question", |books| books.questions.len() > asked).await;
        app.log.line(0, r#""outcome":"renewed""#).await;
    }
    assert_eq!(authority.books().orders.len(), 2);
}

/// A certificate that is new is to be renewed at once, and so is the next one, and each after it.
#[tokio::test]
async fn an_authority_that_is_never_content_gets_one_order_a_day() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |_, _| days(-2, -1)).await;
    let app = served(&scratch, &authority).await;
    app.log.line(0, r#""outcome":"renewed""#).await;
    let line = app.log.line(0, "it is renewed at ").await;
    let tomorrow = humantime::format_rfc3339_seconds(SystemTime::now() + DAY).to_string();
    assert!(line.contains(&tomorrow[..11]), "{line}");
    for _ in 0..2 {
        let successor = app.restart().await;
        app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
    }
    assert!(app.stop().await.is_clean());
    assert_eq!(authority.books().orders.len(), 2);
}

#[tokio::test]
async fn an_order_that_a_suggestion_has_begun_goes_on_over_a_restart() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |certificate, _| match certificate {
        0 => days(-2, -1),
        _ => days(58, 60),
    })
    .await;
    let app = served(&scratch, &authority).await;
    authority.books().held = Some(1);
    authority
        .until("no challenge of a second order", |books| {
            books.orders.get(1).is_some_and(|order| order.statuses == ["processing"])
        })
        .await;
    restart_during_order(&app, &authority, "/order/1").await;
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, r#""outcome":"renewed""#).await;
    authority.until("the new one is asked about", |books| books.questions.contains(&1)).await;
    assert_eq!(authority.books().orders.len(), 2);
}

/// The authority gave the certificate to another account, has replaced it already, or knows no such field: the certificate is
/// renewed all the same.
#[tokio::test]
async fn a_replacement_that_is_refused_is_ordered_as_any_certificate() {
    for refused in [Some("alreadyReplaced"), Some("unauthorized"), Some("malformed"), None] {
        let scratch = Scratch::new();
        let authority = suggesting(&scratch, |certificate, _| match certificate {
            0 => days(-2, -1),
            _ => days(58, 60),
        })
        .await;
        authority.books().refuse_replacement = refused;
        authority.books().silent_replacement = refused.is_none();
        let app = served(&scratch, &authority).await;
        app.log.line(0, r#""outcome":"renewed""#).await;
        let books = authority.books();
        let asked = books.requests.iter().filter(|path| *path == "/order").count();
        assert_eq!((asked, books.registrations), (3, 1), "{refused:?}");
        assert_eq!(books.orders.last().expect("an order").replaces, None, "{refused:?}");
    }
}

#[tokio::test]
async fn an_answer_of_no_use_is_told_once_and_the_dates_decide() {
    let now = SystemTime::now();
    let far = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let strange = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("https://localhost:{}/", strange.local_addr().unwrap().port());
    let redirect = Suggestion { location: Some(elsewhere), ..days(-2, -1).status(301) };
    let text =
        |start: &str, end: &str| Suggestion::of(json!({"suggestedWindow": {"start": start, "end": end}}));
    let cases = [
        ("does not end after its start", Suggestion::window(now - DAY, now - 2 * DAY)),
        ("does not end after its start", Suggestion::window(now - DAY, now - DAY)),
        // The year 9999.
        (
            "is not over when the certificate expires",
            Suggestion::window(far(253_402_200_000), far(253_402_300_000)),
        ),
        ("is not over when the certificate expires", Suggestion::window(now - DAY, far(253_402_300_000))),
        ("can't be read", text("yesterday", "today")),
        ("can't be read", text("99999-01-01T00:00:00Z", "99999-01-02T00:00:00Z")),
        ("can't be read", Suggestion::of("{}")),
        ("can't be read", Suggestion::of("<html>")),
        ("can't be read", Suggestion::of("[".repeat(500_000))),
        ("length limit exceeded", Suggestion::of(" ".repeat(2 << 20))),
        ("answers 404 Not Found", days(-2, -1).status(404)),
        ("is asked again in 1day", days(-2, -1).status(503).retry_after(Some("99999999999999999999"))),
        ("answers 301 Moved Permanently", redirect),
    ];
    for (told, answer) in cases {
        let scratch = Scratch::new();
        let authority = suggesting(&scratch, move |_, _| answer.clone()).await;
        let app = served(&scratch, &authority).await;
        let line = app.log.line(0, SILENT).await;
        assert!(line.contains(told), "{told}: {line}");
        assert!(line.len() < 4096, "{told}: {} bytes", line.len());
        until_suggested(&app, "failed", 1.0).await;
        assert!(trusted_get(endpoint(&app).await, "a.test", authority.root()).await.is_ok());
        // The same answer again.
        set_next_question(&scratch, 0, SystemTime::UNIX_EPOCH).await;
        let successor = app.restart().await;
        app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
        authority.until("no other question", |books| books.questions.len() == 2).await;
        assert!(app.stop().await.is_clean(), "{told}");
        assert_eq!(authority.books().orders.len(), 1, "{told}");
        assert_eq!(app.log.count(0, SILENT), 1, "{told}");
    }
    let came = tokio::time::timeout(Duration::ZERO, strange.accept()).await;
    assert!(came.is_err(), "the redirect was followed");
}

/// Such as one on a disk that is full or read-only. The certificate there may be about to be revoked all the same.
#[tokio::test]
async fn an_authority_is_asked_where_the_cache_can_not_be_written() {
    let scratch = Scratch::new();
    let authority =
        suggesting(&scratch, |_, before| if before == 0 { days(50, 52) } else { days(-2, -1) }).await;
    let app = served(&scratch, &authority).await;
    app.log.line(0, SUGGESTED).await;
    set_next_question(&scratch, 0, SystemTime::UNIX_EPOCH).await;
    assert_eq!(app.stop().await, Exit::Code(0));
    let folder = fs::read_dir(scratch.join("cache")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(folder.join("lock")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.join("lock")).unwrap();
    fs::create_dir(folder.join("a.test.pem.renewal.new")).unwrap();
    let app = served(&scratch, &authority).await;
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("lock cannot be written") && line.contains("valid until"), "{line}");
    app.log.line(0, "a.test.pem.renewal cannot be written").await;
    app.log.line(0, SUGGESTED).await;
    assert_eq!(app.log.count(0, SILENT), 0, "{}", app.log);
    assert_eq!(authority.books().questions, [0, 0]);
    assert!(trusted_get(endpoint(&app).await, "a.test", authority.root()).await.is_ok());
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// Two thirds of the lifetime.
#[tokio::test]
async fn without_a_suggestion_the_dates_decide() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, Duration::from_secs(12)).await;
    authority.books().suggest = Some(Box::new(|_, _| days(0, 0).status(500)));
    let app = served(&scratch, &authority).await;
    app.log.line(0, SILENT).await;
    let line = app.log.line(0, r#""outcome":"renewed""#).await;
    assert!(line.contains(ISSUED), "{line}");
    assert_eq!(authority.books().orders[1].replaces, Some(identifier(0)));
}

/// An authority that suggests a time near the end: there has to be some left for failures.
#[tokio::test]
async fn a_tenth_of_the_lifetime_is_left_at_the_latest() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |_, _| days(88, 89)).await;
    let app = served(&scratch, &authority).await;
    let line = app.log.line(0, "it is renewed at ").await;
    let latest = humantime::format_rfc3339_seconds(SystemTime::now() + 81 * DAY).to_string();
    assert!(line.contains(&format!("it is renewed at {}", &latest[..11])), "{line}");
}

/// It delays neither a restart nor a stop, and the certificate is served.
#[tokio::test]
async fn an_authority_that_falls_silent_holds_nothing_up() {
    let scratch = Scratch::new();
    let authority = suggesting(&scratch, |_, _| days(30, 31)).await;
    authority.books().hang = true;
    let app = served(&scratch, &authority).await;
    authority
        .until("no question", |books| books.requests.iter().any(|path| path.starts_with("/renewal/")))
        .await;
    assert!(trusted_get(endpoint(&app).await, "a.test", authority.root()).await.is_ok());
    let successor = app.restart().await;
    app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
    assert!(app.stop().await.is_clean());
    assert_eq!(authority.books().orders.len(), 1);
}

//! A certificate that an authority renews is told before it expires if its renewal has failed, and only then.

use std::time::{Duration, SystemTime};

use tests::{Launch, Scratch, Target};

use crate::authority::Authority;
use crate::suggestions::Suggestion;
use crate::{DAY, ISSUED, endpoint, plan, sample};

const EXPIRES: &str = "the certificate for a.test expires in ";

#[tokio::test]
async fn a_certificate_that_expires_soon_is_told_when_its_renewal_has_failed() {
    for (days, words) in [(30, "29 days"), (14, "13 days"), (7, "6 days"), (3, "2 days"), (1, "23 hours")] {
        let scratch = Scratch::new();
        // Half an hour less, so that the words are certain.
        let lifetime = days * DAY - Duration::from_secs(1800);
        let authority = Authority::start(&scratch, lifetime).await;
        let now = SystemTime::now();
        authority.books().suggest = Some(Box::new(move |_, _| Suggestion::window(now - 2 * DAY, now - DAY)));
        authority.books().refuse_from = Some(1);
        let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
            .env("GRACEHTTP_ADMIN", "127.0.0.1:0")
            .env("GRACEHTTP_LOG_FORMAT", "json")
            .spawn();
        authority.validate_at(endpoint(&app).await);
        let line = app.log.line(0, EXPIRES).await;
        assert!(
            line.contains(&format!("expires in {words}")) && line.contains("its renewal has failed"),
            "{line}"
        );
        assert!(line.contains(r#""event":"certificate_expires""#), "{line}");
        let lines = app.log.since(0);
        let place = |part: &str| lines.iter().position(|line| line.contains(part)).expect("a line");
        assert!(place("no new certificate") < place(EXPIRES), "{}", app.log);
        let end =
            sample(&app, "certificate_not_after_seconds{server=\"web\",certificate=\"1\",name=\"a.test\"}")
                .await
                .expect("the gauge");
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(end);
        let left = end.duration_since(now).expect("it is valid");
        assert!(
            left + Duration::from_secs(2) > lifetime && left < lifetime + Duration::from_secs(30),
            "{left:?}"
        );
        assert_eq!(app.log.count(0, EXPIRES), 1);
    }
}

#[tokio::test]
async fn a_certificate_that_is_renewed_in_time_is_not_told() {
    let scratch = Scratch::new();
    // It expires within a day, all the time.
    let authority = Authority::start(&scratch, Duration::from_secs(9)).await;
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test")).spawn();
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    authority.until("no renewal", |books| books.orders.len() == 2).await;
    let start = app.log.end();
    app.log.line(start, ISSUED).await;
    // A process looks at its certificates at its start.
    let successor = app.restart().await;
    app.serves(&Target::Tls(endpoint(&app).await), &successor).await;
    assert!(app.stop().await.is_clean());
    assert_eq!(app.log.count(0, "expire"), 0, "{}", app.log);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_an_error() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, Duration::from_secs(6)).await;
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test")).spawn();
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    authority.books().refuse_from = Some(1);
    app.log.line(0, "no new certificate").await;
    app.log.line(0, EXPIRES).await;
    let line = app.log.line(0, "the certificate for a.test expired at ").await;
    assert!(line.contains("ERROR") && line.contains("its renewal has failed"), "{line}");
}

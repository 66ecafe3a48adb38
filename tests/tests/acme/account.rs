//! The account at the authority: bound to another one, and with the contact that is configured now.

use serde_json::json;
use tests::{Exit, Launch, Scratch, Target};

use crate::authority::Authority;
use crate::{DAY, ISSUED, endpoint, plan};

const KEY: &str = "c2VjcmV0LWtleS1vZi10aGUtY29tcGFueQ";

fn variable(key: &str) -> String {
    format!("GRACEHTTP_SERVER__WEB__TLS__ACME__{key}")
}

#[tokio::test]
async fn an_account_is_bound_to_the_one_that_the_authority_gave() {
    for in_file in [true, false] {
        let scratch = Scratch::new();
        let authority = Authority::start(&scratch, 90 * DAY).await;
        authority.books().external = Some(("kid-1", b"secret-key-of-the-company"));
        let launch = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"));
        let launch = launch.env(&variable("EAB_KID"), "kid-1");
        let app = match in_file {
            // With padding, and as an editor leaves it.
            true => {
                let file = scratch.write("eab", format!("{KEY}==\n"));
                launch.env(&variable("EAB_HMAC_KEY_FILE"), file)
            }
            false => launch.env(&variable("EAB_HMAC_KEY"), KEY),
        };
        let app = app.spawn();
        authority.validate_at(endpoint(&app).await);
        app.log.line(0, ISSUED).await;
        let told = app.log.line(0, "tls.acme.eab_hmac_key").await;
        assert!(in_file || told.contains("is …, set by"), "{told}");
        assert_eq!(app.log.count(0, KEY), 0, "a secret: {}", app.log);
        assert_eq!(app.stop().await, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_told_and_not_shown() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let file = scratch.write("eab", "not a key!");
    let launch = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"));
    let app = launch.env(&variable("EAB_KID"), "kid-1").env(&variable("EAB_HMAC_KEY_FILE"), &file).spawn();
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("holds no key in base64url") && line.contains(&*file.to_string_lossy()), "{line}");
    assert!(!line.contains("not a key!"), "{line}");
    // It is no command either that tells it.
    let told = std::process::Command::new(tests::process::bin("app"))
        .arg("config")
        .env("APP_PLAN", scratch.join("plan"))
        .env(variable("EAB_KID"), "kid-1")
        .env(variable("EAB_HMAC_KEY"), KEY)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stdout);
    assert!(told.contains("tls.acme.eab_hmac_key = \"…\"") && !told.contains(KEY), "{told}");
}

/// Not only once an account is to be made.
#[tokio::test]
async fn a_key_that_is_none_ends_the_start_and_the_check() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let plan = plan(&scratch, &authority, "a.test");
    let named = variable("EAB_HMAC_KEY");
    let expected =
        format!("ERROR gracehttp: {named}: server `web`: `tls.acme.eab_hmac_key` is no key in base64url");
    for wrong in ["c2Vjc+V0", "a key"] {
        for command in ["serve", "check"] {
            let launch = Launch::app(&scratch, &plan).arg(command).env(&variable("EAB_KID"), "kid-1");
            let app = launch.env(&named, wrong).spawn();
            assert_eq!(app.current().exit().await, Exit::Code(1), "{}", app.log);
            app.catch_up().await;
            assert_eq!((app.log.count(0, &expected), app.log.count(0, wrong)), (1, 0), "{}", app.log);
        }
    }
    // Of a file the check tells it. The start may not need it any more.
    let file = scratch.write("eab", "a key");
    let launch = Launch::app(&scratch, &plan).arg("check").env(&variable("EAB_KID"), "kid-1");
    let app = launch.env(&variable("EAB_HMAC_KEY_FILE"), &file).spawn();
    assert_eq!(app.current().exit().await, Exit::Code(0), "{}", app.log);
    app.log.line(0, &format!("{} holds no key in base64url", file.display())).await;
    assert_eq!(app.log.count(0, "a key"), 0, "a secret: {}", app.log);
}

#[tokio::test]
async fn a_changed_contact_is_told_at_once_and_once() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let file = scratch.write("app.toml", "");
    let launch = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"));
    let app = launch.env("GRACEHTTP_CONFIG", &file).spawn();
    let endpoint = endpoint(&app).await;
    authority.validate_at(endpoint);
    app.log.line(0, ISSUED).await;
    scratch.write("app.toml", "[server.web.tls.acme]\ncontact = \"mailto:new@example.org\"\n");
    for restart in [1, 2] {
        let start = app.log.end();
        let successor = app.restart().await;
        app.serves(&Target::Tls(endpoint), &successor).await;
        if restart == 1 {
            app.log.line(start, "is now mailto:new@example.org").await;
        }
    }
    assert!(app.stop().await.is_clean());
    let contacts = authority.books().contacts.clone();
    assert_eq!(contacts, [json!(["mailto:ops@example.org"]), json!(["mailto:new@example.org"])]);
    assert_eq!(authority.books().orders.len(), 1);
}

//! An account in the cache that the authority does not know, or does not accept.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{App, Launch, Scratch};

use crate::authority::Authority;
use crate::validation::trusted_get;
use crate::{DAY, ISSUED, endpoint, plan};

const UNKNOWN: &str = "so another one is made; the file is now ";
const KEY: &str = "c2VjcmV0LWtleS1vZi10aGUtY29tcGFueQ";

/// A cache with an account and no certificate.
async fn cache_with_account(scratch: &Scratch, authority: &Authority) -> PathBuf {
    let app = launch(scratch, authority);
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    app.stop().await;
    let mut folders = fs::read_dir(scratch.join("cache")).expect("a cache");
    let folder = folders.next().and_then(Result::ok).expect("the folder of an authority").path();
    fs::remove_file(folder.join("a.test.pem")).expect("a certificate");
    folder
}

fn launch(scratch: &Scratch, authority: &Authority) -> App {
    let launch = Launch::app(scratch, &plan(scratch, authority, "a.test"));
    let launch = match authority.books().external {
        Some((kid, _)) => launch
            .env("GRACEHTTP_SERVER__WEB__TLS__ACME__EAB_KID", kid)
            .env("GRACEHTTP_SERVER__WEB__TLS__ACME__EAB_HMAC_KEY", KEY),
        None => launch,
    };
    launch.spawn()
}

/// The account in the cache gets the key of another one.
fn swap_key(folder: &Path) {
    let file = folder.join("account.json");
    let mut account: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("an account")).expect("JSON");
    let other = rcgen::KeyPair::generate().expect("a key");
    account["key_pkcs8"] = crate::jws::encode(&other.serialize_der()).into();
    fs::write(file, account.to_string()).expect("the cache is ours");
}

#[tokio::test]
async fn an_account_that_the_authority_does_not_know_is_replaced_and_kept() {
    for (is_bound, has_other_key) in [(false, false), (true, false), (false, true)] {
        let scratch = Scratch::new();
        let authority = Authority::start(&scratch, 90 * DAY).await;
        authority.books().external = is_bound.then_some(("kid-1", b"secret-key-of-the-company"));
        let folder = cache_with_account(&scratch, &authority).await;
        match has_other_key {
            true => swap_key(&folder),
            false => authority.books().lose_accounts(),
        }
        let before = fs::read(folder.join("account.json")).unwrap();
        let app = launch(&scratch, &authority);
        authority.validate_at(endpoint(&app).await);
        let line = app.log.line(0, UNKNOWN).await;
        assert!(
            line.contains("/directory does not know the account in ") && line.contains("account.json ("),
            "{line}"
        );
        app.log.line(0, ISSUED).await;
        assert!(trusted_get(endpoint(&app).await, "a.test", authority.root()).await.is_ok());
        assert_eq!(app.log.count(0, "no new certificate"), 0, "it is no failure");
        assert_eq!(authority.books().registrations, 2);
        let aside = PathBuf::from(line.split(UNKNOWN).nth(1).expect("a file"));
        assert_eq!(aside, folder.join("account.json.unused-1"));
        assert_eq!(fs::read(aside).unwrap(), before);
        assert_ne!(fs::read(folder.join("account.json")).unwrap(), before);
        // The next order is one of the new account.
        app.stop().await;
        fs::remove_file(folder.join("a.test.pem")).unwrap();
        let app = launch(&scratch, &authority);
        authority.validate_at(endpoint(&app).await);
        app.log.line(0, ISSUED).await;
        assert_eq!((app.log.count(0, UNKNOWN), authority.books().registrations), (0, 2));
    }
}

/// One new account for each attempt, and the pauses between them grow.
#[tokio::test]
async fn an_authority_that_forgets_every_account_is_not_flooded() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let folder = cache_with_account(&scratch, &authority).await;
    authority.books().lose_accounts();
    authority.books().forgetful = true;
    for attempt in 1..=11 {
        let app = launch(&scratch, &authority);
        let line = app.log.line(0, "no new certificate").await;
        assert!(line.contains("accountDoesNotExist") && line.contains("the next attempt is in 1m"), "{line}");
        assert_eq!(authority.books().registrations, 1 + attempt);
        app.stop().await;
    }
    let kept = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(kept.filter(|name| name.contains(".unused-")).count(), 9, "the disk is not filled");
}

#[tokio::test]
async fn a_deactivated_account_stays_and_the_way_out_is_told() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let folder = cache_with_account(&scratch, &authority).await;
    authority.books().deactivated = true;
    let app = launch(&scratch, &authority);
    let line = app.log.line(0, "no new certificate").await;
    let told = format!("move {} away: then another one is made", folder.join("account.json").display());
    assert!(line.contains("once: unauthorized") && line.contains(&told), "{line}");
    assert!(folder.join("account.json").exists());
    assert_eq!(authority.books().registrations, 1);
    app.stop().await;
    // The way out.
    fs::rename(folder.join("account.json"), folder.join("old")).unwrap();
    authority.books().deactivated = false;
    let app = launch(&scratch, &authority);
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    assert_eq!(authority.books().registrations, 2);
}

/// It is found out when the authority is told of another contact, too, long before the next order.
#[tokio::test]
async fn an_account_that_is_unknown_at_a_new_contact_is_replaced() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let app = launch(&scratch, &authority);
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    app.stop().await;
    authority.books().lose_accounts();
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test"))
        .env("GRACEHTTP_SERVER__WEB__TLS__ACME__CONTACT", "mailto:new@example.org")
        .spawn();
    app.log.line(0, UNKNOWN).await;
    let is_told = |books: &crate::books::Books| books.registrations == 2;
    authority.until("no other account", is_told).await;
    let contacts = authority.books().contacts.clone();
    assert_eq!(contacts.last(), Some(&serde_json::json!(["mailto:new@example.org"])));
    assert_eq!(app.log.count(0, "can't be changed"), 0);
}

#[tokio::test]
async fn an_authority_that_wants_a_binding_is_told_how() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    authority.books().external = Some(("kid-1", b"secret-key-of-the-company"));
    let app = Launch::app(&scratch, &plan(&scratch, &authority, "a.test")).spawn();
    let line = app.log.line(0, "no new certificate").await;
    assert!(line.contains("externalAccountRequired") && line.contains("set `tls.acme.eab_kid`"), "{line}");
}

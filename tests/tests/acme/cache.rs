//! A cache that somebody has tampered with: there is a certificate in the end, or the log says why not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::process::run;
use tests::{App, Launch, Scratch};

use crate::authority::Authority;
use crate::validation::trusted_get;
use crate::{DAY, ISSUED, endpoint, plan};

/// An application whose cache has a certificate, and stops.
async fn filled(scratch: &Scratch, authority: &Authority) -> PathBuf {
    let app = Launch::app(scratch, &plan(scratch, authority, "a.test")).spawn();
    authority.validate_at(endpoint(&app).await);
    app.log.line(0, ISSUED).await;
    app.stop().await;
    let mut folders = fs::read_dir(scratch.join("cache")).expect("a cache");
    folders.next().and_then(Result::ok).expect("the folder of an authority").path()
}

async fn again(scratch: &Scratch, authority: &Authority) -> App {
    // Not the endpoint of before: the challenge waits.
    authority.books().endpoint = None;
    let plan = fs::read_to_string(scratch.join("plan")).expect("the plan of before");
    let app = Launch::app(scratch, &plan).spawn();
    authority.validate_at(endpoint(&app).await);
    app
}

type Tamper = fn(&Path);

#[tokio::test]
async fn what_is_damaged_is_made_anew() {
    const CERTIFICATE: &str = "a.test.pem";
    let tampers: [(&str, Tamper); 9] = [
        ("holds no private key", |folder| {
            let text = fs::read_to_string(folder.join(CERTIFICATE)).unwrap();
            let end = text.find("-----BEGIN PRIVATE KEY").unwrap();
            fs::write(folder.join(CERTIFICATE), &text[..end]).unwrap();
        }),
        ("the key does not belong to the certificate", |folder| {
            let text = fs::read_to_string(folder.join(CERTIFICATE)).unwrap();
            let chain = &text[..text.find("-----BEGIN PRIVATE KEY").unwrap()];
            let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
            fs::write(folder.join(CERTIFICATE), format!("{chain}{key}")).unwrap();
        }),
        ("is ordered from", |folder| {
            let other = rcgen::generate_simple_self_signed(["b.test".to_owned()]).unwrap();
            let pem = other.cert.pem() + &other.signing_key.serialize_pem();
            fs::write(folder.join(CERTIFICATE), pem).unwrap();
        }),
        ("longer than 16 MiB", |folder| {
            fs::File::create(folder.join(CERTIFICATE)).unwrap().set_len(1 << 30).unwrap();
        }),
        ("account.json is damaged", |folder| {
            fs::remove_file(folder.join(CERTIFICATE)).unwrap();
            fs::write(folder.join("account.json"), "{\"id\":").unwrap();
        }),
        ("account.json can't be used, so another one is made", |folder| {
            fs::remove_file(folder.join(CERTIFICATE)).unwrap();
            let text = fs::read_to_string(folder.join("account.json")).unwrap();
            // Of another authority, which must not get its requests.
            fs::write(folder.join("account.json"), text.replace("/directory", "/elsewhere")).unwrap();
        }),
        ("account.json can't be used, so another one is made", |folder| {
            fs::remove_file(folder.join(CERTIFICATE)).unwrap();
            let text = fs::read_to_string(folder.join("account.json")).unwrap();
            let (before, key) = text.split_once("\"key_pkcs8\":\"").unwrap();
            let text = format!("{before}\"key_pkcs8\":\"AAAA{}", &key[4..]);
            fs::write(folder.join("account.json"), text).unwrap();
        }),
        ("a.test.pem.order is damaged", |folder| {
            fs::remove_file(folder.join(CERTIFICATE)).unwrap();
            fs::write(folder.join("a.test.pem.order"), "[1, 2]").unwrap();
        }),
        ("a.test.pem.renewal is damaged", |folder| {
            fs::remove_file(folder.join(CERTIFICATE)).unwrap();
            fs::write(folder.join("a.test.pem.renewal"), "{\"ask_at\":").unwrap();
        }),
    ];
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let folder = filled(&scratch, &authority).await;
    for (told, tamper) in tampers {
        tamper(&folder);
        let app = again(&scratch, &authority).await;
        app.log.line(0, told).await;
        app.log.line(0, ISSUED).await;
        let (line, _) = trusted_get(endpoint(&app).await, "a.test", authority.root()).await.unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK", "{told}");
        app.stop().await;
    }
    assert_eq!(authority.books().orders.len(), 10, "one each time");
}

/// As if the process had been killed after it stored the certificate, and before it forgot the order. The order leads to no other
/// certificate than this one, which is to be renewed.
#[tokio::test]
async fn an_order_whose_certificate_was_stored_is_not_gone_on_with() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, Duration::from_secs(9)).await;
    let folder = filled(&scratch, &authority).await;
    let pem = fs::read_to_string(folder.join("a.test.pem")).unwrap();
    let key = &pem[pem.find("-----BEGIN PRIVATE KEY").unwrap()..];
    let url = authority.directory().replace("/directory", "/order/0");
    let order = serde_json::json!({"url": url, "domains": ["a.test"], "key": key});
    fs::write(folder.join("a.test.pem.order"), order.to_string()).unwrap();
    let app = again(&scratch, &authority).await;
    app.log.line(0, ISSUED).await;
    assert_eq!(authority.books().orders.len(), 2, "{}", app.log);
    let (line, _) = trusted_get(endpoint(&app).await, "a.test", authority.root()).await.unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK");
    assert!(!folder.join("a.test.pem.order").exists());
    app.stop().await;
}

/// None of these is read without end, waited for, or written through.
#[tokio::test]
async fn what_is_no_file_is_told_and_holds_nothing_up() {
    let tampers: [(&str, Tamper); 5] = [
        ("account.json cannot be read (it is a pipe, a socket or a device)", |folder| {
            fs::remove_file(folder.join("account.json")).unwrap();
            run("mkfifo", &[folder.join("account.json").as_os_str()]);
        }),
        ("account.json cannot be read (it is a pipe, a socket or a device)", |folder| {
            fs::remove_file(folder.join("account.json")).unwrap();
            symlink("/dev/zero", folder.join("account.json")).unwrap();
        }),
        ("lock cannot be written", |folder| {
            _ = fs::remove_file(folder.join("account.json"));
            fs::remove_file(folder.join("lock")).unwrap();
            run("mkfifo", &[folder.join("lock").as_os_str()]);
        }),
        ("lock cannot be written", |folder| {
            fs::remove_file(folder.join("lock")).unwrap();
            symlink("/dev/null", folder.join("lock")).unwrap();
        }),
        ("account.json cannot be read (Is a directory", |folder| {
            fs::remove_file(folder.join("lock")).unwrap();
            fs::create_dir(folder.join("account.json")).unwrap();
        }),
    ];
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let folder = filled(&scratch, &authority).await;
    fs::remove_file(folder.join("a.test.pem")).unwrap();
    for (told, tamper) in tampers {
        tamper(&folder);
        let app = again(&scratch, &authority).await;
        let line = app.log.line(0, "no new certificate").await;
        assert!(line.contains(told), "{told}: {line}");
        app.stop().await;
    }
    assert_eq!(authority.books().orders.len(), 1, "nothing was ordered that could not be kept");
}

/// The certificate can't be put into its place. The authority has issued one, and is not asked for another.
#[tokio::test]
async fn a_certificate_that_can_not_be_kept_is_not_ordered_again() {
    let scratch = Scratch::new();
    let authority = Authority::start(&scratch, 90 * DAY).await;
    let folder = filled(&scratch, &authority).await;
    let victim = scratch.write("victim", "as it was");
    fs::remove_file(folder.join("a.test.pem")).unwrap();
    symlink(&victim, folder.join("a.test.pem.new")).unwrap();
    fs::create_dir(folder.join("a.test.pem")).unwrap();
    for _ in 0..2 {
        let app = again(&scratch, &authority).await;
        let line = app.log.line(0, "no new certificate").await;
        assert!(line.contains("a.test.pem cannot be written"), "{line}");
        app.stop().await;
    }
    assert_eq!(authority.books().orders.len(), 2);
    fs::remove_dir(folder.join("a.test.pem")).unwrap();
    let app = again(&scratch, &authority).await;
    app.log.line(0, ISSUED).await;
    assert_eq!(authority.books().orders.len(), 2, "the order of before");
    assert_eq!(fs::read_to_string(victim).unwrap(), "as it was");
    app.stop().await;
}

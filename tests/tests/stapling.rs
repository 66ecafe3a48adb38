//! OCSP responses that are stapled to a certificate.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, SanType};
use tests::certificates::{Pair, Served, leaf, replace};
use tests::patience::{PATIENCE, within};
use tests::process::tool;
use tests::tls::{self, Authority};
use tests::{Launch, Scratch};
use tokio::time::sleep;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

const NOTHING: &str = "nothing is stapled to the certificate";

fn for_localhost(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
}

fn openssl(directory: &Path, args: &str) -> String {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("a program");
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "openssl {args}: {told}");
    told
}

/// A server that staples what is in this file, and looks at its files often.
async fn serve(file: &Path, write: impl FnOnce(&Path)) -> Served {
    let change = |launch: Launch| {
        launch
            .env("GRACEHTTP_SERVER__WEB__TLS__OCSP", file)
            .env("GRACEHTTP_SERVER__WEB__TLS__RELOAD_INTERVAL", "50ms")
    };
    Served::with(write, change).await
}

/// The certificate that a new client gets, and what is stapled to it.
async fn stapled(served: &Served, version: &'static SupportedProtocolVersion) -> (Vec<u8>, Vec<u8>) {
    let (config, staple) = tls::recording(&[version]);
    let stream = tls::connect(served.address(), &Arc::new(config), "localhost").await.expect("a handshake");
    let staple = staple.lock().expect("no panic").clone();
    (leaf(&stream), staple)
}

/// Waits until new clients get this certificate with this response.
async fn staples(served: &Served, expected: &(Vec<u8>, Vec<u8>)) {
    let renewed = async {
        while stapled(served, &TLS13).await != *expected {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(PATIENCE, "the new response", renewed).await;
}

/// An element of DER.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).ok().filter(|&length| length < 128).expect("short");
    [&[tag, length], &content[..]].concat()
}

/// A response for the certificate with this serial number, valid up to this time. Its signature is none: only clients verify it.
fn response(serial: u8, until: SystemTime) -> Vec<u8> {
    let time = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let time = rcgen::date_time_ymd(1970, 1, 1) + since;
        let (date, hour) = (time.date(), time.hour());
        let date = format!("{}{:02}{:02}", date.year(), u8::from(date.month()), date.day());
        element(0x18, &[format!("{date}{hour:02}{:02}{:02}Z", time.minute(), time.second()).as_bytes()])
    };
    let sequence = |parts: &[&[u8]]| element(0x30, parts);
    let then = time(SystemTime::UNIX_EPOCH);
    let id = sequence(&[&sequence(&[&[5, 0]]), &[4, 1, 1], &[4, 1, 2], &element(2, &[&[serial]])]);
    let single = sequence(&[&id, &[0x80, 0], &then, &element(0xa0, &[&time(until)])]);
    let data = sequence(&[&element(0xa2, &[&[4, 1, 3]]), &then, &sequence(&[&single])]);
    let basic = sequence(&[&data, &sequence(&[&[5, 0]]), &[3, 2, 0, 7]]);
    let kind = element(6, &[&[0x2b, 6, 1, 5, 5, 7, 48, 1, 1]]);
    let bytes = sequence(&[&kind, &element(4, &[&basic])]);
    sequence(&[&[10, 1, 0], &element(0xa0, &[&bytes])])
}

/// The response of a real responder, for a real client.
#[tokio::test]
async fn clients_that_ask_for_it_get_the_ocsp_response_and_after_a_renewal_the_next_one() {
    if !tool("openssl") {
        return;
    }
    let authority = Authority::new();
    let pair = Pair::of(&authority.issue("server", 2, for_localhost));
    let respond = |directory: &Path, days: u32| {
        replace(&directory.join("ca.pem"), &authority.pem);
        replace(&directory.join("ca.key"), authority.key_pem());
        replace(&directory.join("index"), "V\t500101000000Z\t\t02\tunknown\t/CN=server\n");
        openssl(directory, "ocsp -issuer ca.pem -cert cert.pem -no_nonce -reqout request.der");
        openssl(
            directory,
            &format!(
                "ocsp -index index -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin request.der -ndays {days} -respout response.der"
            ),
        );
        std::fs::rename(directory.join("response.der"), directory.join("ocsp.der")).expect("writable");
        std::fs::read(directory.join("ocsp.der")).expect("readable")
    };
    let mut first = Vec::new();
    let scratch = Scratch::new();
    let file = scratch.join("ocsp.der");
    let served = serve(&file, |directory| {
        pair.write(directory);
        first = respond(directory, 1);
        std::fs::copy(directory.join("ocsp.der"), &file).expect("writable");
    })
    .await;
    for version in VERSIONS {
        assert_eq!(stapled(&served, version).await.1, first);
    }
    let told = openssl(
        &served.directory,
        &format!("s_client -connect {} -servername localhost -status -CAfile ca.pem", served.address()),
    );
    assert!(told.contains("OCSP Response Status: successful (0x0)"), "{told}");
    assert!(told.contains("Cert Status: good"), "{told}");

    // One that is no response is not used: the one before stays.
    replace(&file, [0x30, 3, 10, 1, 0]);
    let line = served.logs("holds no successful OCSP response").await;
    assert!(line.ends_with("what was there before stays in use"), "{line}");
    assert_eq!(stapled(&served, &TLS13).await.1, first);
    let next = respond(&served.directory, 2);
    assert_ne!(next, first);
    replace(&file, &next);
    served.logs("new handshakes use the renewed certificate").await;
    assert_eq!(stapled(&served, &TLS13).await.1, next);
}

/// Five bytes that begin like a response, and one that says `try later`; one for another certificate; one of yesterday.
#[tokio::test]
async fn without_a_usable_ocsp_response_a_server_starts_and_says_once_that_nothing_is_stapled() {
    let day = Duration::from_secs(24 * 3600);
    for (bytes, reason) in [
        (vec![0x30, 3, 10, 1, 0], "no successful OCSP response in DER"),
        (vec![0x30, 3, 10, 1, 3], "no successful OCSP response in DER"),
        (Vec::new(), "no successful OCSP response in DER"),
        (response(3, SystemTime::now() + day), "an OCSP response for another certificate"),
        (response(2, SystemTime::now() - day), "an OCSP response that was valid until 20"),
    ] {
        let scratch = Scratch::new();
        let file = scratch.write("ocsp.der", bytes);
        let pair = Pair::with(&["localhost"], |params| params.serial_number = Some(2.into()));
        let served = serve(&file, |directory| pair.write(directory)).await;
        let line = served.logs(reason).await;
        assert!(
            line.contains(" WARN ") && line.ends_with(&format!("have a new one made; {NOTHING}")),
            "{line}"
        );
        assert_eq!(stapled(&served, &TLS13).await, (pair.der.clone(), Vec::new()));
        // As soon as there is a good one, it is used. The looks before have told nothing.
        let good = response(2, SystemTime::now() + day);
        sleep(Duration::from_millis(300)).await;
        replace(&file, &good);
        served.logs("new handshakes use the renewed certificate").await;
        assert_eq!(stapled(&served, &TLS13).await, (pair.der, good));
        assert_eq!(served.service.app.log.count(0, reason), 1, "{}", served.service.app.log);
    }
}

/// A certificate may be renewed hours before its response is, or where the program that fetches responses has stopped.
#[tokio::test]
async fn a_certificate_is_renewed_whatever_its_ocsp_response_is() {
    let end = SystemTime::now() + Duration::from_secs(24 * 3600);
    let pair = |serial: u64| Pair::with(&["localhost"], |params| params.serial_number = Some(serial.into()));
    let (first, second, third) = (pair(2), pair(3), pair(4));
    let scratch = Scratch::new();
    let file = scratch.write("ocsp.der", response(2, end));
    let served = serve(&file, |directory| first.write(directory)).await;
    assert_eq!(stapled(&served, &TLS13).await, (first.der.clone(), response(2, end)));
    // The response of the certificate before would only harm.
    second.write(&served.directory);
    served.presents(&second).await;
    assert_eq!(stapled(&served, &TLS13).await, (second.der.clone(), Vec::new()));
    let line = served.logs("holds an OCSP response for another certificate").await;
    assert!(line.ends_with(NOTHING), "{line}");
    replace(&file, response(3, end));
    let both = (second.der.clone(), response(3, end));
    staples(&served, &both).await;
    // The response is kept with its certificate, and with no other one.
    std::fs::remove_file(&file).expect("writable");
    let line = served.logs("ocsp.der does not exist").await;
    assert!(line.ends_with("what was there before stays in use"), "{line}");
    assert_eq!(stapled(&served, &TLS13).await, both);
    third.write(&served.directory);
    served.presents(&third).await;
    assert_eq!(stapled(&served, &TLS13).await, (third.der.clone(), Vec::new()));
    replace(&file, response(4, end));
    staples(&served, &(third.der, response(4, end))).await;
}

#[tokio::test]
async fn an_ocsp_response_that_becomes_outdated_is_stapled_no_more() {
    let pair = Pair::with(&["localhost"], |params| params.serial_number = Some(2.into()));
    let scratch = Scratch::new();
    // It has whole seconds.
    let end = SystemTime::now() + Duration::from_secs(4);
    let file = scratch.write("ocsp.der", response(2, end));
    let served = serve(&file, |directory| pair.write(directory)).await;
    for version in VERSIONS {
        assert_eq!(stapled(&served, version).await.1, response(2, end));
    }
    within(PATIENCE, "the end", sleep(end.duration_since(SystemTime::now()).unwrap_or_default())).await;
    for version in VERSIONS {
        assert_eq!(stapled(&served, version).await, (pair.der.clone(), Vec::new()));
    }
    let line = served.logs("holds an OCSP response that was valid until").await;
    assert!(line.contains(" WARN ") && line.ends_with(NOTHING), "{line}");
}

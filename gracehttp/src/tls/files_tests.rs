//! Certificates and keys as operators get them wrong.

use super::*;
use crate::log;
use crate::server::{ServerOptions, Tls};
use crate::tls::{KeyRing, TlsAcceptor};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// PEM files in a directory that goes with the value.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gracehttp-tls-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn with_pair() -> Self {
        let files = Self::new();
        let (certificate, key) = pair(|_| {});
        files.write("cert.pem", &certificate);
        files.write("key.pem", &key);
        files
    }

    /// With everything that a server reads. What is in `ocsp.der` is no OCSP response.
    fn with_all() -> Self {
        let files = Self::with_pair();
        let (key, mut params) =
            (rcgen::KeyPair::generate().unwrap(), rcgen::CertificateParams::new(Vec::new()).unwrap());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&key).unwrap().pem();
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2050, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&rcgen::Issuer::new(params, key)).unwrap().pem().unwrap();
        files.write("clients.pem", &authority);
        files.write("clients.crl", &list);
        files.write("ocsp.der", "none");
        files
    }

    /// A start in which the file of this name is replaced.
    fn start(&self, name: &str) -> Result<TlsAcceptor, Error> {
        let path = |name: &str| self.0.join(name);
        let tls = Tls::files(path("cert.pem"), path("key.pem"));
        let tls = tls.client_ca(path("clients.pem")).client_crl([path("clients.crl")]);
        // A start with a response that can't be used waits for another one.
        let tls = Some(if name == "ocsp.der" { tls.ocsp(path(name)) } else { tls });
        let options = ServerOptions { tls, ..ServerOptions::new("secure") };
        TlsAcceptor::of(&options, &KeyRing::default()).map(Option::unwrap)
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).unwrap();
    }

    fn cut(&self, name: &str) {
        let whole = fs::read(self.0.join(name)).unwrap();
        fs::write(self.0.join(name), &whole[..whole.len() / 2]).unwrap();
    }

    /// Puts the file of other certificates in its place.
    fn replace(&self, name: &str) {
        let other = Self::with_all();
        fs::rename(other.0.join(name), self.0.join(name)).unwrap();
    }

    fn age(&self) {
        let long_ago = SystemTime::now() - Duration::from_secs(24 * 3600);
        for entry in fs::read_dir(&self.0).unwrap() {
            fs::File::open(entry.unwrap().path()).unwrap().set_modified(long_ago).unwrap();
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn acceptor(&self, cert: &str, key: &str) -> Result<TlsAcceptor, Error> {
        let tls = Some(Tls::files(self.0.join(cert), self.0.join(key)));
        let options = ServerOptions { tls, ..ServerOptions::new("secure") };
        TlsAcceptor::of(&options, &KeyRing::default()).map(Option::unwrap)
    }

    fn fault(&self, cert: &str, key: &str) -> String {
        self.acceptor(cert, key).unwrap_err().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pair(change: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[track_caller]
fn assert_names(message: &str, file: &str, reason: &str) {
    assert!(message.starts_with("server `secure`: the "), "{message}");
    assert!(message.contains(file) && message.contains(reason), "{message}");
}

#[test]
fn certificate_and_key_may_share_a_file() {
    let files = Files::new();
    let (certificate, key) = pair(|_| {});
    files.write("both.pem", &(key + &certificate));
    files.acceptor("both.pem", "both.pem").unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let files = Files::with_pair();
    assert_names(&files.fault("none.pem", "key.pem"), "certificate file", "none.pem does not exist");
    assert_names(&files.fault("cert.pem", "none.pem"), "key file", "none.pem does not exist");
}

#[test]
fn an_unreadable_file_is_named() {
    let files = Files::with_pair();
    // A directory is unreadable also for root, a file without permissions only for everybody else.
    assert_names(&files.fault("", "key.pem"), "certificate file", "cannot be read");
    fs::set_permissions(files.0.join("key.pem"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(files.0.join("key.pem")).is_err() {
        assert_names(&files.fault("cert.pem", "key.pem"), "key.pem", "permission denied");
    }
}

#[test]
fn files_without_their_contents_are_told_from_swapped_ones() {
    let files = Files::with_pair();
    files.write("text.pem", "hello");
    assert_names(&files.fault("text.pem", "key.pem"), "text.pem holds no certificate", "it must be PEM");
    assert_names(&files.fault("cert.pem", "text.pem"), "text.pem holds no private key", "it must be PEM");
    assert_names(&files.fault("key.pem", "cert.pem"), "key.pem holds no certificate", "swapped?");
    assert_names(&files.fault("cert.pem", "cert.pem"), "cert.pem holds no private key", "swapped?");
}

#[test]
fn a_file_in_der_comes_with_the_command_that_makes_pem_of_it() {
    let files = Files::with_pair();
    let der = |name: &str| {
        let pem = fs::read(files.0.join(name)).unwrap();
        let (_, section) = pem::from_buf(&mut &pem[..]).unwrap().unwrap();
        fs::write(files.0.join(format!("{name}.der")), section).unwrap();
    };
    der("cert.pem");
    der("key.pem");
    let fault = files.fault("cert.pem.der", "key.pem");
    assert_names(&fault, "cert.pem.der", "it is in DER: make PEM of it by `openssl x509 -inform der");
    let fault = files.fault("cert.pem", "key.pem.der");
    assert_names(&fault, "key.pem.der", "it is in DER: make PEM of it by `openssl pkey -inform der");
    fs::write(files.0.join("both.p12"), [0x30, 3, 2, 1, 3]).unwrap();
    let fault = files.fault("both.p12", "both.p12");
    assert_names(&fault, "both.p12", "it is in PKCS #12");
}

#[test]
fn a_link_that_leads_nowhere_is_no_missing_file() {
    let files = Files::with_pair();
    std::os::unix::fs::symlink("nowhere", files.0.join("link.pem")).unwrap();
    assert_names(&files.fault("link.pem", "key.pem"), "link.pem", "is a link to a file that does not exist");
}

#[test]
fn a_truncated_file_is_damaged() {
    let files = Files::with_pair();
    let (certificate, key) = pair(|_| {});
    files.write("cut.pem", &certificate[..certificate.len() / 2]);
    let fault = files.fault("cut.pem", "key.pem");
    assert_names(
        &fault,
        "certificate file",
        "cut.pem is damaged (the line `-----END CERTIFICATE-----` is missing)",
    );
    files.write("cut.pem", &key[..key.len() / 2]);
    assert_names(&files.fault("cert.pem", "cut.pem"), "key file", "cut.pem is damaged");
}

#[test]
fn an_encrypted_key_comes_with_the_command_that_decrypts_it() {
    let files = Files::with_pair();
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        files.write("secret.pem", text);
        assert_names(&files.fault("cert.pem", "secret.pem"), "secret.pem is encrypted", "openssl pkey");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let files = Files::with_pair();
    files.write("other.pem", &pair(|_| {}).1);
    let message = files.fault("cert.pem", "other.pem");
    assert_names(&message, "other.pem", "the key does not belong to the certificate");
}

#[test]
fn an_expired_certificate_is_a_notice() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    log::set_notice(|message| SEEN.lock().unwrap().push(message.to_owned()));
    let files = Files::new();
    let (certificate, key) = pair(|params| params.not_after = rcgen::date_time_ymd(2001, 2, 3));
    files.write("old.pem", &certificate);
    files.write("key.pem", &key);
    files.acceptor("old.pem", "key.pem").unwrap();
    // The callback is called on a thread of its own.
    let seen = || SEEN.lock().unwrap().iter().find(|message| message.contains("old.pem")).cloned();
    let start = Instant::now();
    let notice = loop {
        match seen() {
            Some(notice) => break notice,
            None => assert!(start.elapsed() < Duration::from_secs(10), "no notice of the certificate"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert_names(&notice, "old.pem", "expired at 2001-02-03T00:00:00Z");
}

/// A process may start while its files are replaced, one after the other.
#[test]
fn a_start_waits_for_files_that_are_being_replaced() {
    let replaced: &[fn(&Files, &str)] = &[Files::remove, Files::cut, Files::replace];
    let all = ["cert.pem", "key.pem", "clients.pem", "clients.crl"].map(|name| (name, replaced));
    for (name, ways) in all.into_iter().chain([("ocsp.der", &replaced[..1])]) {
        for begin in ways {
            let files = Files::with_all();
            let whole = fs::read(files.0.join(name)).unwrap();
            begin(&files, name);
            // Programs that keep the times of files, such as rsync, make new ones look old.
            files.age();
            let started = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(100));
                    fs::write(files.0.join("new"), &whole).unwrap();
                    fs::rename(files.0.join("new"), files.0.join(name)).unwrap();
                });
                files.start(name)
            });
            assert!(started.is_ok(), "{name}: {started:?}");
        }
    }
    // The directory itself may be replaced.
    let files = Files::with_all();
    let elsewhere = files.0.with_extension("elsewhere");
    fs::rename(&files.0, &elsewhere).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            fs::rename(&elsewhere, &files.0).unwrap();
        });
        files.start("all").unwrap();
    });
}

#[test]
fn d7_byte_order_marks_line_ends_and_text_around_do_no_harm() {
    let files = Files::new();
    let (certificate, key) = pair(|_| {});
    let as_windows = |text: &str| text.replace('\n', "\r\n");
    files.write("cert.pem", &format!("\u{feff}{}", as_windows(&certificate)));
    files.write("key.pem", &format!("\u{feff}{}", as_windows(&key)));
    files.acceptor("cert.pem", "key.pem").unwrap();
    files.write("both.pem", &format!("issued to nobody\n\u{feff}{key}and now\n\u{feff}{certificate}"));
    files.acceptor("both.pem", "both.pem").unwrap();

    let wide: Vec<u8> = "\u{feff}-----BEGIN".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(files.0.join("wide.pem"), wide).unwrap();
    assert_names(&files.fault("wide.pem", "key.pem"), "wide.pem", "is text in UTF-16: save it as UTF-8");
}

/// Made by `openssl req -new …` and `openssl x509 -req -signkey …`, which makes version 1 if no extension is asked
/// for.
#[test]
fn d8_a_certificate_of_version_1_is_refused_with_the_way_out() {
    let files = Files::with_pair();
    files.write("cert.pem", include_str!("version_1_cert.pem"));
    let fault = files.fault("cert.pem", "key.pem");
    assert_names(&fault, "cert.pem", "it is of X.509 version 1, and TLS needs version 3");
    assert!(fault.contains("`openssl req -x509"), "{fault}");
}

//! An authority of the test's own. It speaks ACME as RFC 8555 has it, and is strict: a request that a real authority would
//! refuse fails the test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair, SerialNumber,
};
use serde_json::{Value, json};
use tests::Scratch;
use tests::patience::PATIENCE;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::books::{Books, Order};
use crate::der::Csr;
use crate::jws::Jws;
use crate::suggestions;
use crate::validation;

type Answer = Response<Full<Bytes>>;

pub(crate) struct Authority {
    pub(crate) state: Arc<State>,
    /// The file of its own certificate.
    pub(crate) ca: PathBuf,
    task: JoinHandle<()>,
}

pub(crate) struct State {
    base: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// How long its certificates are valid.
    lifetime: Duration,
    books: Mutex<Books>,
    /// Notified at every request.
    asked: Notify,
}

/// How an authority's own server speaks TLS, and the file of its certificate.
pub(crate) fn server_config(scratch: &Scratch) -> (PathBuf, Arc<ServerConfig>) {
    let (ca, key) = scratch.certificate("authority");
    let chain = vec![CertificateDer::from_pem_file(&ca).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    (ca, Arc::new(config))
}

impl Authority {
    pub(crate) async fn start(scratch: &Scratch, lifetime: Duration) -> Self {
        let (ca, config) = server_config(scratch);
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the test's own root");
        params.key_identifier_method = KeyIdMethod::PreSpecified(suggestions::KEY_IDENTIFIER.to_vec());
        let key = KeyPair::generate().expect("a key");
        let state = Arc::new(State {
            base: format!("https://localhost:{port}"),
            issuer: CertifiedIssuer::self_signed(params, key).expect("a root"),
            lifetime,
            books: Mutex::default(),
            asked: Notify::new(),
        });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, state) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| {
                        let state = state.clone();
                        async move { Ok::<_, std::convert::Infallible>(state.answer(request).await) }
                    });
                    _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { state, ca, task }
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.state.base)
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.state.issuer.as_ref().der().clone()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.state.books()
    }

    /// Waits until a condition on its books holds, which it looks at after every request.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Books) -> bool) {
        let held = async {
            loop {
                let asked = self.state.asked.notified();
                if holds(&self.books()) {
                    return;
                }
                asked.await;
            }
        };
        let held = tokio::time::timeout(PATIENCE, held).await;
        held.unwrap_or_else(|_| panic!("{what}; asked for were {:?}", self.books().requests));
    }

    /// Validates challenges at this address from now on, also those that wait.
    pub(crate) fn validate_at(&self, endpoint: SocketAddr) {
        let waiting: Vec<(usize, usize)> = {
            let mut books = self.books();
            books.endpoint = Some(endpoint);
            books.held = None;
            let orders = books.orders.iter().enumerate();
            let of_order = |(order, of): (usize, &Order)| {
                let waiting = of.statuses.iter().enumerate().filter(|(_, status)| **status == "processing");
                waiting.map(|(place, _)| (order, place)).collect::<Vec<_>>()
            };
            orders.flat_map(of_order).collect()
        };
        for (order, place) in waiting {
            self.state.validate(order, place);
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no test panics with it")
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let body = body.collect().await.expect("a body").to_bytes();
        self.books().requests.push(path.clone());
        if path.starts_with("/renewal/") && self.books().hang {
            self.asked.notify_waiters();
            return std::future::pending().await;
        }
        let mut answer = match (&head.method, path.as_str()) {
            (&Method::GET, "/directory") => self.directory(),
            (&Method::HEAD, "/nonce") => Answer::default(),
            (&Method::GET, path) if path.starts_with("/renewal/") => {
                self.suggestion(&path["/renewal/".len()..])
            }
            (&Method::POST, _) => {
                assert_eq!(head.headers["content-type"], "application/jose+json", "{path}");
                self.post(&path, &body)
            }
            (method, path) => panic!("{method} {path}"),
        };
        let nonce = format!("nonce{}", self.books().requests.len());
        self.books().nonces.push(nonce.clone());
        answer.headers_mut().insert("replay-nonce", nonce.parse().expect("a token"));
        self.asked.notify_waiters();
        answer
    }

    fn directory(&self) -> Answer {
        let url = |path: &str| format!("{}{path}", self.base);
        let (nonce, account, order) = (url("/nonce"), url("/account"), url("/order"));
        let mut directory = json!({"newNonce": nonce, "newAccount": account, "newOrder": order});
        if self.books().suggest.is_some() {
            directory["renewalInfo"] = json!(url("/renewal"));
        }
        told(StatusCode::OK, &directory)
    }

    /// When to renew a certificate. It has to be one of ours.
    fn suggestion(&self, certificate: &str) -> Answer {
        let mut books = self.books();
        let number = (0..books.orders.len()).find(|number| suggestions::identifier(*number) == certificate);
        let number = number.unwrap_or_else(|| panic!("{certificate} is none of our certificates"));
        assert!(books.orders[number].chain.is_some(), "the certificate was not issued");
        let before = books.questions.iter().filter(|asked| **asked == number).count();
        books.questions.push(number);
        let suggest = books.suggest.as_ref().expect("the directory has it");
        suggest(number, before).response()
    }

    fn post(self: &Arc<Self>, path: &str, body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.base);
        let jws = Jws::read(body, &url);
        {
            let mut books = self.books();
            let known = books.nonces.iter().position(|nonce| *nonce == jws.nonce);
            books.nonces.remove(known.unwrap_or_else(|| panic!("the nonce {} is not ours", jws.nonce)));
            if std::mem::take(&mut books.refuse_nonce) {
                return problem(StatusCode::BAD_REQUEST, "badNonce");
            }
        }
        if path == "/account" {
            return self.new_account(&jws);
        }
        let id = jws.kid.clone().expect("an account's key");
        let Some(account) = self.books().accounts.get(&id).cloned() else {
            return problem(StatusCode::BAD_REQUEST, "accountDoesNotExist");
        };
        if !account.has_signed(&jws) {
            return problem(StatusCode::BAD_REQUEST, "malformed");
        }
        if self.books().deactivated {
            return problem(StatusCode::UNAUTHORIZED, "unauthorized");
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let number = |at: usize| parts[at].parse::<usize>().expect("a number");
        match parts[0] {
            "order" if parts.len() == 1 => self.new_order(id, &jws.payload()),
            "order" => self.order(number(1), StatusCode::OK),
            "authz" => self.authorization(number(1), number(2)),
            "challenge" => {
                assert_eq!(jws.payload(), json!({}), "a challenge is answered by an empty object");
                let (order, place) = (number(1), number(2));
                self.books().orders[order].statuses[place] = "processing";
                self.validate(order, place);
                told(StatusCode::OK, &self.challenge(order, place))
            }
            "finalize" => self.finalize(number(1), &jws.payload()),
            "account" => {
                let contact = jws.payload()["contact"].clone();
                self.books().contacts.push(contact);
                told(StatusCode::OK, &json!({"status": "valid"}))
            }
            "certificate" => {
                let chain = self.books().orders[number(1)].chain.clone();
                Response::new(Full::from(chain.expect("a certificate")))
            }
            _ => panic!("POST {path}"),
        }
    }

    fn new_account(&self, jws: &Jws) -> Answer {
        let account = jws.new_account();
        assert!(account.has_signed(jws), "a new account's request is signed by its key");
        let payload = jws.payload();
        if payload["onlyReturnExisting"] == json!(true) {
            let books = self.books();
            let known = books.accounts.iter().find(|(_, known)| **known == account);
            return match known {
                Some((url, _)) => located(told(StatusCode::OK, &json!({"status": "valid"})), url),
                None => problem(StatusCode::BAD_REQUEST, "accountDoesNotExist"),
            };
        }
        assert_eq!(payload["termsOfServiceAgreed"], json!(true));
        let mut books = self.books();
        if let Some((kid, key)) = books.external {
            let bound = &payload["externalAccountBinding"];
            if bound.is_null() {
                return problem(StatusCode::UNAUTHORIZED, "externalAccountRequired");
            }
            jws.assert_bound(bound, kid, key, &format!("{}/account", self.base));
        }
        books.contacts.push(payload["contact"].clone());
        let url = format!("{}/account/{}", self.base, books.registrations);
        books.registrations += 1;
        if !books.forgetful {
            books.accounts.insert(url.clone(), account);
        }
        drop(books);
        located(told(StatusCode::CREATED, &json!({"status": "valid"})), &url)
    }

    fn new_order(&self, account: String, payload: &Value) -> Answer {
        let is_refused = {
            let mut books = self.books();
            let orders = books.orders.len();
            std::mem::take(&mut books.refuse_order) || books.refuse_from.is_some_and(|from| orders >= from)
        };
        if is_refused {
            let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, "rateLimited");
            answer.headers_mut().insert("retry-after", "1".parse().expect("seconds"));
            return answer;
        }
        let replaces = payload["replaces"].as_str().map(str::to_owned);
        if let Some(kind) = self.books().refuse_replacement.filter(|_| replaces.is_some()) {
            return problem(StatusCode::CONFLICT, kind);
        }
        let identifiers = payload["identifiers"].as_array().expect("identifiers");
        let name = |identifier: &Value| {
            assert_eq!(identifier["type"], "dns");
            identifier["value"].as_str().expect("a name").to_owned()
        };
        let names: Vec<String> = identifiers.iter().map(name).collect();
        let mut books = self.books();
        let number = books.orders.len();
        let tokens = (0..names.len()).map(|place| format!("token-{number}-{place}")).collect();
        let statuses = vec!["pending"; names.len()];
        let at = SystemTime::now();
        books.orders.push(Order { account, names, tokens, statuses, chain: None, replaces, at });
        drop(books);
        self.order(number, StatusCode::CREATED)
    }

    fn order(&self, number: usize, status: StatusCode) -> Answer {
        let base = &self.base;
        let books = self.books();
        let order = &books.orders[number];
        let authorizations: Vec<String> =
            (0..order.names.len()).map(|place| format!("{base}/authz/{number}/{place}")).collect();
        let mut shown = json!({
            "status": order.status(),
            "authorizations": authorizations,
            "finalize": format!("{base}/finalize/{number}"),
        });
        if let Some(replaced) = order.replaces.as_ref().filter(|_| !books.silent_replacement) {
            shown["replaces"] = json!(replaced);
        }
        if order.chain.is_some() {
            shown["certificate"] = json!(format!("{base}/certificate/{number}"));
        }
        located(told(status, &shown), &format!("{base}/order/{number}"))
    }

    fn authorization(&self, order: usize, place: usize) -> Answer {
        let challenge = self.challenge(order, place);
        let books = self.books();
        let order = &books.orders[order];
        let status = if order.statuses[place] == "processing" { "pending" } else { order.statuses[place] };
        let identifier = json!({"type": "dns", "value": order.names[place]});
        let other =
            json!({"type": "http-01", "url": "https://localhost/", "token": "t", "status": "pending"});
        let shown = json!({"status": status, "identifier": identifier, "challenges": [other, challenge]});
        told(StatusCode::OK, &shown)
    }

    fn challenge(&self, number: usize, place: usize) -> Value {
        let books = self.books();
        let order = &books.orders[number];
        let url = format!("{}/challenge/{number}/{place}", self.base);
        let (token, status) = (&order.tokens[place], order.statuses[place]);
        let mut shown = json!({"type": "tls-alpn-01", "url": url, "token": token, "status": status});
        if status == "invalid" {
            shown["error"] =
                json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": "a stranger is there"});
        }
        shown
    }

    /// Looks at the endpoint, if it is known.
    fn validate(self: &Arc<Self>, number: usize, place: usize) {
        let (endpoint, name, token, account) = {
            let books = self.books();
            let Some(endpoint) = books.endpoint.filter(|_| books.held != Some(number)) else { return };
            let order = &books.orders[number];
            let account = books.accounts[&order.account].clone();
            (endpoint, order.names[place].clone(), order.tokens[place].clone(), account)
        };
        let state = self.clone();
        tokio::spawn(async move {
            let digest = account.digest(&token);
            let status = match validation::looks_right(endpoint, &name, &digest).await {
                Ok(()) => "valid",
                Err(reason) => {
                    eprintln!("the challenge of {name} has failed: {reason}");
                    "invalid"
                }
            };
            state.books().orders[number].statuses[place] = status;
        });
    }

    fn finalize(&self, number: usize, payload: &Value) -> Answer {
        let csr = Csr::read(payload["csr"].as_str().expect("a CSR"));
        let mut books = self.books();
        let age = books.age;
        let order = &mut books.orders[number];
        assert_eq!(order.status(), "ready", "an order is finalized when it is ready");
        csr.verify(&order.names);
        let mut params = CertificateParams::new(order.names.clone()).expect("names");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now - age;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(suggestions::serial(number)));
        params.not_after = params.not_before + self.lifetime;
        let certificate = params.signed_by(&csr, &*self.issuer).expect("a certificate");
        order.chain = Some(certificate.pem());
        drop(books);
        self.order(number, StatusCode::OK)
    }
}

fn told(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    answer
}

fn located(mut answer: Answer, url: &str) -> Answer {
    answer.headers_mut().insert("location", url.parse().expect("a URL"));
    answer
}

fn problem(status: StatusCode, kind: &str) -> Answer {
    told(
        status,
        &json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": format!("once: {kind}")}),
    )
}

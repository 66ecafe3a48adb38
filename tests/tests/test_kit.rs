//! `gracehttp::test` from a user's view.

use gracehttp::test::{self, RestartTest, TestServer};
use gracehttp::{
    Generation, IntoResponse, Json, Method, PeerAddr, Request, Server, Shutdown, State, StatusCode, server,
};
use http::{HeaderName, HeaderValue};
use tests::patience::PATIENCE;
use tests::process::bin;
use tokio::sync::Notify;
use tokio::time::timeout;

#[server(port = 1)]
async fn greet(State(greeting): State<String>) -> String {
    greeting
}

#[server(port = 1)]
async fn surroundings(peer: Option<PeerAddr>, Generation(generation): Generation, _: Shutdown) -> String {
    format!("{peer:?} {generation}")
}

#[server(port = 1)]
async fn double(Json(number): Json<u64>) -> Json<u64> {
    Json(number * 2)
}

#[server(port = 1, max_body = 4, tls = self_signed)]
async fn secure(request: Request) -> String {
    test::text(request.into_body().into_response()).await
}

#[server(port = 1, tls = self_signed, plain_listen = ":2", redirect_to_https = true, request_timeout = "7s")]
async fn both() -> &'static str {
    "in private"
}

#[tokio::test]
async fn a_server_with_both_kinds_of_endpoints_has_both() {
    let server = TestServer::spawn(both::server(), ()).await;
    let plain = server.plain_address().expect("one in plain text");
    assert_eq!(
        (server.url(), server.plain_url()),
        (format!("https://{}", server.address()), Some(format!("http://{plain}")))
    );
    assert_ne!(server.address(), plain);
    assert_eq!(test::text(server.get("/").await).await, "in private");
    let response = server.get_plain("/a?b").await;
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(response.headers()["location"], "https://127.0.0.1/a?b");
    server.shutdown().await;
    assert!(std::net::TcpStream::connect(plain).is_err(), "both are closed");
    let other = TestServer::spawn(secure::server(), ()).await;
    assert_eq!((other.plain_address(), other.plain_url()), (None, None));
}

static POLLED: Notify = Notify::const_new();

/// Answers once the drain has begun.
async fn long_poll(shutdown: Shutdown) -> &'static str {
    POLLED.notify_one();
    shutdown.await;
    "good-bye"
}

#[tokio::test]
async fn server_answers_in_memory_with_its_state() {
    let response = test::call(greet::server(), "hello".to_owned(), test::get("/")).await;
    assert_eq!((response.status().as_u16(), test::text(response).await), (200, "hello".to_owned()));
}

#[tokio::test]
async fn extractors_work_without_a_connection() {
    let response = test::call(surroundings::server(), (), test::get("/")).await;
    assert_eq!(test::text(response).await, "None 1");
}

#[tokio::test]
async fn request_with_a_body_has_its_headers() {
    let response = test::call(double::server(), (), test::post("/", Json(21))).await;
    assert_eq!(test::json::<u64>(response).await, 42);
    let response = test::call(double::server(), (), test::post("/", "21")).await;
    assert_eq!(response.status(), 415);
}

#[tokio::test]
async fn request_has_the_method_of_its_function() {
    let server = Server::builder("method").handler(async |request: Request| request.method().to_string());
    let server = TestServer::spawn(server, ()).await;
    let requests = [
        test::get("/"),
        test::post("/", "a"),
        test::put("/", "b"),
        test::patch("/", "c"),
        test::delete("/"),
        test::options("/"),
        test::request(Method::TRACE, "/", ()),
    ];
    let mut methods = Vec::new();
    for request in requests {
        let response = server.request(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        methods.push(test::text(response).await);
    }
    assert_eq!(methods, ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]);
    assert_eq!(test::text(server.request(test::head("/")).await).await, "");
}

#[tokio::test]
#[should_panic = "`nonsense` is not an endpoint"]
async fn faulty_description_panics_with_its_reason() {
    test::call(Server::builder("faulty").listen("nonsense").handler(long_poll), (), test::get("/")).await;
}

#[tokio::test]
async fn server_on_a_port_serves_until_its_shutdown() {
    let server = TestServer::spawn(surroundings::server(), ()).await;
    let answer = test::text(server.get("/").await).await;
    assert!(answer.starts_with("Some(PeerAddr(127.0.0.1:"), "{answer}");
    let address = server.address();
    server.shutdown().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn tls_and_limits_hold_as_in_production() {
    let server = TestServer::spawn(secure::server(), ()).await;
    assert!(server.url().starts_with("https://127.0.0.1:"));
    assert_eq!(test::text(server.request(test::post("/", "four")).await).await, "four");
    assert_eq!(server.request(test::post("/", "fives")).await.status(), 413);
}

/// hyper and its map of headers both accept the largest limit that the setting allows.
#[tokio::test]
async fn largest_limit_of_fields_is_accepted() {
    let many = Server::builder("many").max_headers(10_000).max_header_size(1 << 20);
    let handler = async |request: Request| request.headers().len().to_string();
    let server = TestServer::spawn(many.handler(handler), ()).await;
    let with = |fields: usize| {
        let mut request = test::get("/");
        for field in 0..fields {
            let name = HeaderName::try_from(format!("x-{field}")).expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_static("1"));
        }
        request
    };
    // The field `host` counts, too.
    assert_eq!(test::text(server.request(with(9_999)).await).await, "10000");
    assert_eq!(server.request(with(10_000)).await.status(), 431);
}

#[tokio::test]
async fn shutdown_answers_requests_in_flight_and_ends_background_tasks() {
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    gracehttp::spawn(async move |shutdown| {
        shutdown.await;
        ended.send(()).expect("the test waits");
    });
    let server = TestServer::spawn(Server::builder("poll").handler(long_poll), ()).await;
    let answer = tokio::spawn(server.get("/"));
    POLLED.notified().await;
    server.shutdown().await;
    assert_eq!(test::text(answer.await.unwrap()).await, "good-bye");
    has_ended.await.unwrap();
}

static ENDLESS: Notify = Notify::const_new();

/// Never answers, with a drain or without.
async fn deaf() -> String {
    ENDLESS.notify_one();
    std::future::pending().await
}

#[tokio::test]
#[should_panic = "after 10s 1 connection had to be cut"]
async fn shutdown_that_cuts_a_request_fails_the_test() {
    let server = TestServer::spawn(Server::builder("deaf").handler(deaf), ()).await;
    let _answer = tokio::spawn(server.get("/"));
    ENDLESS.notified().await;
    // From here on, the test waits only for the end of the drain.
    tokio::time::pause();
    server.shutdown().await;
}

#[tokio::test]
async fn each_server_in_turn_ends_its_own_tasks() {
    for _ in 0..2 {
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        gracehttp::spawn(async move |shutdown| {
            shutdown.await;
            ended.send(()).expect("the test waits");
        });
        let server = TestServer::spawn(surroundings::server(), ()).await;
        assert_eq!(server.get("/").await.status(), 200);
        server.shutdown().await;
        has_ended.await.expect("the task ends in order");
    }
}

#[tokio::test]
async fn dropped_server_closes_its_listener() {
    let server = TestServer::spawn(surroundings::server(), ()).await;
    let address = server.address();
    drop(server);
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    timeout(PATIENCE, refused).await.expect("the listener is closed");
}

#[tokio::test]
async fn restarts_lose_no_request() {
    let report = RestartTest::of(bin("app"), "web").path("/ping").restarts(2).run().await;
    println!("{report:?}");
    assert_eq!(report.restarts, 2);
    assert!(report.requests >= 300 && report.connections > 100, "{report:?}");
}

#[tokio::test]
async fn restarts_over_tls_lose_no_request() {
    let scratch = tests::Scratch::new();
    let plan = scratch.write("plan", "server web 127.0.0.1:0 tls=self_signed");
    let test = RestartTest::of(bin("app"), "web").env("APP_PLAN", plan);
    let report = test.request(|| test::post("/echo", "in a body")).run().await;
    assert_eq!(report.restarts, 3);
}

#[tokio::test]
async fn restart_test_gives_the_server_a_certificate() {
    let scratch = tests::Scratch::new();
    let (cert, key) = scratch.certificate("web");
    let test = RestartTest::of(bin("app"), "web").path("/ping").restarts(1);
    test.clone().certificate(cert, &key).run().await;
    // The application uses these files, and does not serve in plain text without them.
    let missing = test.certificate(scratch.join("missing.pem"), key);
    let panic = tokio::spawn(missing.run()).await.unwrap_err().into_panic();
    let words = panic.downcast_ref::<String>().unwrap();
    assert!(words.contains("missing.pem does not exist"), "{words}");
}

#[tokio::test]
#[should_panic = "the answer was 404 Not Found"]
async fn application_that_answers_wrongly_fails_the_test() {
    RestartTest::of(bin("app"), "web").path("/nowhere").restarts(0).run().await;
}

#[tokio::test]
#[should_panic = "the restart failed"]
async fn application_that_cannot_restart_fails_the_test() {
    let scratch = tests::Scratch::new();
    let mark = scratch.join("started");
    let plan = scratch.write("plan", format!("server web 127.0.0.1:0\nstart only once {}", mark.display()));
    RestartTest::of(bin("app"), "web").path("/ping").env("APP_PLAN", plan).run().await;
}

#[tokio::test]
async fn d12_program_that_exits_at_once_fails_a_restart_test_at_once_with_its_output() {
    let began = std::time::Instant::now();
    let test = RestartTest::of("/bin/sh", "web").arg("-c").arg("echo there is no coffee; exit 3");
    let panic = tokio::spawn(test.run()).await.unwrap_err().into_panic();
    let words = panic.downcast_ref::<String>().unwrap();
    assert!(words.starts_with("it ended without a line with `serving web on `"), "{words}");
    assert!(words.contains("there is no coffee"), "{words}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

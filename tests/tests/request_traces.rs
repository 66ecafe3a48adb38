//! Ids of requests, and spans with the names of OpenTelemetry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tests::access::AccessLog;
use tests::client::get;
use tests::h2::{Http2, Outcome};
use tests::patience::PATIENCE;
use tests::{Client, Exit, Launch, Scratch};

#[tokio::test]
async fn a_request_has_one_id_in_its_response_and_in_the_log() {
    let scratch = Scratch::new();
    let path = scratch.join("access.log");
    let mut launch = Launch::app(&scratch, "server web 127.0.0.1:0");
    for (key, value) in [("REQUEST_ID", "true"), ("ACCESS_LOG", "json")] {
        launch = launch.env(&format!("GRACEHTTP_SERVER__WEB__{key}"), value);
    }
    let app = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", &path).spawn();
    let target = app.target("web").await;
    let mut seen = BTreeSet::new();
    let mut client = Client::connect(&target).await.unwrap();
    for _ in 0..5 {
        // No stranger chooses it.
        client.send(get("/ping").replace("\r\n\r\n", "\r\nX-Request-Id: chosen\r\n\r\n")).await.unwrap();
        seen.insert(client.reply().await.unwrap().header("x-request-id").expect("an id").to_owned());
    }
    let mut http2 = Http2::connect(&target).await.unwrap();
    let Outcome::Reply(reply) = http2.get("/ping").await.unwrap() else { panic!() };
    seen.insert(reply.header("x-request-id").expect("an id").to_owned());
    app.restart().await;
    let mut client = Client::connect(&target).await.unwrap();
    seen.insert(client.get("/ping").await.unwrap().header("x-request-id").expect("an id").to_owned());
    assert_eq!(seen.len(), 7);
    assert!(seen.iter().all(|id| id.len() == 32), "{seen:?}");
    let lines = AccessLog::at(&path).has(7).await;
    let logged: BTreeSet<_> =
        lines.iter().filter_map(|line| line["request_id"].as_str()).map(str::to_owned).collect();
    assert_eq!(logged, seen);
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_trusted_proxy_brings_the_id_and_the_client() {
    let scratch = Scratch::new();
    let path = scratch.join("access.log");
    let mut launch = Launch::app(&scratch, "server web 127.0.0.1:0");
    for (key, value) in [("REQUEST_ID", "true"), ("ACCESS_LOG", "json"), ("TRUSTED_PROXIES", "127.0.0.0/8")] {
        launch = launch.env(&format!("GRACEHTTP_SERVER__WEB__{key}"), value);
    }
    let app = launch.env("GRACEHTTP_SERVER__WEB__ACCESS_LOG_TO", &path).spawn();
    let mut client = Client::connect(&app.target("web").await).await.unwrap();
    let fields = "\r\nX-Request-Id: of-the-proxy.1\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
    client.send(get("/ping").replace("\r\n\r\n", fields)).await.unwrap();
    assert_eq!(client.reply().await.unwrap().header("x-request-id"), Some("of-the-proxy.1"));
    let forged = "\r\nX-Request-Id: a\"b\r\nX-Forwarded-For: 203.0.113.8\r\n\r\n";
    client.send(get("/ping").replace("\r\n\r\n", forged)).await.unwrap();
    assert_eq!(client.reply().await.unwrap().header("x-request-id").map(str::len), Some(32));
    // A proxy may add its field behind that of its client.
    let both = "\r\nX-Request-Id: of-the-client\r\nX-Request-Id: of-the-proxy.2\r\n\r\n";
    client.send(get("/ping").replace("\r\n\r\n", both)).await.unwrap();
    assert_eq!(client.reply().await.unwrap().header("x-request-id"), Some("of-the-proxy.2"));
    let lines = AccessLog::at(&path).has(3).await;
    assert_eq!(
        (&lines[0]["request_id"], &lines[0]["client"]),
        (&"of-the-proxy.1".into(), &"203.0.113.7".into())
    );
    assert_eq!(lines[1]["client"], "203.0.113.8");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn notices_about_a_request_are_inside_its_span() {
    let scratch = Scratch::new();
    let plan = "server web 127.0.0.1:0\nstart subscribe";
    let mut launch = Launch::app(&scratch, plan);
    for (key, value) in [("REQUEST_SPAN", "true"), ("REQUEST_ID", "true"), ("REQUEST_TIMEOUT", "100ms")] {
        launch = launch.env(&format!("GRACEHTTP_SERVER__WEB__{key}"), value);
    }
    let app = launch.spawn();
    let mut client = Client::connect(&app.target("web").await).await.unwrap();
    let start = app.log.end();
    let reply = client.get("/slow?millis=5000").await.unwrap();
    assert_eq!(reply.status, 503);
    let line = app.log.line(start, "its handler was dropped").await;
    for part in ["request{", "url.path=\"/slow\"", reply.header("x-request-id").expect("an id")] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("5000"), "no query: {line}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

/// A collector that takes all. The first value is its address.
fn collector() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (sender, spans) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = Vec::new();
            let whole = loop {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).expect("a request");
                bytes.extend_from_slice(&piece[..count]);
                let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let (_, length) = head.split_once("content-length: ").expect("a length");
                let length: usize = length.lines().next().expect("a length").parse().expect("a length");
                if bytes.len() == end + 4 + length {
                    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
                    break bytes.split_off(end + 4);
                }
            };
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").expect("an open connection");
            let request: Value = serde_json::from_slice(&whole).expect("JSON");
            for span in request["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans") {
                // The test may have seen enough.
                _ = sender.send(span.clone());
            }
        }
    });
    (address, spans)
}

fn attributes(span: &Value) -> BTreeMap<&str, &Value> {
    let all = span["attributes"].as_array().expect("attributes").iter();
    all.map(|attribute| {
        let value = attribute["value"].as_object().and_then(|value| value.values().next());
        (attribute["key"].as_str().expect("a key"), value.expect("a value"))
    })
    .collect()
}

#[tokio::test]
async fn spans_reach_a_collector_with_the_trace_of_the_client() {
    let (address, spans) = collector();
    let launch = Launch::example("otlp").listen("api", "127.0.0.1:0");
    let launch = launch.env("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PROPFIND,a b");
    let app = launch.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")).spawn();
    let mut client = Client::connect(&app.target("api").await).await.unwrap();
    let asked_for = get("/users/7?token=secret").replace("\r\n\r\n", "\r\n");
    let asked_for: String = asked_for
        .lines()
        .filter(|line| !line.starts_with("Host:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let fields = "Host: [::1]:9090\r\nUser-Agent: probe/1 (\"a\" 'b' \\c)\r\ntracestate: a=b\r\n\
                  traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    client.send(asked_for + fields).await.unwrap();
    let reply = client.reply().await.unwrap();
    client.send(get("/users/7").replacen("GET", "PROPFIND", 1)).await.unwrap();
    client.reply().await.unwrap();
    client.send(get("/users/7").replacen("GET", "DELETE", 1)).await.unwrap();
    client.reply().await.unwrap();
    app.log.line(0, "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS: `a b` is no method").await;
    // The last spans go when the process ends.
    assert_eq!(app.stop().await, Exit::Code(0));
    let mut by_name = BTreeMap::new();
    while by_name.len() < 4 {
        let span = spans.recv_timeout(PATIENCE).expect("a span");
        by_name.insert(span["name"].as_str().expect("a name").to_owned(), span);
    }
    let (request, inner) = (&by_name["GET /users/{id}"], &by_name["look_up"]);
    assert_eq!(request["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(
        (&request["parentSpanId"], &request["traceState"]),
        (&"b7ad6b7169203331".into(), &"a=b".into())
    );
    assert_eq!(request["kind"], 2);
    assert_eq!((&inner["traceId"], &inner["parentSpanId"]), (&request["traceId"], &request["spanId"]));
    // The variable replaces the list.
    assert_eq!(*attributes(&by_name["PROPFIND"])["http.request.method"], "PROPFIND");
    let unknown = attributes(&by_name["HTTP"]);
    assert_eq!(*unknown["http.request.method"], "_OTHER");
    assert_eq!(*unknown["http.request.method_original"], "DELETE");
    let attributes = attributes(request);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/users/7"),
        ("url.scheme", "http"),
        ("http.route", "/users/{id}"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("server.address", "::1"),
        ("server.port", "9090"),
        ("user_agent.original", "probe/1 (\"a\" 'b' \\c)"),
        ("gracehttp.generation", "1"),
        ("gracehttp.server", "api"),
        ("gracehttp.request_id", reply.header("x-request-id").expect("an id")),
    ] {
        assert_eq!(*attributes[key], value, "{key}: {attributes:?}");
    }
}

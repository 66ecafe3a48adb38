//! The keys of `#[server]`.

use super::row::{Entry, Feature, Form, Key, Kind, Library};
use super::{OWNER, lists};
use Form::{Ordinary, Own};
use Kind::{Choice, Count, Duration, File, Flag, Keepalive, Length, List, Mode, Size, Text, Timeout};
use Library::ByHand;

/// The kernel takes a backlog of 31 bits.
const MOST_BACKLOG: u64 = i32::MAX.unsigned_abs() as u64;

/// What a list of networks is, in messages.
const NETWORKS: &str = "networks in quotes";

/// Where an access log can go, in messages.
const LOG_TARGET: &str = "`stdout`, `stderr`, `tracing` or the path of a file, in quotes";

/// The keys of `#[server]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum ServerKey {
    Port,
    Listen,
    PlainListen,
    RedirectToHttps,
    Hsts,
    Name,
    State,
    Tls,
    Layer,
    Prefix,
    Routes,
    Health,
    Crate,
}

#[rustfmt::skip]
pub(crate) const SERVER: &[Key<ServerKey>] = &[
    Key {
        name: "port", kind: Own(ServerKey::Port), example: "port = 8080",
        doc: "Listens on all interfaces, IPv6 and IPv4. Port 0 lets the kernel choose.",
        library: ByHand(&[
            Entry::new("port", "a port. It replaces that of all the server's TCP endpoints; their hosts stay"),
        ]),
        ..Key::ROW
    },
    Key {
        name: "listen", kind: Own(ServerKey::Listen), example: r#"listen = "127.0.0.1:8080""#,
        forms: &[r#"listen = [":8080", "unix:/run/app.sock"]"#],
        doc: "Listens on an endpoint, or on several: `host:port`, `:port`, `[ipv6]:port`, `unix:/path`, or a socket \
              that [another program passes](crate::guide::systemd#socket-activation), `systemd:NAME` or `fd:N`.",
        library: ByHand(&[
            Entry::new("listen", "one endpoint, or several. They replace all of the server's"),
        ]),
        other_words: &["addr", "address", "bind", "host", "ip", "interface", "socket", "unix", "url"],
        say: "where a server listens is `port = 8080`, or `listen = \"127.0.0.1:8080\"`",
        ..Key::ROW
    },
    Key {
        name: "name", kind: Own(ServerKey::Name), example: r#"name = "api""#, default: "the item's name",
        doc: "The name in logs, errors and environment variables.",
        ..Key::CODE
    },
    Key {
        name: "state", kind: Own(ServerKey::State), example: "state = AppState",
        doc: "A state that main has to provide, also where no argument says so.",
        ..Key::CODE
    },
    Key {
        name: "tls", kind: Own(ServerKey::Tls), example: r#"tls(cert = "cert.pem", key = "key.pem")"#,
        forms: &[
            r#"tls = ("cert.pem", "key.pem")"#,
            r#"tls(certs = [("a.pem", "a.key"), ("b.pem", "b.key")])"#,
            "tls = self_signed",
        ],
        default: "plain text",
        doc: "Serves HTTPS with the certificate and key in these PEM files (feature `tls`), or with a certificate of \
              its own making, for development (feature `self-signed`). [More keys](crate::guide::certificates) go into \
              the same parentheses.",
        feature: Some(Feature::Tls),
        library: ByHand(&[
            Entry::new("tls", "`off`, or `self_signed`; instead of the next two"),
            Entry {
                other_words: &["cert", "certificate", "cert_file", "tls.certificate", "tls.chain", "ssl", "https"],
                ..Entry::new("tls.cert", "the path of a PEM file; the variable ends in `TLS__CERT`")
            },
            Entry {
                other_words: &["key", "private_key", "key_file", "tls.private_key", "ssl", "https"],
                ..Entry::new("tls.key", "the path of a PEM file; the variable ends in `TLS__KEY`")
            },
            Entry {
                other_words: &["certs", "certificates", "tls.certificates"],
                ..Entry::new("tls.certs", "pairs in place of these two: `[[\"a.pem\", \"a.key\"], …]`, in the variable \
                                           `a.pem:a.key, …`")
            },
            Entry::new("tls.sni_strict", "`true` or `false`"),
            Entry {
                other_words: &["tls.reload", "tls.watch"],
                ..Entry::new("tls.reload_interval", "a duration, or `0s` to look at no file until a command or a restart")
            },
            Entry {
                other_words: &["tls.ocsp_file", "tls.staple", "tls.ssl_stapling_file"],
                ..Entry::new("tls.ocsp", "the path of a DER file: the OCSP response for the first certificate")
            },
            Entry {
                other_words: &["tls.version", "tls.min_protocol", "tls.ssl_protocols", "tls.protocols"],
                ..Entry::new("tls.min_version", "`\"1.2\"` or `\"1.3\"`")
            },
            Entry {
                other_words: &["tls.ciphers", "tls.suites", "tls.ssl_ciphers"],
                ..Entry::new("tls.cipher_suites", "one or several, by their names in the IANA registry")
            },
            Entry {
                other_words: &["tls.groups", "tls.kx_groups", "tls.ssl_ecdh_curve"],
                ..Entry::new("tls.curves", "one or several of `X25519`, `secp256r1`, `secp384r1`, `X25519MLKEM768`")
            },
            Entry {
                other_words: &["tls.ca", "tls.client_ca_file", "tls.ssl_client_certificate"],
                ..Entry::new("tls.client_ca", "the path of a PEM file: the authorities of client certificates")
            },
            Entry {
                other_words: &["tls.verify_client", "tls.ssl_verify_client"],
                ..Entry::new("tls.client_auth", "`required` or `optional`")
            },
            Entry {
                other_words: &["tls.crl", "tls.ssl_crl"],
                ..Entry::new("tls.client_crl", "the path of a revocation list in PEM or DER, or several")
            },
            Entry {
                other_words: &["tls.domains", "tls.acme.domain", "tls.acme.names"],
                ..Entry::new(
                    "tls.acme.domains",
                    "the names of a certificate that an authority issues and renews (feature `acme`); instead of files",
                )
            },
            Entry {
                other_words: &["tls.acme.email", "tls.acme.contacts"],
                ..Entry::new("tls.acme.contact", "`\"mailto:ops@example.org\"`")
            },
            Entry {
                other_words: &["tls.acme.dir", "tls.acme.storage"],
                ..Entry::new("tls.acme.cache", "the path of the directory that keeps account and certificate")
            },
            Entry {
                other_words: &["tls.acme.server", "tls.acme.url", "tls.acme.authority"],
                ..Entry::new("tls.acme.directory", "`\"production\"` or `\"staging\"` of Let's Encrypt, or a URL")
            },
            Entry {
                other_words: &["tls.acme.root", "tls.acme.ca_file"],
                ..Entry::new("tls.acme.ca", "the path of a PEM file: whom to trust as the authority's own server")
            },
            Entry {
                other_words: &["tls.acme.kid", "tls.acme.key_id", "tls.acme.eab.kid"],
                ..Entry::new("tls.acme.eab_kid", "the account that the authority gave you, for those that need one")
            },
            Entry {
                other_words: &["tls.acme.hmac_key", "tls.acme.eab_key", "tls.acme.eab.hmac_key", "tls.acme.mac_key"],
                ..Entry::new("tls.acme.eab_hmac_key", "its key in base64url, which no message shows")
            },
            Entry {
                other_words: &["tls.acme.hmac_key_file", "tls.acme.eab_key_file"],
                ..Entry::new("tls.acme.eab_hmac_key_file", "the path of a file with this key, in place of the key")
            },
        ]),
        other_words: &["cert", "certificate", "key", "ssl", "https"],
        say: "HTTPS is `tls(cert = \"cert.pem\", key = \"key.pem\")`",
    },
    Key {
        name: "plain_listen", kind: Own(ServerKey::PlainListen), example: r#"plain_listen = ":80""#,
        forms: &[r#"plain_listen = [":80", "unix:/run/app.sock"]"#], default: "none",
        doc: "Listens on one more endpoint, or on several, that speak plain text beside those over TLS. They share the \
              handlers and the limits; see [`redirect_to_https`](crate::guide::tls#redirects-to-https).",
        feature: Some(Feature::Tls),
        library: ByHand(&[Entry::new("plain_listen", "one endpoint, or several, or `off`")]),
        other_words: &["http_listen", "listen_plain", "listen_http", "insecure_listen", "plain_port", "http_port"],
        say: "an endpoint in plain text beside those over TLS is `plain_listen = \":80\"`",
    },
    Key {
        name: "redirect_to_https", kind: Own(ServerKey::RedirectToHttps), example: "redirect_to_https = true",
        forms: &["redirect_to_https = 8443"], default: "`false`",
        doc: "Answers requests over plain text with `308 Permanent Redirect` to the same address over HTTPS: at port \
              443, or at this one ([how](crate::guide::tls#redirects-to-https)).",
        library: ByHand(&[Entry::new("redirect_to_https", "`true`, a port, or `false`")]),
        other_words: &["https_redirect", "redirect", "force_https", "force_ssl", "ssl_redirect", "redirect_https"],
        say: "plain text is redirected to HTTPS by `redirect_to_https = true`",
        ..Key::ROW
    },
    Key {
        name: "hsts", kind: Own(ServerKey::Hsts), example: r#"hsts = "180d""#,
        forms: &[r#"hsts = ["365d", "include_subdomains", "preload"]"#], default: "none",
        doc: "Tells browsers for how long to reach this host over HTTPS alone, in the field \
              `Strict-Transport-Security` of responses over TLS.",
        feature: Some(Feature::Tls),
        library: ByHand(&[Entry::new(
            "hsts",
            "a duration; `include_subdomains` and `preload` may follow it in a list; or `off`",
        )]),
        other_words: &["strict_transport_security", "sts"],
        say: "HSTS is `hsts = \"180d\"`, or `hsts = [\"365d\", \"include_subdomains\", \"preload\"]`",
    },
    Key {
        name: "max_conns", kind: Ordinary(Count { most: u32::MAX as u64 }), example: "max_conns = 1000", default: "100000",
        doc: "How many connections the server holds at once. Further clients wait in the kernel's queue, see \
              `when_full`.",
        library: ByHand(&[Entry::new("max_conns", "a number from 1 on")]),
        ..Key::ROW
    },
    Key {
        name: "backlog", kind: Ordinary(Count { most: MOST_BACKLOG }), example: "backlog = 4096", default: "4096",
        doc: "The length of that queue, per endpoint.",
        library: ByHand(&[Entry::new("backlog", "a number from 1 on")]),
        ..Key::ROW
    },
    Key {
        name: "http1", kind: Ordinary(Flag), example: "http1 = false", default: "true",
        doc: "Whether HTTP/1.1 is served.",
        ..Key::ROW
    },
    Key {
        name: "http2", kind: Ordinary(Flag), example: "http2 = false", default: "true",
        doc: "Whether HTTP/2 is served, by ALPN on TLS and by prior knowledge on plain text (feature `http2`, on by default).",
        feature: Some(Feature::Http2),
        ..Key::ROW
    },
    Key {
        name: "handshake_timeout", kind: Ordinary(Timeout), example: r#"handshake_timeout = "10s""#, default: "10s",
        doc: "How long a TLS handshake, or telling HTTP/2 from HTTP/1 on plain text, may take.",
        ..Key::ROW
    },
    Key {
        name: "header_read_timeout", kind: Ordinary(Timeout), example: r#"header_read_timeout = "10s""#, default: "10s",
        doc: "How long a request head may take from its first byte to its last.",
        other_words: &["read_timeout"],
        say: "how long a request's head may take is `header_read_timeout = \"10s\"`",
        ..Key::ROW
    },
    Key {
        name: "request_timeout", kind: Ordinary(Timeout), example: r#"request_timeout = "30s""#, default: "off",
        doc: "How long a handler may take until its response begins. A handler that takes longer is dropped, a notice \
              names the request, and the answer is `503 Service Unavailable`.",
        other_words: &["timeout", "write_timeout", "handler_timeout"],
        say: "how long a handler may take is `request_timeout = \"30s\"`",
        ..Key::ROW
    },
    Key {
        name: "idle_timeout", kind: Ordinary(Timeout), example: r#"idle_timeout = "75s""#, default: "75s",
        doc: "How long a connection may wait for its next request.",
        other_words: &["keepalive", "keep_alive", "keep_alive_timeout"],
        say: "the pause between requests is `idle_timeout = \"75s\"`; probes of TCP are `tcp_keepalive = \"60s\"`",
        ..Key::ROW
    },
    Key {
        name: "max_body", kind: Ordinary(Length), example: r#"max_body = "2MiB""#, default: "2MiB",
        doc: "The largest request body. Over it the answer is `413 Content Too Large`.",
        other_words: &["body_limit", "limit", "max_request_size", "client_max_body_size"],
        say: "the size of a body is limited by `max_body = \"2MiB\"`",
        ..Key::ROW
    },
    Key {
        name: "max_header_size", kind: Ordinary(Size { least: 1 }), example: r#"max_header_size = "64KiB""#,
        default: "64KiB",
        doc: "The largest request head. Over it the answer is `431 Request Header Fields Too Large`, or `414 URI Too \
              Long` where the request line alone is larger.",
        ..Key::ROW
    },
    Key {
        name: "max_headers", kind: Ordinary(Count { most: 10_000 }), example: "max_headers = 100", default: "100",
        doc: "How many fields a request head may have, up to 10 000. Over it the answer is `431 Request Header Fields \
              Too Large`.",
        ..Key::ROW
    },
    Key {
        name: "tcp_keepalive", kind: Ordinary(Keepalive), example: r#"tcp_keepalive = "60s""#, default: "60s",
        doc: "The idle time after which the kernel probes whether a TCP peer still exists, up to 9 h 6 min 7 s. Zero \
              turns the probes off.",
        // The hint of `idle_timeout` names both.
        other_words: &["keepalive", "keep_alive", "keep_alive_timeout"],
        ..Key::ROW
    },
    Key {
        name: "nodelay", kind: Ordinary(Flag), example: "nodelay = false", default: "true",
        doc: "Whether small packets are sent at once (`TCP_NODELAY`).",
        ..Key::ROW
    },
    Key {
        name: "when_full", kind: Ordinary(Choice { of: "WhenFull", words: &["recycle", "wait"] }),
        example: "when_full = wait", default: "recycle",
        doc: "What the server does over `max_conns`. `recycle` closes the longest idle connections for clients that \
              wait, and busy ones with their next response ([how](crate::guide::servers#how-many-connections)); \
              `wait` closes none.",
        library: ByHand(&[Entry::new("when_full", "`recycle` or `wait`")]),
        other_words: &["overload", "full", "on_full"],
        say: "what a full server does for clients that wait is `when_full = recycle`, or `when_full = wait`",
        ..Key::ROW
    },
    Key {
        name: "half_close_timeout", kind: Ordinary(Duration), example: r#"half_close_timeout = "1s""#, default: "1s",
        doc: "How long a handler may take to begin its response to a client that has closed its sending half. Then the \
              request is dropped and its connection closed.\n\n\
              Such a client may have left or may be waiting for the answer: the two look the same. Zero treats it as \
              gone at once. A reset ends the handler at once.",
        ..Key::ROW
    },
    Key {
        name: "max_conn_memory", kind: Ordinary(Size { least: 64 << 10 }), example: r#"max_conn_memory = "4MiB""#,
        default: "4MiB",
        doc: "The most memory that one connection may hold for requests and responses under way, 64 KiB at least. Over \
              HTTP/2 one body of `max_body` may come on top \
              ([how](crate::guide::servers#what-one-http2-connection-may-hold)).",
        other_words: &["memory_limit", "max_memory"],
        say: "what one connection may hold is limited by `max_conn_memory = \"4MiB\"`",
        ..Key::ROW
    },
    Key {
        name: "socket_mode", kind: Ordinary(Mode), example: r#"socket_mode = "0660""#, default: "as the umask leaves it",
        doc: "The permission bits, in octal, of the files of Unix sockets. A client needs the permission to write.",
        library: ByHand(&[Entry {
            other_words: &["mode", "file_mode", "umask", "permissions"],
            ..Entry::new("socket_mode", "permission bits in octal and in quotes, `\"0660\"`")
        }]),
        ..Key::ROW
    },
    // Only the machine that serves knows whether the user and the group exist.
    Key {
        name: "socket_user", kind: Ordinary(Text { expected: OWNER }), example: r#"socket_user = "app""#,
        default: "that of the process",
        doc: "The user that owns those files, by name or number.",
        library: ByHand(&[Entry {
            other_words: &["user", "owner"],
            ..Entry::new("socket_user", "a name or a number, in quotes")
        }]),
        ..Key::ROW
    },
    Key {
        name: "socket_group", kind: Ordinary(Text { expected: OWNER }), example: r#"socket_group = "www-data""#,
        default: "that of the process",
        doc: "The group that owns those files, by name or number.",
        library: ByHand(&[Entry {
            other_words: &["group"],
            ..Entry::new("socket_group", "a name or a number, in quotes")
        }]),
        ..Key::ROW
    },
    Key {
        name: "trusted_proxies", kind: Ordinary(List { expected: NETWORKS, check: lists::networks }),
        example: r#"trusted_proxies = ["10.0.0.0/8", "::1", "unix"]"#, default: "none",
        doc: "The [proxies](crate::guide::behind_a_proxy) whose word about a client counts: addresses, networks, and \
              `unix` for all that comes over a Unix socket.",
        library: ByHand(&[Entry {
            other_words: &["trust_proxy", "trusted_proxy", "set_real_ip_from", "forwarded_allow_ips", "real_ip"],
            ..Entry::new("trusted_proxies", "addresses, networks such as `\"10.0.0.0/8\"`, or `\"unix\"`; none at all is a choice, too")
        }]),
        ..Key::ROW
    },
    Key {
        name: "forwarded", kind: Ordinary(List { expected: "names of header fields in quotes", check: lists::fields }),
        example: r#"forwarded = ["x-forwarded-for", "x-forwarded-proto"]"#, forms: &[r#"forwarded = "forwarded""#],
        default: "`x-forwarded-for`, `x-forwarded-proto`",
        doc: "The header fields that these proxies set. No other is believed, since a proxy passes it on as the client \
              has sent it.",
        library: ByHand(&[Entry {
            other_words: &["forwarded_headers", "x_forwarded_for", "real_ip_header", "use_x_forwarded_host"],
            ..Entry::new("forwarded", "`\"forwarded\"`, or some of `\"x-forwarded-for\"`, `\"x-forwarded-proto\"`, `\"x-forwarded-host\"`")
        }]),
        ..Key::ROW
    },
    Key {
        name: "proxy_protocol", kind: Ordinary(List { expected: NETWORKS, check: lists::networks }),
        example: r#"proxy_protocol = ["10.0.0.0/8"]"#, default: "none",
        doc: "The proxies that begin each connection with a header of the [PROXY \
              protocol](crate::guide::behind_a_proxy#the-proxy-protocol). From these it is required, from others it is not \
              accepted.",
        library: ByHand(&[Entry {
            other_words: &["proxyprotocol", "accept_proxy", "send_proxy", "proxy_header"],
            ..Entry::new("proxy_protocol", "addresses, networks such as `\"10.0.0.0/8\"`, or `\"unix\"`; none at all is a choice, too")
        }]),
        ..Key::ROW
    },
    Key {
        name: "health", kind: Own(ServerKey::Health), example: r#"health = "/healthz""#, default: "none",
        doc: "A path at which the server says whether the application is [ready](crate::guide::health), before all \
              routes.",
        library: ByHand(&[Entry {
            other_words: &["healthz", "readyz", "health_check", "readiness", "ready"],
            ..Entry::new("health", "a path such as `\"/healthz\"`, or `off`")
        }]),
        ..Key::ROW
    },
    Key {
        name: "access_log",
        kind: Ordinary(Choice { of: "AccessLog", words: &["off", "common", "combined", "json"] }),
        example: "access_log = json", default: "off",
        doc: "The form of the [access log](crate::guide::logs), one line a request.",
        library: ByHand(&[Entry::new("access_log", "`off`, `common`, `combined` or `json`")]),
        other_words: &["accesslog", "log_requests", "request_log", "log_format", "access_log_format"],
        say: "a line for each request is `access_log = json`, `combined` or `common`",
        ..Key::ROW
    },
    Key {
        name: "access_log_to", kind: Ordinary(File { expected: LOG_TARGET }),
        example: r#"access_log_to = "/var/log/app/access.log""#,
        forms: &[r#"access_log_to = "stdout""#, r#"access_log_to = "stderr""#, r#"access_log_to = "tracing""#],
        default: "`stdout`",
        doc: "Where the access log goes: standard output, standard error, events of `tracing`, or a file, which several \
              servers may share. It is opened anew by `reopen-logs` and in a restart.",
        library: ByHand(&[Entry::new("access_log_to", "`stdout`, `stderr`, `tracing`, or the path of a file")]),
        other_words: &["access_log_file", "access_log_path", "access_log_target", "log_file"],
        say: "the file of the access log is `access_log_to = \"/var/log/app/access.log\"`",
        ..Key::ROW
    },
    Key {
        name: "access_log_query", kind: Ordinary(Flag), example: "access_log_query = true", default: "false",
        doc: "Whether the access log shows queries, which may hold secrets: those of the paths and of `Referer`.",
        ..Key::ROW
    },
    Key {
        name: "access_log_handshakes", kind: Ordinary(Flag), example: "access_log_handshakes = true", default: "false",
        doc: "Whether TLS handshakes that fail have a line in the access log, too.",
        ..Key::ROW
    },
    Key {
        name: "request_id", kind: Ordinary(Flag), example: "request_id = true", default: "false",
        doc: "Whether each request has an [id](crate::guide::logs#request-ids): in `x-request-id` of its response, in \
              `RequestId`, in the access log and in its span.",
        other_words: &["x_request_id", "request_ids", "correlation_id"],
        say: "ids of requests are `request_id = true`",
        ..Key::ROW
    },
    Key {
        name: "request_span", kind: Ordinary(Flag), example: "request_span = true", default: "false",
        doc: "Whether each request has a [span](crate::guide::logs#spans) of `tracing`, in which its handler runs.",
        other_words: &["tracing", "trace", "spans", "otel", "opentelemetry"],
        say: "a span for each request is `request_span = true`",
        ..Key::ROW
    },
    Key {
        name: "layer", kind: Own(ServerKey::Layer), example: "layer = TraceLayer::new_for_http()",
        doc: "A tower layer around all that the server answers; several are a tuple.",
        other_words: &["middleware", "wrap", "layers"],
        say: "a tower layer is `layer = …`; several are a tuple, `layer = (first, second)`",
        ..Key::CODE
    },
    Key {
        name: "prefix", kind: Own(ServerKey::Prefix), example: r#"prefix = "/v1""#,
        doc: "What all paths of a module begin with.",
        ..Key::CODE
    },
    Key {
        name: "routes", kind: Own(ServerKey::Routes), example: "routes(users::routes)",
        doc: "Modules with [`#[routes]`](macro@crate::routes) that lie elsewhere.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(ServerKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

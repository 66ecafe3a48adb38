//! The keys of the attributes: one row a key, and the only place in which most keys are written down.
//!
//! From a row of [`SERVER`] or [`MAIN`] come
//!
//! * the parser of the attribute, its messages, and the hints for other words and other attributes' keys;
//! * in the library, by `library`: the field of the options with its default, the builder's method with its
//!   documentation, the entry of the configuration file, of the environment and of the command `config`, and its hints;
//! * the tables of the documentation, by `docs`: `BLESS=1 cargo test -p gracehttp-macros` writes them.
//!
//! So a key of an ordinary kind is a row here, and a use of its field in the library. A key with a form of its own also
//! has code: in the attribute's parser if its kind is [`Form::Own`], in the library if it is
//! [`Library::ByHand`] there.

#[cfg(test)]
mod docs;
mod lists;
mod row;

use Form::{Ordinary, Own};
use Kind::{
    Address, Callback, Choice, Count, Duration, File, Flag, Keepalive, Length, List, Mode, Size, Text,
    Timeout,
};
use Library::ByHand;
pub(crate) use row::{CheckList, Entry, Feature, Form, Key, Kind, Library};

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

/// The keys of `tls(…)` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum TlsKey {
    Cert,
    Key,
    Certs,
    MinVersion,
    CipherSuites,
    Curves,
    ClientCrl,
    Acme,
}

/// The keys of `tls(acme(…))` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum AcmeKey {
    Domains,
    Cache,
}

/// The values of `min_version`.
pub(crate) const VERSIONS: &[&str] = &["1.2", "1.3"];

/// The cipher suites that the library's record layer knows, by their names in the IANA registry.
pub(crate) const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The groups of the key exchange, by their names in the IANA registry. The last one needs the feature `aws-lc-rs`.
pub(crate) const CURVES: &[&str] = &["X25519", "secp256r1", "secp384r1", "X25519MLKEM768"];

/// The keys of `#[gracehttp::main]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum MainKey {
    Servers,
    Health,
    RestartOn,
    StopOn,
    Cli,
    Crate,
}

/// The keys of `#[health]` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum HealthKey {
    Crate,
}

/// The keys of `#[routes]`.
#[derive(Clone, Copy)]
pub(crate) enum RoutesKey {
    Prefix,
    Routes,
    Layer,
    Crate,
}

/// The keys of `#[get("/path", …)]` and the like.
#[derive(Clone, Copy)]
pub(crate) enum RouteKey {
    Layer,
}

/// The kernel takes a backlog of 31 bits.
const MOST_BACKLOG: u64 = i32::MAX.unsigned_abs() as u64;
const NETWORKS: &str = "networks in quotes";
const OWNER: &str = "a name or a number, in quotes";

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
        name: "access_log_to", kind: Ordinary(File), example: r#"access_log_to = "/var/log/app/access.log""#,
        forms: &[r#"access_log_to = "stdout""#, r#"access_log_to = "tracing""#], default: "`stdout`",
        doc: "Where the access log goes: standard output, events of `tracing`, or a file, which several servers may \
              share. It is opened anew by `reopen-logs` and in a restart.",
        library: ByHand(&[Entry::new("access_log_to", "`stdout`, `tracing`, or the path of a file")]),
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

#[rustfmt::skip]
pub(crate) const TLS: &[Key<TlsKey>] = &[
    Key { name: "cert", kind: Own(TlsKey::Cert), example: r#"cert = "cert.pem""#, ..Key::CODE },
    Key { name: "key", kind: Own(TlsKey::Key), example: r#"key = "key.pem""#, ..Key::CODE },
    Key { name: "certs", kind: Own(TlsKey::Certs), example: r#"certs = [("a.pem", "a.key"), ("b.pem", "b.key")]"#, ..Key::CODE },
    Key { name: "sni_strict", kind: Ordinary(Flag), example: "sni_strict = true", ..Key::CODE },
    Key { name: "reload_interval", kind: Ordinary(Duration), example: r#"reload_interval = "1m""#, ..Key::CODE },
    Key { name: "ocsp", kind: Ordinary(File), example: r#"ocsp = "ocsp.der""#, ..Key::CODE },
    Key { name: "min_version", kind: Own(TlsKey::MinVersion), example: r#"min_version = "1.3""#, ..Key::CODE },
    Key {
        name: "cipher_suites", kind: Own(TlsKey::CipherSuites), example: r#"cipher_suites = ["TLS_AES_256_GCM_SHA384"]"#,
        ..Key::CODE
    },
    Key { name: "client_ca", kind: Ordinary(File), example: r#"client_ca = "clients.pem""#, ..Key::CODE },
    Key {
        name: "client_auth", kind: Ordinary(Choice { of: "ClientAuth", words: &["required", "optional"] }),
        example: "client_auth = optional", ..Key::CODE
    },
    Key { name: "client_crl", kind: Own(TlsKey::ClientCrl), example: r#"client_crl = "clients.crl""#, ..Key::CODE },
    Key { name: "curves", kind: Own(TlsKey::Curves), example: r#"curves = ["X25519", "secp256r1"]"#, ..Key::CODE },
    Key {
        name: "acme", kind: Own(TlsKey::Acme),
        example: r#"acme(domains = ["example.org"], cache = "/var/lib/app/acme")"#, ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ACME: &[Key<AcmeKey>] = &[
    Key { name: "domains", kind: Own(AcmeKey::Domains), example: r#"domains = ["example.org"]"#, ..Key::CODE },
    Key { name: "cache", kind: Own(AcmeKey::Cache), example: r#"cache = "/var/lib/app/acme""#, ..Key::CODE },
    Key {
        name: "contact", kind: Ordinary(Text { expected: "an address in quotes" }),
        example: r#"contact = "mailto:ops@example.org""#, ..Key::CODE
    },
    Key {
        name: "directory", kind: Ordinary(Text { expected: "`\"staging\"`, or the URL of a directory in quotes" }),
        example: r#"directory = "staging""#, ..Key::CODE
    },
    Key { name: "ca", kind: Ordinary(File), example: r#"ca = "ca.pem""#, ..Key::CODE },
];

#[rustfmt::skip]
pub(crate) const MAIN: &[Key<MainKey>] = &[
    Key {
        name: "servers", kind: Own(MainKey::Servers), example: "servers(api, admin)", default: "required",
        doc: "The servers: functions and modules with [`#[server]`](macro@crate::server).",
        ..Key::CODE
    },
    Key {
        name: "health", kind: Own(MainKey::Health), example: "health(database, cache)", default: "none",
        doc: "The [health checks](crate::guide::health): functions with [`#[health]`](macro@crate::health).",
        other_words: &["health_check", "health_checks", "checks", "readiness"],
        say: "health checks are functions with `#[gracehttp::health]`, listed as `health(database, cache)`",
        ..Key::CODE
    },
    Key {
        name: "drain_timeout", kind: Ordinary(Duration), example: r#"drain_timeout = "10s""#, default: "10s",
        doc: "How long requests in flight may take to finish after a stop or a restart. Then they are cut, and \
              reported.",
        other_words: &["shutdown_timeout", "graceful_timeout", "grace_period", "stop_timeout"],
        say: "what is in flight gets `drain_timeout = \"10s\"`",
        ..Key::ROW
    },
    Key {
        name: "ready_timeout", kind: Ordinary(Timeout), example: r#"ready_timeout = "60s""#, default: "60s",
        doc: "How long a successor may take until it is ready. Then it is killed, and this process serves on.",
        ..Key::ROW
    },
    Key {
        name: "standby", kind: Ordinary(Duration), example: r#"standby = "2s""#, default: "2s",
        doc: "How long after a restart this process can take over again if its successor dies or hangs. It lasts at \
              least until the successor has shown that it lives.",
        ..Key::ROW
    },
    Key {
        name: "lame_duck", kind: Ordinary(Duration), example: r#"lame_duck = "5s""#, default: "0s",
        doc: "How long connections are still accepted after a signal to stop. Load balancers use that time to look \
              elsewhere.",
        ..Key::ROW
    },
    Key {
        name: "restart_on", kind: Own(MainKey::RestartOn), example: "restart_on(HUP, USR1, USR2)",
        default: "`HUP`, `USR1`, `USR2`",
        doc: "The signals that restart; `restart_on()` for none.",
        library: ByHand(&[Entry::new("restart_on", "signals; none at all is a choice, too")]),
        ..Key::ROW
    },
    Key {
        name: "stop_on", kind: Own(MainKey::StopOn), example: "stop_on(INT, TERM, QUIT, TSTP)",
        default: "`INT`, `TERM`, `QUIT`, `TSTP`",
        doc: "The signals that stop.",
        library: ByHand(&[Entry::new("stop_on", "signals; none at all is a choice, too")]),
        ..Key::ROW
    },
    Key {
        name: "pid_file", kind: Ordinary(File), example: r#"pid_file = "/run/app/app.pid""#, default: "none",
        doc: "A [file that names the process](crate::guide::systemd#a-pid-file) to signal, for scripts that can't find it \
              otherwise. It follows restarts, and is removed at the end.",
        library: ByHand(&[Entry::new("pid_file", "the path of a file, or `off`")]),
        other_words: &["pid", "pidfile", "pid_path"],
        say: "the file that names the process is `pid_file = \"/run/app/app.pid\"`",
        ..Key::ROW
    },
    Key {
        name: "worker_threads", kind: Ordinary(Count { most: 4096 }), example: "worker_threads = 4",
        default: "one for each core",
        doc: "How many threads serve, up to 4096.",
        library: ByHand(&[Entry::new("worker_threads", "a number from 1 to 4096")]),
        other_words: &["threads", "workers", "flavor", "num_threads"],
        say: "the number of threads is `worker_threads = 4`",
        ..Key::ROW
    },
    Key {
        name: "supervise", kind: Ordinary(Choice { of: "Supervise", words: &["auto", "off", "always"] }),
        example: "supervise = always", default: "auto",
        doc: "Whether a [supervisor](crate::guide::supervision) starts and watches the processes: `auto` where the \
              process is PID 1 or the main process of a systemd service; `always`; or `off`. It is decided at the start: \
              a restart changes nothing about it.",
        library: ByHand(&[Entry::new("supervise", "`auto`, `off` or `always`")]),
        other_words: &["supervisor", "respawn", "master", "watch"],
        say: "a supervisor is `supervise = auto`, `off` or `always`",
        ..Key::ROW
    },
    Key {
        name: "hang_timeout", kind: Ordinary(Timeout), example: r#"hang_timeout = "30s""#, default: "off",
        doc: "How long the process may not answer before its [supervisor](crate::guide::supervision) ends it by SIGABRT \
              and starts a fresh one. Under a watchdog of systemd it is half of `WatchdogSec` at most.",
        ..Key::ROW
    },
    Key {
        name: "crash_limit", kind: Ordinary(Count { most: 64 }), example: "crash_limit = 5", default: "5",
        doc: "With so many crashes within `crash_window` the [supervisor](crate::guide::supervision) ends, with status 70.",
        ..Key::ROW
    },
    Key {
        name: "crash_window", kind: Ordinary(Timeout), example: r#"crash_window = "30s""#, default: "30s",
        doc: "The time in which crashes are counted.",
        ..Key::ROW
    },
    Key {
        name: "crash_backoff", kind: Ordinary(Duration), example: r#"crash_backoff = "10s""#, default: "10s",
        doc: "The longest pause before a fresh process is started after a crash. The first one starts at once, the next \
              after 100 ms, and each further one after twice the time.",
        ..Key::ROW
    },
    Key {
        name: "config", kind: Ordinary(File), example: r#"config = "my_app.toml""#, default: "`Gracehttp.toml`, if it exists",
        doc: "The [configuration file](crate::guide::configuration). A macro such as `concat!(…)` may make the path.",
        ..Key::CODE
    },
    Key {
        name: "user", kind: Ordinary(Text { expected: OWNER }), example: r#"user = "app""#,
        default: "that of the process",
        doc: "The user as whom the process serves: root binds the endpoints, and then \
              [gives up its rights](crate::guide::deployment#as-another-user).",
        library: ByHand(&[Entry::new("user", "a name or a number, in quotes")]),
        other_words: &["run_as", "uid", "setuid", "username"],
        say: "the user as whom the process serves is `user = \"app\"`",
        ..Key::ROW
    },
    Key {
        name: "group", kind: Ordinary(Text { expected: OWNER }), example: r#"group = "app""#,
        default: "that of `user`",
        doc: "The group in which the process serves, with `user`.",
        library: ByHand(&[Entry::new("group", "a name or a number, in quotes")]),
        other_words: &["gid", "setgid"],
        say: "the group in which the process serves is `group = \"app\"`",
        ..Key::ROW
    },
    Key {
        name: "log_format", kind: Ordinary(Choice { of: "LogFormat", words: &["text", "json"] }),
        example: "log_format = json", default: "text",
        doc: "How the log is written to standard error: lines for people, or [JSON objects](crate::guide::logging#json).",
        library: ByHand(&[Entry::new("log_format", "`text` or `json`")]),
        other_words: &["log_json", "json_logs", "log_style"],
        say: "the form of the log is `log_format = text` or `json`",
        ..Key::ROW
    },
    Key {
        name: "log", kind: Ordinary(Text { expected: "targets with levels" }),
        example: r#"log = "gracehttp=info,my_app=debug""#, default: "see [the guide](crate::guide::logging)",
        doc: "Levels of the log for some targets. `RUST_LOG` wins over it.",
        library: ByHand(&[Entry::new("log", "targets with levels, as `RUST_LOG` has them")]),
        other_words: &["log_level", "log_levels", "rust_log", "verbosity"],
        say: "levels of the log are `log = \"gracehttp=info,my_app=debug\"`",
        ..Key::ROW
    },
    Key {
        name: "unknown_keys", kind: Ordinary(Choice { of: "UnknownKeys", words: &["error", "warn"] }),
        example: "unknown_keys = warn", default: "error",
        doc: "Whether keys, servers and variables that this program does not have keep it from starting; with `warn` \
              [each is a notice](crate::guide::configuration#an-older-program-with-a-newer-file).",
        library: ByHand(&[Entry::new("unknown_keys", "`error` or `warn`")]),
        other_words: &["lenient", "strict", "deny_unknown", "ignore_unknown"],
        say: "whether unknown keys keep the process from starting is `unknown_keys = error` or `warn`",
        ..Key::ROW
    },
    Key {
        name: "cli", kind: Own(MainKey::Cli), example: "cli", default: "off",
        doc: "A [command line](crate::guide::configuration#a-command-line): `serve`, `check`, `config`, `routes`, \
              and commands for the process that serves (feature `cli`).",
        feature: Some(Feature::Cli),
        ..Key::CODE
    },
    Key {
        name: "control", kind: Ordinary(Address { only_unix: true }),
        example: r#"control = "unix:/run/app.sock""#,
        forms: &["control = off"], default: "with `cli`: in `$RUNTIME_DIRECTORY`, or next to `pid_file`",
        doc: "The [control socket](crate::guide::control), through which the commands of the same program speak with \
              the one that serves (feature `cli`).",
        feature: Some(Feature::Cli),
        library: ByHand(&[Entry::new("control", "`unix:` and the path of a socket, or `off`")]),
        other_words: &["control_socket", "socket_path", "command_socket"],
        say: "where commands reach the process is `control = \"unix:/run/app.sock\"`",
    },
    Key {
        name: "admin", kind: Ordinary(Address { only_unix: false }),
        example: r#"admin = "127.0.0.1:9099""#,
        forms: &[r#"admin = "unix:/run/app-admin.sock""#, "admin = off"], default: "off",
        doc: "The address for operators: [health](crate::guide::health), metrics, a \
              [status page](crate::guide::status_page) (feature `admin`).",
        feature: Some(Feature::Admin),
        library: ByHand(&[Entry::new("admin", "an endpoint, or `off`")]),
        other_words: &["status", "status_page", "management", "ops", "metrics"],
        say: "health, metrics and the status page are at `admin = \"127.0.0.1:9099\"`",
    },
    Key {
        name: "on_info", kind: Ordinary(Callback), example: "on_info = my_function", default: "`tracing`",
        doc: "A function of `&str` that takes the messages of this level; see [`log`](crate::log).",
        other_words: &["logger", "on_log"],
        say: "messages go to `tracing`, or to `on_info = …`, `on_notice = …`, `on_error = …`",
        ..Key::CODE
    },
    Key {
        name: "on_notice", kind: Ordinary(Callback), example: "on_notice = my_function", default: "`tracing`",
        doc: "The same for the level notice.",
        ..Key::CODE
    },
    Key {
        name: "on_error", kind: Ordinary(Callback), example: "on_error = my_function", default: "`tracing`",
        doc: "The same for the level error.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(MainKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const HEALTH: &[Key<HealthKey>] = &[
    Key {
        name: "timeout", kind: Ordinary(Timeout), example: r#"timeout = "2s""#, default: "2s",
        doc: "How long the check may take. Then it has failed.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(HealthKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ROUTES: &[Key<RoutesKey>] = &[
    Key {
        name: "prefix", kind: Own(RoutesKey::Prefix), example: r#"prefix = "/users""#,
        doc: "What all paths of the module begin with. It may have parameters.",
        ..Key::CODE
    },
    Key {
        name: "routes", kind: Own(RoutesKey::Routes), example: "routes(users::routes)",
        doc: "Modules with `#[routes]` that lie elsewhere, under the same prefix.",
        ..Key::CODE
    },
    Key {
        name: "layer", kind: Own(RoutesKey::Layer), example: "layer = TraceLayer::new_for_http()",
        doc: "A tower layer around all of the module's routes.",
        ..Key::CODE
    },
    Key {
        name: "crate", kind: Own(RoutesKey::Crate), example: "crate = my_facade::gracehttp",
        default: "`::gracehttp`",
        doc: "Where gracehttp is, for those who re-export it.",
        ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ROUTE: &[Key<RouteKey>] = &[
    Key { name: "layer", kind: Own(RouteKey::Layer), example: "layer = TimeoutLayer::new(LIMIT)", ..Key::CODE },
];

/// Whether a table has a key of this name.
pub(crate) fn has<O>(table: &[Key<O>], name: &str) -> bool {
    table.iter().any(|key| key.name == name)
}

/// The hint for a word that other programs use for a key of this table.
pub(crate) fn hint<O>(table: &[Key<O>], word: &str) -> Option<&'static str> {
    let mut meant = table.iter().filter(|key| key.other_words.contains(&word) && !key.say.is_empty());
    meant.next().map(|key| key.say)
}

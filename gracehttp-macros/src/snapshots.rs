//! The expansions of the attributes, kept in `snapshots/`.
//!
//! `BLESS=1 cargo test -p gracehttp-macros` rewrites the files. The expansions without a feature are
//! rewritten by the same command with `--no-default-features`, and then with `--features tls` too.

use std::path::PathBuf;
use std::{env, fs};

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Meta};

use crate::expand;

/// Expands an item with its attribute, as the compiler does.
fn expanded(annotated: TokenStream) -> String {
    let split = |input: ParseStream<'_>| {
        let mut attributes = input.call(Attribute::parse_outer)?;
        let attribute = attributes.remove(0).meta;
        let item: TokenStream = input.parse()?;
        Ok((attribute, quote!(#(#attributes)* #item)))
    };
    let (attribute, item) = split.parse2(annotated).unwrap();
    let args = match &attribute {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let expanded = match attribute.path().get_ident().map(ToString::to_string).as_deref() {
        Some("server") => expand::server(args, item),
        Some("routes") => expand::routes(args, item),
        Some("health") => expand::health(args, item),
        _ => expand::main(args, item),
    };
    prettyplease::unparse(&syn::parse2(expanded).unwrap())
}

fn check(name: &str, annotated: TokenStream) {
    let expanded = expanded(annotated);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.rs"));
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &expanded).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expanded == expected,
        "the expansion is not that of {}\n{expanded}\nIs it right? Run the tests with BLESS=1.",
        path.display()
    );
}

#[test]
fn handler() {
    check(
        "handler",
        quote! {
            #[server(port = 9090)]
            /// Answers every request.
            async fn ping() -> &'static str {
                "pong"
            }
        },
    );
}

#[test]
fn handler_with_extractors() {
    check(
        "handler_with_extractors",
        quote! {
            #[server(port = 9090, state = App)]
            #[instrument]
            pub(crate) async fn user(
                State(users): State<Users>,
                Path(id): Path<u64>,
                body: Bytes,
            ) -> Result<Json<User>, Error> {
                users.update(id, body).await
            }
        },
    );
}

#[test]
#[cfg(all(feature = "http2", feature = "tls"))]
fn handler_with_every_key() {
    check(
        "handler_with_every_key",
        quote! {
            #[server(
                name = "api",
                listen = ["127.0.0.1:9091", "unix:/run/api.sock"],
                port = 9090,
                tls(cert = "cert.pem", key = "key.pem"),
                max_conns = 1_000,
                backlog = 128,
                http1 = true,
                http2 = false,
                handshake_timeout = "5s",
                header_read_timeout = "2s 500ms",
                request_timeout = "1m 30s",
                idle_timeout = "75s",
                max_body = "2MiB",
                max_header_size = 65536,
                max_headers = 100,
                tcp_keepalive = "0s",
                nodelay = false,
                when_full = wait,
                half_close_timeout = "0s",
                max_conn_memory = "4MiB",
                socket_mode = "0660",
                socket_user = "app",
                socket_group = "www-data",
                trusted_proxies = ["10.0.0.0/8", "unix"],
                forwarded = "forwarded",
                proxy_protocol = "127.0.0.1",
                crate = facade::gracehttp,
            )]
            pub async fn r#match(request: Request) -> Response {
                respond(request).await
            }
        },
    );
}

#[test]
#[cfg(feature = "tls")]
fn factory() {
    check(
        "factory",
        quote! {
            #[server(port = 9090, tls = ("cert.pem", "key.pem"))]
            fn legacy() -> axum::Router {
                axum::Router::new()
            }
        },
    );
}

#[test]
#[cfg(feature = "self-signed")]
fn factory_with_state() {
    check(
        "factory_with_state",
        quote! {
            #[server(listen = "[::1]:9443", tls = self_signed)]
            pub fn legacy(app: App) -> axum::Router {
                axum::Router::new().with_state(app)
            }
        },
    );
}

#[test]
fn main() {
    check(
        "main",
        quote! {
            #[gracehttp::main(servers(ping))]
            async fn main() {}
        },
    );
}

#[test]
fn main_with_settings() {
    check(
        "main_with_settings",
        quote! {
            #[gracehttp::main(servers(ping))]
            async fn main(settings: Settings) -> Settings {
                settings
            }
        },
    );
}

#[test]
#[cfg(feature = "cli")]
fn main_with_every_key() {
    check(
        "main_with_every_key",
        quote! {
            #[gracehttp::main(
                servers(ping, my::api),
                drain_timeout = "10s",
                ready_timeout = "60s",
                standby = "0s",
                lame_duck = "1s 1ns",
                restart_on(HUP, USR2),
                stop_on(TERM),
                worker_threads = 4,
                config = concat!(env!("CARGO_MANIFEST_DIR"), "/my_app.toml"),
                cli,
                on_info = log::info,
                on_notice = |line| println!("{line}"),
                on_error = log::error,
                crate = facade::gracehttp,
            )]
            /// Connects to the database.
            async fn main() -> Result<App, Error> {
                App::connect().await
            }
        },
    );
}

/// Every fault is reported, and everything else is expanded.
#[test]
fn faults_of_a_server() {
    check(
        "faults_of_a_server",
        quote! {
            #[server(prot = 80, max_conns = "many", idle_timeout = "75s")]
            async fn ping<T>(body: impl Sized) {}
        },
    );
}

/// A program without a `main` would have one more error.
#[test]
fn faults_of_main() {
    check(
        "faults_of_main",
        quote! {
            #[gracehttp::main(servers(ping, ping), stop_on(HUP))]
            fn main() {}
        },
    );
}

#[test]
#[cfg(feature = "axum")]
fn module_of_routes() {
    check(
        "module_of_routes",
        quote! {
            #[server(port = 9090, state = App, prefix = "/v1", routes(users::routes), layer = trace())]
            /// Users and more.
            pub mod api {
                //! Documented inside.
                use super::*;

                #[get("/")]
                async fn index() -> &'static str {
                    "index"
                }

                #[get("/items/{id}", layer = timeout())]
                #[route(PUT, "/items/{id}")]
                #[instrument]
                pub(super) async fn item(State(app): State<App>, Path(id): Path<u64>) -> Json<Item> {
                    app.item(id).await
                }

                #[any("/items")]
                async fn items(State(app): State<App>, Json(item): Json<Item>) {}

                #[fallback]
                async fn lost() -> StatusCode {
                    StatusCode::NOT_FOUND
                }

                #[routes(prefix = "/admin")]
                mod admin {
                    #[get("/")]
                    async fn index() {}
                }

                struct Other;
            }
        },
    );
}

#[test]
#[cfg(feature = "axum")]
fn part_of_routes() {
    check(
        "part_of_routes",
        quote! {
            #[routes(prefix = "/users", layer = auth(), crate = facade::gracehttp)]
            pub mod routes {
                #[get("/{id}")]
                async fn user(Path(id): Path<u64>) -> String {
                    id.to_string()
                }
            }
        },
    );
}

#[cfg(feature = "axum")]
#[test]
fn conditional_routes() {
    check(
        "conditional_routes",
        quote! {
            #[routes(prefix = "/debug")]
            mod routes {
                #[cfg(feature = "debug")]
                #[get("/")]
                async fn debug() {}

                #[get("/always")]
                async fn always() {}
            }
        },
    );
}

/// The routes without faults are served all the same.
#[test]
#[cfg(feature = "axum")]
fn faults_of_routes() {
    check(
        "faults_of_routes",
        quote! {
            #[server(port = 9090, prefix = "v1")]
            mod api {
                #[get("/users/:id")]
                async fn user() {}

                #[get("/")]
                fn blocking() {}

                #[get("/right")]
                async fn right() {}

                #[post("/struct")]
                struct Other;
            }
        },
    );
}

#[test]
#[cfg(not(feature = "axum"))]
fn routes_without_axum() {
    check(
        "routes_without_axum",
        quote! {
            #[server(port = 9090)]
            mod api {
                #[get("/")]
                async fn index() {}

                #[get("users")]
                async fn users() {}
            }
        },
    );
}

#[test]
#[cfg(not(feature = "axum"))]
fn part_without_axum() {
    check(
        "part_without_axum",
        quote! {
            #[routes(prefix = "/users")]
            mod routes {
                #[get("/")]
                async fn index() {}
            }
        },
    );
}

#[test]
#[cfg(not(feature = "tls"))]
fn server_without_tls() {
    check(
        "server_without_tls",
        quote! {
            #[server(port = 9443, tls = ("cert.pem", "key.pem"))]
            async fn ping() {}
        },
    );
}

#[test]
#[cfg(not(feature = "http2"))]
fn server_without_http2() {
    check(
        "server_without_http2",
        quote! {
            #[server(port = 9090, http2 = false, max_conns = 10)]
            async fn ping() {}
        },
    );
}

#[test]
#[cfg(all(feature = "tls", not(feature = "self-signed")))]
fn server_without_self_signed() {
    check(
        "server_without_self_signed",
        quote! {
            #[server(port = 9443, tls = self_signed)]
            async fn ping() {}
        },
    );
}

#[test]
#[cfg(not(feature = "cli"))]
fn main_without_cli() {
    check(
        "main_without_cli",
        quote! {
            #[gracehttp::main(servers(ping), cli)]
            async fn main() {}
        },
    );
}

#[test]
fn health_check() {
    check(
        "health_check",
        quote! {
            #[health(timeout = "500ms", crate = facade::gracehttp)]
            pub(crate) async fn database(State(pool): State<Pool>) -> Result<(), DatabaseError> {
                pool.ping().await
            }
        },
    );
}

#[test]
fn main_with_health_checks() {
    check(
        "main_with_health_checks",
        quote! {
            #[gracehttp::main(servers(ping), health(database, my::cache))]
            async fn main() -> App {
                App::new()
            }
        },
    );
}

#[test]
fn faults_of_a_health_check() {
    check(
        "faults_of_a_health_check",
        quote! {
            #[health(timeout = "0s", interval = "1s")]
            fn database(pool: Pool, name: String) {}
        },
    );
}

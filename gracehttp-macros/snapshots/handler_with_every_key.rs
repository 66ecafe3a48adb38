pub async fn r#match(request: Request) -> Response {
    respond(request).await
}
#[doc(hidden)]
pub struct r#match {}
#[doc(hidden)]
impl r#match {
    pub const fn server() -> Self {
        Self {}
    }
    pub const fn listens(&self) -> facade::gracehttp::__private::Listens {
        facade::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "r#match"),
            name: "api",
            at: &[("127.0.0.1", 9091), ("unix:/run/api.sock", 0), ("", 9090)],
        }
    }
}
impl<__S, __M> facade::gracehttp::IntoServer<__S, __M> for r#match
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    __M: 'static,
    Request: facade::gracehttp::__private::LastArgument<__S, __M>,
{
    fn into_server(self) -> facade::gracehttp::Server<__S> {
        facade::gracehttp::Server::builder("api")
            .listen("127.0.0.1:9091")
            .listen("unix:/run/api.sock")
            .port(9090)
            .max_conns(1000)
            .backlog(128)
            .http1(true)
            .http2(false)
            .handshake_timeout(::core::time::Duration::from_secs(5))
            .header_read_timeout(::core::time::Duration::new(2, 500000000))
            .request_timeout(::core::time::Duration::from_secs(90))
            .idle_timeout(::core::time::Duration::from_secs(75))
            .max_body(2097152)
            .max_header_size(65536)
            .max_headers(100)
            .tcp_keepalive(::core::time::Duration::from_secs(0))
            .nodelay(false)
            .half_close_timeout(::core::time::Duration::from_secs(0))
            .max_conn_memory(4194304)
            .socket_mode(432)
            .socket_user("app")
            .socket_group("www-data")
            .trusted_proxies(["10.0.0.0/8", "unix"])
            .forwarded(["forwarded"])
            .proxy_protocol(["127.0.0.1"])
            .when_full(facade::gracehttp::WhenFull::Wait)
            .tls(facade::gracehttp::Tls::files("cert.pem", "key.pem"))
            .handler::<_, (__M, Request), _>(r#match)
    }
}

async fn ping<T>(body: impl Sized) {}
#[doc(hidden)]
struct ping {}
#[doc(hidden)]
impl ping {
    const fn server() -> Self {
        Self {}
    }
    const fn listens(&self) -> ::gracehttp::__private::Listens {
        ::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "ping"),
            name: "ping",
            at: &[],
        }
    }
}
impl<__S> ::gracehttp::IntoServer<__S, ()> for ping
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "`#[server]` has no key `prot`\nhelp: did you mean `port`? the keys are: `port`, `listen`, `name`, `state`, `tls`, `plain_listen`, `redirect_to_https`, `hsts`, `max_conns`, `backlog`, `http1`, `http2`, `handshake_timeout`, `header_read_timeout`, `request_timeout`, `idle_timeout`, `max_body`, `max_header_size`, `max_headers`, `tcp_keepalive`, `nodelay`, `when_full`, `half_close_timeout`, `max_conn_memory`, `socket_mode`, `socket_user`, `socket_group`, `trusted_proxies`, `forwarded`, `proxy_protocol`, `health`, `access_log`, `access_log_to`, `access_log_query`, `access_log_handshakes`, `request_id`, `request_span`, `layer`, `prefix`, `routes`, `crate`"
}
::core::compile_error! {
    "`max_conns` takes a whole number, as in `max_conns = 1000`"
}
::core::compile_error! {
    "a handler can't be generic: the framework calls it and can't choose the types"
}
::core::compile_error! {
    "a handler can't be generic: name the argument's type"
}

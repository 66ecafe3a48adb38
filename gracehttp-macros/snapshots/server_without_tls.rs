async fn ping() {}
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
            at: &[("", 9443)],
        }
    }
}
impl<__S> ::gracehttp::IntoServer<__S, ()> for ping
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::Server::builder("ping").port(9443).handler::<_, ((),), _>(ping)
    }
}
::core::compile_error! {
    "the key `tls` needs gracehttp's feature `tls`\nhelp: turn it on in Cargo.toml: `features = [\"tls\"]`"
}

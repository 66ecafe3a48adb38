fn legacy() -> axum::Router {
    axum::Router::new()
}
#[doc(hidden)]
struct legacy {}
#[doc(hidden)]
impl legacy {
    const fn server() -> Self {
        Self {}
    }
    const fn listens(&self) -> ::gracehttp::__private::Listens {
        ::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "legacy"),
            name: "legacy",
            at: &[("", 9090)],
        }
    }
}
impl<__S> ::gracehttp::IntoServer<__S, ()> for legacy
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::__private::factory(
            ::gracehttp::Server::builder("legacy")
                .port(9090)
                .tls(::gracehttp::Tls::files("cert.pem", "key.pem")),
            |_: &__S| legacy(),
        )
    }
}

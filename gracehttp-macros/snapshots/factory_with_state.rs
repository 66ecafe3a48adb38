pub fn legacy(app: App) -> axum::Router {
    axum::Router::new().with_state(app)
}
#[doc(hidden)]
pub struct legacy {}
#[doc(hidden)]
impl legacy {
    pub const fn server() -> Self {
        Self {}
    }
    pub const fn listens(&self) -> ::gracehttp::__private::Listens {
        ::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "legacy"),
            name: "legacy",
            at: &[("::1", 9443)],
        }
    }
}
impl<__S> ::gracehttp::IntoServer<__S, ()> for legacy
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    App: ::gracehttp::__private::ProvidedBy<__S>,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::__private::factory(
            ::gracehttp::Server::builder("legacy")
                .listen("[::1]:9443")
                .tls(::gracehttp::Tls::self_signed()),
            |state: &__S| legacy(::gracehttp::FromRef::from_ref(state)),
        )
    }
}

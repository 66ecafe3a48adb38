mod api {
    async fn user(Path(id): Path<u64>) -> String {
        id.to_string()
    }
    #[doc(hidden)]
    pub struct WithAttributeRoutes {}
    #[doc(hidden)]
    pub const fn server() -> WithAttributeRoutes {
        WithAttributeRoutes {}
    }
}
#[doc(hidden)]
impl api::WithAttributeRoutes {
    pub const fn listens(&self) -> ::gracehttp::__private::Listens {
        ::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "api"),
            name: "api",
            at: &[("", 9090)],
        }
    }
}
impl<__S> ::gracehttp::IntoServer<__S, ()> for api::WithAttributeRoutes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "a module of routes needs gracehttp's feature `axum`\nhelp: turn it on in Cargo.toml: `features = [\"axum\"]`"
}

mod api {
    async fn index() {}
    async fn users() {}
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
impl<__S> ::gracehttp::IntoServer<__S, ()> for api::WithAttributeRoutes {
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "the path `users` has no slash at its beginning\nhelp: write `/users`"
}
::core::compile_error! {
    "a module of routes needs gracehttp's feature `axum`\nhelp: turn it on in Cargo.toml: `features = [\"axum\"]`"
}

mod api {
    async fn user() {}
    fn blocking() {}
    async fn right() {}
    struct Other;
    #[doc(hidden)]
    pub struct WithAttributeRoutes {}
    #[doc(hidden)]
    impl WithAttributeRoutes {
        pub const OWN: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
            module: ::core::module_path!(),
            routes: &[("GET", "/right", "right")],
            fallback: ::core::option::Option::None,
            included: &[],
            ..::gracehttp::__private::routes::Table::EMPTY
        };
    }
    impl<__S> ::gracehttp::__private::routes::OwnRoutes<__S, ()> for WithAttributeRoutes
    where
        __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync
            + 'static,
    {
        #[allow(unused_variables)]
        fn own_routes(
            self,
            prefix: &str,
            state: &::std::sync::Arc<__S>,
        ) -> ::gracehttp::__private::routes::Router {
            ::gracehttp::__private::routes::Router::new()
                .route(
                    &::gracehttp::__private::routes::join(prefix, "/right"),
                    ::gracehttp::__private::routes::routing::get_service(
                        ::gracehttp::__private::routes::handler::<
                            _,
                            ((),),
                            _,
                        >(right, state),
                    ),
                )
        }
    }
    #[doc(hidden)]
    pub const fn server() -> WithAttributeRoutes {
        WithAttributeRoutes {}
    }
}
#[doc(hidden)]
impl api::WithAttributeRoutes {
    pub const TABLE: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
        kind: ::gracehttp::__private::routes::Kind::Server,
        prefix: "",
        included: &[&api::WithAttributeRoutes::OWN],
        ..::gracehttp::__private::routes::Table::EMPTY
    };
}
impl<__S, __M0> ::gracehttp::__private::routes::Routes<__S, (__M0,)>
for api::WithAttributeRoutes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: ::gracehttp::__private::routes::OwnRoutes<__S, __M0>,
{
    fn router(
        self,
        outer: &str,
        state: &::std::sync::Arc<__S>,
    ) -> ::gracehttp::__private::routes::Router {
        let prefix = &::gracehttp::__private::routes::join(outer, "");
        ::gracehttp::__private::routes::OwnRoutes::own_routes(self, prefix, state)
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
impl<__S, __M> ::gracehttp::IntoServer<__S, __M> for api::WithAttributeRoutes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: ::gracehttp::__private::routes::Routes<__S, __M>,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::__private::routes::serve(
            ::gracehttp::Server::builder("api").port(9090),
            self,
            &Self::TABLE,
        )
    }
}
::core::compile_error! {
    "the path `v1` has no slash at its beginning\nhelp: write `/v1`"
}
::core::compile_error! {
    "`#[post]` belongs on an async function, which answers the requests"
}
::core::compile_error! {
    "`:id` is not how a parameter is written\nhelp: write `{id}`: `/users/{id}`"
}
::core::compile_error! {
    "a route answers requests, which is async: write `async fn blocking`"
}

/// Users and more.
pub mod api {
    //! Documented inside.
    use super::*;
    async fn index() -> &'static str {
        "index"
    }
    #[instrument]
    pub(super) async fn item(State(app): State<App>, Path(id): Path<u64>) -> Json<Item> {
        app.item(id).await
    }
    async fn items(State(app): State<App>, Json(item): Json<Item>) {}
    async fn lost() -> StatusCode {
        StatusCode::NOT_FOUND
    }
    #[routes(prefix = "/admin")]
    mod admin {
        #[get("/")]
        async fn index() {}
    }
    struct Other;
    #[doc(hidden)]
    pub struct __Routes {}
    #[doc(hidden)]
    impl __Routes {
        pub const OWN: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
            module: ::core::module_path!(),
            prefix: "",
            routes: &[
                ("GET", "/", "index"),
                ("GET", "/items/{id}", "item"),
                ("PUT", "/items/{id}", "item"),
                ("any", "/items", "items"),
            ],
            fallback: ::core::option::Option::Some("lost"),
            included: &[&admin::__Routes::TABLE],
        };
    }
    impl<
        __S,
        __M0,
        __M1,
        __M2,
    > ::gracehttp::__private::routes::OwnRoutes<__S, (__M0, __M1, __M2)> for __Routes
    where
        __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync
            + 'static,
        __M0: 'static,
        __M1: 'static,
        __M2: 'static,
        App: ::gracehttp::__private::ProvidedBy<__S>,
        State<App>: ::gracehttp::FromRequestParts<__S> + ::core::marker::Send + 'static,
        Path<u64>: ::gracehttp::FromRequest<__S, __M0> + ::core::marker::Send + 'static,
        Json<Item>: ::gracehttp::FromRequest<__S, __M1> + ::core::marker::Send + 'static,
        admin::__Routes: ::gracehttp::__private::routes::Routes<__S, __M2>,
    {
        #[allow(unused_variables)]
        fn own_routes(
            self,
            prefix: &str,
            state: &::std::sync::Arc<__S>,
        ) -> ::gracehttp::__private::routes::Router {
            ::gracehttp::__private::routes::Router::new()
                .route(
                    &::gracehttp::__private::routes::join(prefix, "/"),
                    ::gracehttp::__private::routes::routing::get_service(
                        ::gracehttp::__private::routes::handler::<
                            _,
                            ((),),
                            _,
                        >(index, state),
                    ),
                )
                .route(
                    &::gracehttp::__private::routes::join(prefix, "/items/{id}"),
                    ::gracehttp::__private::routes::routing::get_service(
                            ::gracehttp::__private::routes::handler::<
                                _,
                                (__M0, State<App>, Path<u64>),
                                _,
                            >(item, state),
                        )
                        .layer(timeout()),
                )
                .route(
                    &::gracehttp::__private::routes::join(prefix, "/items/{id}"),
                    ::gracehttp::__private::routes::routing::put_service(
                        ::gracehttp::__private::routes::handler::<
                            _,
                            (__M0, State<App>, Path<u64>),
                            _,
                        >(item, state),
                    ),
                )
                .route(
                    &::gracehttp::__private::routes::join(prefix, "/items"),
                    ::gracehttp::__private::routes::routing::any_service(
                        ::gracehttp::__private::routes::handler::<
                            _,
                            (__M1, State<App>, Json<Item>),
                            _,
                        >(items, state),
                    ),
                )
                .fallback_service(
                    ::gracehttp::__private::routes::handler::<_, ((),), _>(lost, state),
                )
                .merge(
                    ::gracehttp::__private::routes::Routes::router(
                        admin::__Routes {},
                        prefix,
                        state,
                    ),
                )
        }
    }
    const _: () = {
        if admin::__Routes::TABLE.rivals("GET", "/") {
            ::core::panic!("{}", "`admin` has a route for `/` too")
        }
        if admin::__Routes::TABLE.rivals("GET", "/items/{id}") {
            ::core::panic!("{}", "`admin` has a route for `/items/{id}` too")
        }
        if admin::__Routes::TABLE.rivals("PUT", "/items/{id}") {
            ::core::panic!("{}", "`admin` has a route for `/items/{id}` too")
        }
        if admin::__Routes::TABLE.rivals("any", "/items") {
            ::core::panic!("{}", "`admin` has a route for `/items` too")
        }
    };
    #[doc(hidden)]
    pub fn server() -> __Routes {
        __Routes {}
    }
}
#[doc(hidden)]
impl api::__Routes {
    pub const TABLE: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
        prefix: "/v1",
        included: &[&api::__Routes::OWN, &users::routes::__Routes::TABLE],
        ..::gracehttp::__private::routes::Table::EMPTY
    };
}
impl<__S, __M0, __M1> ::gracehttp::__private::routes::Routes<__S, (__M0, __M1)>
for api::__Routes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: ::gracehttp::__private::routes::OwnRoutes<__S, __M0>,
    users::routes::__Routes: ::gracehttp::__private::routes::Routes<__S, __M1>,
{
    fn router(
        self,
        outer: &str,
        state: &::std::sync::Arc<__S>,
    ) -> ::gracehttp::__private::routes::Router {
        let prefix = &::gracehttp::__private::routes::join(outer, "/v1");
        ::gracehttp::__private::routes::OwnRoutes::own_routes(self, prefix, state)
            .merge(
                ::gracehttp::__private::routes::Routes::router(
                    users::routes::__Routes {},
                    prefix,
                    state,
                ),
            )
    }
}
const _: () = {
    if users::routes::__Routes::TABLE.rivals("GET", "/") {
        ::core::panic!("{}", "`users::routes` has a route for `/` too")
    }
    if users::routes::__Routes::TABLE.rivals("GET", "/items/{id}") {
        ::core::panic!("{}", "`users::routes` has a route for `/items/{id}` too")
    }
    if users::routes::__Routes::TABLE.rivals("PUT", "/items/{id}") {
        ::core::panic!("{}", "`users::routes` has a route for `/items/{id}` too")
    }
    if users::routes::__Routes::TABLE.rivals("any", "/items") {
        ::core::panic!("{}", "`users::routes` has a route for `/items` too")
    }
};
const _: () = {
    if api::__Routes::OWN.overlaps(&users::routes::__Routes::TABLE) {
        ::core::panic!(
            "{}", "a module within `api` and `users::routes` have a route in common"
        )
    }
};
impl<__S, __M> ::gracehttp::IntoServer<__S, __M> for api::__Routes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: ::gracehttp::__private::routes::Routes<__S, __M>,
    App: ::gracehttp::__private::ProvidedBy<__S>,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::__private::routes::serve(
                ::gracehttp::Server::builder("api").port(9090),
                self,
                &Self::TABLE,
            )
            .layer(trace())
    }
}

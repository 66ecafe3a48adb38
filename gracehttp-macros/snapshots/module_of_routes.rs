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
    pub struct WithAttributeRoutes {}
    #[doc(hidden)]
    impl WithAttributeRoutes {
        pub const OWN: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
            module: ::core::module_path!(),
            routes: &[
                ("GET", "/", "index"),
                ("GET", "/items/{id}", "item"),
                ("PUT", "/items/{id}", "item"),
                ("any", "/items", "items"),
            ],
            fallback: ::core::option::Option::Some("lost"),
            included: &[&admin::WithAttributeRoutes::TABLE],
            ..::gracehttp::__private::routes::Table::EMPTY
        };
    }
    impl<
        __S,
        __M0,
        __M1,
        __M2,
    > ::gracehttp::__private::routes::OwnRoutes<__S, (__M0, __M1, __M2)>
    for WithAttributeRoutes
    where
        __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync
            + 'static,
        __M0: 'static,
        __M1: 'static,
        __M2: 'static,
        App: ::gracehttp::__private::ProvidedBy<__S>,
        State<App>: ::gracehttp::__private::Argument<__S>,
        Path<u64>: ::gracehttp::__private::LastArgument<__S, __M0>,
        Json<Item>: ::gracehttp::__private::LastArgument<__S, __M1>,
        admin::WithAttributeRoutes: ::gracehttp::__private::routes::Routes<__S, __M2>,
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
                    ::gracehttp::__private::routes::Routes::<
                        __S,
                        __M2,
                    >::router(admin::WithAttributeRoutes {}, prefix, state),
                )
        }
    }
    const _: () = if admin::WithAttributeRoutes::TABLE.rivals("GET", "/") {
        ::core::panic!("{}", "`admin` has a route for `/` too")
    };
    const _: () = if admin::WithAttributeRoutes::TABLE.rivals("GET", "/items/{id}") {
        ::core::panic!("{}", "`admin` has a route for `/items/{id}` too")
    };
    const _: () = if admin::WithAttributeRoutes::TABLE.rivals("PUT", "/items/{id}") {
        ::core::panic!("{}", "`admin` has a route for `/items/{id}` too")
    };
    const _: () = if admin::WithAttributeRoutes::TABLE.rivals("any", "/items") {
        ::core::panic!("{}", "`admin` has a route for `/items` too")
    };
    #[doc(hidden)]
    pub const fn server() -> WithAttributeRoutes {
        WithAttributeRoutes {}
    }
}
#[doc(hidden)]
#[allow(non_camel_case_types)]
type __gracehttp_part_0_of_api = <api::WithAttributeRoutes as ::gracehttp::__private::routes::Lists<
    0usize,
>>::Part;
const _: () = {
    use api::WithAttributeRoutes as __Lister;
    use ::gracehttp::__private::routes::{Lists as __Lists, undeclared::*};
    {
        use users::routes as with_attribute_routes;
        const _: () = {
            #[allow(unused_imports)]
            use with_attribute_routes::*;
            impl __Lists<0usize> for __Lister {
                type Part = WithAttributeRoutes;
            }
        };
        let _ = with_attribute_routes;
        match __gracehttp_part_0_of_api::TABLE.kind {
            ::gracehttp::__private::routes::Kind::Part => {}
            ::gracehttp::__private::routes::Kind::Server => {
                ::core::panic!(
                    "{}",
                    "`users::routes` is a server, and no part of one: list it in `servers(…)`, or give it `#[gracehttp::routes]` instead of `#[server]`"
                )
            }
            ::gracehttp::__private::routes::Kind::Undeclared => {
                ::core::panic!(
                    "{}",
                    "`users::routes` is not a module of routes: list one that has `#[gracehttp::routes]`"
                )
            }
        }
    }
};
#[doc(hidden)]
impl api::WithAttributeRoutes {
    pub const TABLE: ::gracehttp::__private::routes::Table = ::gracehttp::__private::routes::Table {
        kind: ::gracehttp::__private::routes::Kind::Server,
        prefix: "/v1",
        included: &[&api::WithAttributeRoutes::OWN, &__gracehttp_part_0_of_api::TABLE],
        ..::gracehttp::__private::routes::Table::EMPTY
    };
}
impl<__S, __M0, __M1> ::gracehttp::__private::routes::Routes<__S, (__M0, __M1)>
for api::WithAttributeRoutes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: ::gracehttp::__private::routes::OwnRoutes<__S, __M0>,
    __gracehttp_part_0_of_api: ::gracehttp::__private::routes::Routes<__S, __M1>,
{
    fn router(
        self,
        outer: &str,
        state: &::std::sync::Arc<__S>,
    ) -> ::gracehttp::__private::routes::Router {
        let prefix = &::gracehttp::__private::routes::join(outer, "/v1");
        ::gracehttp::__private::routes::OwnRoutes::own_routes(self, prefix, state)
            .merge(
                ::gracehttp::__private::routes::Routes::<
                    __S,
                    __M1,
                >::router(__gracehttp_part_0_of_api {}, prefix, state),
            )
    }
}
const _: () = if __gracehttp_part_0_of_api::TABLE.rivals("GET", "/") {
    ::core::panic!("{}", "`users::routes` has a route for `/` too")
};
const _: () = if __gracehttp_part_0_of_api::TABLE.rivals("GET", "/items/{id}") {
    ::core::panic!("{}", "`users::routes` has a route for `/items/{id}` too")
};
const _: () = if __gracehttp_part_0_of_api::TABLE.rivals("PUT", "/items/{id}") {
    ::core::panic!("{}", "`users::routes` has a route for `/items/{id}` too")
};
const _: () = if __gracehttp_part_0_of_api::TABLE.rivals("any", "/items") {
    ::core::panic!("{}", "`users::routes` has a route for `/items` too")
};
const _: () = if api::WithAttributeRoutes::OWN
    .overlaps(&__gracehttp_part_0_of_api::TABLE)
{
    ::core::panic!(
        "{}", "a module within `api` and `users::routes` have a route in common"
    )
};
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

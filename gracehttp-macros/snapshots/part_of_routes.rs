#[doc(hidden)]
use facade::gracehttp as __gracehttp_of_routes;
pub mod routes {
    async fn user(Path(id): Path<u64>) -> String {
        id.to_string()
    }
    #[doc(hidden)]
    pub struct WithAttributeRoutes {}
    #[doc(hidden)]
    impl WithAttributeRoutes {
        pub const OWN: super::__gracehttp_of_routes::__private::routes::Table = super::__gracehttp_of_routes::__private::routes::Table {
            module: ::core::module_path!(),
            routes: &[("GET", "/{id}", "user")],
            fallback: ::core::option::Option::None,
            included: &[],
            ..super::__gracehttp_of_routes::__private::routes::Table::EMPTY
        };
    }
    impl<
        __S,
        __M0,
    > super::__gracehttp_of_routes::__private::routes::OwnRoutes<__S, (__M0,)>
    for WithAttributeRoutes
    where
        __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync
            + 'static,
        __M0: 'static,
        Path<u64>: super::__gracehttp_of_routes::__private::LastArgument<__S, __M0>,
    {
        #[allow(unused_variables)]
        fn own_routes(
            self,
            prefix: &str,
            state: &::std::sync::Arc<__S>,
        ) -> super::__gracehttp_of_routes::__private::routes::Router {
            super::__gracehttp_of_routes::__private::routes::Router::new()
                .route(
                    &super::__gracehttp_of_routes::__private::routes::join(
                        prefix,
                        "/{id}",
                    ),
                    super::__gracehttp_of_routes::__private::routes::routing::get_service(
                        super::__gracehttp_of_routes::__private::routes::handler::<
                            _,
                            (__M0, Path<u64>),
                            _,
                        >(user, state),
                    ),
                )
        }
    }
}
#[doc(hidden)]
impl routes::WithAttributeRoutes {
    pub const TABLE: facade::gracehttp::__private::routes::Table = facade::gracehttp::__private::routes::Table {
        kind: facade::gracehttp::__private::routes::Kind::Part,
        prefix: "/users",
        included: &[&routes::WithAttributeRoutes::OWN],
        ..facade::gracehttp::__private::routes::Table::EMPTY
    };
}
impl<__S, __M0> facade::gracehttp::__private::routes::Routes<__S, (__M0,)>
for routes::WithAttributeRoutes
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Self: facade::gracehttp::__private::routes::OwnRoutes<__S, __M0>,
{
    fn router(
        self,
        outer: &str,
        state: &::std::sync::Arc<__S>,
    ) -> facade::gracehttp::__private::routes::Router {
        let prefix = &facade::gracehttp::__private::routes::join(outer, "/users");
        facade::gracehttp::__private::routes::OwnRoutes::own_routes(self, prefix, state)
            .layer(auth())
    }
}

#[instrument]
pub(crate) async fn user(
    State(users): State<Users>,
    Path(id): Path<u64>,
    body: Bytes,
) -> Result<Json<User>, Error> {
    users.update(id, body).await
}
#[doc(hidden)]
pub(crate) struct user {}
#[doc(hidden)]
impl user {
    pub(crate) const fn server() -> Self {
        Self {}
    }
    pub(crate) const fn listens(&self) -> ::gracehttp::__private::Listens {
        ::gracehttp::__private::Listens::Server {
            item: ::core::concat!(::core::module_path!(), "::", "user"),
            name: "user",
            at: &[("", 9090)],
        }
    }
}
impl<__S, __M> ::gracehttp::IntoServer<__S, __M> for user
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    __M: 'static,
    Users: ::gracehttp::__private::ProvidedBy<__S>,
    State<Users>: ::gracehttp::__private::Argument<__S>,
    Path<u64>: ::gracehttp::__private::Argument<__S>,
    Bytes: ::gracehttp::__private::LastArgument<__S, __M>,
    App: ::gracehttp::__private::ProvidedBy<__S>,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::Server::builder("user")
            .port(9090)
            .handler::<_, (__M, State<Users>, Path<u64>, Bytes), _>(user)
    }
}

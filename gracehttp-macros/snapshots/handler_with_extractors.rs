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
    pub(crate) fn server() -> Self {
        Self {}
    }
}
impl<__S, __M> ::gracehttp::IntoServer<__S, __M> for user
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    __M: 'static,
    Users: ::gracehttp::__private::ProvidedBy<__S>,
    State<Users>: ::gracehttp::FromRequestParts<__S> + ::core::marker::Send + 'static,
    Path<u64>: ::gracehttp::FromRequestParts<__S> + ::core::marker::Send + 'static,
    Bytes: ::gracehttp::FromRequest<__S, __M> + ::core::marker::Send + 'static,
    App: ::gracehttp::__private::ProvidedBy<__S>,
{
    fn into_server(self) -> ::gracehttp::Server<__S> {
        ::gracehttp::Server::builder("user")
            .port(9090)
            .handler::<_, (__M, State<Users>, Path<u64>, Bytes), _>(user)
    }
}

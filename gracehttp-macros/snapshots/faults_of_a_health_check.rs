fn database(pool: Pool, name: String) {}
#[doc(hidden)]
struct database {}
#[doc(hidden)]
impl database {
    const fn health() -> Self {
        Self {}
    }
    const fn is_health_check(&self) -> bool {
        true
    }
}
impl<__S> ::gracehttp::IntoHealthCheck<__S> for database
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn into_health_check(self) -> ::gracehttp::HealthCheck<__S> {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "`timeout` leaves no time at all"
}
::core::compile_error! {
    "`#[health]` has no key `interval`\nhelp: the keys are: `timeout`, `crate`"
}
::core::compile_error! {
    "a health check is async: write `async fn database`"
}
::core::compile_error! {
    "a health check says whether all is well: it returns `Result<(), E>`"
}
::core::compile_error! {
    "a health check has no request, so it takes nothing but `State<…>`, the state of main or a part of it"
}
::core::compile_error! {
    "a health check has no request, so it takes nothing but `State<…>`, the state of main or a part of it"
}

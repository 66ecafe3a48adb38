pub(crate) async fn database(State(pool): State<Pool>) -> Result<(), DatabaseError> {
    pool.ping().await
}
#[doc(hidden)]
pub(crate) struct database {}
#[doc(hidden)]
impl database {
    pub(crate) const fn health() -> Self {
        Self {}
    }
    pub(crate) const fn is_health_check(&self) -> bool {
        true
    }
}
impl<__S> facade::gracehttp::IntoHealthCheck<__S> for database
where
    __S: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static,
    Pool: facade::gracehttp::__private::CheckedState<__S>,
    State<Pool>: facade::gracehttp::__private::CheckArgument<__S>,
{
    fn into_health_check(self) -> facade::gracehttp::HealthCheck<__S> {
        facade::gracehttp::HealthCheck::new::<_, (State<Pool>,)>("database", database)
            .timeout(::core::time::Duration::new(0, 500000000))
    }
}

#[cfg(feature = "debug")]
#[::gracehttp::routes(prefix = "/debug")]
mod routes {
    #[get("/")]
    async fn debug() {}
    #[get("/always")]
    async fn always() {}
}
#[cfg(not(feature = "debug"))]
#[::gracehttp::routes(prefix = "/debug")]
mod routes {
    #[cfg(feature = "debug")]
    async fn debug() {}
    #[get("/always")]
    async fn always() {}
}

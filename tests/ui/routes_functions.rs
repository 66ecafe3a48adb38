//! Functions that can't answer a route, and attributes that say too little.

use gracehttp::server;

#[server(port = 8080)]
mod api {
    #[get("/blocking")]
    fn blocking() -> &'static str {
        "pong"
    }

    #[get("/generic")]
    async fn generic<T>(_: T) {}

    #[get]
    async fn no_path() {}

    #[get()]
    async fn no_path_either() {}

    #[get(path)]
    async fn no_string() {}

    #[get(path = "/")]
    async fn other_syntax() {}

    #[route("/")]
    async fn no_method() {}

    #[route(GTE, "/")]
    async fn no_such_method() {}

    #[route(get, "/")]
    async fn lower_case() {}

    #[route("GET", "/")]
    async fn method_in_quotes() {}

    #[get("/keys", layers = 5)]
    async fn no_such_key() {}

    #[get("/struct")]
    struct NoFunction;

    #[fallback("/")]
    async fn fallback() {}

    #[get("/right")]
    async fn right() {}
}

#[gracehttp::main(servers(api))]
async fn main() {}

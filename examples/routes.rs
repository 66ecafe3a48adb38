//! A module of routes: paths with parameters, JSON, state, and layers from tower-http.
//!
//! ```text
//! cargo run --example routes --features routes
//! curl localhost:9090/users --json '{"name": "Grace"}'      # {"id":1,"name":"Grace"}
//! curl localhost:9090/users/1                               # {"id":1,"name":"Grace"}
//! curl localhost:9090/users/one                             # 400: `one` is not a number
//! curl -X DELETE localhost:9090/users/1                     # 405: no route has this method
//! curl localhost:9090/admin                                 # 1 user(s)
//! curl localhost:9090/nowhere                               # there is nothing at /nowhere
//! ```
//!
//! With `RUST_LOG=info,tower_http=debug` the server's layer logs each request. Change a path to `/users/{id`, or give two
//! functions the same path: the compiler refuses the program and says why.
//!
//! `GRACEHTTP_SERVER__API__PORT=8080` sets another port.

use std::sync::{Arc, Mutex, PoisonError};

use gracehttp::server;
use serde::{Deserialize, Serialize};
use tower_http::trace::TraceLayer;

/// The state: the start-up code returns it, and every handler can ask for it.
#[derive(Clone, Default)]
struct Users(Arc<Mutex<Vec<String>>>);

#[derive(Deserialize)]
struct Draft {
    name: String,
}

#[derive(Serialize)]
struct User {
    id: usize,
    name: String,
}

#[server(port = 9090, max_conns = 1000, layer = TraceLayer::new_for_http(), routes(admin::routes))]
mod api {
    use axum::http::Uri;
    use gracehttp::{Json, Path, State, StatusCode};
    use tower_http::limit::RequestBodyLimitLayer;

    use super::{Draft, User, Users};

    #[post("/users", layer = RequestBodyLimitLayer::new(1024))]
    async fn add(State(users): State<Users>, Json(Draft { name }): Json<Draft>) -> (StatusCode, Json<User>) {
        (StatusCode::CREATED, Json(users.add(name)))
    }

    #[get("/users/{id}")]
    async fn user(State(users): State<Users>, Path(id): Path<usize>) -> Result<Json<User>, StatusCode> {
        users.find(id).map(Json).ok_or(StatusCode::NOT_FOUND)
    }

    #[fallback]
    async fn nothing(uri: Uri) -> (StatusCode, String) {
        (StatusCode::NOT_FOUND, format!("there is nothing at {uri}\n"))
    }
}

/// In a larger application this would be `mod admin;`, with the module `routes` in the file of `admin`.
mod admin {
    #[gracehttp::routes(prefix = "/admin")]
    pub(crate) mod routes {
        use gracehttp::State;

        use crate::Users;

        #[get("/")]
        async fn overview(State(users): State<Users>) -> String {
            format!("{} user(s)\n", users.count())
        }
    }
}

impl Users {
    fn add(&self, name: String) -> User {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.push(name.clone());
        User { id: names.len(), name }
    }

    fn find(&self, id: usize) -> Option<User> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(id.checked_sub(1)?).map(|name| User { id, name: name.clone() })
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[gracehttp::main(servers(api))]
async fn main() -> Users {
    Users::default()
}

//! A factory that returns an axum router, with state and JSON.
//!
//! ```text
//! cargo run --example router
//! curl localhost:9090/notes --json '{"text": "buy milk"}'   # {"id":1,"text":"buy milk"}
//! curl localhost:9090/notes/1                               # {"id":1,"text":"buy milk"}
//! curl localhost:9090/notes/2                               # status 404, no body
//! ```
//!
//! The notes are in memory. A restart (`kill -HUP PID`) forgets them, because each generation runs the start-up code
//! for itself.
//!
//! `GRACEHTTP_SERVER__NOTES__PORT=8080` sets another port.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use gracehttp::{Json, Path, State, StatusCode, server};
use serde::{Deserialize, Serialize};

/// The state: the start-up code returns it, and every handler can ask for it.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Vec<String>>>);

#[derive(Deserialize)]
struct Draft {
    text: String,
}

#[derive(Serialize)]
struct Note {
    id: usize,
    text: String,
}

/// A plain `fn` is a factory. It runs once, after the start-up code, and returns the service.
#[server(port = 9090, max_conns = 1000)]
fn notes(store: Store) -> Router {
    Router::new().route("/notes", post(write)).route("/notes/{id}", get(read)).with_state(store)
}

async fn write(State(store): State<Store>, Json(Draft { text }): Json<Draft>) -> (StatusCode, Json<Note>) {
    let mut texts = store.0.lock().unwrap_or_else(PoisonError::into_inner);
    texts.push(text.clone());
    (StatusCode::CREATED, Json(Note { id: texts.len(), text }))
}

async fn read(State(store): State<Store>, Path(id): Path<usize>) -> Result<Json<Note>, StatusCode> {
    let texts = store.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = id.checked_sub(1).and_then(|index| texts.get(index)).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(Note { id, text: text.clone() }))
}

#[gracehttp::main(servers(notes))]
async fn main() -> Store {
    Store::default()
}

//! actix-web, with the answers of the other contestants. The command line is theirs: `serve NAME THREADS`.

use std::process::ExitCode;

use actix_web::{App, HttpResponse, HttpServer, web};

/// The length of the accept queue, gracehttp's default.
const BACKLOG: u32 = 4096;

fn main() -> ExitCode {
    let threads = std::env::args().nth(3).and_then(|threads| threads.parse().ok());
    let Some(threads) = threads else {
        eprintln!("usage: actix serve NAME THREADS");
        return ExitCode::FAILURE;
    };
    match actix_web::rt::System::new().block_on(serve(threads)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("actix-web: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(threads: usize) -> std::io::Result<()> {
    let server = HttpServer::new(|| App::new().route("/ping", web::get().to(pong)))
        .workers(threads)
        .backlog(BACKLOG)
        .keep_alive(std::time::Duration::from_secs(75))
        .bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        eprintln!("serving ping on http://{address} (actix-web)");
    }
    server.run().await
}

async fn pong() -> HttpResponse {
    let body = format!("pong by pid:{}", std::process::id());
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(body)
}

//! Types of the application's own that are no extractors, and one of the body in another place than the last.

use gracehttp::{FromRequest, Request, server};

struct Filter;

struct Upload;

impl<S: Sync> FromRequest<S> for Upload {
    type Rejection = ();

    async fn from_request(_: Request, _: &S) -> Result<Self, ()> {
        Ok(Self)
    }
}

#[server(port = 8080)]
async fn last(_: Filter) {}

#[server(port = 8081)]
async fn first(_: Filter, _: Request) {}

#[server(port = 8082)]
async fn order(_: Upload, _: Request) {}

#[server(port = 8083)]
mod routes {
    #[get("/")]
    async fn root(_: super::Filter) {}
}

#[gracehttp::main(servers(last, first, order, routes))]
async fn main() {}

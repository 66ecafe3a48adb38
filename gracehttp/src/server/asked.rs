//! A request as log messages name it.

use std::fmt;

use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use hyper::upgrade::OnUpgrade;

/// How much of a path is shown: the client chooses it, and it may be as long as a request head.
const SHOWN: usize = 200;

/// What is known of a request when it is answered. Fields of an unreadable request may be missing.
///
/// It is made for every request, so it shares the request's bytes and copies none.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Option<Method>,
    /// CONNECT has none.
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) version: Version,
    /// It asks to leave HTTP for another protocol or a tunnel.
    pub(crate) asks_upgrade: bool,
}

impl Asked {
    /// A request of which nothing could be read.
    pub(crate) const UNREAD: Self =
        Self { method: None, path: None, version: Version::HTTP_11, asks_upgrade: false };

    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: Some(request.method().clone()),
            path: request.uri().path_and_query().cloned(),
            version: request.version(),
            asks_upgrade: request.extensions().get::<OnUpgrade>().is_some(),
        }
    }

    pub(crate) fn is(&self, method: &Method) -> bool {
        self.method.as_ref() == Some(method)
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.version == Version::HTTP_2
    }
}

/// Method and path, without the query, which may hold secrets.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(method) = &self.method else { return f.write_str("a request") };
        f.write_str(method.as_str())?;
        let Some(path) = &self.path else { return Ok(()) };
        let path = path.path();
        match path.char_indices().nth(SHOWN) {
            None => write!(f, " {path}"),
            Some((end, _)) => write!(f, " {}…", &path[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> String {
        Asked::of(&Request::get(uri).body(()).unwrap()).to_string()
    }

    #[test]
    fn a_path_is_shown_shortened_and_without_its_query() {
        assert_eq!(shown("/users/7?token=secret"), "GET /users/7");
        assert_eq!(shown("http://example/a"), "GET /a");
        assert_eq!(shown(&format!("/{}", "ä".repeat(500))), format!("GET /{}…", "ä".repeat(SHOWN - 1)));
        assert_eq!(Asked::UNREAD.to_string(), "a request");
    }
}

//! What a request brings beside its head and its body.

use http::Extensions;

use crate::server::Request;

/// The facts behind a request, which become its extensions if something may read them: attaching them takes some
/// allocations, and a handler without arguments needs none of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    connection: Option<&'a Extensions>,
    #[cfg(feature = "axum")]
    route: Option<&'a Extensions>,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of_connection(facts: &'a Extensions) -> Self {
        Self {
            connection: Some(facts),
            #[cfg(feature = "axum")]
            route: None,
        }
    }

    /// The same, and what axum's router would add for this route.
    #[cfg(feature = "axum")]
    pub(crate) fn with_route(self, facts: &'a Extensions) -> Self {
        Self { route: Some(facts), ..self }
    }

    /// Whether the request comes from a connection, not from a layer that will see the response.
    #[cfg(feature = "axum")]
    pub(crate) fn are_of_connection(self) -> bool {
        self.connection.is_some()
    }

    /// A fact of the connection.
    pub(crate) fn fact<T: Send + Sync + 'static>(self) -> Option<&'a T> {
        self.connection?.get()
    }

    /// Makes them the request's extensions.
    pub(crate) fn attach(self, request: &mut Request) {
        if let Some(facts) = self.connection {
            // The larger map takes in the smaller one: most requests have no extensions of their own.
            let own = std::mem::replace(request.extensions_mut(), facts.clone());
            request.extensions_mut().extend(own);
        }
        #[cfg(feature = "axum")]
        if let Some(facts) = self.route {
            use axum::extract::OriginalUri;

            if request.extensions().get::<OriginalUri>().is_none() {
                let uri = OriginalUri(request.uri().clone());
                request.extensions_mut().insert(uri);
            }
            request.extensions_mut().extend(facts.clone());
        }
    }
}

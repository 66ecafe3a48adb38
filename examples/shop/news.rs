//! Each order as it comes, for everybody who wants to follow: server-sent events.

use gracehttp::FromRef;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::orders::Order;
use crate::shop::Shop;

#[gracehttp::routes(prefix = "/news")]
pub(crate) mod routes {
    use std::convert::Infallible;
    use std::future::ready;
    use std::time::Duration;

    use axum::response::sse::{Event, KeepAlive, Sse};
    use futures_util::{Stream, StreamExt as _, stream};
    use gracehttp::{Shutdown, State};
    use tokio_stream::wrappers::BroadcastStream;

    use super::News;

    /// A stream without an end, which ends nevertheless when the process does: a browser then comes back by
    /// itself, and finds the successor. Without `Shutdown` the drain would wait for it, and cut it.
    #[get("/")]
    async fn follow(
        State(news): State<News>,
        shutdown: Shutdown,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
        let orders = BroadcastStream::new(news.subscribe())
            // Who reads too slowly misses some.
            .filter_map(|order| ready(order.ok()))
            .map(|order| Event::default().event("order").data(order))
            .take_until(shutdown);
        let farewell = Event::default().event("farewell").retry(Duration::from_millis(100)).data("see you");
        let events = orders.chain(stream::once(ready(farewell))).map(Ok);
        Sse::new(events).keep_alive(KeepAlive::default())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct News(Sender<String>);

impl Default for News {
    fn default() -> Self {
        const UNREAD: usize = 64;
        Self(broadcast::channel(UNREAD).0)
    }
}

impl News {
    pub(crate) fn tell(&self, Order { quantity, product, .. }: &Order) {
        // Nobody may be listening.
        let _ = self.0.send(format!("{quantity} {product}"));
    }

    pub(crate) fn readers(&self) -> usize {
        self.0.receiver_count()
    }

    fn subscribe(&self) -> Receiver<String> {
        self.0.subscribe()
    }
}

impl FromRef<Shop> for News {
    fn from_ref(shop: &Shop) -> Self {
        shop.news.clone()
    }
}

//! Server-sent events: each order when it comes in.

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

    /// An endless stream that ends when the drain begins. A browser then connects again by itself, and reaches the
    /// successor. Without `Shutdown` the drain would wait for the stream, and cut it after `drain_timeout`.
    #[get("/")]
    async fn follow(
        State(news): State<News>,
        shutdown: Shutdown,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
        let orders = BroadcastStream::new(news.subscribe())
            // A client that reads too slowly misses some orders.
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
        // It fails if there are no readers.
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

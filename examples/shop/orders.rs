//! The orders.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gracehttp::FromRef;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::shop::Shop;

/// What a customer sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    product: String,
    quantity: NonZeroU32,
}

/// What a customer gets.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    pub(crate) number: usize,
    pub(crate) product: String,
    pub(crate) quantity: NonZeroU32,
    pub(crate) cents: u64,
}

#[gracehttp::routes(prefix = "/orders")]
pub(crate) mod routes {
    use axum::http::header::LOCATION;
    use gracehttp::{IntoResponse, Json, Path, State, StatusCode};

    use super::{Order, Orders, Wish};
    use crate::mail::Mail;
    use crate::news::News;
    use crate::products::Products;
    use crate::refusal::Refusal;

    #[post("/")]
    async fn place(
        State(products): State<Products>,
        State(orders): State<Orders>,
        State(news): State<News>,
        State(mail): State<Mail>,
        Json(wish): Json<Wish>,
    ) -> Result<impl IntoResponse, Refusal> {
        let cents = products.take(&wish.product, wish.quantity)?;
        let order = orders.add(wish, cents);
        news.tell(&order);
        mail.confirm(&order);
        Ok((StatusCode::CREATED, [(LOCATION, format!("/orders/{}", order.number))], Json(order)))
    }

    #[get("/{number}")]
    async fn one(State(orders): State<Orders>, Path(number): Path<usize>) -> Result<Json<Order>, Refusal> {
        orders.find(number).map(Json)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(Arc<Mutex<Vec<Order>>>);

impl Orders {
    fn add(&self, Wish { product, quantity }: Wish, cents: NonZeroU32) -> Order {
        let mut orders = self.lock();
        let number = orders.len() + 1;
        let cents = u64::from(cents.get()) * u64::from(quantity.get());
        let order = Order { number, product, quantity, cents };
        orders.push(order.clone());
        order
    }

    fn find(&self, number: usize) -> Result<Order, Refusal> {
        let index = number.checked_sub(1);
        index.and_then(|index| self.lock().get(index).cloned()).ok_or(Refusal::NoSuchOrder(number))
    }

    /// The number of orders, and their sum in cents.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let orders = self.lock();
        (orders.len(), orders.iter().map(|order| order.cents).sum())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromRef<Shop> for Orders {
    fn from_ref(shop: &Shop) -> Self {
        shop.orders.clone()
    }
}

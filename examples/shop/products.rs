//! The products, and how many of each are left.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gracehttp::FromRef;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::shop::Shop;

/// A price of 0 is an error in the settings, which names the line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    pub(crate) cents: NonZeroU32,
    pub(crate) stock: u32,
}

#[gracehttp::routes(prefix = "/products")]
pub(crate) mod routes {
    use std::collections::BTreeMap;

    use gracehttp::{Json, Path, State};

    use super::{Product, Products};
    use crate::refusal::Refusal;

    #[get("/")]
    async fn all(State(products): State<Products>) -> Json<BTreeMap<String, Product>> {
        Json(products.all())
    }

    #[get("/{name}")]
    async fn one(
        State(products): State<Products>,
        Path(name): Path<String>,
    ) -> Result<Json<Product>, Refusal> {
        products.find(&name).map(Json)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Products(Arc<Mutex<BTreeMap<String, Product>>>);

impl Products {
    pub(crate) fn new(products: BTreeMap<String, Product>) -> Self {
        Self(Arc::new(Mutex::new(products)))
    }

    fn all(&self) -> BTreeMap<String, Product> {
        self.lock().clone()
    }

    fn find(&self, name: &str) -> Result<Product, Refusal> {
        self.lock().get(name).copied().ok_or_else(|| Refusal::NoSuchProduct(name.to_owned()))
    }

    /// Takes some from the shelf, and returns the price of one.
    pub(crate) fn take(&self, name: &str, count: NonZeroU32) -> Result<NonZeroU32, Refusal> {
        let mut products = self.lock();
        let product = products.get_mut(name).ok_or_else(|| Refusal::NoSuchProduct(name.to_owned()))?;
        product.stock =
            product.stock.checked_sub(count.get()).ok_or(Refusal::TooFew { left: product.stock })?;
        Ok(product.cents)
    }

    /// Puts some onto the shelf.
    pub(crate) fn put(&self, name: &str, count: u32) -> Result<Product, Refusal> {
        let mut products = self.lock();
        let product = products.get_mut(name).ok_or_else(|| Refusal::NoSuchProduct(name.to_owned()))?;
        product.stock = product.stock.saturating_add(count);
        Ok(*product)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Product>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromRef<Shop> for Products {
    fn from_ref(shop: &Shop) -> Self {
        shop.products.clone()
    }
}

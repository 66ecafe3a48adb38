//! The settings of the shop, and the state that its handlers share.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::mail::Mail;
use crate::news::News;
use crate::orders::Orders;
use crate::products::{Product, Products};

/// The table `[app]` of the configuration file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// The file for the letters.
    pub(crate) outbox: PathBuf,
    pub(crate) products: BTreeMap<String, Product>,
}

/// The state. Handlers take the parts that they need; each part implements `FromRef`.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) name: String,
    pub(crate) products: Products,
    pub(crate) orders: Orders,
    pub(crate) news: News,
    pub(crate) mail: Mail,
}

impl Shop {
    /// The start-up code. If it fails in a restart, the predecessor serves on.
    pub(crate) fn open(settings: Settings) -> io::Result<Self> {
        let Settings { name, outbox, products } = settings;
        let shop = Self {
            name,
            products: Products::new(products),
            orders: Orders::default(),
            news: News::default(),
            mail: Mail::into_file(&outbox)?,
        };
        gracehttp::on_exit(shop.clone().close());
        Ok(shop)
    }

    /// Runs after the last response and the last letter.
    async fn close(self) {
        let (count, cents) = self.orders.totals();
        tracing::info!("{} closes. Orders: {count}, cents: {cents}", self.name);
    }
}

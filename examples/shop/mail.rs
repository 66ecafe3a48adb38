//! Letters to customers, who do not wait for them.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gracehttp::FromRef;
use tokio::time::sleep;

use crate::orders::Order;
use crate::shop::Shop;

/// How long it takes to send a letter. A mail server would not be faster.
const TRANSIT: Duration = Duration::from_millis(100);

/// A file in the place of a mail server.
#[derive(Clone, Debug)]
pub(crate) struct Mail(Arc<File>);

impl Mail {
    /// Appends to what is there: two generations write to it side by side.
    pub(crate) fn into_file(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file
            .map_err(|error| io::Error::new(error.kind(), format!("outbox {}: {error}", path.display())))?;
        Ok(Self(Arc::new(file)))
    }

    /// The response does not wait for the letter, and the end of the process does.
    pub(crate) fn confirm(&self, Order { number, product, quantity, cents }: &Order) {
        let letter = format!("order {number}: {quantity} {product} for {cents} cents\n");
        let mail = self.clone();
        gracehttp::spawn(async move |_| mail.send(&letter).await);
    }

    async fn send(&self, letter: &str) {
        sleep(TRANSIT).await;
        if let Err(error) = (&*self.0).write_all(letter.as_bytes()) {
            tracing::error!("a letter is lost, {letter:?}: {error}");
        }
    }
}

impl FromRef<Shop> for Mail {
    fn from_ref(shop: &Shop) -> Self {
        shop.mail.clone()
    }
}

//! Letters to customers. A response does not wait for its letter.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gracehttp::FromRef;
use tokio::time::sleep;

use crate::orders::Order;
use crate::shop::Shop;

/// How long it takes to send a letter, as with a mail server.
const TRANSIT: Duration = Duration::from_millis(100);

/// A file that stands for a mail server.
#[derive(Clone, Debug)]
pub(crate) struct Mail(Arc<File>);

impl Mail {
    /// Opens the file for appending, because two generations write to it side by side.
    pub(crate) fn into_file(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file
            .map_err(|error| io::Error::new(error.kind(), format!("outbox {}: {error}", path.display())))?;
        Ok(Self(Arc::new(file)))
    }

    /// Sends the letter in a background task: the response does not wait for it, and the process does not end before it.
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

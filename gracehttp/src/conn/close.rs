//! Closing a connection without destroying what is still on its way.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a closed connection waits for the client to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// How much a client may still send meanwhile.
const LINGER_BYTES: u64 = 256 << 10;

/// Closes our side and reads what the client still sends, for a moment.
///
/// A socket that is closed with unread bytes in it answers with a reset, upon which the client's kernel
/// throws away the response that the client has not read yet (RFC 9112 section 9.6).
pub(crate) async fn close<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T) {
    let farewell = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut scratch = [0; 4096];
        let mut read = 0;
        while let Ok(count @ 1..) = stream.read(&mut scratch).await {
            read += count as u64;
            if read > LINGER_BYTES {
                return;
            }
        }
    };
    // Whoever is not gone by then has been waited for long enough.
    let _ = tokio::time::timeout(LINGER, farewell).await;
}

/// Says one last thing before closing.
pub(crate) async fn close_with<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T, last_words: &[u8]) {
    let said = tokio::time::timeout(LINGER, stream.write_all(last_words)).await;
    if matches!(said, Ok(Ok(()))) {
        close(stream).await;
    }
}

/// Closes the connection of a client that takes nothing: it would not take a farewell either. Said explicitly all the
/// same, since another process may hold a duplicate, which would keep the connection open.
pub(crate) async fn abandon<T: AsyncWrite + Unpin>(mut stream: T) {
    // What a socket does at once, TLS would wait for.
    let _ = tokio::time::timeout(Duration::ZERO, stream.shutdown()).await;
}

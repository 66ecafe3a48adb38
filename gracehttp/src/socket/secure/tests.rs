//! A stream against rustls' client: data of any size arrives whole and in order, and both sides end as TLS provides.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, SupportedProtocolVersion};

use super::*;
use crate::socket::Stream;
use crate::tls::peer::{TestClient, acceptor, client_config, connect};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

async fn connected(version: &'static SupportedProtocolVersion) -> (SecureStream, TestClient) {
    let config: Arc<ClientConfig> = Arc::new(client_config(version));
    connect(&acceptor(), &config).await
}

/// Bytes that differ from those around them, so that a shift shows.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

async fn read(stream: &mut SecureStream, length: usize) -> Vec<u8> {
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.unwrap();
    text
}

/// Whether a read finds nothing now.
async fn reads_nothing(stream: &mut SecureStream) -> bool {
    let mut byte = [0];
    poll_fn(|cx| {
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
        Poll::Ready(polled.is_pending())
    })
    .await
}

async fn poll_write(stream: &mut SecureStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, bytes))).await
}

async fn is_flushed(stream: &mut SecureStream) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_flush(cx).is_ready())).await
}

/// Rests and wakes. Returns the plain text that was not read, too.
fn rest_and_wake(stream: SecureStream) -> (SecureStream, Bytes) {
    assert!(stream.can_rest());
    let (socket, opened) = stream.rest().unwrap();
    let Stream::Secure(stream) = socket.map_fd(Descriptor::new).wake() else { panic!("the session is gone") };
    (*stream, opened)
}

#[tokio::test]
async fn long_uploads_arrive_in_order_in_reads_of_any_size() {
    for (version, size) in VERSIONS.into_iter().zip([100, 70_000]) {
        let (mut stream, mut client) = connected(version).await;
        let sent = text(1 << 20);
        let expected = sent.clone();
        let sends = tokio::spawn(async move {
            for part in sent.chunks(45_678) {
                let sealed = client.sealed(part);
                client.send(&sealed).await;
            }
            client
        });
        let (mut got, mut part) = (Vec::new(), vec![0; size]);
        while got.len() < expected.len() {
            let count = stream.read(&mut part).await.unwrap();
            got.extend_from_slice(&part[..count]);
            assert!(stream.inbound.capacity() <= inbound::RECORD);
        }
        assert!(got == expected);
        drop(sends.await);
    }
}

#[tokio::test]
async fn long_downloads_arrive_in_order_whatever_the_pieces() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let sent = text(1 << 20);
        let expected = sent.clone();
        let sends = tokio::spawn(async move {
            let (one, many) = sent.split_at(1 << 19);
            stream.write_all(one).await.unwrap();
            let mut pieces: Vec<IoSlice<'_>> = many.chunks(3000).map(IoSlice::new).collect();
            let mut pieces = &mut pieces[..];
            while !pieces.is_empty() {
                let count = stream.write_vectored(pieces).await.unwrap();
                assert!(count > 0);
                IoSlice::advance_slices(&mut pieces, count);
            }
            stream.flush().await.unwrap();
            stream
        });
        assert!(client.read(expected.len()).await == expected, "{version:?}");
        drop(sends.await);
    }
}

#[tokio::test]
async fn nothing_is_kept_while_nothing_is_on_its_way() {
    let (mut stream, mut client) = connected(&TLS13).await;
    assert!(reads_nothing(&mut stream).await);
    let kept = |stream: &SecureStream| stream.inbound.capacity() + stream.outbound.capacity();
    assert_eq!(kept(&stream), 0, "after the handshake");
    let sealed = client.sealed(&text(40_000));
    client.send(&sealed).await;
    read(&mut stream, 40_000).await;
    stream.write_all(&text(100_000)).await.unwrap();
    stream.flush().await.unwrap();
    assert!(reads_nothing(&mut stream).await);
    assert_eq!(kept(&stream), 0, "after a request and its answer");
}

#[tokio::test]
async fn a_client_that_reads_nothing_fills_its_socket_and_no_more_than_one_buffer() {
    let (mut stream, mut client) = connected(&TLS13).await;
    let all = text(4 << 20);
    let mut written = 0;
    while let Poll::Ready(count) = poll_write(&mut stream, &all[written..]).await {
        written += count.unwrap();
        assert!(stream.outbound.capacity() <= (64 << 10) + 200);
    }
    assert!(written > 64 << 10 && written < all.len(), "{written}");
    assert!(!stream.can_rest() && !is_flushed(&mut stream).await);
    assert!(stream.rest().is_err(), "what was sealed would be lost");
    // What the socket took arrives.
    let mut got = Vec::new();
    while client.receive().await.unwrap() > 0 {
        client.read_some(&mut got);
    }
    assert!(!got.is_empty() && got == all[..got.len()]);
}

/// Otherwise a caller would seal them a second time, for a client that may get both.
#[tokio::test]
async fn what_is_sealed_counts_as_written_even_if_the_socket_fails() {
    for version in VERSIONS {
        let (mut stream, client) = connected(version).await;
        drop(client);
        assert!(matches!(poll_write(&mut stream, b"answer").await, Poll::Ready(Ok(6))), "{version:?}");
        assert_eq!(stream.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(!stream.can_rest());
    }
}

#[tokio::test]
async fn text_that_was_not_read_and_a_cut_record_outlive_a_rest() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let whole = [client.sealed(b"first,"), client.sealed(b"second,"), client.sealed(b"third,")].concat();
        let cut = client.sealed(b"fourth");
        client.send(&[&whole[..], &cut[..9]].concat()).await;
        assert_eq!(read(&mut stream, 4).await, b"firs");
        assert!(stream.is_in_record());
        let (mut stream, opened) = rest_and_wake(stream);
        assert_eq!(opened, b"t,second,third,"[..]);
        assert!(stream.is_in_record());
        client.send(&cut[9..]).await;
        assert_eq!(read(&mut stream, 6).await, b"fourth");
        assert!(!stream.is_in_record());
        stream.write_all(b"fifth").await.unwrap();
        assert!(is_flushed(&mut stream).await);
        let (mut stream, _) = rest_and_wake(stream);
        stream.write_all(b"sixth").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(client.read(10).await, b"fifthsixth");
    }
}

#[tokio::test]
async fn a_shutdown_sends_one_close_notify_behind_all_that_was_written() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        stream.write_all(b"the end").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(!stream.can_rest());
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        stream.shutdown().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), (b"the end".to_vec(), true));
        // The other direction goes on.
        let sealed = client.sealed(b"still here");
        client.send(&sealed).await;
        assert_eq!(read(&mut stream, 10).await, b"still here");
    }
}

#[tokio::test]
async fn a_socket_at_rest_is_closed_with_close_notify() {
    for version in VERSIONS {
        let (stream, mut client) = connected(version).await;
        let (socket, _) = stream.rest().unwrap();
        socket.close();
        assert_eq!(client.read_to_end().await.unwrap(), (vec![], true));
    }
}

#[tokio::test]
async fn what_follows_a_close_notify_does_not_count() {
    let (mut stream, mut client) = connected(&TLS13).await;
    let last = client.sealed(b"last");
    client.rustls.send_close_notify();
    let close = client.output();
    client.send(&[&last[..], &close, b"anything"].concat()).await;
    assert_eq!(read(&mut stream, 4).await, b"last");
    for _ in 0..2 {
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    }
    assert!(!stream.can_rest() && !stream.is_in_record());
    stream.write_all(b"answer").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(client.read(6).await, b"answer");
}

#[tokio::test]
async fn an_end_without_close_notify_is_told_apart() {
    let (mut stream, mut client) = connected(&TLS13).await;
    let (last, cut) = (client.sealed(b"last"), client.sealed(b"cut off"));
    client.send(&[&last[..], &cut[..11]].concat()).await;
    client.socket.shutdown().await.unwrap();
    assert_eq!(read(&mut stream, 4).await, b"last");
    for _ in 0..2 {
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
    assert!(!stream.can_rest());
}

#[tokio::test]
async fn a_false_record_ends_the_session_behind_the_good_ones_with_an_alert() {
    for version in VERSIONS {
        let (mut stream, mut client) = connected(version).await;
        let (good, mut bad) = (client.sealed(b"good"), client.sealed(b"bad"));
        *bad.last_mut().unwrap() ^= 1;
        client.send(&[&good[..], &bad, &good].concat()).await;
        assert_eq!(read(&mut stream, 4).await, b"good");
        for _ in 0..2 {
            assert_eq!(stream.read(&mut [0; 9]).await.unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert_eq!(stream.write(b"answer").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(!stream.can_rest());
        stream.shutdown().await.unwrap();
        let alert = client.read_to_end().await.unwrap_err();
        assert_eq!(alert, Error::AlertReceived(AlertDescription::BadRecordMac), "{version:?}");
    }
}

/// RFC 8446 section 4.6.3: ours follows before the next data. The sequence of the keys outlives a rest.
#[tokio::test]
async fn keys_are_renewed_on_both_sides_over_rests() {
    let (mut stream, mut client) = connected(&TLS13).await;
    for _ in 0..3 {
        client.rustls.refresh_traffic_keys().unwrap();
        let sealed = client.sealed(b"ping");
        client.send(&sealed).await;
        assert_eq!(read(&mut stream, 4).await, b"ping");
        stream = rest_and_wake(stream).0;
        stream.write_all(b"pong").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(client.read(4).await, b"pong");
        stream = rest_and_wake(stream).0;
    }
}

#[tokio::test]
async fn a_worn_out_key_of_tls_12_ends_the_connection_in_order() {
    let (mut stream, mut client) = connected(&TLS12).await;
    // Finished was the first record.
    stream.session.lower_limit(3);
    let (records, rest) = (text(2 << 14), [7; 9]);
    let both = [IoSlice::new(&records), IoSlice::new(&rest)];
    assert_eq!(stream.write_vectored(&both).await.unwrap(), records.len());
    stream.write_all(&rest).await.unwrap_err();
    stream.shutdown().await.unwrap();
    assert!(client.read_to_end().await.unwrap() == (records, true));

    let (mut stream, mut client) = connected(&TLS12).await;
    stream.session.lower_limit(1);
    assert_eq!(stream.write(b"a").await.unwrap_err().kind(), ErrorKind::Other);
    assert!(is_flushed(&mut stream).await);
    stream.shutdown().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), (vec![], true));
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let (stream, _client) = connected(&TLS13).await;
    let printed = format!("{stream:?}");
    assert!(printed.starts_with("SecureStream { bare: "), "{printed}");
    assert!(!printed.contains("session"), "{printed}");
}

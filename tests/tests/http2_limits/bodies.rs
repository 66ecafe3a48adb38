//! Responses to requests with a body, or with fields in several pieces.

use tests::frames::{ACK, DATA, END_OF_HEADERS, END_OF_STREAM, HEADERS, PING, RST_STREAM};

use super::*;

/// curl 7 and Python's h2 lose the answer if a reset follows it.
async fn early_answer(what: &str, head: Frame) {
    let service = one_permit().await;
    let mut client = Connection::open(&service.target).await;
    let is_reset = |frame: &Frame| frame.kind == RST_STREAM;
    let data = |flags| Frame::new(DATA, flags, 1, &[b'x'; 10_000]);
    let start = Instant::now();
    client.send(&[head, data(0)]).await;
    let mut came = until(&mut client, |frame| frame.stream == 1 && frame.flags & END_OF_STREAM != 0).await;
    client.send(&[data(0), Frame::new(PING, 0, 0, b"8 octets")]).await;
    came.extend(until(&mut client, |frame| frame.kind == PING && frame.flags & ACK != 0).await);
    assert!(!came.iter().any(is_reset), "{what}: {came:?}");
    // The server does not wait for a client that stops in the middle.
    let reset = until(&mut client, is_reset).await;
    assert!(reset.iter().any(|frame| is_reset(frame) && frame.payload == [0; 4]), "{what}: {reset:?}");
    assert!(start.elapsed() > Duration::from_secs(4), "{what}: reset after {:?}", start.elapsed());
    client.send(&[Frame::get(3, "/ping")]).await;
    client.answer(3).await;
}

/// The cases of A11, all at once.
#[tokio::test]
async fn a11_an_answer_before_the_end_of_an_upload_is_not_followed_by_a_reset() {
    let head = |path, host| {
        let authority = (":authority", "localhost");
        let target = [(":method", "POST"), (":scheme", "http"), (":path", path), authority];
        let fields = [&target[..], &[("host", host), ("content-length", "30000")]].concat();
        Frame::head(END_OF_HEADERS, 1, &fields)
    };
    tokio::join!(
        early_answer("a handler that reads no body", head("/unread", "localhost")),
        early_answer("404", head("/nowhere", "localhost")),
        early_answer("400", head("/echo", "another")),
    );
}

/// C2, and the other fields that handlers know from HTTP/1.
#[tokio::test]
async fn c2_a_handler_sees_one_cookie_and_a_host() {
    let service = one_permit().await;
    for (authority, host) in [(true, false), (true, true), (false, true)] {
        let mut client = Connection::open(&service.target).await;
        let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/seen")];
        fields.extend(authority.then_some((":authority", "good.example")));
        fields.extend(host.then_some(("host", "good.example")));
        fields.extend([("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        client.send(&[Frame::head(5, 1, &fields)]).await;
        let frames = until(&mut client, |frame| frame.kind == DATA && frame.flags & END_OF_STREAM != 0).await;
        let body: Vec<u8> = frames
            .iter()
            .filter(|frame| frame.kind == DATA)
            .flat_map(|frame| frame.payload.clone())
            .collect();
        let seen = if authority { "good.example" } else { "none" };
        let expected = format!("authority: {seen}, host: good.example, cookie: a=1; b=2; c=3");
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}

/// C5: the server sends 100 only to a client that waits for it, and only when the handler reads the body. Then the
/// request continues as usual.
#[tokio::test]
async fn c5_a_client_that_waits_for_100_continue_gets_it_and_then_its_answer() {
    let service = Service::new("server web 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed").await;
    let post = |stream, path, more: &[(&str, &str)]| {
        let fields =
            [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
        Frame::head(END_OF_HEADERS, stream, &[&fields[..], more].concat())
    };
    let expecting = |stream, path| post(stream, path, &[("expect", "100-continue")]);
    for server in ["web", "tls"] {
        let mut client = Connection::open(&service.app.target(server).await).await;
        // Other requests surround them: one whose handler reads no body, and one that does not wait and is only slow.
        client
            .send(&[
                Frame::get(1, "/ping"),
                expecting(3, "/echo"),
                expecting(5, "/echo"),
                expecting(7, "/ping"),
                post(9, "/echo", &[]),
            ])
            .await;
        let (mut statuses, mut has_sent_last) = (vec![Vec::new(); 5], false);
        let ended = |statuses: &[Vec<u16>]| statuses.iter().all(|of_one| of_one.last() > Some(&199));
        while !ended(&statuses) {
            let frames = client.frames().await;
            assert!(!frames.is_empty(), "closed: {statuses:?}");
            let mut answers: Vec<Frame> = frames.iter().filter_map(Frame::acknowledges).collect();
            for head in frames.iter().filter(|frame| frame.kind == HEADERS) {
                let status = head.status().expect("a status");
                statuses[(head.stream as usize - 1) / 2].push(status);
                if status == 100 {
                    answers.push(Frame::new(DATA, END_OF_STREAM, head.stream, b"a body"));
                }
            }
            // The last client sends its body after all others are done, so its handler has waited for the body until
            // then. It ends the body once: more on that stream would end the connection.
            if ended(&statuses[..4]) && !has_sent_last {
                has_sent_last = true;
                answers.push(Frame::new(DATA, END_OF_STREAM, 9, b"a body"));
            }
            client.send(&answers).await;
        }
        assert_eq!(statuses, [vec![200], vec![100, 200], vec![100, 200], vec![404], vec![200]], "{server}");
    }
}

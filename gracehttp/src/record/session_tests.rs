//! A session talks to rustls' client, and rests and wakes meanwhile.

use crate::record::peer::{SUITES, connect, open_all, providers, read_by, seal_all, sent_by};

#[test]
fn both_directions_work_with_rustls_in_every_suite() {
    let long: Vec<u8> = (0..100_000).map(|n: u32| n as u8).collect();
    for provider in providers() {
        for suite in SUITES {
            let (mut session, mut client) = connect(&provider, suite);
            for text in [&b"a"[..], b"GET / HTTP/1.1\r\n\r\n", &long] {
                let sent = sent_by(&mut client, text);
                assert!(open_all(&mut session, &sent).unwrap() == (text.to_vec(), vec![]), "{suite:?}");
                let sealed = seal_all(&mut session, text);
                assert!(read_by(&mut client, &sealed) == text, "{suite:?}");
            }
        }
    }
}

//! The client of the tests of this room: rustls, in memory.

use std::io::IoSlice;
use std::io::{Read as _, Write as _};

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::{self, ClientConnection, ServerConnection};

use crate::record::forger::SUITES;
use crate::record::suite::Version;
use crate::record::twins::{Logged, handshake, written};
use crate::record::{Content, Established, Facts, Fault, Opened, Session, Suite};

pub(super) fn suites_of(version: Version) -> impl Iterator<Item = Suite> {
    SUITES.into_iter().filter(move |suite| suite.version() == version)
}

/// The providers that rustls can have in this build.
pub(super) fn providers() -> Vec<CryptoProvider> {
    vec![
        #[cfg(feature = "aws-lc-rs")]
        rustls::crypto::aws_lc_rs::default_provider(),
        rustls::crypto::ring::default_provider(),
    ]
}

/// A session of ours and the rustls client that it was agreed with.
pub(super) fn connect(provider: &CryptoProvider, suite: Suite) -> (Session, ClientConnection) {
    let (server, client, logged) = handshake(provider, suite);
    (Session::new(establish(server, &logged)), client)
}

pub(super) fn establish(server: ServerConnection, logged: &Logged) -> Established {
    let suite = server.negotiated_cipher_suite().unwrap();
    let extracted = server.dangerous_extract_secrets().unwrap();
    Established::new(suite, &extracted, logged.traffic_secrets(), 1, Facts::default()).unwrap()
}

/// Records with this text, as the client sends it.
pub(super) fn sent_by(client: &mut ClientConnection, text: &[u8]) -> Vec<u8> {
    let (mut sent, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let taken = client.writer().write(rest).unwrap();
        rest = &rest[taken..];
        sent.extend(written(client));
    }
    sent
}

/// The text that the client reads from these records.
pub(super) fn read_by(client: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while !records.is_empty() {
        client.read_tls(&mut records).unwrap();
        let state = client.process_new_packets().unwrap();
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        client.reader().read_exact(&mut part).unwrap();
        text.extend(part);
    }
    text
}

/// Opens all records of the input. Returns their text and what is to be sent in answer.
pub(super) fn open_all(session: &mut Session, input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let (mut input, mut text, mut answer) = (input.to_vec(), Vec::new(), Vec::new());
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let Opened::Record { length, content } = session.open(rest, &mut answer)? else {
            panic!("a cut record of {} bytes", rest.len());
        };
        match content {
            Content::Data(place) => text.extend_from_slice(&rest[place]),
            Content::Nothing => {}
            Content::Closed => panic!("the client has closed"),
        }
        rest = &mut rest[length..];
    }
    Ok((text, answer))
}

/// Seals all of the text.
pub(super) fn seal_all(session: &mut Session, mut text: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    while !text.is_empty() {
        let taken = session.seal(&[IoSlice::new(text)], &mut output).unwrap();
        text = &text[taken..];
    }
    output
}

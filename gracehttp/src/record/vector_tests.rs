//! The application's records of RFC 8448 section 3, byte for byte.

use std::io::IoSlice;

use crate::record::alert::Fault;
use crate::record::at_rest::{DirectionParts, Facts, SessionAtRest, SessionParts};
use crate::record::keys::KeyAndIv;
use crate::record::{Content, Opened, Secret, Session, Suite};

const SUITE: Suite = Suite::Tls13Aes128Gcm;

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

const CLIENT_DATA: &str = "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a2044\
     1e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4";
const CLIENT_CLOSE_NOTIFY: &str = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
const SERVER_DATA: &str = "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59\
     a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d";
const SERVER_CLOSE_NOTIFY: &str = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The session after the server's NewSessionTicket.
fn session() -> Session {
    let direction =
        |secret, sequence| DirectionParts { secret: Secret::new(&bytes(secret)).unwrap(), sequence };
    let (client, server) = (direction(CLIENT_SECRET, 0), direction(SERVER_SECRET, 1));
    let parts = SessionParts::new(SUITE, client, server, Facts::default());
    SessionAtRest::received(parts).unwrap().wake().0
}

#[test]
fn keys_follow_from_secrets_as_in_rfc_8448() {
    let derived = |secret| KeyAndIv::of(SUITE, &Secret::new(&bytes(secret)).unwrap());
    let client = derived(CLIENT_SECRET);
    assert_eq!(client.key(), bytes("17422dda596ed5d9acd890e3c63f5051"));
    assert_eq!(client.iv()[..], bytes("5b78923dee08579033e523d9"));
    let server = derived(SERVER_SECRET);
    assert_eq!(server.key(), bytes("9f02283b6c9c07efc26bb9f2ac92e356"));
    assert_eq!(server.iv()[..], bytes("cf782b88dd83549aadf1e984"));
}

#[test]
fn records_are_opened_as_in_rfc_8448() {
    let (mut session, mut answer) = (session(), Vec::new());
    let mut record = bytes(CLIENT_DATA);
    let opened = session.open(&mut record, &mut answer).unwrap();
    assert_eq!(opened, Opened::Record { length: 72, content: Content::Data(5..55) });
    assert_eq!(record[5..55], (0..50).collect::<Vec<u8>>());
    let opened = session.open(&mut bytes(CLIENT_CLOSE_NOTIFY), &mut answer).unwrap();
    assert_eq!(opened, Opened::Record { length: 24, content: Content::Closed });
    assert!(answer.is_empty());
    let fault = session.open(&mut bytes(CLIENT_CLOSE_NOTIFY), &mut answer).unwrap_err();
    assert_eq!(fault, Fault::bad_record_mac("a record is not authentic"), "it is a replay");
}

#[test]
fn records_are_sealed_as_in_rfc_8448() {
    let (mut session, mut output) = (session(), b"before".to_vec());
    let data: Vec<u8> = (0..50).collect();
    let parts = [IoSlice::new(&data[..20]), IoSlice::new(&[]), IoSlice::new(&data[20..])];
    assert_eq!(session.seal(&parts, &mut output), Ok(50));
    session.seal_close_notify(&mut output);
    assert_eq!(output, [b"before", &bytes(SERVER_DATA)[..], &bytes(SERVER_CLOSE_NOTIFY)].concat());
}

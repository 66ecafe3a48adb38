//! Signed requests (RFC 7515), as ACME has them: ES256 alone.

use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

/// A signed request.
pub(crate) struct Jws {
    pub(crate) nonce: String,
    pub(crate) kid: Option<String>,
    jwk: Option<Value>,
    payload: String,
    signed: String,
    signature: Vec<u8>,
}

/// Who has signed.
#[derive(Clone, PartialEq)]
pub(crate) struct Account {
    x: String,
    y: String,
}

impl Jws {
    /// Reads a request to this URL, which its header has to repeat.
    pub(crate) fn read(body: &[u8], url: &str) -> Self {
        let flattened: Value = serde_json::from_slice(body).expect("JSON");
        let part = |name: &str| flattened[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        let (protected, payload) = (part("protected"), part("payload"));
        let header: Value = serde_json::from_slice(&decode(&protected)).expect("a header");
        assert_eq!((header["alg"].as_str(), header["url"].as_str()), (Some("ES256"), Some(url)));
        let kid = header["kid"].as_str().map(str::to_owned);
        let jwk = header.get("jwk").filter(|jwk| !jwk.is_null()).cloned();
        assert_ne!(kid.is_some(), jwk.is_some(), "either a key or its name");
        Self {
            nonce: header["nonce"].as_str().expect("a nonce").to_owned(),
            kid,
            jwk,
            signed: format!("{protected}.{payload}"),
            payload,
            signature: decode(&part("signature")),
        }
    }

    /// Null for a request that only reads.
    pub(crate) fn payload(&self) -> Value {
        match self.payload.as_str() {
            "" => Value::Null,
            payload => serde_json::from_slice(&decode(payload)).expect("JSON"),
        }
    }

    /// The account of a request that brings its key.
    pub(crate) fn new_account(&self) -> Account {
        let jwk = self.jwk.as_ref().expect("a key");
        assert_eq!((jwk["kty"].as_str(), jwk["crv"].as_str()), (Some("EC"), Some("P-256")));
        let part = |name: &str| jwk[name].as_str().expect("a coordinate").to_owned();
        Account { x: part("x"), y: part("y") }
    }
}

impl Jws {
    /// Whether this is the binding of its key to the account of this name (RFC 8555 section 7.3.4).
    pub(crate) fn assert_bound(&self, binding: &Value, kid: &str, key: &[u8], url: &str) {
        let part = |name: &str| binding[name].as_str().unwrap_or_else(|| panic!("no {name}: {binding}"));
        let header: Value = serde_json::from_slice(&decode(part("protected"))).expect("a header");
        let said = ["alg", "kid", "url"].map(|name| header[name].as_str().unwrap_or_default());
        assert_eq!(said, ["HS256", kid, url]);
        assert!(header["nonce"].is_null());
        let payload: Value = serde_json::from_slice(&decode(part("payload"))).expect("a key");
        assert_eq!(Some(&payload), self.jwk.as_ref(), "it is bound to its own key");
        let signed = format!("{}.{}", part("protected"), part("payload"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::verify(&key, signed.as_bytes(), &decode(part("signature"))).expect("a code of that key");
    }
}

impl Account {
    /// Whether the request is signed by the account's key.
    pub(crate) fn has_signed(&self, jws: &Jws) -> bool {
        let key = [&[4][..], &decode(&self.x), &decode(&self.y)].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
        key.verify(jws.signed.as_bytes(), &jws.signature).is_ok()
    }

    /// What the certificate of a challenge has to hold: the digest of token and thumbprint (RFC 7638, RFC 8737).
    pub(crate) fn digest(&self, token: &str) -> Vec<u8> {
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        let thumbprint = encode(digest(&SHA256, jwk.as_bytes()).as_ref());
        digest(&SHA256, format!("{token}.{thumbprint}").as_bytes()).as_ref().to_vec()
    }
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding (RFC 4648 section 5).
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let value = LETTERS.iter().position(|letter| *letter == byte).expect("base64url without padding");
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 {
            count -= 6;
            text.push(LETTERS[(bits >> count) as usize & 63].into());
        }
    }
    if count > 0 {
        text.push(LETTERS[(bits << (6 - count)) as usize & 63].into());
    }
    text
}

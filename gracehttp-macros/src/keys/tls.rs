//! The keys of `tls(…)`, and of `acme(…)` in it.

use super::row::{Form, Key, Kind};
use Form::{Ordinary, Own};
use Kind::{Choice, Duration, Flag, Text};

/// The keys of `tls(…)` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum TlsKey {
    Cert,
    Key,
    Certs,
    MinVersion,
    CipherSuites,
    Curves,
    ClientCrl,
    Acme,
}

/// The keys of `tls(acme(…))` with a form of their own.
#[derive(Clone, Copy)]
pub(crate) enum AcmeKey {
    Domains,
    Cache,
}

/// The values of `min_version`.
pub(crate) const VERSIONS: &[&str] = &["1.2", "1.3"];

/// The cipher suites that the library's record layer knows, by their names in the IANA registry.
pub(crate) const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The groups of the key exchange, by their names in the IANA registry. The last one needs the feature `aws-lc-rs`.
pub(crate) const CURVES: &[&str] = &["X25519", "secp256r1", "secp384r1", "X25519MLKEM768"];

#[rustfmt::skip]
pub(crate) const TLS: &[Key<TlsKey>] = &[
    Key { name: "cert", kind: Own(TlsKey::Cert), example: r#"cert = "cert.pem""#, ..Key::CODE },
    Key { name: "key", kind: Own(TlsKey::Key), example: r#"key = "key.pem""#, ..Key::CODE },
    Key { name: "certs", kind: Own(TlsKey::Certs), example: r#"certs = [("a.pem", "a.key"), ("b.pem", "b.key")]"#, ..Key::CODE },
    Key { name: "sni_strict", kind: Ordinary(Flag), example: "sni_strict = true", ..Key::CODE },
    Key { name: "reload_interval", kind: Ordinary(Duration), example: r#"reload_interval = "1m""#, ..Key::CODE },
    Key { name: "ocsp", kind: Ordinary(Kind::FILE), example: r#"ocsp = "ocsp.der""#, ..Key::CODE },
    Key { name: "min_version", kind: Own(TlsKey::MinVersion), example: r#"min_version = "1.3""#, ..Key::CODE },
    Key {
        name: "cipher_suites", kind: Own(TlsKey::CipherSuites), example: r#"cipher_suites = ["TLS_AES_256_GCM_SHA384"]"#,
        ..Key::CODE
    },
    Key { name: "client_ca", kind: Ordinary(Kind::FILE), example: r#"client_ca = "clients.pem""#, ..Key::CODE },
    Key {
        name: "client_auth", kind: Ordinary(Choice { of: "ClientAuth", words: &["required", "optional"] }),
        example: "client_auth = optional", ..Key::CODE
    },
    Key { name: "client_crl", kind: Own(TlsKey::ClientCrl), example: r#"client_crl = "clients.crl""#, ..Key::CODE },
    Key { name: "curves", kind: Own(TlsKey::Curves), example: r#"curves = ["X25519", "secp256r1"]"#, ..Key::CODE },
    Key {
        name: "acme", kind: Own(TlsKey::Acme),
        example: r#"acme(domains = ["example.org"], cache = "/var/lib/app/acme")"#, ..Key::CODE
    },
];

#[rustfmt::skip]
pub(crate) const ACME: &[Key<AcmeKey>] = &[
    Key { name: "domains", kind: Own(AcmeKey::Domains), example: r#"domains = ["example.org"]"#, ..Key::CODE },
    Key { name: "cache", kind: Own(AcmeKey::Cache), example: r#"cache = "/var/lib/app/acme""#, ..Key::CODE },
    Key {
        name: "contact", kind: Ordinary(Text { expected: "an address in quotes" }),
        example: r#"contact = "mailto:ops@example.org""#, ..Key::CODE
    },
    Key {
        name: "directory", kind: Ordinary(Text { expected: "`\"staging\"`, or the URL of a directory in quotes" }),
        example: r#"directory = "staging""#, ..Key::CODE
    },
    Key { name: "ca", kind: Ordinary(Kind::FILE), example: r#"ca = "ca.pem""#, ..Key::CODE },
    Key {
        name: "eab_kid", kind: Ordinary(Text { expected: "the identifier of an account in quotes" }),
        example: r#"eab_kid = "kid-1""#, ..Key::CODE
    },
    Key {
        name: "eab_hmac_key_file", kind: Ordinary(Kind::FILE), example: r#"eab_hmac_key_file = "/run/secrets/eab""#, ..Key::CODE
    },
];

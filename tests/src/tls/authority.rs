//! An authority of client certificates, and the clients that show them.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, SupportedProtocolVersion};

use crate::tls;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate.
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// Those between the root and it, its own first. Empty for a root.
    intermediates: Vec<CertificateDer<'static>>,
    /// The same in PEM.
    intermediate_pems: String,
}

/// A certificate with its key, and the chain that leads to the authority.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, and behind it the intermediate ones.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key, in PKCS #8.
    pub key: Vec<u8>,
    /// The chain in PEM.
    pub pem: String,
    /// The key in PEM.
    pub key_pem: String,
}

impl Authority {
    /// A root.
    pub fn new() -> Self {
        let (key, params) = authority("authority of clients");
        let made = params.self_signed(&key).expect("a certificate");
        let (pem, der) = (made.pem(), made.der().clone());
        Self {
            pem,
            der,
            issuer: Issuer::new(params, key),
            intermediates: Vec::new(),
            intermediate_pems: String::new(),
        }
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        let (key, params) = authority(name);
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (pem, der) = (made.pem(), made.der().clone());
        let intermediates = [vec![der.clone()], self.intermediates.clone()].concat();
        let intermediate_pems = pem.clone() + &self.intermediate_pems;
        Self { pem, der, issuer: Issuer::new(params, key), intermediates, intermediate_pems }
    }

    /// Its key, in PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The certificate, in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// A certificate with this common name.
    pub fn issue(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.issue_for(&KeyPair::generate().expect("a key"), name, serial, change)
    }

    /// The same for a key.
    pub fn issue_for(
        &self,
        key: &KeyPair,
        name: &str,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new([format!("{name}.test")]).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let own = params.signed_by(key, &self.issuer).expect("a certificate");
        Identity {
            chain: [vec![own.der().clone()], self.intermediates.clone()].concat(),
            key: key.serialize_der(),
            pem: own.pem() + &self.intermediate_pems,
            key_pem: key.serialize_pem(),
        }
    }

    /// A list of what it has revoked. The list is valid up to 2050.
    pub fn list(&self, revoked: &[u64]) -> String {
        self.list_until(year(2050), revoked)
    }

    /// The same in DER.
    pub fn list_in_der(&self, revoked: &[u64]) -> Vec<u8> {
        self.signed_list(year(2050), revoked).der().to_vec()
    }

    /// The same in PEM, valid up to this time.
    pub fn list_until(&self, end: SystemTime, revoked: &[u64]) -> String {
        self.signed_list(end, revoked).pem().expect("PEM")
    }

    fn signed_list(&self, end: SystemTime, revoked: &[u64]) -> rcgen::CertificateRevocationList {
        let revoked = revoked.iter().map(|&serial| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: end.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("a list")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The beginning of a year.
pub fn year(year: i32) -> SystemTime {
    rcgen::date_time_ymd(year, 1, 1).into()
}

fn authority(name: &str) -> (KeyPair, CertificateParams) {
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    (KeyPair::generate().expect("a key"), params)
}

impl Identity {
    /// The offer of a client that shows it. Connections that share an offer share the tickets of their sessions.
    pub fn config(&self, alpn: &[&str], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let certified = CertifiedKey::from_der(self.chain.clone(), key, &ring::default_provider());
        let mut config = tls::config(alpn, &[version]);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified.expect("a pair")));
        Arc::new(config)
    }
}

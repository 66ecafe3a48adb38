//! The certificates of a server, and which of them a client gets.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::tls::certificate::Certificate;

/// All certificates of a server. It never changes: a renewed certificate makes another set.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateSet {
    certificates: Vec<Arc<Certificate>>,
    /// Which certificates name it, by a name or by a wildcard such as `*.example.org`, in small letters.
    by_name: HashMap<String, Vec<usize>>,
    /// For clients that ask for no name of the set: the first certificate, and those for the same names, which may have
    /// a key of another kind.
    default: Vec<usize>,
    is_strict: bool,
}

impl CertificateSet {
    /// The first certificate is the default. In a strict set only clients that ask for no name at all get it.
    pub(crate) fn new(certificates: Vec<Arc<Certificate>>, is_strict: bool) -> Self {
        let mut by_name = HashMap::<String, Vec<usize>>::new();
        let names: Vec<Vec<String>> =
            certificates.iter().map(|certificate| certificate.dns_names()).collect();
        for (index, names) in names.iter().enumerate() {
            for name in names {
                let indices = by_name.entry(name.to_ascii_lowercase()).or_default();
                if indices.last() != Some(&index) {
                    indices.push(index);
                }
            }
        }
        let shares_a_name = |&index: &usize| {
            index == 0
                || names[index].iter().any(|name| names[0].iter().any(|of| of.eq_ignore_ascii_case(name)))
        };
        let default = (0..certificates.len()).filter(shares_a_name).collect();
        Self { certificates, by_name, default, is_strict }
    }

    pub(crate) fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The certificate for a client that asks for this name and verifies these signatures. `None` if the name is
    /// unknown here.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let named = match name {
            None => None,
            Some(name) => match self.named(name) {
                None if self.is_strict => return None,
                named => named,
            },
        };
        let candidates = named.unwrap_or(&self.default).iter().map(|&index| &self.certificates[index]);
        // If none suits, rustls says so to the client.
        let suits = |certificate: &&Arc<Certificate>| certificate.suits(schemes);
        candidates.clone().find(suits).or_else(|| candidates.clone().next()).map(|found| found.certified())
    }

    /// A wildcard stands for exactly one label, the first (RFC 9525 section 6.3).
    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || {
            let (first, rest) = name.split_once('.')?;
            (!first.is_empty()).then(|| self.by_name.get(&format!("*.{rest}"))).flatten()
        };
        self.by_name.get(&name).or_else(by_wildcard)
    }
}

//! Whether clients have to show a certificate.

/// Whether a client has to show a certificate, where there are authorities for them
/// ([`client_ca`](crate::Tls::client_ca)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// A client without one is refused in the handshake.
    #[default]
    Required,
    /// A client without one is served. One with a bad one is refused.
    Optional,
}

impl ClientAuth {
    pub(crate) const ALL: [Self; 2] = [Self::Required, Self::Optional];

    /// Its name in attributes, files and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

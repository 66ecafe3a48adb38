//! The keys of a certificate that an authority issues.

use super::keys::{Form, Key};
use super::value;
use crate::server::{Acme, MASK, Secret, ServerOptions, Tls};

pub(super) const TLS_ACME_DOMAINS: Key<ServerOptions> = Key {
    name: "tls.acme.domains",
    form: Form::List,
    set: |server, text| {
        let domains: Vec<String> = text.split(',').map(|domain| domain.trim().to_owned()).collect();
        Tls::adjust_acme(&mut server.tls, |acme| acme.domains = domains);
        Ok(())
    },
    get: |server| of(server, |acme| Some(acme.domains.join(", ")).filter(|domains| !domains.is_empty())),
};

pub(super) const TLS_ACME_CONTACT: Key<ServerOptions> = Key {
    name: "tls.acme.contact",
    form: Form::Text,
    set: |server, text| {
        Tls::adjust_acme(&mut server.tls, |acme| acme.contact = Some(text.to_owned()));
        Ok(())
    },
    get: |server| of(server, |acme| acme.contact.clone()),
};

pub(super) const TLS_ACME_CACHE: Key<ServerOptions> = Key {
    name: "tls.acme.cache",
    form: Form::Text,
    set: |server, text| {
        value::path(text).map(|path| Tls::adjust_acme(&mut server.tls, |acme| acme.cache = path))
    },
    get: |server| of(server, |acme| Some(acme.cache.display().to_string()).filter(|path| !path.is_empty())),
};

pub(super) const TLS_ACME_DIRECTORY: Key<ServerOptions> = Key {
    name: "tls.acme.directory",
    form: Form::Text,
    set: |server, text| {
        Tls::adjust_acme(&mut server.tls, |acme| acme.directory = Some(text.to_owned()));
        Ok(())
    },
    get: |server| of(server, |acme| Some(acme.directory.clone().unwrap_or_else(|| "production".to_owned()))),
};

pub(super) const TLS_ACME_CA: Key<ServerOptions> = Key {
    name: "tls.acme.ca",
    form: Form::Text,
    set: |server, text| {
        value::path(text).map(|path| Tls::adjust_acme(&mut server.tls, |acme| acme.ca = Some(path)))
    },
    get: |server| of(server, |acme| acme.ca.as_ref().map(|path| path.display().to_string())),
};

pub(super) const TLS_ACME_EAB_KID: Key<ServerOptions> = Key {
    name: "tls.acme.eab_kid",
    form: Form::Text,
    set: |server, text| {
        Tls::adjust_acme(&mut server.tls, |acme| acme.eab_kid = Some(text.to_owned()));
        Ok(())
    },
    get: |server| of(server, |acme| acme.eab_kid.clone()),
};

pub(super) const TLS_ACME_EAB_HMAC_KEY: Key<ServerOptions> = Key {
    name: "tls.acme.eab_hmac_key",
    form: Form::Text,
    set: |server, text| {
        Tls::adjust_acme(&mut server.tls, |acme| {
            (acme.eab_hmac_key, acme.eab_hmac_key_file) = (Some(Secret(text.to_owned())), None);
        });
        Ok(())
    },
    get: |server| of(server, |acme| acme.eab_hmac_key.as_ref().map(|_| MASK.to_owned())),
};

pub(super) const TLS_ACME_EAB_HMAC_KEY_FILE: Key<ServerOptions> = Key {
    name: "tls.acme.eab_hmac_key_file",
    form: Form::Text,
    set: |server, text| {
        value::path(text).map(|path| {
            Tls::adjust_acme(&mut server.tls, |acme| {
                (acme.eab_hmac_key, acme.eab_hmac_key_file) = (None, Some(path));
            });
        })
    },
    get: |server| of(server, |acme| acme.eab_hmac_key_file.as_ref().map(|path| path.display().to_string())),
};

fn of(server: &ServerOptions, get: impl FnOnce(&Acme) -> Option<String>) -> Option<String> {
    get(server.tls.as_ref()?.authority()?)
}

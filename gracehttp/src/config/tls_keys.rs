//! The keys of TLS, but for those of ACME.

use super::keys::{Form, Key};
use super::value;
use crate::lifecycle::show;
use crate::server::{ClientAuth, ServerOptions, Tls, TlsSource, tls_words};

pub(super) const TLS: Key<ServerOptions> = Key {
    name: "tls",
    form: Form::Text,
    set: |server, text| value::tls(text).map(|tls| server.tls = tls),
    get: |server| match &server.tls {
        None => Some("off".to_owned()),
        Some(tls) => tls.is_self_signed().then(|| "self_signed".to_owned()),
    },
};

pub(super) const TLS_CERT: Key<ServerOptions> = Key {
    name: "tls.cert",
    form: Form::Text,
    set: |server, text| value::path(text).map(|path| Tls::set_cert(&mut server.tls, path)),
    get: |server| Some(server.tls.as_ref()?.files_named()?.cert.display().to_string()),
};

pub(super) const TLS_KEY: Key<ServerOptions> = Key {
    name: "tls.key",
    form: Form::Text,
    set: |server, text| value::path(text).map(|path| Tls::set_key(&mut server.tls, path)),
    get: |server| Some(server.tls.as_ref()?.files_named()?.key.display().to_string()),
};

pub(super) const TLS_CERTS: Key<ServerOptions> = Key {
    name: "tls.certs",
    form: Form::Pairs,
    set: |server, text| {
        value::pairs(text).map(|pairs| Tls::set_source(&mut server.tls, TlsSource::Files(pairs)))
    },
    get: |server| {
        let all = server.tls.as_ref()?.all_files();
        let shown = all.iter().map(|files| format!("{}:{}", files.cert.display(), files.key.display()));
        (all.len() > 1).then(|| shown.collect::<Vec<_>>().join(", "))
    },
};

pub(super) const TLS_SNI_STRICT: Key<ServerOptions> = Key {
    name: "tls.sni_strict",
    form: Form::Bare,
    set: |server, text| value::flag(text).map(|on| Tls::adjust(&mut server.tls, |tls| tls.sni_strict(on))),
    get: |server| Some(server.tls.as_ref()?.sni_strict.to_string()),
};

pub(super) const TLS_RELOAD_INTERVAL: Key<ServerOptions> = Key {
    name: "tls.reload_interval",
    form: Form::Text,
    set: |server, text| {
        value::duration(text).map(|time| Tls::adjust(&mut server.tls, |tls| tls.reload_interval(time)))
    },
    get: |server| Some(show(server.tls.as_ref()?.reload_interval)),
};

pub(super) const TLS_OCSP: Key<ServerOptions> = Key {
    name: "tls.ocsp",
    form: Form::Text,
    set: |server, text| value::path(text).map(|path| Tls::adjust(&mut server.tls, |tls| tls.ocsp(path))),
    get: |server| Some(server.tls.as_ref()?.ocsp.as_ref()?.display().to_string()),
};

pub(super) const TLS_MIN_VERSION: Key<ServerOptions> = Key {
    name: "tls.min_version",
    form: Form::Text,
    set: |server, text| {
        tls_words::check([text], tls_words::VERSIONS)?;
        Tls::adjust(&mut server.tls, |tls| tls.min_version(text));
        Ok(())
    },
    get: |server| server.tls.as_ref()?.min_version.clone(),
};

pub(super) const TLS_CIPHER_SUITES: Key<ServerOptions> = Key {
    name: "tls.cipher_suites",
    form: Form::List,
    set: |server, text| {
        let names = value::words(text, tls_words::CIPHER_SUITES)?;
        Tls::adjust(&mut server.tls, |tls| tls.cipher_suites(names));
        Ok(())
    },
    get: |server| {
        server.tls.as_ref().map(|tls| tls.cipher_suites.join(", ")).filter(|names| !names.is_empty())
    },
};

pub(super) const TLS_CURVES: Key<ServerOptions> = Key {
    name: "tls.curves",
    form: Form::List,
    set: |server, text| {
        let names = value::words(text, tls_words::CURVES)?;
        Tls::adjust(&mut server.tls, |tls| tls.curves(names));
        Ok(())
    },
    get: |server| server.tls.as_ref().map(|tls| tls.curves.join(", ")).filter(|names| !names.is_empty()),
};

pub(super) const TLS_CLIENT_CA: Key<ServerOptions> = Key {
    name: "tls.client_ca",
    form: Form::Text,
    set: |server, text| value::path(text).map(|path| Tls::adjust(&mut server.tls, |tls| tls.client_ca(path))),
    get: |server| Some(server.tls.as_ref()?.client_ca.as_ref()?.display().to_string()),
};

pub(super) const TLS_CLIENT_AUTH: Key<ServerOptions> = Key {
    name: "tls.client_auth",
    form: Form::Text,
    set: |server, text| {
        let choice = ClientAuth::ALL.into_iter().find(|choice| choice.name() == text);
        let choice = choice.ok_or("valid is `required` or `optional`")?;
        Tls::adjust(&mut server.tls, |tls| tls.client_auth(choice));
        Ok(())
    },
    get: |server| Some(server.tls.as_ref()?.client_auth?.name().to_owned()),
};

pub(super) const TLS_CLIENT_CRL: Key<ServerOptions> = Key {
    name: "tls.client_crl",
    form: Form::List,
    set: |server, text| {
        let paths = text.split(',').map(str::trim).map(value::path).collect::<Result<Vec<_>, _>>()?;
        Tls::adjust(&mut server.tls, |tls| tls.client_crl(paths));
        Ok(())
    },
    get: |server| {
        let lists = &server.tls.as_ref()?.client_crls;
        let shown: Vec<_> = lists.iter().map(|path| path.display().to_string()).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    },
};

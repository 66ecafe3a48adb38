//! `#[server(…)]`: its keys, what contradicts what in them, and what it can be put on.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, Ident, LitStr, Path, ReturnType, Type};

use crate::args::{
    BuilderCall, Key, Reading, Value, count, duration, flag, keepalive, positive_size, read_keys, size,
    size_from, timeout,
};
use crate::errors::{Errors, feature_missing};
use crate::function::{Annotated, Function, last_segment, split_attributes};
use crate::module::{is_route, name};
use crate::route_attr::Place;
use crate::routes_attr::{ModuleArgs, Routes};
use crate::values::{self, Endpoint};
use crate::{arguments, codegen, conditions};

/// For as many the library implements `Handler`.
const MOST_ARGUMENTS: usize = 16;

#[rustfmt::skip]
const KEYS: &[Key<ServerArgs>] = &[
    Key { name: "port", example: "port = 8080", read: ServerArgs::port },
    Key { name: "listen", example: r#"listen = "127.0.0.1:8080""#, read: ServerArgs::listen },
    Key { name: "name", example: r#"name = "api""#, read: ServerArgs::name },
    Key { name: "state", example: "state = AppState", read: ServerArgs::state },
    Key { name: "tls", example: r#"tls(cert = "cert.pem", key = "key.pem")"#, read: ServerArgs::tls },
    Key { name: "max_conns", example: "max_conns = 1000", read: count },
    Key { name: "backlog", example: "backlog = 4096", read: ServerArgs::backlog },
    Key { name: "http1", example: "http1 = false", read: ServerArgs::protocol },
    Key { name: "http2", example: "http2 = false", read: ServerArgs::protocol },
    Key { name: "handshake_timeout", example: r#"handshake_timeout = "10s""#, read: timeout },
    Key { name: "header_read_timeout", example: r#"header_read_timeout = "10s""#, read: timeout },
    Key { name: "request_timeout", example: r#"request_timeout = "30s""#, read: timeout },
    Key { name: "idle_timeout", example: r#"idle_timeout = "75s""#, read: timeout },
    Key { name: "max_body", example: r#"max_body = "2MiB""#, read: size },
    Key { name: "max_header_size", example: r#"max_header_size = "64KiB""#, read: positive_size },
    Key { name: "max_headers", example: "max_headers = 100", read: ServerArgs::max_headers },
    Key { name: "tcp_keepalive", example: r#"tcp_keepalive = "60s""#, read: keepalive },
    Key { name: "nodelay", example: "nodelay = false", read: flag },
    Key { name: "when_full", example: "when_full = wait", read: ServerArgs::when_full },
    Key { name: "half_close_timeout", example: r#"half_close_timeout = "1s""#, read: duration },
    Key { name: "max_conn_memory", example: r#"max_conn_memory = "4MiB""#, read: ServerArgs::max_conn_memory },
    Key { name: "socket_mode", example: r#"socket_mode = "0660""#, read: ServerArgs::socket_mode },
    Key { name: "socket_user", example: r#"socket_user = "app""#, read: ServerArgs::socket_owner },
    Key { name: "socket_group", example: r#"socket_group = "www-data""#, read: ServerArgs::socket_owner },
    Key { name: "layer", example: "layer = TraceLayer::new_for_http()", read: ServerArgs::layer },
    Key { name: "prefix", example: r#"prefix = "/v1""#, read: ServerArgs::prefix },
    Key { name: "routes", example: "routes(users::routes)", read: ServerArgs::routes },
    Key { name: "crate", example: "crate = my_facade::gracehttp", read: ServerArgs::library },
];

const TLS_KEYS: &[Key<TlsFiles>] = &[
    Key { name: "cert", example: r#"cert = "cert.pem""#, read: TlsFiles::cert },
    Key { name: "key", example: r#"key = "key.pem""#, read: TlsFiles::key },
];

/// What the keys said that is more than a call of the builder's method of the same name.
#[derive(Default)]
pub(crate) struct ServerArgs {
    pub(crate) name: Option<LitStr>,
    pub(crate) state: Option<Type>,
    pub(crate) tls: Option<(Ident, Tls)>,
    /// The key, and `recycle` or `wait`.
    pub(crate) when_full: Option<(Ident, Ident)>,
    /// Around the handler, the routes or the service.
    pub(crate) layer: Option<BuilderCall>,
    pub(crate) library: Option<Path>,
    /// Of a module of routes.
    module: ModuleArgs,
    /// Each as it was written, and what it says.
    endpoints: Vec<(String, Endpoint)>,
    /// Whether a key of endpoints was there, readable or not.
    listens: bool,
    /// The protocols that were turned off.
    off: Vec<Ident>,
}

pub(crate) enum Tls {
    Files { cert: LitStr, key: LitStr },
    SelfSigned(Path),
}

#[derive(Default)]
struct TlsFiles {
    cert: Option<LitStr>,
    key: Option<LitStr>,
}

/// What the annotated function is for its server.
pub(crate) enum Role {
    Handler,
    Factory,
    /// Nothing that could be built. A server of its name stands in, so that its uses are not errors too.
    Unusable,
}

pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let tokens = args.clone();
    let (args, calls) = read_keys("#[server]", KEYS, args, &mut errors);
    let annotated = errors.take(syn::parse2(item.clone()));
    if let Some(Annotated::Module(module)) = &annotated {
        let library = codegen::library(args.library.as_ref());
        if let Some(decided) = conditions::decide(module, &quote!(#[#library::server(#tokens)])) {
            return decided;
        }
    }
    args.check(&mut errors);
    let expanded = annotated.and_then(|annotated| expand_item(&args, &calls, annotated, item, &mut errors));
    let expanded = expanded.as_ref().unwrap_or(item);
    quote!(#expanded #errors)
}

fn expand_item(
    args: &ServerArgs,
    calls: &[BuilderCall],
    annotated: Annotated,
    item: &TokenStream,
    errors: &mut Errors,
) -> Option<TokenStream> {
    match annotated {
        Annotated::Function(function) => {
            args.refuse_keys_of_modules(errors);
            let item = &without_rivals(item, errors);
            let role = Role::of(&function, errors);
            // Inside an `impl` nothing can be declared.
            let free = function.sig.receiver().is_none();
            free.then(|| {
                let server = codegen::server(args, calls, &function, &role);
                quote!(#item #server)
            })
        }
        Annotated::Module(module) => {
            let place = Place::Server(args.module.prefix.as_ref());
            match Routes::read(&module, &args.module, place, errors) {
                Some(routes) => Some(codegen::server_of_routes(args, calls, &routes)),
                // Nothing can be declared in a file.
                None => module.content.is_some().then(|| codegen::server_without_routes(args, &module)),
            }
        }
        Annotated::Other(token) => {
            errors.at(
                token,
                "`#[server]` belongs on a function or a module\nhelp: an `async fn` of extractors answers the \
                 requests itself; a plain `fn` returns the service that does, such as an `axum::Router`; a \
                 `mod` has functions with routes, such as `#[get(\"/\")]`",
            );
            None
        }
    }
}

/// A function less the attributes that want to make something else of it, which are reported.
fn without_rivals(item: &TokenStream, errors: &mut Errors) -> TokenStream {
    let Some((mut attributes, rest)) = split_attributes(item) else { return item.clone() };
    attributes.retain(|attribute| {
        let message = match name(attribute) {
            Some(name) if name == "server" => {
                "this function is a server already\n\
                 help: one server listens on several endpoints with `listen = [\":8080\", \"127.0.0.1:8081\"]`"
            }
            _ if is_route(attribute) => {
                "a function with `#[server]` answers every request of its server\n\
                 help: routes are functions in a module: `#[server(port = 8080)] mod api { #[get(\"/\")] async fn … }`"
            }
            _ => return true,
        };
        errors.at(attribute, message);
        false
    });
    quote!(#(#attributes)* #rest)
}

impl ServerArgs {
    fn port(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.listens = true;
        if value.is_array() {
            let message = "`port` is one port\nhelp: several endpoints are `listen = [\":8080\", \":8081\"]`";
            return Err(syn::Error::new_spanned(value.expr()?, message));
        }
        let literal = value.number(0..=u64::from(u16::MAX))?;
        let port = literal.base10_parse()?;
        self.add_endpoint(&literal, format!(":{port}"), Endpoint::Tcp { host: None, port }, errors);
        Ok(vec![codegen::number(port.into())])
    }

    fn listen(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        let expected = "an endpoint, or several as `[\"…\", \"…\"]`";
        self.listens = true;
        if value.is_list() {
            let (parens, inside) = value.list()?;
            let endpoints: TokenStream = inside.parse()?;
            let message = format!("`listen` is assigned its endpoints\nhelp: write `listen = [{endpoints}]`");
            return Err(syn::Error::new(parens.span.join(), message));
        }
        let elements: Vec<Expr> = match value.expr()? {
            Expr::Array(array) if array.elems.is_empty() => return Err(value.misfit(array, expected)),
            Expr::Array(array) => array.elems.into_iter().collect(),
            single => vec![single],
        };
        let mut arguments = Vec::new();
        for element in &elements {
            let Some(literal) = errors.take(value.string(element, expected)) else { continue };
            match values::endpoint(&literal.value()) {
                Ok(endpoint) => self.add_endpoint(&literal, literal.value(), endpoint, errors),
                Err(reason) => errors.at(&literal, reason),
            }
            arguments.push(literal.into_token_stream());
        }
        Ok(arguments)
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().map(|(_, endpoint)| endpoint)
    }

    fn add_endpoint(&mut self, tokens: impl ToTokens, text: String, endpoint: Endpoint, errors: &mut Errors) {
        match self.endpoints.iter().find(|(_, earlier)| earlier.clashes(&endpoint)) {
            Some((earlier, same)) if *same == endpoint => {
                errors.at(tokens, format!("this server listens on `{earlier}` already"));
            }
            Some((earlier, _)) => {
                let message =
                    format!("`{text}` and `{earlier}` can't both be had: the one includes the other");
                errors.at(tokens, message);
            }
            None => self.endpoints.push((text, endpoint)),
        }
    }

    fn name(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let name = value.text("a string")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.value().is_empty() || !name.value().chars().all(allowed) {
            // It is part of the names of environment variables.
            return Err(syn::Error::new(
                name.span(),
                "a server's name is made of letters, digits, `_` and `-`",
            ));
        }
        self.name = Some(name);
        Ok(vec![])
    }

    fn state(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.state = Some(value.ty()?);
        Ok(vec![])
    }

    fn tls(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        if !cfg!(feature = "tls") {
            return Err(feature_missing(value.name, "HTTPS", "tls"));
        }
        let tls = if value.is_list() { Tls::listed(value)? } else { Tls::assigned(value)? };
        self.tls = Some((value.name.clone(), tls));
        Ok(vec![])
    }

    fn backlog(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        // What listen(2) can be told.
        value.count_to(i32::MAX.unsigned_abs().into())
    }

    fn max_headers(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        // The library's own bound.
        value.count_to(10_000)
    }

    fn when_full(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let choice = value.expr()?;
        match &choice {
            Expr::Path(path) if ["recycle", "wait"].iter().any(|known| path.path.is_ident(known)) => {
                let choice = path.path.require_ident()?.clone();
                self.when_full = Some((value.name.clone(), choice));
                Ok(vec![])
            }
            _ => Err(value.misfit(choice, "`recycle` or `wait`, without quotes")),
        }
    }

    fn max_conn_memory(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        // The library's own bound.
        size_from(value, 64 << 10, "64KiB")
    }

    fn socket_mode(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let text = value.text("permission bits in octal, in quotes")?;
        let bits = values::mode(&text.value()).map_err(|fault| syn::Error::new(text.span(), fault))?;
        Ok(vec![codegen::number(bits.into())])
    }

    /// A user or a group. Whether it exists is known only on the machine that serves.
    fn socket_owner(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let name = value.text("a name or a number, in quotes")?;
        match name.value().is_empty() {
            true => Err(value.misfit(name, "a name or a number, in quotes")),
            false => Ok(vec![name.into_token_stream()]),
        }
    }

    fn protocol(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        let on = value.flag()?;
        if !on {
            self.off.push(value.name.clone());
        }
        Ok(vec![on.into_token_stream()])
    }

    fn layer(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.layer = Some(value.call()?);
        Ok(vec![])
    }

    fn prefix(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.module.prefix(value, errors)
    }

    fn routes(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.module.routes(value, errors)
    }

    fn library(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.library = Some(value.path()?);
        Ok(vec![])
    }

    fn refuse_keys_of_modules(&self, errors: &mut Errors) {
        for key in &self.module.keys {
            errors.at(
                key,
                format!("`{key}` is for a module of routes, `mod api {{ … }}`, and this is a function"),
            );
        }
    }

    /// What no key can tell on its own.
    fn check(&self, errors: &mut Errors) {
        // A key that could not be read may be the one that is missing.
        if !self.listens && errors.is_empty() {
            let message = "this server listens nowhere\n\
                           help: give it `port = 8080`, or `listen = \"127.0.0.1:8080\"`";
            errors.push(syn::Error::new(Span::call_site(), message));
        }
        if let [_, second] = &self.off[..] {
            errors.at(second, "without HTTP/1 and HTTP/2 no protocol is left to serve");
        }
    }
}

impl TlsFiles {
    fn cert(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.cert = Some(value.file(&value.expr()?, "a file's path in quotes")?);
        Ok(vec![])
    }

    fn key(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.key = Some(value.file(&value.expr()?, "a file's path in quotes")?);
        Ok(vec![])
    }
}

impl Tls {
    /// `tls(cert = "…", key = "…")`.
    fn listed(value: &Value<'_>) -> syn::Result<Self> {
        let (parens, inside) = value.list()?;
        let mut errors = Errors::default();
        let (files, _) = read_keys("tls(…)", TLS_KEYS, inside.parse()?, &mut errors);
        errors.into_result()?;
        match files {
            TlsFiles { cert: Some(cert), key: Some(key) } => Ok(Self::Files { cert, key }),
            _ => Err(value.misfit_at(parens.span.join(), "a certificate and its key")),
        }
    }

    /// `tls = ("…", "…")`, or `tls = self_signed`.
    fn assigned(value: &Value<'_>) -> syn::Result<Self> {
        let expected = "the files of a certificate and its key, or `self_signed`";
        match value.expr()? {
            Expr::Tuple(files) => {
                let mut elements = files.elems.iter();
                match (elements.next(), elements.next(), elements.next()) {
                    (Some(cert), Some(key), None) => {
                        Ok(Self::Files { cert: value.file(cert, expected)?, key: value.file(key, expected)? })
                    }
                    _ => Err(value.misfit(files, expected)),
                }
            }
            Expr::Path(path) if path.path.is_ident("self_signed") => match cfg!(feature = "self-signed") {
                true => Ok(Self::SelfSigned(path.path)),
                false => {
                    Err(feature_missing(path, "a certificate of the server's own making", "self-signed"))
                }
            },
            other => Err(value.misfit(other, expected)),
        }
    }
}

impl Role {
    fn of(function: &Function, errors: &mut Errors) -> Self {
        let role = if function.sig.asyncness.is_some() { Self::Handler } else { Self::Factory };
        let fit = match role {
            Self::Handler => check_handler(function, errors),
            _ => check_factory(function, errors),
        };
        if fit { role } else { Self::Unusable }
    }
}

pub(crate) fn check_handler(function: &Function, errors: &mut Errors) -> bool {
    let plain = function.check_plain("a handler", errors);
    let surplus = function.arguments().nth(MOST_ARGUMENTS);
    if let Some(argument) = surplus {
        let help = "help: a tuple of extractors is an extractor: `(query, peer): (Query<Filter>, PeerAddr)`";
        errors.at(argument, format!("a handler takes at most {MOST_ARGUMENTS} arguments\n{help}"));
    }
    arguments::check(function, errors) && plain && surplus.is_none()
}

/// Whoever forgets `async` on a handler has written a factory: say so where it shows.
fn check_factory(function: &Function, errors: &mut Errors) -> bool {
    let plain = function.check_plain("a factory", errors);
    let fault: (&dyn ToTokens, &str) = if let ReturnType::Default = function.sig.output {
        (&function.sig.fn_token, "it returns the server's service, such as an `axum::Router`")
    } else if let Some(extractor) = function.arguments().find(|ty| is_extractor(ty)) {
        (extractor, "it runs once, at start-up, and takes the state itself, no extractor")
    } else if let Some(surplus) = function.arguments().nth(1) {
        (surplus, "it runs once, at start-up, and takes nothing but the state")
    } else {
        return plain;
    };
    let (tokens, reason) = fault;
    let help =
        format!("help: for a handler, which answers each request, write `async fn {}`", function.sig.ident);
    errors.at(tokens, format!("a plain `fn` is a factory: {reason}\n{help}"));
    false
}

/// Whether a type reads like one of axum's extractors: nobody's state has these names and a parameter.
fn is_extractor(ty: &Type) -> bool {
    const EXTRACTORS: [&str; 6] = ["State", "Path", "Query", "Json", "Form", "Extension"];
    last_segment(ty).is_some_and(|segment| {
        !segment.arguments.is_none() && EXTRACTORS.iter().any(|name| segment.ident == name)
    })
}

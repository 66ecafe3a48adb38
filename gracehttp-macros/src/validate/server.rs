//! `#[server(…)]`: contradictions between its keys, and the item that it is on.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Ident, LitStr, Path, ReturnType, Type, Visibility};

use super::handler::Handler;
use super::parameters::Place;
use super::routes::{self, Routes};
use super::types::last_segment;
use super::{Checked, function};
use crate::errors::Errors;
use crate::parse::{
    Annotated, Argument, Attributed, Endpoint, Function, Item, ModuleArguments, ServerArguments, Setting,
    Shell, Tls, WrittenEndpoint, is_named, is_route,
};

/// The item that `#[server]` is on.
pub(crate) enum ServerItem {
    Function {
        server: Box<Server>,
        function: FunctionServer,
    },
    Routes {
        server: Box<Server>,
        routes: Routes,
    },
    /// A module whose routes can't be served.
    Unusable {
        server: Box<Server>,
        module: Shell,
    },
    /// An item that can't declare a server.
    Other(TokenStream),
}

/// What the keys say of a server.
pub(crate) struct Server {
    pub(crate) name: LitStr,
    /// The item that declares the server.
    pub(crate) item: Ident,
    pub(crate) state: Option<Type>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The calls of the builder's methods, in order.
    pub(crate) settings: Vec<Setting>,
    pub(crate) tls: Option<(Ident, Tls)>,
    /// Around the handler, the routes or the service.
    pub(crate) layer: Option<Setting>,
    pub(crate) library: Option<Path>,
}

/// A function that declares a server.
pub(crate) struct FunctionServer {
    /// The function without the attributes that contradict `#[server]`.
    pub(crate) item: TokenStream,
    pub(crate) vis: Visibility,
    pub(crate) role: Role,
}

/// What a function does for its server.
pub(crate) enum Role {
    /// Answers each request.
    Handler(Handler),
    /// Returns the service, made of the state or without it.
    Factory { state: Option<Box<Type>>, output: Box<Type> },
    /// Can't be built. A server of the function's name stands in, so that its uses are not errors too.
    Unusable,
}

pub(crate) fn server(parsed: Attributed<ServerArguments>, errors: &mut Errors) -> Checked<ServerItem> {
    let Attributed { mut arguments, settings, annotated, .. } = parsed;
    let Annotated { source, attributes, rest, item } = annotated;
    let endpoints = check_keys(&mut arguments, &settings, errors);
    let module_arguments = std::mem::take(&mut arguments.module);
    let server_of = |item: &Ident| Box::new(Server::new(arguments, endpoints, settings, item));
    Checked(match item {
        Some(Item::Function(function)) => {
            refuse_keys_of_modules(&module_arguments, errors);
            let item = without_rivals(attributes, &rest, errors);
            let role = Role::of(&function, errors);
            // Inside an `impl` nothing can be declared.
            if function.sig.receiver().is_some() {
                return Checked(ServerItem::Other(source));
            }
            let server = server_of(&function.sig.ident);
            ServerItem::Function { server, function: FunctionServer { item, vis: function.vis, role } }
        }
        Some(Item::Module(module)) => {
            match routes::of_module(*module, module_arguments, Place::Server, errors) {
                Ok(routes) => ServerItem::Routes { server: server_of(&routes.module.ident), routes },
                Err(module) if module.braces.is_some() => {
                    ServerItem::Unusable { server: server_of(&module.ident), module }
                }
                // Nothing can be declared in a file.
                Err(_) => ServerItem::Other(source),
            }
        }
        Some(Item::Other(token)) => {
            errors.at(
                token,
                "`#[server]` belongs on a function or a module\nhelp: an `async fn` of extractors answers the \
                 requests itself; a plain `fn` returns the service that does, such as an `axum::Router`; a \
                 `mod` has functions with routes, such as `#[get(\"/\")]`",
            );
            ServerItem::Other(source)
        }
        None => ServerItem::Other(source),
    })
}

/// Checks the keys together. Returns the endpoints without those that can't be bound beside an earlier one.
fn check_keys(arguments: &mut ServerArguments, settings: &[Setting], errors: &mut Errors) -> Vec<Endpoint> {
    let endpoints = apart(std::mem::take(&mut arguments.endpoints), errors);
    // A key that could not be read may be the missing one.
    if !arguments.listens && errors.is_empty() {
        let message = "this server listens nowhere\n\
                       help: give it `port = 8080`, or `listen = \"127.0.0.1:8080\"`";
        errors.push(syn::Error::new(Span::call_site(), message));
    }
    let mut off = settings.iter().filter(|Setting { key, argument }| {
        matches!(argument, Argument::Flag(false)) && (key == "http1" || key == "http2")
    });
    if let (Some(_), Some(second)) = (off.next(), off.next()) {
        errors.at(&second.key, "without HTTP/1 and HTTP/2 no protocol is left to serve");
    }
    endpoints
}

fn apart(written: Vec<WrittenEndpoint>, errors: &mut Errors) -> Vec<Endpoint> {
    let mut kept: Vec<WrittenEndpoint> = Vec::new();
    for new in written {
        match kept.iter().find(|earlier| earlier.endpoint.clashes(&new.endpoint)) {
            Some(same) if same.endpoint == new.endpoint => {
                errors.at(new.place, format!("this server listens on `{}` already", same.text));
            }
            Some(earlier) => {
                let (text, earlier) = (new.text, &earlier.text);
                let message =
                    format!("`{text}` and `{earlier}` can't both be had: the one includes the other");
                errors.at(new.place, message);
            }
            None => kept.push(new),
        }
    }
    kept.into_iter().map(|kept| kept.endpoint).collect()
}

fn refuse_keys_of_modules(module: &ModuleArguments, errors: &mut Errors) {
    for key in &module.keys {
        let message = format!("`{key}` is for a module of routes, `mod api {{ … }}`, and this is a function");
        errors.at(key, message);
    }
}

/// A function without the attributes that make something else of it. Those are reported.
fn without_rivals(attributes: Vec<Attribute>, rest: &TokenStream, errors: &mut Errors) -> TokenStream {
    let mut kept = attributes;
    kept.retain(|attribute| {
        let message = if is_named(attribute, "server") {
            "this function is a server already\n\
             help: one server listens on several endpoints with `listen = [\":8080\", \"127.0.0.1:8081\"]`"
        } else if is_route(attribute) {
            "a function with `#[server]` answers every request of its server\n\
             help: routes are functions in a module: `#[server(port = 8080)] mod api { #[get(\"/\")] async fn … }`"
        } else {
            return true;
        };
        errors.at(attribute, message);
        false
    });
    quote!(#(#kept)* #rest)
}

impl Server {
    fn new(
        arguments: ServerArguments,
        endpoints: Vec<Endpoint>,
        settings: Vec<Setting>,
        item: &Ident,
    ) -> Self {
        let ServerArguments { name, state, tls, layer, library, .. } = arguments;
        let name = name.unwrap_or_else(|| LitStr::new(&item.unraw().to_string(), Span::call_site()));
        Self { name, item: item.clone(), state, endpoints, settings, tls, layer, library }
    }
}

impl Role {
    fn of(function: &Function, errors: &mut Errors) -> Self {
        let role = if function.sig.asyncness.is_some() {
            Handler::of(function, errors).map(Self::Handler)
        } else {
            Self::factory(function, errors)
        };
        role.unwrap_or(Self::Unusable)
    }

    /// A handler without `async` is a factory by mistake. The message says so where the mistake shows.
    fn factory(function: &Function, errors: &mut Errors) -> Option<Self> {
        let plain = function::check(&function.sig, "a factory", errors);
        let (tokens, reason): (&dyn ToTokens, &str) = match &function.sig.output {
            ReturnType::Default => {
                (&function.sig.fn_token, "it returns the server's service, such as an `axum::Router`")
            }
            ReturnType::Type(_, output) => {
                if let Some(extractor) = function.arguments().find(|ty| is_extractor(ty)) {
                    (extractor, "it runs once, at start-up, and takes the state itself, no extractor")
                } else if let Some(surplus) = function.arguments().nth(1) {
                    (surplus, "it runs once, at start-up, and takes nothing but the state")
                } else {
                    let state = function.arguments().next().cloned().map(Box::new);
                    return plain.then(|| Self::Factory { state, output: output.clone() });
                }
            }
        };
        let help = format!(
            "help: for a handler, which answers each request, write `async fn {}`",
            function.sig.ident
        );
        errors.at(tokens, format!("a plain `fn` is a factory: {reason}\n{help}"));
        None
    }
}

/// Whether a type reads like one of axum's extractors: it has the name and a parameter, and no state does.
fn is_extractor(ty: &Type) -> bool {
    const EXTRACTORS: [&str; 6] = ["State", "Path", "Query", "Json", "Form", "Extension"];
    last_segment(ty).is_some_and(|segment| {
        !segment.arguments.is_none() && EXTRACTORS.iter().any(|name| segment.ident == name)
    })
}

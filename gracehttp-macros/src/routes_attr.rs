//! `#[routes(…)]`: a module of routes that is part of a server; and what both kinds of modules share.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;

use crate::args::{BuilderCall, Key, Reading, Value, read_keys};
use crate::errors::{Errors, feature_missing};
use crate::function::Annotated;
use crate::module::{Content, Module, file_module_help};
use crate::path::Path;
use crate::route_attr::{Answers, Place};
use crate::{codegen, conditions};

const KEYS: &[Key<RoutesArgs>] = &[
    Key { name: "prefix", example: r#"prefix = "/users""#, read: RoutesArgs::prefix },
    Key { name: "routes", example: "routes(users::routes)", read: RoutesArgs::routes },
    Key { name: "layer", example: "layer = TraceLayer::new_for_http()", read: RoutesArgs::layer },
    Key { name: "crate", example: "crate = my_facade::gracehttp", read: RoutesArgs::library },
];

/// What the keys say of a module.
#[derive(Default)]
pub(crate) struct ModuleArgs {
    pub(crate) prefix: Option<Path>,
    /// As `routes(…)` lists them.
    included: Vec<syn::Path>,
    /// The keys that only a module takes.
    pub(crate) keys: Vec<Ident>,
}

#[derive(Default)]
struct RoutesArgs {
    module: ModuleArgs,
    layer: Option<BuilderCall>,
    library: Option<syn::Path>,
}

/// A module of routes, ready to be written out.
pub(crate) struct Routes<'a> {
    pub(crate) module: &'a Module,
    pub(crate) content: &'a Content,
    pub(crate) args: &'a ModuleArgs,
    /// Modules of routes that lie elsewhere.
    pub(crate) included: Vec<&'a syn::Path>,
    pub(crate) answers: Answers<'a>,
}

pub(crate) fn expand(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let tokens = args.clone();
    let (args, _) = read_keys("#[routes]", KEYS, args, &mut errors);
    let expanded = match errors.take(syn::parse2(item.clone())) {
        Some(Annotated::Module(module)) => {
            let library = codegen::library(args.library.as_ref());
            if let Some(decided) = conditions::decide(&module, &quote!(#[#library::routes(#tokens)])) {
                return decided;
            }
            let place = Place::Part(args.module.prefix.as_ref());
            match Routes::read(&module, &args.module, place, &mut errors) {
                Some(routes) => codegen::routes(&routes, args.layer.as_ref(), args.library.as_ref()),
                None => module.with(&TokenStream::new()),
            }
        }
        Some(annotated) => {
            let belongs = "`#[routes]` belongs on a module, `mod routes { … }`, whose functions are routes";
            match annotated {
                Annotated::Function(function) => errors.at(&function.sig.ident, belongs),
                Annotated::Other(token) => errors.at(token, belongs),
                Annotated::Module(_) => {}
            }
            item.clone()
        }
        None => item.clone(),
    };
    quote!(#expanded #errors)
}

impl<'a> Routes<'a> {
    /// Nothing of a module in a file of its own, nor where nothing could serve it.
    pub(crate) fn read(
        module: &'a Module,
        args: &'a ModuleArgs,
        place: Place<'_>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Some(content) = &module.content else {
            errors.at(module.keyword, file_module_help(module));
            return None;
        };
        let answers = Answers::read(content, place, errors);
        let includes = args.keys.iter().any(|key| key == "routes");
        let nothing = content.functions.is_empty() && content.modules.is_empty() && !includes;
        if nothing && content.strays.is_empty() {
            let message = format!(
                "`{}` has no routes\nhelp: put `#[get(\"/\")]`, or another method, on an async function in it",
                module.ident
            );
            errors.at(&module.ident, message);
        }
        if !cfg!(feature = "axum") {
            errors.push(feature_missing(module.keyword, "a module of routes", "axum"));
            return None;
        }
        let mut included: Vec<&syn::Path> = args.included.iter().collect();
        included.retain(|path| {
            let other = !is_beside(path, &module.ident);
            if !other {
                errors.at(path, format!("`{}` can't be a part of itself", module.ident));
            }
            other
        });
        Some(Self { module, content, args, included, answers })
    }
}

/// Whether a path in an attribute means the very module that has it.
fn is_beside(path: &syn::Path, module: &Ident) -> bool {
    let mut names = path.segments.iter().skip_while(|segment| segment.ident == "self");
    names.next().is_some_and(|first| first.ident == *module) && names.next().is_none()
}

impl ModuleArgs {
    pub(crate) fn prefix(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.keys.push(value.name.clone());
        self.prefix = Path::of_prefix(value.text("a path in quotes")?, errors);
        Ok(vec![])
    }

    pub(crate) fn routes(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.keys.push(value.name.clone());
        self.included = value.paths(
            "at least one module of routes",
            "names of modules, each with `#[gracehttp::routes]`",
            "the module",
            errors,
        )?;
        Ok(vec![])
    }
}

impl RoutesArgs {
    fn prefix(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.module.prefix(value, errors)
    }

    fn routes(&mut self, value: &Value<'_>, errors: &mut Errors) -> Reading {
        self.module.routes(value, errors)
    }

    fn layer(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.layer = Some(value.call()?);
        Ok(vec![])
    }

    fn library(&mut self, value: &Value<'_>, _: &mut Errors) -> Reading {
        self.library = Some(value.path()?);
        Ok(vec![])
    }
}

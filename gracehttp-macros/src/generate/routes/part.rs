//! Modules of routes that are parts of another.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Ident, Path};

use crate::generate::tokens::{place_of, placed_at, refusal, shown};

/// A module of routes that is part of another.
pub(super) struct Part {
    pub(super) path: Path,
    /// The type that stands for the module.
    pub(super) ty: TokenStream,
    pub(super) declaration: Option<TokenStream>,
}

impl Part {
    /// A module in the braces of the other.
    pub(super) fn within(module: &Ident) -> Self {
        Self { path: module.clone().into(), ty: quote!(#module::WithAttributeRoutes), declaration: None }
    }

    /// A module that `routes(…)` lists. Its type is looked up in one place, so that rustc reports a wrong path once.
    /// In a module without routes the lookup finds `undeclared` of the library. `let _` prevents further messages
    /// about a path that leads nowhere.
    pub(super) fn elsewhere(path: &Path, user: &Ident, index: usize, library: &TokenStream) -> Self {
        let alias = format!("__gracehttp_part_{index}_of_{}", user.unraw());
        let ty = Ident::new(&alias, place_of(path)).into_token_stream();
        let listed = placed_at(path, quote!(with_attribute_routes));
        let check = listed_check(path, &ty, library);
        let declaration = quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types)]
            type #ty = <#user::WithAttributeRoutes as #library::__private::routes::Lists<#index>>::Part;

            const _: () = {
                use #user::WithAttributeRoutes as __Lister;
                use #library::__private::routes::{Lists as __Lists, undeclared::*};
                {
                    use #path as #listed;

                    const _: () = {
                        #[allow(unused_imports)]
                        use #listed::*;

                        impl __Lists<#index> for __Lister {
                            type Part = WithAttributeRoutes;
                        }
                    };

                    let _ = with_attribute_routes;
                    #check
                }
            };
        };
        Self { path: path.clone(), ty, declaration: Some(declaration) }
    }
}

/// Checks that an entry of `routes(…)` is a module of routes, and a part.
fn listed_check(module: &Path, ty: &TokenStream, library: &TokenStream) -> TokenStream {
    let kind = quote!(#library::__private::routes::Kind);
    let shown = shown(module);
    let example = match module.segments.last() {
        Some(last) if last.ident != "routes" => format!(", such as `{shown}::routes`"),
        _ => String::new(),
    };
    let undeclared =
        format!("`{shown}` is not a module of routes: list one that has `#[gracehttp::routes]`{example}");
    let server = format!(
        "`{shown}` is a server, and no part of one: list it in `servers(…)`, or give it `#[gracehttp::routes]` \
         instead of `#[server]`"
    );
    let (undeclared, server) = (refusal(module, &undeclared), refusal(module, &server));
    quote! {
        match #ty::TABLE.kind {
            #kind::Part => {}
            #kind::Server => #server,
            #kind::Undeclared => #undeclared,
        }
    }
}

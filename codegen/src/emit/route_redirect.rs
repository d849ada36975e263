//! The hosts that the links of a route lead to, as a constant.

use proc_macro2::TokenStream;
use quote::quote;

use super::route_verify::secret_source;
use crate::declare::Redirect;

/// Returns the runtime's description of where links lead.
pub(super) fn policy(path: &str, redirect: &Redirect) -> TokenStream {
    match redirect {
        Redirect::Open => quote!(__rt::RedirectPolicy::Open),
        Redirect::SameSite => quote!(__rt::RedirectPolicy::SameSite),
        Redirect::Hosts(hosts) => quote!(__rt::RedirectPolicy::Hosts(&[#(#hosts),*])),
        Redirect::Signed(secrets) => {
            let secrets = secrets.iter().map(secret_source);
            quote! {
                __rt::RedirectPolicy::Signed(__rt::Verification {
                    route: #path,
                    scheme: __rt::Scheme::Link,
                    secrets: &[#(#secrets),*],
                    tolerance_s: None,
                    allows_unsigned: false,
                })
            }
        }
    }
}

//! The verification of a route as a constant.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declare::{Algorithm, Encoding, Scheme, SecretSource, Verify};

/// Returns the runtime's description of a verification.
pub(super) fn verification(path: &str, verify: &Verify) -> TokenStream {
    let scheme = scheme(&verify.scheme);
    let secrets = verify.secrets.iter().map(secret_source);
    let tolerance_s = match verify.tolerance_s {
        None => quote!(None),
        Some(seconds) => quote!(Some(#seconds)),
    };
    let allows_unsigned = verify.allows_unsigned;
    quote! {
        __rt::Verification {
            route: #path,
            scheme: __rt::Scheme::#scheme,
            secrets: &[#(#secrets),*],
            tolerance_s: #tolerance_s,
            allows_unsigned: #allows_unsigned,
        }
    }
}

/// Returns a source of secrets.
pub(super) fn secret_source(source: &SecretSource) -> TokenStream {
    match source {
        SecretSource::Env(name) => quote!(__rt::SecretSource::Env(#name)),
        SecretSource::File(path) => quote!(__rt::SecretSource::File(#path)),
    }
}

fn scheme(scheme: &Scheme) -> TokenStream {
    match scheme {
        Scheme::Bearer => quote!(Bearer),
        Scheme::Basic => quote!(Basic),
        Scheme::AwsSns { topics, allows_sha1 } => {
            quote!(AwsSns { topics: &[#(#topics),*], allows_sha1: #allows_sha1 })
        }
        Scheme::Header { name } => quote!(Header { name: #name }),
        Scheme::BodyHmac {
            header,
            algorithm,
            encoding,
            prefix,
        } => {
            let algorithm = match algorithm {
                Algorithm::Sha1 => quote!(Sha1),
                Algorithm::Sha256 => quote!(Sha256),
                Algorithm::Sha384 => quote!(Sha384),
                Algorithm::Sha512 => quote!(Sha512),
            };
            let encoding = match encoding {
                Encoding::Hex => quote!(Hex),
                Encoding::Base64 => quote!(Base64),
            };
            quote! {
                BodyHmac(__rt::BodyHmac {
                    header: #header,
                    algorithm: __rt::Algorithm::#algorithm,
                    encoding: __rt::Encoding::#encoding,
                    prefix: #prefix,
                })
            }
        }
        Scheme::Stripe => quote!(Stripe),
        Scheme::Slack => quote!(Slack),
        Scheme::StandardWebhooks => quote!(StandardWebhooks),
        Scheme::SendGrid => quote!(SendGrid),
        Scheme::Mailgun => quote!(Mailgun),
        Scheme::Twilio { url } => quote!(Twilio { url: #url }),
        Scheme::ClientCertificate { names } => quote!(ClientCertificate { names: &[#(#names),*] }),
    }
}

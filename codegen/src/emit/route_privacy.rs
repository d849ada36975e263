//! The options of routes on visitors and programs: `privacy` and `automated`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declare::{
        AddressRule, Personal, PersonalColumn, Privacy, Rotation, RouteOptions, Signal, UserAgentRule, WithoutConsent,
    },
    names,
};

/// Returns the fields of the runtime's options that differ from the defaults.
pub(super) fn fields(options: &RouteOptions) -> Vec<TokenStream> {
    let mut fields = Vec::new();
    if options.privacy.has_effect() {
        let privacy = privacy(&options.privacy);
        fields.push(quote!(privacy: Some(#privacy)));
    }
    if options.drops_automated {
        fields.push(quote!(drops_automated: true));
    }
    fields
}

fn privacy(privacy: &Privacy) -> TokenStream {
    let mut fields = Vec::new();
    if let Some(rule) = privacy.ip.filter(|rule| *rule != AddressRule::Keep) {
        let rule = names::ident(&format!("{rule:?}"));
        fields.push(quote!(ip: __rt::AddressRule::#rule));
    }
    if let Some(rule) = privacy.user_agent.filter(|rule| *rule != UserAgentRule::Keep) {
        let rule = names::ident(&format!("{rule:?}"));
        fields.push(quote!(user_agent: __rt::UserAgentRule::#rule));
    }
    if let Some(env) = privacy.hash_salt_env.as_ref().filter(|_| privacy.hashes()) {
        let is_daily = privacy.hash_rotate == Some(Rotation::Daily);
        fields.push(quote!(salt: Some(__rt::Salt { env: #env, is_daily: #is_daily })));
    }
    if privacy.dnt == Some(Signal::Respect) {
        fields.push(quote!(dnt: true));
    }
    if privacy.gpc == Some(Signal::Respect) {
        fields.push(quote!(gpc: true));
    }
    if let Some(field) = &privacy.consent {
        fields.push(quote!(consent: Some(#field)));
    }
    if privacy.without_consent == Some(WithoutConsent::Drop) {
        fields.push(quote!(drops_without_consent: true));
    }
    if !privacy.columns.is_empty() {
        let columns = privacy.columns.iter().map(column);
        fields.push(quote!(columns: &[#(#columns),*]));
    }
    quote!(__rt::Privacy { #(#fields,)* ..__rt::Privacy::NONE })
}

fn column(PersonalColumn { name, paths, personal }: &PersonalColumn) -> TokenStream {
    let is_hashed = *personal == Personal::Hash;
    quote!(__rt::PersonalColumn { name: #name, paths: &[#(#paths),*], is_hashed: #is_hashed })
}

//! Types: the Rust names of ClickHouse types, and the types that must be declared for them.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::{
    model::Column,
    names,
    types::{Json, Type, text_order},
};

/// Declares the types that a table's columns need: enums, named tuples, time zones and typed paths
/// of JSON.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    items: Vec<TokenStream>,
    used: names::UsedNames,
    zones: Vec<(String, String)>,
    /// The names that the schema gives values of the column's enums.
    value_names: Vec<(String, String)>,
}

impl Declarations {
    /// Reserves `name`, so that no declaration uses it.
    pub(super) fn reserve(&mut self, name: &str) {
        self.used.unique(name);
    }

    pub(super) fn into_items(self) -> Vec<TokenStream> {
        self.items
    }

    /// Returns the Rust type of a column.
    pub(super) fn column_type(&mut self, column: &Column) -> TokenStream {
        self.value_names.clone_from(&column.rust_values);
        self.rust_type(&column.declaration.ty, column.type_prefix())
    }

    /// Returns the Rust type of a value of `ty`; a type declared for it derives its name from
    /// `name`.
    pub(super) fn rust_type(&mut self, ty: &Type, name: &str) -> TokenStream {
        match ty {
            Type::String => quote!(::std::borrow::Cow<'a, str>),
            Type::FixedString(length) => {
                let length = Literal::usize_unsuffixed(*length as usize);
                quote!(::rowmill_ingest::value::FixedString<#length>)
            }
            Type::Int {
                bits: 256,
                signed: true,
            } => quote!(::rowmill_ingest::value::Int256),
            Type::Int {
                bits: 256,
                signed: false,
            } => quote!(::rowmill_ingest::value::UInt256),
            Type::Int { bits, signed } => {
                let name = names::ident(&format!("{}{bits}", if *signed { 'i' } else { 'u' }));
                quote!(#name)
            }
            Type::Float(bits) => {
                let name = names::ident(&format!("f{bits}"));
                quote!(#name)
            }
            Type::BFloat16 => quote!(::rowmill_ingest::value::BFloat16),
            Type::Bool => quote!(bool),
            Type::Decimal { precision, scale } => {
                let name = names::ident(match precision {
                    ..=9 => "Decimal32",
                    ..=18 => "Decimal64",
                    ..=38 => "Decimal128",
                    _ => "Decimal256",
                });
                let (precision, scale) = (Literal::u8_unsuffixed(*precision), Literal::u8_unsuffixed(*scale));
                quote!(::rowmill_ingest::value::#name<#precision, #scale>)
            }
            Type::Date => quote!(::rowmill_ingest::value::Date),
            Type::Date32 => quote!(::rowmill_ingest::value::Date32),
            Type::DateTime(zone) => {
                let zone = self.zone(zone.as_deref());
                quote!(::rowmill_ingest::value::DateTime<#zone>)
            }
            Type::DateTime64(precision, zone) => {
                let zone = self.zone(zone.as_deref());
                let precision = Literal::u8_unsuffixed(*precision);
                quote!(::rowmill_ingest::value::DateTime64<#precision, #zone>)
            }
            Type::Time => quote!(::rowmill_ingest::value::Time),
            Type::Time64(precision) => {
                let precision = Literal::u8_unsuffixed(*precision);
                quote!(::rowmill_ingest::value::Time64<#precision>)
            }
            Type::Interval(_) => quote!(i64),
            Type::Geometry => quote!(::rowmill_ingest::value::Geometry),
            Type::Variant(variants) => self.variant(variants, name),
            Type::Dynamic { .. } => quote!(::rowmill_ingest::value::Dynamic<'a>),
            Type::QBit { element, dimension, .. } => {
                let element = self.rust_type(element, name);
                let dimension = Literal::usize_unsuffixed(*dimension as usize);
                quote!(::rowmill_ingest::value::QBit<#element, #dimension>)
            }
            // Only columns that ClickHouse computes have states, and rows do not hold these.
            Type::AggregateFunction(_) => quote!(()),
            Type::Shape(shape) => {
                let name = names::ident(shape.name());
                quote!(::rowmill_ingest::value::#name)
            }
            Type::SimpleAggregateFunction(_, inner) => self.rust_type(inner, name),
            Type::Json(json) => self.json(json, name),
            Type::Uuid => quote!(::rowmill_ingest::value::Uuid),
            Type::Ipv4 => quote!(::rowmill_ingest::value::Ipv4),
            Type::Ipv6 => quote!(::rowmill_ingest::value::Ipv6),
            Type::Enum { bits, values } => self.enumeration(*bits, values, name),
            Type::LowCardinality(inner) => self.rust_type(inner, name),
            Type::Nullable(inner) => {
                let inner = self.rust_type(inner, name);
                quote!(::core::option::Option<#inner>)
            }
            Type::Array(element) => {
                let element = self.rust_type(element, name);
                quote!(::std::vec::Vec<#element>)
            }
            Type::Map(key, value) => {
                let key = self.rust_type(key, &format!("{name}_key"));
                let value = self.rust_type(value, name);
                quote!(::rowmill_ingest::value::Map<#key, #value>)
            }
            Type::Tuple(elements) => self.tuple(elements, name),
            // `inherit` has turned the columns of a Nested into arrays.
            Type::Nested(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, ty)| (Some(name.clone()), ty.clone()))
                    .collect();
                let element = self.tuple(&fields, name);
                quote!(::std::vec::Vec<#element>)
            }
        }
    }

    fn tuple(&mut self, elements: &[(Option<String>, Type)], name: &str) -> TokenStream {
        let is_named = !elements.is_empty() && elements.iter().all(|(name, _)| name.is_some());
        if !is_named {
            let types: Vec<TokenStream> = elements
                .iter()
                .enumerate()
                .map(|(index, (_, ty))| self.rust_type(ty, &format!("{name}_{index}")))
                .collect();
            return quote!((#(#types,)*));
        }
        let tuple_name = self.free_name(name);
        let mut fields = Vec::new();
        let mut used = names::UsedNames::default();
        for (element, ty) in elements {
            let element = element.as_deref().unwrap_or_default();
            let field = used.unique(&names::field(element));
            let ty = self.rust_type(ty, &format!("{name}_{element}"));
            let field = names::ident(&field);
            let doc = format!(" The element `{element}`.");
            fields.push(quote! {
                #[doc = #doc]
                pub #field: #ty = #element,
            });
        }
        let borrows = elements.iter().any(|(_, ty)| ty.borrows());
        let lifetime = borrows.then(|| quote!(<'a>));
        let doc = format!(" The tuple of the column `{name}`.");
        self.items.push(quote! {
            ::rowmill_ingest::value::named_tuple! {
                #[doc = #doc]
                pub struct #tuple_name #lifetime {
                    #(#fields)*
                }
            }
        });
        quote!(#tuple_name #lifetime)
    }

    fn variant(&mut self, variants: &[Type], name: &str) -> TokenStream {
        let type_name = self.free_name(name);
        let mut used = vec!["Null".to_owned()];
        let mut names = Vec::new();
        let mut items = Vec::new();
        for (index, ty) in variants.iter().enumerate() {
            let mut variant = names::type_name(&ty.to_string());
            while used.contains(&variant) {
                variant.push('_');
            }
            used.push(variant.clone());
            let rust_type = self.rust_type(ty, &format!("{name}_{variant}"));
            let variant = names::ident(&variant);
            let index = Literal::usize_unsuffixed(index);
            let doc = format!(" `{ty}`.");
            items.push(quote! {
                #[doc = #doc]
                #variant(#rust_type) = #index,
            });
            names.push(variant);
        }
        let json: Vec<_> = text_order(variants);
        let text = json.iter().filter(|index| !variants[**index].is_bracketed());
        let (json_order, text_order) = (
            json.iter().map(|index| &names[*index]),
            text.map(|index| &names[*index]),
        );
        let lifetime = variants.iter().any(Type::borrows).then(|| quote!(<'a>));
        let doc = format!(" The values of the column `{name}`.");
        self.items.push(quote! {
            ::rowmill_ingest::value::variant! {
                #[doc = #doc]
                pub enum #type_name #lifetime {
                    #(#items)*
                }
                json: [#(#json_order),*];
                text: [#(#text_order),*];
            }
        });
        quote!(#type_name #lifetime)
    }

    fn json(&mut self, json: &Json, name: &str) -> TokenStream {
        match self.json_paths(json, name) {
            Some(paths) => quote!(::rowmill_ingest::value::JsonText<'a, #paths>),
            None => quote!(::rowmill_ingest::value::JsonText<'a>),
        }
    }

    /// Declares the paths that have a type, if there are any.
    fn json_paths(&mut self, json: &Json, name: &str) -> Option<proc_macro2::Ident> {
        let paths: Vec<TokenStream> = json
            .typed()
            .map(|(path, ty)| {
                let ty = self.path_type(ty, name);
                quote!(#path: #ty,)
            })
            .collect();
        if paths.is_empty() {
            return None;
        }
        let paths_name = self.free_name(&format!("{name}_paths"));
        let doc = format!(" The paths of the column `{name}` that have a type.");
        self.items.push(quote! {
            ::rowmill_ingest::value::json_paths! {
                #[doc = #doc]
                pub struct #paths_name {
                    #(#paths)*
                }
            }
        });
        Some(paths_name)
    }

    /// Returns the Rust type that decides which values a path of type `ty` accepts; it always
    /// accepts `null`.
    fn path_type(&mut self, ty: &Type, name: &str) -> TokenStream {
        match ty {
            Type::Nullable(inner) | Type::LowCardinality(inner) => self.path_type(inner, name),
            Type::Array(element) => {
                let element = self.path_type(element, name);
                quote!(::std::vec::Vec<#element>)
            }
            Type::SimpleAggregateFunction(_, inner) => self.path_type(inner, name),
            Type::String => quote!(::std::borrow::Cow<'static, str>),
            Type::Dynamic { .. } => quote!(::rowmill_ingest::value::Dynamic<'static>),
            Type::Json(json) => match self.json_paths(json, name) {
                Some(paths) => quote!(::rowmill_ingest::value::JsonText<'static, #paths>),
                None => quote!(::rowmill_ingest::value::JsonText<'static>),
            },
            Type::Map(key, value) => {
                let (key, value) = (self.path_type(key, name), self.path_type(value, name));
                quote!(::rowmill_ingest::value::Map<#key, #value>)
            }
            Type::Variant(variants) => self.path_variant(variants, name),
            Type::Tuple(elements) => self.path_tuple(elements, name),
            Type::Nested(elements) => {
                let elements: Vec<_> = elements
                    .iter()
                    .map(|(name, ty)| (Some(name.clone()), ty.clone()))
                    .collect();
                let element = self.path_tuple(&elements, name);
                quote!(::std::vec::Vec<#element>)
            }
            ty => self.rust_type(ty, name),
        }
    }

    fn path_variant(&mut self, variants: &[Type], name: &str) -> TokenStream {
        let order = text_order(variants);
        let types: Vec<_> = order
            .iter()
            .map(|index| self.path_type(&variants[*index], name))
            .collect();
        let variant_name = self.free_name(&format!("{name}_variant"));
        let doc = format!(" A Variant at a path of the column `{name}`.");
        self.items.push(quote! {
            ::rowmill_ingest::value::path_variant! {
                #[doc = #doc]
                pub struct #variant_name: [#(#types),*];
            }
        });
        quote!(#variant_name)
    }

    fn path_tuple(&mut self, elements: &[(Option<String>, Type)], name: &str) -> TokenStream {
        let types: Vec<_> = elements.iter().map(|(_, ty)| self.path_type(ty, name)).collect();
        let names: Option<Vec<_>> = elements.iter().map(|(name, _)| name.as_deref()).collect();
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            return quote!((#(#types,)*));
        };
        let tuple_name = self.free_name(&format!("{name}_tuple"));
        let doc = format!(" A tuple at a path of the column `{name}`.");
        self.items.push(quote! {
            ::rowmill_ingest::value::path_tuple! {
                #[doc = #doc]
                pub struct #tuple_name { #(#names: #types),* }
            }
        });
        quote!(#tuple_name)
    }

    fn enumeration(&mut self, bits: u8, values: &[(String, i16)], name: &str) -> TokenStream {
        let type_name = self.free_name(name);
        let repr = names::ident(if bits == 8 { "i8" } else { "i16" });
        let mut used = names::UsedNames::default();
        // The macro's constant with all variants, which a variant of this name would hide.
        used.unique_type("ALL");
        let given = |text: &str| self.value_names.iter().find(|(value, _)| value == text);
        for (_, name) in values.iter().filter_map(|(text, _)| given(text)) {
            used.unique_type(name);
        }
        let variants = values.iter().map(|(text, number)| {
            let variant = match given(text) {
                Some((_, name)) => names::ident(name),
                None => names::ident(&used.unique_type(&names::type_name(text))),
            };
            let number = Literal::i16_unsuffixed(*number);
            let doc = format!(" `{text}`.");
            quote! {
                #[doc = #doc]
                #variant = #number => #text,
            }
        });
        let variants: Vec<TokenStream> = variants.collect();
        let doc = format!(" The values of the column `{name}`.");
        self.items.push(quote! {
            ::rowmill_ingest::value::enumeration! {
                #[doc = #doc]
                pub enum #type_name: #repr {
                    #(#variants)*
                }
            }
        });
        quote!(#type_name)
    }

    fn zone(&mut self, zone: Option<&str>) -> TokenStream {
        // Without a zone, ClickHouse uses the server's; the collector uses UTC, as documented.
        let Some(zone) = zone.filter(|zone| !matches!(*zone, "UTC" | "Etc/UTC")) else {
            return quote!(::rowmill_ingest::value::Utc);
        };
        if let Some((_, name)) = self.zones.iter().find(|(known, _)| known == zone) {
            let name = names::ident(name);
            return quote!(#name);
        }
        let name = self.free_name(zone);
        self.zones.push((zone.to_owned(), name.to_string()));
        let doc = format!(" The time zone `{zone}`.");
        self.items.push(quote!(
            ::rowmill_ingest::value::zone! { #[doc = #doc] pub struct #name = #zone; }
        ));
        quote!(#name)
    }

    fn free_name(&mut self, name: &str) -> proc_macro2::Ident {
        names::ident(&self.used.unique_type(&names::type_name(name)))
    }
}

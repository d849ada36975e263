//! Format: the layout of the generated file, as rustfmt would leave it.
//!
//! `prettyplease` puts no blank lines between items, and prints the tokens of a macro call in one
//! run. This module adds markers for both before it calls `prettyplease`, and replaces them in the
//! text.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::{ImplItem, Item};

use super::{macro_call, text::with_visible_docs};

/// The start of each marker. The text of a schema never has this character in generated code: where
/// it occurs in a string, the string has an escape for it.
const MARK: char = '\u{1}';

/// Returns the text of items, with a blank line between them.
pub(super) fn items(items: TokenStream) -> String {
    match syn::parse2::<syn::File>(items.clone()) {
        Ok(file) => file_text(file),
        // Unformatted code is still valid as output: rustc reports the error and its place.
        Err(_) => items.to_string(),
    }
}

/// Returns the text of items as the content of a module, indented once.
pub(super) fn module_items(content: TokenStream) -> String {
    let text = items(quote!(mod content { #content }));
    let inner = text
        .strip_prefix("mod content {\n")
        .and_then(|text| text.strip_suffix("}\n"));
    inner.map_or_else(|| text.clone(), str::to_owned)
}

fn file_text(mut file: syn::File) -> String {
    let mut macros = Vec::new();
    mark_items(&mut file.items, &mut macros);
    let text = prettyplease::unparse(&file);

    let blank = format!("///{MARK}");
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let content = line.trim_start();
        let indent = &line[..line.len() - content.len()];
        match macro_number(content).and_then(|number| macros.get(number)) {
            Some(call) => macro_call::write(call, indent, &mut out),
            None if content == blank => out.push('\n'),
            None => {
                out.push_str(&with_visible_docs(line));
                out.push('\n');
            }
        }
    }
    out
}

/// Marks the items that follow a blank line, and moves the tokens of macro calls to `macros`.
fn mark_items(items: &mut [Item], macros: &mut Vec<TokenStream>) {
    let mut before = None;
    for item in items {
        if let Item::Macro(call) = &mut *item {
            let number = macros.len();
            macros.push(std::mem::replace(&mut call.mac.tokens, macro_marker(number)));
        }
        if let Item::Mod(module) = &mut *item
            && let Some((_, items)) = &mut module.content
        {
            mark_items(items, macros);
        }
        if let Item::Impl(block) = &mut *item {
            mark_impl_items(&mut block.items);
        }
        let group = match item {
            Item::Use(_) => Some("use"),
            Item::Const(_) => Some("const"),
            _ => None,
        };
        if let Some(attributes) = attributes(item)
            && before.is_some_and(|before| group.is_none() || group != before)
        {
            attributes.insert(0, blank_marker());
        }
        before = Some(group);
    }
}

fn mark_impl_items(items: &mut [ImplItem]) {
    for index in 1..items.len() {
        let is_list = matches!(
            items[index - 1..=index],
            [
                ImplItem::Const(_) | ImplItem::Type(_),
                ImplItem::Const(_) | ImplItem::Type(_)
            ]
        );
        let attributes = match &mut items[index] {
            ImplItem::Const(item) => &mut item.attrs,
            ImplItem::Fn(item) => &mut item.attrs,
            ImplItem::Type(item) => &mut item.attrs,
            _ => continue,
        };
        if !is_list {
            attributes.insert(0, blank_marker());
        }
    }
}

fn attributes(item: &mut Item) -> Option<&mut Vec<syn::Attribute>> {
    Some(match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        Item::Macro(item) => &mut item.attrs,
        Item::Mod(item) => &mut item.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        Item::Use(item) => &mut item.attrs,
        _ => return None,
    })
}

fn blank_marker() -> syn::Attribute {
    let text = MARK.to_string();
    syn::parse_quote!(#[doc = #text])
}

/// Returns the token that replaces a macro call's tokens.
fn macro_marker(number: usize) -> TokenStream {
    // `Literal::string` would escape the character, so `parse` builds the literal.
    let marker: Option<Literal> = format!("\"{MARK}{number}\"").parse().ok();
    quote!(#marker)
}

fn macro_number(line: &str) -> Option<usize> {
    line.strip_prefix('"')?
        .strip_prefix(MARK)?
        .strip_suffix('"')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_blank_lines_between_them_and_lists_have_none() {
        let text = items(quote! {
            use a::b;
            use a::c;
            const A: usize = 1;
            const B: usize = 2;
            /// A module.
            mod inner {
                /// A struct.
                struct S;
                impl T for S {
                    const A: usize = 1;
                    type B = u8;
                    fn f() {}
                    fn g() {}
                }
            }
        });
        assert_eq!(
            text,
            "use a::b;\nuse a::c;\n\nconst A: usize = 1;\nconst B: usize = 2;\n\n/// A module.\nmod inner {\n    \
             /// A struct.\n    struct S;\n\n    impl T for S {\n        const A: usize = 1;\n        type B = u8;\n\n        \
             fn f() {}\n\n        fn g() {}\n    }\n}\n"
        );
    }

    #[test]
    fn a_macro_call_has_one_entry_on_each_line() {
        let text = module_items(quote! {
            a::b! {
                #[doc = " A doc."]
                pub enum Kind<'a>: i8 {
                    #[doc = " `x`."]
                    X(::std::vec::Vec<&'a str>) = -3 => "x",
                    Y = 4,
                }
                json: [X, Y];
                text: [Y];
            }
            struct After;
        });
        let expected = r#"
    a::b! {
        /// A doc.
        pub enum Kind<'a>: i8 {
            /// `x`.
            X(::std::vec::Vec<&'a str>) = -3 => "x",
            Y = 4,
        }
        json: [X, Y];
        text: [Y];
    }

    struct After;
"#;
        assert_eq!(text, &expected[1..]);
    }
}

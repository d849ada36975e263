//! The DDL of a table, and its definition for the runtime.

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote};

use super::{
    object_paths::ObjectPaths,
    shape::{Sent, sent},
    text::raw_string,
};
use crate::{
    declare::{TableElement, TableElementKind, projection_index},
    model::{Column, Table},
    paths,
    sql::Sql,
    types::{DefaultKind, quote_text},
};

/// Returns the constant that describes a table.
pub(super) fn table(index: usize, table: &Table) -> TokenStream {
    let definition = definition(index, table);
    quote! {
        /// The table as ClickHouse has it.
        pub static TABLE: __rt::Table = #definition;
    }
}

/// Returns the expression that describes a table.
pub(super) fn definition(index: usize, table: &Table) -> TokenStream {
    let name = &table.name;
    let index = Literal::usize_unsuffixed(index);
    let create = raw_string(&create(table));
    let format = if table.has_computed_defaults() {
        quote!(RowBinaryWithDefaults)
    } else {
        quote!(RowBinary)
    };
    let objects = ObjectPaths::of(table);
    let columns = table.columns.iter().map(|column| {
        let Column { name, declaration, .. } = column;
        // ClickHouse alone knows the type of an ALIAS without one.
        let data_type = match declaration.is_untyped {
            true => String::new(),
            false => declaration.ty.to_string(),
        };
        let line = line(column);
        let kind = match declaration.default.as_ref().map(|default| default.kind) {
            Some(DefaultKind::Materialized) => quote!(Materialized),
            Some(DefaultKind::Alias) => quote!(Alias),
            Some(DefaultKind::Ephemeral) => quote!(Ephemeral),
            Some(DefaultKind::Default) => quote!(Default),
            None => quote!(Plain),
        };
        let accepts_object = objects.accepts_object(column);
        let is_nullable = declaration.ty.accepts_null();
        let definition = quote!(__rt::Column::new(#name, #data_type, #line, __rt::ColumnKind::#kind));
        let accepting_objects = accepts_object.then(|| quote!(.accepting_objects()));
        let nullable = is_nullable.then(|| quote!(.nullable()));
        let sent = sent(column, table).map(|Sent { shape, data_type: sent }| {
            let sent_as = (sent != data_type).then(|| quote!(.sent_as(#sent)));
            quote!(.shaped(#shape) #sent_as)
        });
        let was = (!column.was.is_empty()).then(|| {
            let names = &column.was;
            quote!(.was(&[#(#names),*]))
        });
        let personal = column.event.personal.map(|_| quote!(.personal()));
        quote!(#definition #accepting_objects #nullable #sent #was #personal)
    });
    let columns_by_role = table.columns.iter().map(|column| (column.role, &column.declaration));
    let id = paths::row_id(columns_by_role).and_then(|index| table.columns.get(index));
    // An id with a default does not identify a row, as ClickHouse may compute it.
    let row_id = option(
        id.filter(|column| column.declaration.default.is_none())
            .map(|column| &column.name),
    );
    let partition_key = option(table.clauses.partition_by.as_ref().map(|key| key.to_string()));
    quote! {
        __rt::Table {
            name: #name,
            index: #index,
            columns: &[#(#columns),*],
            create: #create,
            format: __rt::Format::#format,
            row_id: #row_id,
            partition_key: #partition_key,
        }
    }
}

fn option(text: Option<impl ToTokens>) -> TokenStream {
    match text {
        Some(text) => quote!(Some(#text)),
        None => quote!(None),
    }
}

/// Returns the statement that creates the table.
pub(crate) fn create(table: &Table) -> String {
    let clauses = &table.clauses;
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {}", quote_name(&table.name));
    if let Some(cluster) = &clauses.cluster {
        sql.push_str(&format!(" ON CLUSTER {}", quote_name(cluster)));
    }
    let lines: Vec<String> = table
        .columns
        .iter()
        .map(line)
        .chain(table.elements.iter().filter_map(element))
        .map(|line| format!("    {line}"))
        .collect();
    sql.push_str(&format!(
        "\n(\n{}\n)\nENGINE = {}",
        lines.join(",\n"),
        table.engine.name()
    ));
    if let Some(arguments) = &table.engine.arguments {
        sql.push_str(&format!("({arguments})"));
    }
    // Some servers require ORDER BY, so a table without a sorting key states it as well.
    let is_sorted = clauses.primary_key.is_some() || table.columns.iter().any(|column| column.declaration.primary_key);
    let no_order = (table.engine.is_merge_tree() && !is_sorted).then(|| Sql::list(&[]).surrounded("tuple", ""));
    let order_by = clauses.order_by.clone().or(no_order);
    for (keyword, clause) in [
        ("PARTITION BY", &clauses.partition_by),
        ("PRIMARY KEY", &clauses.primary_key),
        ("ORDER BY", &order_by),
        ("SAMPLE BY", &clauses.sample_by),
        ("TTL", &clauses.ttl),
    ] {
        if let Some(clause) = clause {
            sql.push_str(&format!("\n{keyword} {clause}"));
        }
    }
    let settings = settings(table);
    if !settings.is_empty() {
        sql.push_str(&format!("\nSETTINGS {}", settings.join(", ")));
    }
    if let Some(comment) = &table.comment {
        sql.push_str(&format!("\nCOMMENT {}", quote_text(comment)));
    }
    sql
}

/// Returns the line of an index, a projection or a constraint; none if the element removes an inherited one.
fn element(element: &TableElement) -> Option<String> {
    let name = quote_name(&element.name.text);
    let text = element.text.as_ref()?;
    Some(match element.kind {
        TableElementKind::Index => format!("INDEX {name} {text}"),
        TableElementKind::Projection if projection_index(text.as_str()).is_some() => {
            format!("PROJECTION {name} {text}")
        }
        TableElementKind::Projection => format!("PROJECTION {name} ({text})"),
        TableElementKind::Constraint => format!("CONSTRAINT {name} {text}"),
    })
}

fn settings(table: &Table) -> Vec<String> {
    let mut settings: Vec<String> = table
        .clauses
        .settings
        .iter()
        .map(|setting| format!("{} = {}", setting.name, setting_value(&setting.value)))
        .collect();
    let windows = table.engine.deduplication_settings().iter();
    let open = windows.filter(|(window, _)| table.clauses.setting(window).is_none());
    settings.extend(open.map(|(window, value)| format!("{window} = {value}")));
    settings
}

/// Returns numbers and quoted texts unchanged, and quotes any other text.
fn setting_value(value: &str) -> String {
    let is_number = value.parse::<f64>().is_ok();
    if is_number || value.starts_with('\'') {
        value.to_owned()
    } else {
        quote_text(value)
    }
}

/// Returns a column's line in the DDL.
pub(crate) fn line(column: &Column) -> String {
    format!("{} {}", quote_name(&column.name), column.declaration)
}

/// Returns a name between backquotes, as ClickHouse would read some bare words as clauses.
pub(crate) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

//! The parts of a table that a server can refuse one by one.

use std::collections::HashSet;

use crate::{
    declare::TableElementKind, inherit::ResolvedTable, model::Table, source::Span, sql::Sql, table_engine::Engine,
};

/// Engines that need nothing but the server itself, besides the MergeTree family.
const LOCAL_ENGINES: [&str; 8] = ["Buffer", "Join", "Log", "Memory", "Null", "Set", "StripeLog", "TinyLog"];

/// A part of a table; the numbers are indexes into its columns, settings and elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The column with its type; the whole column if it has no type.
    Column(usize),
    Default(usize),
    Codec(usize),
    Statistics(usize),
    ColumnTtl(usize),
    ColumnSettings(usize),
    ColumnKey(usize),
    Setting(usize),
    Engine,
    PartitionBy,
    PrimaryKey,
    OrderBy,
    SampleBy,
    Ttl,
    Element(usize),
}

/// Returns the parts of a table; parts that others may need come first.
pub(super) fn parts(table: &Table) -> Vec<Part> {
    let columns = || table.columns.iter().enumerate();
    let mut parts: Vec<Part> = columns().map(|(index, _)| Part::Column(index)).collect();
    parts.extend((0..table.clauses.settings.len()).map(Part::Setting));
    for (index, column) in columns() {
        let declaration = &column.declaration;
        let optional = [
            (
                declaration.default.is_some() && !declaration.is_untyped,
                Part::Default(index),
            ),
            (declaration.codec.is_some(), Part::Codec(index)),
            (declaration.statistics.is_some(), Part::Statistics(index)),
            (declaration.settings.is_some(), Part::ColumnSettings(index)),
            (declaration.primary_key, Part::ColumnKey(index)),
        ];
        parts.extend(optional.into_iter().filter(|(has, _)| *has).map(|(_, part)| part));
    }
    parts.push(Part::Engine);
    let clauses = &table.clauses;
    let optional = [
        (&clauses.order_by, Part::OrderBy),
        (&clauses.primary_key, Part::PrimaryKey),
        (&clauses.partition_by, Part::PartitionBy),
        (&clauses.sample_by, Part::SampleBy),
        (&clauses.ttl, Part::Ttl),
    ];
    parts.extend(
        optional
            .into_iter()
            .filter(|(sql, _)| sql.is_some())
            .map(|(_, part)| part),
    );
    let ttls = columns().filter(|(_, column)| column.declaration.ttl.is_some());
    parts.extend(ttls.map(|(index, _)| Part::ColumnTtl(index)));
    parts.extend((0..table.elements.len()).map(Part::Element));
    parts
}

/// Returns the table with only some of its parts.
pub(super) fn reduced(table: &Table, parts: &HashSet<Part>) -> Table {
    let mut reduced = table.clone();
    let has = |part: Part| parts.contains(&part);
    for (index, column) in reduced.columns.iter_mut().enumerate() {
        let declaration = &mut column.declaration;
        if !declaration.is_untyped && !has(Part::Default(index)) {
            declaration.default = None;
        }
        for (value, part) in [
            (&mut declaration.codec, Part::Codec(index)),
            (&mut declaration.statistics, Part::Statistics(index)),
            (&mut declaration.ttl, Part::ColumnTtl(index)),
            (&mut declaration.settings, Part::ColumnSettings(index)),
        ] {
            if !has(part) {
                *value = None;
            }
        }
        declaration.primary_key &= has(Part::ColumnKey(index));
    }
    let clauses = &mut reduced.clauses;
    for (clause, part) in [
        (&mut clauses.order_by, Part::OrderBy),
        (&mut clauses.primary_key, Part::PrimaryKey),
        (&mut clauses.partition_by, Part::PartitionBy),
        (&mut clauses.sample_by, Part::SampleBy),
        (&mut clauses.ttl, Part::Ttl),
    ] {
        if !has(part) {
            *clause = None;
        }
    }
    retain(&mut reduced.columns, |index| has(Part::Column(index)));
    retain(&mut reduced.clauses.settings, |index| has(Part::Setting(index)));
    retain(&mut reduced.elements, |index| has(Part::Element(index)));
    if !has(Part::Engine) {
        let name = if table.engine.is_merge_tree() {
            "MergeTree"
        } else {
            "Memory"
        };
        reduced.engine = Engine::named(name);
    }
    reduced
}

fn retain<T>(items: &mut Vec<T>, is_kept: impl Fn(usize) -> bool) {
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        is_kept(index - 1)
    });
}

/// Returns the table as a single server without Keeper can have it, and whether another engine
/// takes the place of its own.
pub(super) fn without_cluster(table: &Table) -> (Table, bool) {
    let mut table = table.clone();
    table.clauses.cluster = None;
    let engine = &table.engine;
    if engine.is_replicated() {
        let (_, own) = engine.own_arguments();
        let mut plain = Engine::named(engine.kind());
        plain.arguments = (!own.is_empty()).then(|| {
            let list = Sql::list(&own);
            list.part(1..list.as_str().len() - 1)
        });
        table.engine = plain;
        return (table, false);
    }
    if engine.is_merge_tree() || LOCAL_ENGINES.contains(&engine.name()) {
        return (table, false);
    }
    table.engine = Engine::named("Memory");
    table.clauses = Default::default();
    table.elements.clear();
    for column in &mut table.columns {
        column.declaration.ttl = None;
        column.declaration.primary_key = false;
    }
    (table, true)
}

impl Part {
    /// Returns the name of the column, if the part is a whole column.
    pub(super) fn column(self, table: &Table) -> Option<&str> {
        match self {
            Self::Column(index) => table.columns.get(index).map(|column| column.name.as_str()),
            _ => None,
        }
    }

    /// Returns whether the part is a column with a type.
    pub(super) fn is_typed_column(self, table: &Table) -> bool {
        match self {
            Self::Column(index) => table
                .columns
                .get(index)
                .is_some_and(|column| !column.declaration.is_untyped),
            _ => false,
        }
    }

    /// Returns the SQL of the part, if the schema has it as a text.
    pub(super) fn sql(self, table: &ResolvedTable) -> Option<Sql> {
        let clauses = &table.clauses;
        match self {
            Self::Default(index) => table.columns.get(index)?.expressions.default.clone(),
            Self::Column(index) => {
                let column = table.columns.get(index)?;
                column
                    .expressions
                    .default
                    .clone()
                    .filter(|_| column.declaration.is_untyped)
            }
            Self::ColumnTtl(index) => table.columns.get(index)?.expressions.ttl.clone(),
            Self::Element(index) => table.elements.get(index)?.text.clone(),
            Self::Engine => table.engine.as_ref()?.0.arguments.clone(),
            Self::PartitionBy => clauses.partition_by.clone(),
            Self::PrimaryKey => clauses.primary_key.clone(),
            Self::OrderBy => clauses.order_by.clone(),
            Self::SampleBy => clauses.sample_by.clone(),
            Self::Ttl => clauses.ttl.clone(),
            Self::Codec(_) | Self::Statistics(_) | Self::ColumnSettings(_) | Self::ColumnKey(_) | Self::Setting(_) => {
                None
            }
        }
    }

    /// Returns the place of the part in the files.
    pub(super) fn span(self, table: &ResolvedTable) -> Span {
        let own = match self {
            Self::Column(index)
            | Self::Codec(index)
            | Self::Statistics(index)
            | Self::ColumnSettings(index)
            | Self::ColumnKey(index) => table.columns.get(index).map(|column| column.span.clone()),
            Self::Setting(index) => table
                .clauses
                .settings
                .get(index)
                .and_then(|setting| setting.span.clone()),
            Self::Engine => table.engine.as_ref().map(|(_, span)| span.clone()),
            _ => None,
        };
        own.or_else(|| self.sql(table)?.whole_span())
            .unwrap_or_else(|| table.name.span.clone())
    }

    /// Describes the part.
    pub(super) fn place(self, table: &Table) -> String {
        let column = |index: usize| table.columns.get(index).map_or("", |column| &column.name);
        match self {
            Self::Column(index) => format!("column `{}`", column(index)),
            Self::Default(index) => format!("in the default of `{}`", column(index)),
            Self::Codec(index) => format!("the codec of `{}`", column(index)),
            Self::Statistics(index) => format!("the statistics of `{}`", column(index)),
            Self::ColumnTtl(index) => format!("in the TTL of `{}`", column(index)),
            Self::ColumnSettings(index) => format!("the settings of `{}`", column(index)),
            Self::ColumnKey(index) => format!("the primary key of `{}`", column(index)),
            Self::Setting(index) => {
                let setting = table.clauses.settings.get(index);
                format!("the setting `{}`", setting.map_or("", |setting| &setting.name))
            }
            Self::Engine => format!("the engine of `{}`", table.name),
            Self::PartitionBy => format!("in the partition key of `{}`", table.name),
            Self::PrimaryKey => format!("in the primary key of `{}`", table.name),
            Self::OrderBy => format!("in the sorting key of `{}`", table.name),
            Self::SampleBy => format!("in the sampling key of `{}`", table.name),
            Self::Ttl => format!("in the TTL of `{}`", table.name),
            Self::Element(index) => match table.elements.get(index) {
                Some(element) => {
                    let kind = match element.kind {
                        TableElementKind::Index => "index",
                        TableElementKind::Projection => "projection",
                        TableElementKind::Constraint => "constraint",
                    };
                    format!("in the {kind} `{}`", element.name.text)
                }
                None => String::new(),
            },
        }
    }
}

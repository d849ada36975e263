//! Model: resolved tables with everything that the emitters need.

use crate::{
    collector_value::CollectorValue,
    declare::{EventKeys, Personal, PersonalColumn, Privacy, RouteOptions, TableElement, UnknownKeys},
    inherit::{ResolvedColumn, ResolvedTable},
    names::TableNames,
    paths::{self, Extra, Role, extras},
    table_engine::{Clauses, Engine},
    types::{Declaration, DefaultKind, QueryTable, Shape, Type, constant},
};

/// Everything that the emitters write.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) tables: Vec<Table>,
    /// The tables that only materialized views fill.
    pub(crate) targets: Vec<Table>,
    /// The tables with the rows of a shard, beneath the distributed ones among the others.
    pub(crate) local_tables: Vec<Table>,
    /// The materialized views, each after those that read its table.
    pub(crate) views: Vec<View>,
    pub(crate) dictionaries: Vec<Dictionary>,
    pub(crate) routes: Vec<Route>,
    /// The table of the destination `other`.
    pub(crate) other: Option<(usize, RouteOptions)>,
}

/// One table that exists in ClickHouse.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) rust: TableNames,
    pub(crate) columns: Vec<Column>,
    pub(crate) extras: Vec<Extra>,
    pub(crate) nested: Vec<Vec<usize>>,
    pub(crate) engine: Engine,
    pub(crate) clauses: Clauses,
    pub(crate) elements: Vec<TableElement>,
    pub(crate) comment: Option<String>,
    /// Whether only ClickHouse's rules apply to the values of events.
    pub(crate) is_strict: bool,
    /// Whether the table is `base` or inherits it.
    pub(crate) inherits_base: bool,
    /// The settings of each insert, and their values.
    pub(crate) insert_settings: Vec<(String, String)>,
    /// The treatment of keys without a column.
    pub(crate) unknown_keys: UnknownKeys,
    /// The privacy options of the table's routes, unless a route has its own.
    pub(crate) privacy: Privacy,
    /// Whether an event of one of its routes can be without its visitor's consent.
    pub(crate) asks_for_consent: bool,
    /// The YAML comments on the table.
    pub(crate) doc_comments: Vec<String>,
}

/// One materialized view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) select: String,
    /// The table that receives the rows.
    pub(crate) target: String,
    /// The table whose inserts the view processes; `None` if the view has a schedule.
    pub(crate) source: Option<QueryTable>,
    /// The text after REFRESH.
    pub(crate) refresh: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) comment: Option<String>,
}

/// One dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dictionary {
    pub(crate) name: String,
    /// The names, and the types with what follows them.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) primary_key: String,
    /// The text in the brackets of SOURCE.
    pub(crate) source: String,
    /// The other clauses in brackets: the keyword, and the text in the brackets.
    pub(crate) clauses: Vec<(&'static str, String)>,
    pub(crate) cluster: Option<String>,
    pub(crate) comment: Option<String>,
}

/// One column of a [`Table`].
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) declaration: Declaration,
    /// The field's name in the row, not yet an identifier: the emitter makes keywords raw.
    pub(crate) field: String,
    /// The name that the schema gives the field in Rust.
    pub(crate) rust: Option<String>,
    /// The values of enums to which the schema gives a name in Rust, with these names.
    pub(crate) rust_values: Vec<(String, String)>,
    pub(crate) role: Role,
    /// The YAML comments on the column.
    pub(crate) doc_comments: Vec<String>,
    pub(crate) event: EventKeys,
    /// The earlier names of the column.
    pub(crate) was: Vec<String>,
    /// Since when or why the column should not be filled any more.
    pub(crate) deprecated: Option<String>,
    /// The paths in an event from which the decoder reads the value.
    pub(crate) paths: Vec<String>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) service: String,
    /// `None` is `service/default`.
    pub(crate) name: Option<String>,
    pub(crate) table: usize,
    pub(crate) options: RouteOptions,
}

impl Table {
    pub(crate) fn new(resolved: ResolvedTable, engine: Engine, rust: TableNames) -> Self {
        let extras = extras(&resolved.columns);
        let nested = nested(&resolved.columns, &extras);
        let roles = paths::roles(&resolved, &extras);
        let paths = paths::paths(&resolved.columns, &roles);
        let fields = resolved.fields();
        let columns = resolved
            .columns
            .into_iter()
            .zip(fields)
            .zip(roles.into_iter().zip(paths))
            .map(|((column, field), (role, paths))| Column {
                field,
                rust: column.rust.field.map(|rust| rust.text),
                rust_values: column
                    .rust
                    .values
                    .into_iter()
                    .map(|named| (named.value.text, named.name.text))
                    .collect(),
                name: column.name,
                declaration: marked(column.declaration, column.event.personal),
                event: column.event,
                was: column.was.into_iter().map(|old| old.text).collect(),
                deprecated: column.deprecated,
                role,
                paths,
                doc_comments: column.doc_comments,
            })
            .collect();
        Self {
            name: resolved.name.text,
            rust,
            columns,
            extras,
            nested,
            engine,
            clauses: resolved.clauses,
            elements: resolved.elements,
            comment: resolved.comment,
            is_strict: resolved.is_strict,
            inherits_base: resolved.inherits_base,
            insert_settings: resolved
                .insert_settings
                .into_iter()
                .map(|setting| (setting.name, setting.value))
                .collect(),
            unknown_keys: resolved.unknown_keys.map_or(UnknownKeys::Count, |(keys, _)| keys),
            privacy: resolved.privacy,
            asks_for_consent: false,
            doc_comments: resolved.doc_comments,
        }
    }

    /// Returns whether ClickHouse must compute the default of a column that a row may omit.
    pub(crate) fn has_computed_defaults(&self) -> bool {
        self.columns.iter().any(Column::has_computed_default)
    }

    /// Returns whether the row borrows from the request.
    pub(crate) fn borrows(&self) -> bool {
        self.stored().any(|(_, column)| column.declaration.ty.borrows())
    }

    /// Returns the columns with personal data, for the dead letters.
    pub(crate) fn personal_columns(&self) -> Vec<PersonalColumn> {
        let personal = |column: &Column| {
            Some(PersonalColumn {
                name: column.name.clone(),
                paths: column.paths_of_request(),
                personal: column.event.personal?,
            })
        };
        self.columns.iter().filter_map(personal).collect()
    }

    /// Returns the columns that an event without its visitor's consent does not fill: those with
    /// personal data, and the visitor's uid in a table where it is a value of the event.
    pub(crate) fn columns_of_consent(&self) -> impl Iterator<Item = (usize, &Column)> {
        let is_of_visitor = |column: &Column| match column.role {
            Role::Event => column.event.personal.is_some() || column.paths.iter().any(|path| path == "uid"),
            Role::Collector(value) => column.event.personal.is_some() && value.is_chosen_by_client(),
            Role::Extra | Role::Computed => false,
        };
        self.stored()
            .filter(move |(_, column)| self.asks_for_consent && is_of_visitor(column))
    }

    /// Returns the columns that are part of the row and of its INSERT.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.role != Role::Computed)
    }
}

/// Names personal data in the comment of a column, so that people find it in ClickHouse, too.
fn marked(mut declaration: Declaration, personal: Option<Personal>) -> Declaration {
    const MARK: &str = "personal data";
    if personal.is_some() {
        declaration.comment = Some(match declaration.comment {
            Some(comment) => format!("{comment} ({MARK})"),
            None => MARK.to_owned(),
        });
    }
    declaration
}

impl Column {
    /// Returns the name from which the types of the column derive theirs.
    pub(crate) fn type_prefix(&self) -> &str {
        self.rust.as_deref().unwrap_or(&self.name)
    }

    /// Returns whether the column asks for a value of the collector.
    pub(crate) fn asks_for_value(&self) -> bool {
        self.event.source.is_some() && matches!(self.role, Role::Collector(_))
    }

    /// Returns whether the value is a header or a field of the query.
    pub(crate) fn is_of_request(&self) -> bool {
        matches!(self.role, Role::Collector(value) if value.is_of_request())
    }

    /// Returns the paths in an event or a query at which a request has the value.
    fn paths_of_request(&self) -> Vec<String> {
        match &self.event.source {
            Some(source) if source.value == CollectorValue::Query => vec![source.name.clone()],
            _ => self.paths.clone(),
        }
    }

    /// Returns whether the column has a DEFAULT that ClickHouse must compute.
    pub(crate) fn has_computed_default(&self) -> bool {
        self.declaration.has_computed_default()
    }
}

impl Declaration {
    /// Returns whether there is a DEFAULT that ClickHouse must compute.
    pub(crate) fn has_computed_default(&self) -> bool {
        let is_default = self
            .default
            .as_ref()
            .is_some_and(|default| matches!(default.kind, DefaultKind::Default | DefaultKind::Ephemeral));
        is_default && constant(self).is_none()
    }
}

impl Type {
    /// Returns whether a value of the type borrows from the event.
    pub(crate) fn borrows(&self) -> bool {
        match self {
            Self::String | Self::Json(_) | Self::Dynamic { .. } => true,
            Self::LowCardinality(inner)
            | Self::Nullable(inner)
            | Self::Array(inner)
            | Self::SimpleAggregateFunction(_, inner) => inner.borrows(),
            Self::Map(key, value) => key.borrows() || value.borrows(),
            Self::Tuple(elements) => elements.iter().any(|(_, element)| element.borrows()),
            Self::Nested(fields) => fields.iter().any(|(_, field)| field.borrows()),
            Self::Variant(variants) => variants.iter().any(Self::borrows),
            _ => false,
        }
    }

    /// Returns whether NULL is a value of the type.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            Self::Nullable(_) => true,
            Self::LowCardinality(inner) | Self::SimpleAggregateFunction(_, inner) => inner.is_nullable(),
            _ => false,
        }
    }

    /// Returns whether an event's `null` is a value of the type, rather than the absence of a
    /// value.
    pub(crate) fn accepts_null(&self) -> bool {
        match self {
            Self::SimpleAggregateFunction(_, inner) => inner.accepts_null(),
            Self::Variant(_) | Self::Geometry | Self::Dynamic { .. } => true,
            ty => ty.is_nullable(),
        }
    }

    /// Returns whether a JSON object is a value of the type, rather than a branch of the event.
    pub(crate) fn accepts_object(&self) -> bool {
        match self {
            Self::LowCardinality(inner) | Self::Nullable(inner) | Self::SimpleAggregateFunction(_, inner) => {
                inner.accepts_object()
            }
            Self::Map(..) | Self::Json(_) | Self::Dynamic { .. } => true,
            // A String in a Variant accepts each value that no other variant accepts.
            Self::Variant(variants) => variants.iter().any(|ty| *ty == Self::String || ty.accepts_object()),
            Self::Tuple(elements) => elements.iter().all(|(name, _)| name.is_some()),
            _ => false,
        }
    }

    /// Returns whether a text is a value of the type only if it is JSON in brackets.
    pub(crate) fn is_bracketed(&self) -> bool {
        match self {
            Self::LowCardinality(inner) | Self::Nullable(inner) | Self::SimpleAggregateFunction(_, inner) => {
                inner.is_bracketed()
            }
            Self::Array(_)
            | Self::Map(..)
            | Self::Tuple(_)
            | Self::Nested(_)
            | Self::Shape(_)
            | Self::Json(_)
            | Self::QBit { .. } => true,
            _ => false,
        }
    }

    /// Returns whether the values are arrays, under any name of the type.
    pub(crate) fn is_array(&self) -> bool {
        match self {
            Self::Array(_) => true,
            Self::Shape(shape) => *shape != Shape::Point,
            Self::SimpleAggregateFunction(_, inner) => inner.is_array(),
            _ => false,
        }
    }
}

/// Groups the array columns that have a dot in their names, extras excluded, by the part before the
/// dot: the arrays of a group must have one length.
fn nested(columns: &[ResolvedColumn], extras: &[Extra]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let Some((prefix, _)) = column.name.split_once('.') else {
            continue;
        };
        let is_array = column.declaration.ty.is_array();
        let is_extra = extras.iter().any(|extra| [extra.key, extra.value].contains(&index));
        if !is_array || is_extra {
            continue;
        }
        match groups.iter_mut().find(|(existing, _)| *existing == prefix) {
            Some((_, members)) => members.push(index),
            None => groups.push((prefix, vec![index])),
        }
    }
    groups
        .into_iter()
        .map(|(_, members)| members)
        .filter(|members| members.len() > 1)
        .collect()
}

impl Route {
    /// Returns the destination as it is written in the schema.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.service, self.name.as_deref().unwrap_or("default"))
    }
}

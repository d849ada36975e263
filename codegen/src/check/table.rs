//! Queries of the rules on a table: its expressions, and the columns that they name.

use crate::{
    declare::{TableElementKind, constraint_parts, projection_index},
    inherit::{ResolvedColumn, ResolvedTable},
    source::Span,
    sql::Sql,
    types::{self, DefaultKind, Reference, Type},
};

/// The part of a table that an expression belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    OrderBy,
    PrimaryKey,
    PartitionBy,
    SampleBy,
    ShardingKey,
    Ttl,
    Index,
    Projection,
    Constraint,
    Default(DefaultKind),
    ColumnTtl,
}

/// An expression of a table.
pub(super) struct Expression<'t> {
    pub(super) clause: Clause,
    pub(super) sql: Sql,
    /// The column that the expression belongs to.
    pub(super) column: Option<&'t ResolvedColumn>,
    /// The column's name, or that of the index, the projection or the table.
    pub(super) owner: &'t str,
}

/// The result of looking up a name.
pub(super) enum Resolved<'t> {
    /// A column, and the remaining parts, which name a subcolumn.
    Column(&'t ResolvedColumn, Vec<String>),
    /// The common prefix of several columns.
    Nested,
    Unknown,
}

impl Clause {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OrderBy => "the sorting key",
            Self::PrimaryKey => "the primary key",
            Self::PartitionBy => "the partition key",
            Self::SampleBy => "the sampling key",
            Self::ShardingKey => "the sharding key",
            Self::Ttl | Self::ColumnTtl => "the TTL",
            Self::Index => "the index",
            Self::Projection => "the projection",
            Self::Constraint => "the constraint",
            Self::Default(DefaultKind::Default) => "the default",
            Self::Default(DefaultKind::Materialized) => "the MATERIALIZED",
            Self::Default(DefaultKind::Alias) => "the ALIAS",
            Self::Default(DefaultKind::Ephemeral) => "the EPHEMERAL",
        }
    }
}

impl Expression<'_> {
    /// Describes the place of the expression.
    pub(super) fn place(&self) -> String {
        match self.clause {
            Clause::Index | Clause::Projection | Clause::Constraint => {
                format!("in {} `{}`", self.clause.name(), self.owner)
            }
            _ => format!("in {} of `{}`", self.clause.name(), self.owner),
        }
    }
}

impl ResolvedTable {
    /// Returns whether the table allows the warning.
    pub(super) fn allows(&self, warning: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == warning)
    }

    /// Returns the keys, each once: a primary key beside a sorting key is a prefix of the sorting
    /// key.
    pub(super) fn keys(&self) -> Vec<(Clause, &Sql)> {
        let sorting = match &self.clauses.order_by {
            Some(key) => Some((Clause::OrderBy, key)),
            None => self.clauses.primary_key.as_ref().map(|key| (Clause::PrimaryKey, key)),
        };
        let partition = self.clauses.partition_by.as_ref();
        sorting
            .into_iter()
            .chain(partition.map(|key| (Clause::PartitionBy, key)))
            .collect()
    }

    /// Returns the clauses that the table has after its engine.
    pub(super) fn clauses(&self) -> Vec<(Clause, &Sql)> {
        let clauses = &self.clauses;
        [
            (Clause::PartitionBy, &clauses.partition_by),
            (Clause::PrimaryKey, &clauses.primary_key),
            (Clause::OrderBy, &clauses.order_by),
            (Clause::SampleBy, &clauses.sample_by),
            (Clause::Ttl, &clauses.ttl),
        ]
        .into_iter()
        .filter_map(|(clause, sql)| Some((clause, sql.as_ref()?)))
        .collect()
    }

    pub(super) fn expressions(&self) -> Vec<Expression<'_>> {
        let sharding_key = self.distribution.sharding_key.as_ref();
        let sharding_key = sharding_key.map(|(key, _)| (Clause::ShardingKey, key));
        let clauses = self
            .clauses()
            .into_iter()
            .chain(sharding_key)
            .map(|(clause, sql)| Expression {
                clause,
                sql: sql.clone(),
                column: None,
                owner: &self.name.text,
            });
        let elements = self.elements.iter().filter_map(|element| {
            let text = element.text.as_ref()?;
            let (clause, sql) = match element.kind {
                TableElementKind::Index => {
                    let (expression, _) = types::index_parts(text.as_str())?;
                    (Clause::Index, text.part(expression))
                }
                TableElementKind::Projection => match projection_index(text.as_str()) {
                    Some(expression) => (Clause::Projection, text.part(expression)),
                    None => (Clause::Projection, text.clone()),
                },
                TableElementKind::Constraint => {
                    let (_, condition) = constraint_parts(text.as_str())?;
                    (Clause::Constraint, text.part(condition))
                }
            };
            Some(Expression {
                clause,
                sql,
                column: None,
                owner: &element.name.text,
            })
        });
        let columns = self.columns.iter().flat_map(|column| {
            let kind = column.declaration.default.as_ref().map(|default| default.kind);
            let default = kind.zip(column.expressions.default.as_ref());
            let ttl = column.expressions.ttl.as_ref().map(|sql| (Clause::ColumnTtl, sql));
            let default = default.map(|(kind, sql)| (Clause::Default(kind), sql));
            default.into_iter().chain(ttl).map(move |(clause, sql)| Expression {
                clause,
                sql: sql.clone(),
                column: Some(column),
                owner: &column.name,
            })
        });
        clauses.chain(elements).chain(columns).collect()
    }

    pub(super) fn column(&self, name: &str) -> Option<&ResolvedColumn> {
        self.columns.get(*self.places.get(name)?)
    }

    /// Resolves a name. The longest column name wins, as names may have dots.
    pub(super) fn resolve(&self, reference: &Reference) -> Resolved<'_> {
        let parts = &reference.parts;
        let column = (1..=parts.len())
            .rev()
            .find_map(|count| Some((self.column(&parts[..count].join("."))?, count)));
        if let Some((column, count)) = column {
            return Resolved::Column(column, parts[count..].to_vec());
        }
        if parts.first().is_some_and(|first| self.prefixes.contains(first)) {
            Resolved::Nested
        } else {
            Resolved::Unknown
        }
    }

    /// Returns the columns that an expression names, each once.
    pub(super) fn named_columns(&self, sql: &Sql) -> Vec<&ResolvedColumn> {
        let mut columns: Vec<&ResolvedColumn> = Vec::new();
        for reference in types::references(sql.as_str()) {
            if let Resolved::Column(column, _) = self.resolve(&reference)
                && !columns.iter().any(|known| known.name == column.name)
            {
                columns.push(column);
            }
        }
        columns
    }
}

impl ResolvedColumn {
    pub(super) fn default_kind(&self) -> Option<DefaultKind> {
        self.declaration.default.as_ref().map(|default| default.kind)
    }

    /// Returns whether ClickHouse stores the column.
    pub(super) fn is_stored(&self) -> bool {
        !matches!(self.default_kind(), Some(DefaultKind::Alias | DefaultKind::Ephemeral))
    }
}

/// Returns the place of `sql`, or of the table's name if `sql` is not from a file.
pub(super) fn sql_span(sql: &Sql, table: &ResolvedTable) -> Span {
    sql.whole_span().unwrap_or_else(|| table.name.span.clone())
}

/// Returns whether a type may have the subcolumn; false only if it certainly does not.
pub(super) fn has_subcolumn(ty: &Type, parts: &[String]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return true;
    };
    let is_size = part
        .strip_prefix("size")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match ty {
        Type::Int { .. }
        | Type::Float(_)
        | Type::BFloat16
        | Type::Bool
        | Type::Decimal { .. }
        | Type::Date
        | Type::Date32
        | Type::DateTime(_)
        | Type::DateTime64(..)
        | Type::Time
        | Type::Time64(_)
        | Type::Interval(_)
        | Type::Uuid
        | Type::Ipv4
        | Type::Ipv6
        | Type::Enum { .. }
        | Type::FixedString(_)
        | Type::LowCardinality(_) => false,
        Type::String => part == "size",
        Type::Nullable(inner) => part == "null" || has_subcolumn(inner, parts),
        Type::Array(inner) => is_size || has_subcolumn(inner, parts),
        Type::Map(..) => is_size || part.starts_with("key") || part.starts_with("value"),
        Type::Tuple(elements) => {
            let by_number = part.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let element = elements
                .iter()
                .find(|(name, _)| name.as_ref() == Some(part))
                .or_else(|| elements.get(by_number?));
            element.is_some_and(|(_, ty)| has_subcolumn(ty, rest))
        }
        Type::Shape(shape) => has_subcolumn(&shape.spelled_out(), parts),
        Type::SimpleAggregateFunction(_, inner) => has_subcolumn(inner, parts),
        _ => true,
    }
}

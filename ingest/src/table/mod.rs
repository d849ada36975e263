//! What the runtime knows of a table: constants that the build step writes beside each typed row.

pub(crate) mod dead_letter;
pub(crate) mod node_leases;
pub mod refusal;
pub(crate) mod shape;

pub use crate::table::shape::Shape;

/// All tables of one schema folder, in the order of its files.
#[derive(Debug)]
pub struct Schema {
    /// The tables that exist in ClickHouse; abstract ones are not among them.
    pub tables: &'static [&'static Table],
}

/// One table of ClickHouse.
#[derive(Debug)]
pub struct Table {
    /// The table's name, unquoted.
    pub name: &'static str,
    /// Its place in [`Schema::tables`].
    pub index: usize,
    /// Its columns in the order of the DDL.
    pub columns: &'static [Column],
    /// The statement that creates it: `CREATE TABLE IF NOT EXISTS …`, without a database, so that the connection's own counts.
    pub create: &'static str,
    /// What its blocks are made of.
    pub format: Format,
    /// The column that holds the collector's own id of each event, which no two rows share.
    pub row_id: Option<&'static str>,
    /// The expression of its PARTITION BY.
    pub partition_key: Option<&'static str>,
}

impl Table {
    /// Returns a table whose rows have no id, and which is not partitioned.
    pub const fn new(
        name: &'static str,
        index: usize,
        columns: &'static [Column],
        create: &'static str,
        format: Format,
    ) -> Self {
        Self {
            name,
            index,
            columns,
            create,
            format,
            row_id: None,
            partition_key: None,
        }
    }
}

/// One column of a [`Table`].
#[derive(Debug)]
pub struct Column {
    /// The column's name, unquoted; an element of a Nested has a dot in it.
    pub name: &'static str,
    /// Its type as ClickHouse itself prints it in `system.columns`.
    pub data_type: &'static str,
    /// The column's whole line in the DDL: quoted name, type, default, codec, TTL, comment.
    pub declaration: &'static str,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// Whether an object of the event is a value of this column, and not a branch with columns of its own.
    pub takes_object: bool,
    /// Whether NULL is a value of this column.
    pub is_nullable: bool,
    /// What its values are in a row, where that is enough to move them into a column.
    pub shape: Option<Shape>,
    /// The type that such a column is sent as; ClickHouse converts it where the column has another.
    pub sent_type: &'static str,
    /// The names that it had before it was renamed.
    pub was: &'static [&'static str],
}

impl Column {
    /// Returns a column that is not nullable, takes no objects and is sent in rows.
    pub const fn new(name: &'static str, data_type: &'static str, declaration: &'static str, kind: ColumnKind) -> Self {
        Self {
            name,
            data_type,
            declaration,
            kind,
            takes_object: false,
            is_nullable: false,
            shape: None,
            sent_type: data_type,
            was: &[],
        }
    }

    /// Returns the column with a shape, so that it can be sent in columns.
    pub const fn shaped(mut self, shape: Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Returns the column sent as another type, whose values ClickHouse converts: a LowCardinality as what it is made of, one with a
    /// computed default as a Nullable whose NULLs become the default.
    pub const fn sent_as(mut self, data_type: &'static str) -> Self {
        self.sent_type = data_type;
        self
    }

    /// Returns the column with the names that it had before: rows that were written for one of them go into this column.
    pub const fn was(mut self, names: &'static [&'static str]) -> Self {
        self.was = names;
        self
    }

    /// Returns the column with objects as its values.
    pub const fn taking_objects(mut self) -> Self {
        self.takes_object = true;
        self
    }

    /// Returns the column with NULL among its values.
    pub const fn nullable(mut self) -> Self {
        self.is_nullable = true;
        self
    }
}

/// Where a column's values come from
/// ([ClickHouse: default values](https://clickhouse.com/docs/sql-reference/statements/create/table#default_values)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// The row has it; where the event has none, the type's zero or the literal of its DEFAULT stands in.
    Plain,
    /// The row may have it; where the event has none, ClickHouse computes the DEFAULT.
    Default,
    /// An input of other columns' expressions, sent and not stored.
    Ephemeral,
    /// Computed by ClickHouse when a row is inserted; never sent.
    Materialized,
    /// Computed by ClickHouse when it is read; never sent.
    Alias,
}

impl ColumnKind {
    /// Returns whether an INSERT names this column.
    pub const fn is_inserted(self) -> bool {
        matches!(self, Self::Plain | Self::Default | Self::Ephemeral)
    }
}

/// The layout of a table's rows in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Values back to back ([RowBinary](https://clickhouse.com/docs/interfaces/formats/RowBinary)).
    RowBinary,
    /// As RowBinary, each column after one byte: 1, nothing follows and ClickHouse computes the default; 0, the value follows
    /// ([RowBinaryWithDefaults](https://clickhouse.com/docs/interfaces/formats/RowBinaryWithDefaults)).
    RowBinaryWithDefaults,
}

impl Format {
    /// Returns the name that ClickHouse knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RowBinary => "RowBinary",
            Self::RowBinaryWithDefaults => "RowBinaryWithDefaults",
        }
    }
}

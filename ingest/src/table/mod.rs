//! The runtime's description of a table: constants that the build step writes beside each typed
//! row.

pub(crate) mod column_history;
pub(crate) mod conversion;
pub(crate) mod dead_letter;
pub(crate) mod dictionary;
pub(crate) mod node_leases;
pub mod refusal;
pub(crate) mod row_value;
pub(crate) mod shape;
pub(crate) mod view;

pub use crate::table::{
    dictionary::Dictionary,
    shape::Shape,
    view::{Source, View},
};

/// All tables of one schema folder, in the order of its files.
#[derive(Debug)]
pub struct Schema {
    /// The tables that exist in ClickHouse; abstract ones are excluded.
    pub tables: &'static [&'static Table],
    /// The tables that only materialized views fill.
    pub targets: &'static [&'static Table],
    /// The materialized views, in the order in which they are created.
    pub views: &'static [View],
    /// The dictionaries, which tables and views may use.
    pub dictionaries: &'static [Dictionary],
    /// The names of tables, and the settings that each of their inserts has, with their values.
    pub insert_settings: &'static [(&'static str, InsertSettings)],
}

/// The names of settings and their values.
pub type InsertSettings = &'static [(&'static str, &'static str)];

impl Schema {
    /// Returns a schema of tables without views.
    pub const fn new(tables: &'static [&'static Table]) -> Self {
        Self {
            tables,
            targets: &[],
            views: &[],
            dictionaries: &[],
            insert_settings: &[],
        }
    }

    /// Adds materialized views, and the tables that only views fill.
    pub const fn with_views(mut self, targets: &'static [&'static Table], views: &'static [View]) -> Self {
        self.targets = targets;
        self.views = views;
        self
    }

    /// Adds the settings that the inserts of tables have.
    pub const fn with_insert_settings(mut self, settings: &'static [(&'static str, InsertSettings)]) -> Self {
        self.insert_settings = settings;
        self
    }

    /// Adds dictionaries.
    pub const fn with_dictionaries(mut self, dictionaries: &'static [Dictionary]) -> Self {
        self.dictionaries = dictionaries;
        self
    }

    /// Returns all tables, those of views last.
    pub(crate) fn all_tables(&self) -> impl Iterator<Item = &'static Table> {
        self.tables.iter().chain(self.targets).copied()
    }

    /// Returns a table, also one that only views fill.
    pub(crate) fn table(&self, name: &str) -> Option<&'static Table> {
        self.all_tables().find(|table| table.name == name)
    }
}

/// One table of ClickHouse.
#[derive(Debug)]
pub struct Table {
    /// The table's name, unquoted.
    pub name: &'static str,
    /// The table's index in [`Schema::tables`].
    pub index: usize,
    /// The table's columns in the order of the DDL.
    pub columns: &'static [Column],
    /// The statement that creates the table: `CREATE TABLE IF NOT EXISTS …`, without a database, so
    /// that the connection's database applies.
    pub create: &'static str,
    /// The format of the table's rows in a block.
    pub format: Format,
    /// The column with the id that the collector assigns to each event, and that no two rows share.
    pub row_id: Option<&'static str>,
    /// The expression of the table's PARTITION BY.
    pub partition_key: Option<&'static str>,
}

impl Table {
    /// Returns a table without partitions, whose rows have no id.
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
    /// The column's name, unquoted; the name of a Nested's element contains a dot.
    pub name: &'static str,
    /// The column's type as ClickHouse prints it in `system.columns`; empty for an ALIAS without a
    /// type, which only ClickHouse can infer.
    pub data_type: &'static str,
    /// The column's whole line in the DDL: quoted name, type, default, codec, TTL, comment.
    pub declaration: &'static str,
    /// The source of the column's values.
    pub kind: ColumnKind,
    /// Whether an object of the event is a value of this column, rather than a branch with separate
    /// columns.
    pub accepts_object: bool,
    /// Whether NULL is a value of this column.
    pub is_nullable: bool,
    /// The shape of the values in a row; `None` if they cannot be moved to a column.
    pub shape: Option<Shape>,
    /// The type of the values when they are sent as columns; ClickHouse converts them if the column
    /// has another type.
    pub sent_type: &'static str,
    /// The column's earlier names.
    pub was: &'static [&'static str],
}

impl Column {
    /// Returns a column that is not nullable, accepts no objects and is sent in rows.
    pub const fn new(name: &'static str, data_type: &'static str, declaration: &'static str, kind: ColumnKind) -> Self {
        Self {
            name,
            data_type,
            declaration,
            kind,
            accepts_object: false,
            is_nullable: false,
            shape: None,
            sent_type: data_type,
            was: &[],
        }
    }

    /// Sets the shape of the values, so that they can be sent as columns.
    pub const fn shaped(mut self, shape: Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Sets another type to send, from which ClickHouse converts: a LowCardinality is sent as its
    /// inner type, and a column with a computed default as a Nullable whose NULLs become the
    /// default.
    pub const fn sent_as(mut self, data_type: &'static str) -> Self {
        self.sent_type = data_type;
        self
    }

    /// Sets the column's earlier names: rows that were written for one of them go into this column.
    pub const fn was(mut self, names: &'static [&'static str]) -> Self {
        self.was = names;
        self
    }

    /// Makes objects values of the column.
    pub const fn accepting_objects(mut self) -> Self {
        self.accepts_object = true;
        self
    }

    /// Makes NULL a value of the column.
    pub const fn nullable(mut self) -> Self {
        self.is_nullable = true;
        self
    }
}

/// The source of a column's values ([ClickHouse: default
/// values](https://clickhouse.com/docs/sql-reference/statements/create/table#default_values)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Every row has a value. If the event has none, it is the type's zero or the literal of the
    /// DEFAULT.
    Plain,
    /// The row may have a value. If the event has none, ClickHouse computes the DEFAULT.
    Default,
    /// An input of other columns' expressions; sent, but not stored.
    Ephemeral,
    /// Computed by ClickHouse when a row is inserted; never sent.
    Materialized,
    /// Computed by ClickHouse when the column is read; never sent.
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
    /// RowBinary with one byte before each column: 1 if no value follows and ClickHouse computes
    /// the default, 0 if the value follows
    /// ([RowBinaryWithDefaults](https://clickhouse.com/docs/interfaces/formats/RowBinaryWithDefaults)).
    RowBinaryWithDefaults,
}

impl Format {
    /// Returns ClickHouse's name of the format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RowBinary => "RowBinary",
            Self::RowBinaryWithDefaults => "RowBinaryWithDefaults",
        }
    }
}

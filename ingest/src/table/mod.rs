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
///
/// ```
/// # use embedder::tables;
/// use rowmill_ingest::table::Schema;
///
/// let schema: &Schema = &tables::SCHEMA;
/// assert!(schema.tables.iter().any(|table| table.name == "orders"));
/// ```
#[derive(Debug)]
pub struct Schema {
    /// The tables that exist in ClickHouse; abstract ones are excluded.
    pub tables: &'static [&'static Table],
    /// The tables that only materialized views fill.
    pub targets: &'static [&'static Table],
    /// The tables with the rows of one shard, beneath the Distributed ones among the others.
    pub local_tables: &'static [&'static Table],
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
    ///
    /// ```
    /// use rowmill_ingest::table::Schema;
    ///
    /// static SCHEMA: Schema = Schema::new(&[]);
    /// assert!(SCHEMA.views.is_empty());
    /// ```
    pub const fn new(tables: &'static [&'static Table]) -> Self {
        Self {
            tables,
            targets: &[],
            local_tables: &[],
            views: &[],
            dictionaries: &[],
            insert_settings: &[],
        }
    }

    /// Adds materialized views, and the tables that only views fill.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::table::Schema;
    ///
    /// let schema = Schema::new(tables::SCHEMA.tables).with_views(&[], tables::SCHEMA.views);
    /// assert!(schema.targets.is_empty());
    /// ```
    pub const fn with_views(mut self, targets: &'static [&'static Table], views: &'static [View]) -> Self {
        self.targets = targets;
        self.views = views;
        self
    }

    /// Adds the tables with the rows of one shard.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::table::Schema;
    ///
    /// let schema = Schema::new(tables::SCHEMA.tables).with_local_tables(&[]);
    /// assert!(schema.local_tables.is_empty());
    /// ```
    pub const fn with_local_tables(mut self, local_tables: &'static [&'static Table]) -> Self {
        self.local_tables = local_tables;
        self
    }

    /// Adds the settings that the inserts of tables have.
    ///
    /// ```
    /// use rowmill_ingest::table::Schema;
    ///
    /// let schema = Schema::new(&[]).with_insert_settings(&[("orders", &[("max_insert_threads", "4")])]);
    /// assert_eq!(schema.insert_settings.len(), 1);
    /// ```
    pub const fn with_insert_settings(mut self, settings: &'static [(&'static str, InsertSettings)]) -> Self {
        self.insert_settings = settings;
        self
    }

    /// Adds dictionaries.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::table::Schema;
    ///
    /// let schema = Schema::new(tables::SCHEMA.tables).with_dictionaries(&[]);
    /// assert!(schema.dictionaries.is_empty());
    /// ```
    pub const fn with_dictionaries(mut self, dictionaries: &'static [Dictionary]) -> Self {
        self.dictionaries = dictionaries;
        self
    }

    /// Returns all tables: those of a shard first, so that the others never have a column that a
    /// shard lacks, and those of views last.
    pub(crate) fn all_tables(&self) -> impl Iterator<Item = &'static Table> {
        self.local_tables.iter().chain(self.tables).chain(self.targets).copied()
    }

    /// Returns a table, also one that only views fill.
    pub(crate) fn table(&self, name: &str) -> Option<&'static Table> {
        self.all_tables().find(|table| table.name == name)
    }
}

/// One table of ClickHouse.
///
/// ```
/// # use embedder::tables;
/// for table in tables::SCHEMA.tables {
///     println!("{}: {} columns", table.name, table.columns.len());
/// }
/// ```
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
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind, Format, Table};
    ///
    /// const COLUMNS: &[Column] = &[Column::new("n", "UInt8", "`n` UInt8", ColumnKind::Plain)];
    /// const CREATE: &str = "CREATE TABLE IF NOT EXISTS counts (`n` UInt8) ENGINE = MergeTree ORDER BY n";
    /// static COUNTS: Table = Table::new("counts", 0, COLUMNS, CREATE, Format::RowBinary);
    /// assert_eq!(COUNTS.row_id, None);
    /// ```
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
///
/// ```
/// # use embedder::tables;
/// let table = tables::SCHEMA.tables[0];
/// let inserted = table.columns.iter().filter(|column| column.kind.is_inserted());
/// println!("{:?}", inserted.map(|column| column.name).collect::<Vec<_>>());
/// ```
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
    /// Whether the schema marks the values as personal data: no message quotes them.
    pub is_personal: bool,
}

impl Column {
    /// Returns a column that is not nullable, accepts no objects and is sent in rows.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("clicks", "UInt32", "`clicks` UInt32", ColumnKind::Plain);
    /// assert_eq!(column.sent_type, "UInt32");
    /// ```
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
            is_personal: false,
        }
    }

    /// Sets the shape of the values, so that they can be sent as columns.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind, Shape};
    ///
    /// let column = Column::new("ok", "Bool", "`ok` Bool", ColumnKind::Plain).shaped(Shape::Fixed(1));
    /// assert_eq!(column.shape, Some(Shape::Fixed(1)));
    /// ```
    pub const fn shaped(mut self, shape: Shape) -> Self {
        self.shape = Some(shape);
        self
    }

    /// Sets another type to send, from which ClickHouse converts: a LowCardinality is sent as its
    /// inner type, and a column with a computed default as a Nullable whose NULLs become the
    /// default.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("tag", "LowCardinality(String)", "`tag` LowCardinality(String)", ColumnKind::Plain);
    /// assert_eq!(column.sent_as("String").sent_type, "String");
    /// ```
    pub const fn sent_as(mut self, data_type: &'static str) -> Self {
        self.sent_type = data_type;
        self
    }

    /// Marks the values as personal data.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("email", "String", "`email` String", ColumnKind::Plain).personal();
    /// assert!(column.is_personal);
    /// ```
    pub const fn personal(mut self) -> Self {
        self.is_personal = true;
        self
    }

    /// Sets the column's earlier names: rows that were written for one of them go into this column.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("email", "String", "`email` String", ColumnKind::Plain).was(&["mail"]);
    /// assert_eq!(column.was, ["mail"]);
    /// ```
    pub const fn was(mut self, names: &'static [&'static str]) -> Self {
        self.was = names;
        self
    }

    /// Makes objects values of the column.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("data", "JSON", "`data` JSON", ColumnKind::Plain).accepting_objects();
    /// assert!(column.accepts_object);
    /// ```
    pub const fn accepting_objects(mut self) -> Self {
        self.accepts_object = true;
        self
    }

    /// Makes NULL a value of the column.
    ///
    /// ```
    /// use rowmill_ingest::table::{Column, ColumnKind};
    ///
    /// let column = Column::new("n", "Nullable(UInt8)", "`n` Nullable(UInt8)", ColumnKind::Plain).nullable();
    /// assert!(column.is_nullable);
    /// ```
    pub const fn nullable(mut self) -> Self {
        self.is_nullable = true;
        self
    }
}

/// The source of a column's values ([ClickHouse: default
/// values](https://clickhouse.com/docs/sql-reference/statements/create/table#default_values)).
///
/// ```
/// use rowmill_ingest::table::ColumnKind;
///
/// assert!(ColumnKind::Plain.is_inserted() && !ColumnKind::Alias.is_inserted());
/// ```
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
    ///
    /// ```
    /// use rowmill_ingest::table::ColumnKind;
    ///
    /// // ClickHouse uses the value of an EPHEMERAL column, and does not store it.
    /// assert!(ColumnKind::Ephemeral.is_inserted());
    /// assert!(!ColumnKind::Materialized.is_inserted());
    /// ```
    pub const fn is_inserted(self) -> bool {
        matches!(self, Self::Plain | Self::Default | Self::Ephemeral)
    }
}

/// The layout of a table's rows in a block.
///
/// ```
/// use rowmill_ingest::table::Format;
///
/// assert_ne!(Format::RowBinary, Format::RowBinaryWithDefaults);
/// ```
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
    ///
    /// ```
    /// use rowmill_ingest::table::Format;
    ///
    /// assert_eq!(Format::RowBinary.name(), "RowBinary");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::RowBinary => "RowBinary",
            Self::RowBinaryWithDefaults => "RowBinaryWithDefaults",
        }
    }

    /// Returns the format with this name of ClickHouse's.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        [Self::RowBinary, Self::RowBinaryWithDefaults]
            .into_iter()
            .find(|format| format.name() == name)
    }
}

use ::rowmill_ingest::__rt;
/// The table `orders`: its row, its definition and its routes.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    missing_copy_implementations,
    non_snake_case,
    single_use_lifetimes,
    unreachable_patterns,
    unreachable_pub,
    unused_qualifications,
    unused_variables
)]
pub mod orders {
    use ::rowmill_ingest::__rt;
    /// A row of `orders`.
    ///
    /// What the shop sells.
    ///
    /// See <https://example.org/orders>.
    #[derive(
        Debug,
        Clone,
        PartialEq,
        __rt::ClickHouseRow,
        __rt::Serialize,
        __rt::Deserialize
    )]
    #[clickhouse(crate = "::rowmill_ingest::__rt::clickhouse")]
    #[serde(crate = "::rowmill_ingest::__rt::serde")]
    pub struct Orders<'a> {
        /// The number on the invoice, \[as printed\].
        ///
        /// `String`
        pub number: __rt::Cow<'a, str>,
        /// before \<tax\>
        ///
        /// `Decimal(18, 2)`
        pub amount: __rt::Decimal64<18, 2>,
        /// A `state`.
        ///
        /// Not for columns within braces.
        /// set by the shop
        ///
        /// `Enum8('new' = 1, 'paid' = 2)`
        pub state: State,
        /// In UTC.
        ///
        /// `DateTime`
        pub time: __rt::DateTime<__rt::Utc>,
        /// behind a quote
        ///
        /// `String`
        pub name: __rt::Cow<'a, str>,
        /// long
        ///
        /// `String`
        pub note: __rt::Cow<'a, str>,
    }
    __rt::enumeration! {
        #[doc = " The values of the column `state`."] pub enum State : i8 { #[doc =
        " `new`."] New = 1 => "new", #[doc = " `paid`."] Paid = 2 => "paid", }
    }
    impl<'a> __rt::Default for Orders<'a> {
        fn default() -> Self {
            Self {
                number: __rt::Default::default(),
                amount: __rt::Default::default(),
                state: __rt::Default::default(),
                time: __rt::Default::default(),
                name: __rt::Cow::Borrowed("# none"),
                note: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Orders<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Orders<'a>;
    }
    impl<'a> __rt::Row<'a> for Orders<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                4 => {
                    match path {
                        "time" => __rt::Some(3),
                        "note" => __rt::Some(5),
                        _ => __rt::None,
                    }
                }
                5 => {
                    match path {
                        "state" => __rt::Some(2),
                        _ => __rt::None,
                    }
                }
                6 => {
                    match path {
                        "number" => __rt::Some(0),
                        "amount" => __rt::Some(1),
                        _ => __rt::None,
                    }
                }
                _ => __rt::None,
            }
        }
        fn put(
            &mut self,
            column: usize,
            input: __rt::Input<'_, 'a>,
        ) -> __rt::Result<(), __rt::ValueError> {
            match column {
                0 => input.read(&mut self.number),
                1 => input.read(&mut self.amount),
                2 => input.read(&mut self.state),
                3 => input.read(&mut self.time),
                5 => input.read(&mut self.note),
                _ => __rt::Ok(()),
            }
        }
        fn extra_at(&self, path: &str) -> __rt::Option<usize> {
            __rt::None
        }
        fn extra(&mut self, extra: usize) -> __rt::Option<__rt::ExtraMut<'_, 'a>> {
            match extra {
                _ => __rt::None,
            }
        }
        fn stamp(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) {
            self.name = __rt::Cow::Borrowed(stamp.name);
        }
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.number, out);
            __rt::Encode::put(&self.amount, out);
            __rt::Encode::put(&self.state, out);
            __rt::Encode::put(&self.time, out);
            __rt::Encode::put(&self.name, out);
            __rt::Encode::put(&self.note, out);
        }
        fn table(&self) -> &'static __rt::Table {
            &TABLE
        }
        fn complete(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) -> __rt::PresentColumns {
            ::core::default::Default::default()
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "orders",
        index: 0usize,
        columns: &[
            __rt::Column::new(
                    "number",
                    "String",
                    "`number` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "amount",
                    "Decimal(18, 2)",
                    "`amount` Decimal(18, 2)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "state",
                    "Enum8('new' = 1, 'paid' = 2)",
                    "`state` Enum8('new' = 1, 'paid' = 2) COMMENT 'A `state`.'",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(1)),
            __rt::Column::new(
                    "time",
                    "DateTime",
                    "`time` DateTime",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(4)),
            __rt::Column::new(
                    "name",
                    "String",
                    "`name` String DEFAULT '# none'",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "note",
                    "String",
                    "`note` String COMMENT 'long'",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
        ],
        create: "CREATE TABLE IF NOT EXISTS `orders`\n(\n    `number` String,\n    `amount` Decimal(18, 2),\n    `state` Enum8('new' = 1, 'paid' = 2) COMMENT 'A `state`.',\n    `time` DateTime,\n    `name` String DEFAULT '# none',\n    `note` String COMMENT 'long'\n)\nENGINE = MergeTree\nORDER BY number\nSETTINGS non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::None,
        partition_key: __rt::None,
    };
    /// The routes that lead to `orders`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `wh/order`.
        pub const WH_ORDER: &'static str = "wh/order";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "wh/order",
                table: "orders",
                acks: __rt::AckPolicy::NONE,
                rate_limit: __rt::None,
            },
        ];
        fn schema() -> &'static __rt::Schema {
            &super::SCHEMA
        }
        fn declared(service: &str, name: &str) -> __rt::Option<__rt::Route> {
            match service.len() {
                2 => {
                    match service {
                        "wh" => {
                            match name.len() {
                                5 => {
                                    match name {
                                        "order" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<Orders<'static>>,
                                                acks: __rt::AckPolicy::NONE,
                                            })
                                        }
                                        _ => __rt::None,
                                    }
                                }
                                _ => __rt::None,
                            }
                        }
                        _ => __rt::None,
                    }
                }
                _ => __rt::None,
            }
        }
    }
}
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub use orders::Orders;
/// The layer that takes the events of `orders` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type OrdersLayer = __rt::EventLayer<orders::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&orders::TABLE],
};
/// The routes of all tables.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
#[derive(Debug, Clone, Copy)]
pub struct Routes;
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    missing_copy_implementations,
    non_snake_case,
    single_use_lifetimes,
    unreachable_patterns,
    unreachable_pub,
    unused_qualifications,
    unused_variables
)]
impl __rt::Routes for Routes {
    const DESTINATIONS: &'static [__rt::Destination] = &[
        __rt::Destination {
            path: "wh/order",
            table: "orders",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
    ];
    fn schema() -> &'static __rt::Schema {
        &SCHEMA
    }
    fn declared(service: &str, name: &str) -> __rt::Option<__rt::Route> {
        match service.len() {
            2 => {
                match service {
                    "wh" => {
                        match name.len() {
                            5 => {
                                match name {
                                    "order" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<orders::Orders<'static>>,
                                            acks: __rt::AckPolicy::NONE,
                                        })
                                    }
                                    _ => __rt::None,
                                }
                            }
                            _ => __rt::None,
                        }
                    }
                    _ => __rt::None,
                }
            }
            _ => __rt::None,
        }
    }
    fn other() -> __rt::Option<__rt::Route> {
        __rt::None
    }
}
/// Returns the layer that takes the events of all tables and hands every other request on to the inner service.
///
/// # Errors
///
/// The writer was made with another schema than [`SCHEMA`].
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    dead_code,
    missing_copy_implementations,
    non_snake_case,
    single_use_lifetimes,
    unreachable_patterns,
    unreachable_pub,
    unused_qualifications,
    unused_variables
)]
pub fn layer(
    writer: __rt::Writer,
) -> __rt::Result<__rt::EventLayer<Routes>, __rt::SchemaMismatch> {
    __rt::EventLayer::new(writer)
}

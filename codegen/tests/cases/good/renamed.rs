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
        /// `UInt64`
        pub id: u64,
        /// `Decimal(18, 2)`
        pub total: __rt::Decimal64<18, 2>,
        /// `LowCardinality(String)`
        pub city: __rt::Cow<'a, str>,
    }
    impl<'a> __rt::Default for Orders<'a> {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                total: __rt::Default::default(),
                city: __rt::Default::default(),
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
                        "city" => __rt::Some(2),
                        _ => __rt::None,
                    }
                }
                5 => {
                    match path {
                        "total" => __rt::Some(1),
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
                1 => input.read(&mut self.total),
                2 => input.read(&mut self.city),
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
            self.id = stamp.id;
        }
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.id, out);
            __rt::Encode::put(&self.total, out);
            __rt::Encode::put(&self.city, out);
        }
        fn table(&self) -> &'static __rt::Table {
            &TABLE
        }
        fn complete(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) -> __rt::PresentColumns {
            let mut filled: Self = ::core::default::Default::default();
            __rt::Row::stamp(
                &mut filled,
                stamp,
                &mut ::core::default::Default::default(),
            );
            if __rt::is_same(&self.id, &::core::default::Default::default()) {
                self.id = filled.id;
            }
            ::core::default::Default::default()
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "orders",
        index: 0usize,
        columns: &[
            __rt::Column::new("id", "UInt64", "`id` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "total",
                    "Decimal(18, 2)",
                    "`total` Decimal(18, 2)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8))
                .was(&["sum", "amount"]),
            __rt::Column::new(
                    "city",
                    "LowCardinality(String)",
                    "`city` LowCardinality(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String)
                .sent_as("String")
                .was(&["town"]),
        ],
        create: "CREATE TABLE IF NOT EXISTS `orders`\n(\n    `id` UInt64,\n    `total` Decimal(18, 2),\n    `city` LowCardinality(String)\n)\nENGINE = MergeTree\nORDER BY id\nSETTINGS non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::Some("id"),
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

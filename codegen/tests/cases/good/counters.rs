use ::rowmill_ingest::__rt;
/// The table `counters`: its row, its definition and its routes.
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
pub mod counters {
    use ::rowmill_ingest::__rt;
    /// A row of `counters`.
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
    pub struct Counters {
        /// `UInt64`
        pub uid: u64,
        /// `UInt64`
        pub timestamp: u64,
        /// `Nullable(Float64)`
        pub price: __rt::Option<f64>,
    }
    impl __rt::Default for Counters {
        fn default() -> Self {
            Self {
                uid: __rt::Default::default(),
                timestamp: __rt::Default::default(),
                price: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Counters {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Counters;
    }
    impl<'a> __rt::Row<'a> for Counters {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                5 => {
                    match path {
                        "price" => __rt::Some(2),
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
                2 => input.read(&mut self.price),
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
            self.uid = stamp.uid;
            self.timestamp = stamp.unix_ms;
        }
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.uid, out);
            __rt::Encode::put(&self.timestamp, out);
            __rt::Encode::put(&self.price, out);
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
            if __rt::is_same(&self.timestamp, &::core::default::Default::default()) {
                self.timestamp = filled.timestamp;
            }
            ::core::default::Default::default()
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "counters",
        index: 0usize,
        columns: &[
            __rt::Column::new("uid", "UInt64", "`uid` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "timestamp",
                    "UInt64",
                    "`timestamp` UInt64",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "price",
                    "Nullable(Float64)",
                    "`price` Nullable(Float64)",
                    __rt::ColumnKind::Plain,
                )
                .nullable()
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8))),
        ],
        create: "CREATE TABLE IF NOT EXISTS `counters`\n(\n    `uid` UInt64,\n    `timestamp` UInt64,\n    `price` Nullable(Float64)\n)\nENGINE = Memory",
        format: __rt::Format::RowBinary,
        row_id: __rt::None,
        partition_key: __rt::None,
    };
    /// The routes that lead to `counters`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `track/visit`.
        pub const TRACK_VISIT: &'static str = "track/visit";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "track/visit",
                table: "counters",
                acks: __rt::AckPolicy::NONE,
                rate_limit: __rt::None,
            },
        ];
        fn schema() -> &'static __rt::Schema {
            &super::SCHEMA
        }
        fn declared(service: &str, name: &str) -> __rt::Option<__rt::Route> {
            match service.len() {
                5 => {
                    match service {
                        "track" => {
                            match name.len() {
                                5 => {
                                    match name {
                                        "visit" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<Counters>,
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
pub use counters::Counters;
/// The layer that takes the events of `counters` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type CountersLayer = __rt::EventLayer<counters::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&counters::TABLE],
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
            path: "track/visit",
            table: "counters",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
    ];
    fn schema() -> &'static __rt::Schema {
        &SCHEMA
    }
    fn declared(service: &str, name: &str) -> __rt::Option<__rt::Route> {
        match service.len() {
            5 => {
                match service {
                    "track" => {
                        match name.len() {
                            5 => {
                                match name {
                                    "visit" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<counters::Counters>,
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

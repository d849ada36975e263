use ::rowmill_ingest::__rt;
/// The table `payments`: its row, its definition and its routes.
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
pub mod payments {
    use ::rowmill_ingest::__rt;
    /// A row of `payments`.
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
    pub struct Payments {
        /// `UInt64`
        pub id: u64,
        /// `DateTime64(3)`
        pub paid_at: __rt::DateTime64<3, __rt::Utc>,
        /// `Nullable(Date)`
        pub due: __rt::Option<__rt::Date>,
    }
    impl __rt::Default for Payments {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                paid_at: __rt::Default::default(),
                due: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Payments {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Payments;
    }
    impl<'a> __rt::Row<'a> for Payments {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                3 => {
                    match path {
                        "due" => __rt::Some(2),
                        _ => __rt::None,
                    }
                }
                7 => {
                    match path {
                        "paid_at" => __rt::Some(1),
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
                1 => input.read(&mut self.paid_at),
                2 => input.read(&mut self.due),
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
            __rt::Encode::put(&self.paid_at, out);
            __rt::Encode::put(&self.due, out);
        }
        fn check_dates(
            &self,
            stamp: &__rt::EventMeta<'a>,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {
            if given.contains(1) {
                __rt::check_date(
                    &self.paid_at,
                    stamp,
                    __rt::Some(34560000),
                    __rt::Some(172800),
                    &TABLE.columns[1],
                    refusals,
                );
            }
            if given.contains(2) {
                __rt::check_date(
                    &self.due,
                    stamp,
                    __rt::None,
                    __rt::Some(86400000),
                    &TABLE.columns[2],
                    refusals,
                );
            }
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
            let mut present: __rt::PresentColumns = ::core::default::Default::default();
            if !__rt::is_same(&self.paid_at, &::core::default::Default::default()) {
                present.insert(1);
            }
            if !__rt::is_same(&self.due, &::core::default::Default::default()) {
                present.insert(2);
            }
            present
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "payments",
        index: 0usize,
        columns: &[
            __rt::Column::new("id", "UInt64", "`id` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "paid_at",
                    "DateTime64(3)",
                    "`paid_at` DateTime64(3)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "due",
                    "Nullable(Date)",
                    "`due` Nullable(Date)",
                    __rt::ColumnKind::Plain,
                )
                .nullable()
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(2))),
        ],
        create: "CREATE TABLE IF NOT EXISTS `payments`\n(\n    `id` UInt64,\n    `paid_at` DateTime64(3),\n    `due` Nullable(Date)\n)\nENGINE = MergeTree\nPARTITION BY toYYYYMM(paid_at)\nORDER BY id\nSETTINGS non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::Some("id"),
        partition_key: __rt::Some("toYYYYMM(paid_at)"),
    };
    /// The routes that lead to `payments`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `wh/payment`.
        pub const WH_PAYMENT: &'static str = "wh/payment";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "wh/payment",
                table: "payments",
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
                                7 => {
                                    match name {
                                        "payment" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<Payments>,
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
pub use payments::Payments;
/// The layer that takes the events of `payments` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type PaymentsLayer = __rt::EventLayer<payments::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&payments::TABLE],
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
            path: "wh/payment",
            table: "payments",
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
                            7 => {
                                match name {
                                    "payment" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<payments::Payments>,
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

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
    /// What was ordered.
    /// One row an order; it's final.
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
        /// Of the shop.
        ///
        /// `UInt64`
        pub id: u64,
        /// `LowCardinality(String)`
        pub currency: __rt::Cow<'a, str>,
        /// `Decimal(18, 2)`
        pub net: __rt::Decimal64<18, 2>,
        /// `String`
        pub secret: __rt::Cow<'a, str>,
        /// `String`
        pub raw: __rt::Cow<'a, str>,
        /// `UInt64`
        pub hash: u64,
        /// it's free
        ///
        /// What stands behind the type stays, and a comment there hides nothing.
        ///
        /// `Nullable(String)`
        pub note: __rt::Option<__rt::Cow<'a, str>>,
        /// `DateTime`
        pub paid_at: __rt::DateTime<__rt::Utc>,
    }
    impl<'a> __rt::Default for Orders<'a> {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                currency: __rt::Cow::Borrowed("EUR"),
                net: __rt::Default::default(),
                secret: __rt::Default::default(),
                raw: __rt::Default::default(),
                hash: __rt::Default::default(),
                note: __rt::None,
                paid_at: __rt::Default::default(),
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
                3 => {
                    match path {
                        "net" => __rt::Some(2),
                        "raw" => __rt::Some(6),
                        _ => __rt::None,
                    }
                }
                4 => {
                    match path {
                        "hash" => __rt::Some(7),
                        "note" => __rt::Some(8),
                        _ => __rt::None,
                    }
                }
                6 => {
                    match path {
                        "secret" => __rt::Some(5),
                        _ => __rt::None,
                    }
                }
                7 => {
                    match path {
                        "paid_at" => __rt::Some(9),
                        _ => __rt::None,
                    }
                }
                8 => {
                    match path {
                        "currency" => __rt::Some(1),
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
                1 => input.read(&mut self.currency),
                2 => input.read(&mut self.net),
                5 => input.read(&mut self.secret),
                6 => input.read(&mut self.raw),
                7 => input.read(&mut self.hash),
                8 => input.read(&mut self.note),
                9 => input.read(&mut self.paid_at),
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
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.id, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.currency, out);
            if given.contains(2) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.net, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(5) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.secret, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(6) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.raw, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(7) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.hash, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.note, out);
            if given.contains(9) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.paid_at, out);
            } else {
                out.push(__rt::DEFAULT);
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
            if !__rt::is_same(&self.net, &::core::default::Default::default()) {
                present.insert(2);
            }
            if !__rt::is_same(&self.secret, &::core::default::Default::default()) {
                present.insert(5);
            }
            if !__rt::is_same(&self.raw, &::core::default::Default::default()) {
                present.insert(6);
            }
            if !__rt::is_same(&self.hash, &::core::default::Default::default()) {
                present.insert(7);
            }
            if !__rt::is_same(&self.paid_at, &::core::default::Default::default()) {
                present.insert(9);
            }
            present
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "orders",
        index: 0usize,
        columns: &[
            __rt::Column::new(
                    "id",
                    "UInt64",
                    "`id` UInt64 COMMENT 'Of the shop.' CODEC(Delta, ZSTD(1))",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(8))),
            __rt::Column::new(
                    "currency",
                    "LowCardinality(String)",
                    "`currency` LowCardinality(String) DEFAULT 'EUR'",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::String))
                .sent_as("String"),
            __rt::Column::new(
                    "net",
                    "Decimal(18, 2)",
                    "`net` Decimal(18, 2) DEFAULT 0",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(Decimal(18, 2))"),
            __rt::Column::new(
                "gross",
                "Decimal(18, 2)",
                "`gross` Decimal(18, 2) MATERIALIZED net * 1.19",
                __rt::ColumnKind::Materialized,
            ),
            __rt::Column::new(
                "shown",
                "String",
                "`shown` String ALIAS concat(toString(net), ' ', currency)",
                __rt::ColumnKind::Alias,
            ),
            __rt::Column::new(
                    "secret",
                    "String",
                    "`secret` String EPHEMERAL 'none'",
                    __rt::ColumnKind::Ephemeral,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String))
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "raw",
                    "String",
                    "`raw` String EPHEMERAL defaultValueOfTypeName('String')",
                    __rt::ColumnKind::Ephemeral,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String))
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "hash",
                    "UInt64",
                    "`hash` UInt64 DEFAULT cityHash64(raw)",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(UInt64)"),
            __rt::Column::new(
                    "note",
                    "Nullable(String)",
                    "`note` Nullable(String) DEFAULT NULL COMMENT 'it\\'s free' CODEC(LZ4)",
                    __rt::ColumnKind::Default,
                )
                .nullable()
                .shaped(
                    __rt::Shape::Marked(&__rt::Shape::Nullable(&__rt::Shape::String)),
                ),
            __rt::Column::new(
                    "paid_at",
                    "DateTime",
                    "`paid_at` DateTime DEFAULT now() TTL paid_at + INTERVAL 1 YEAR",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(4)))
                .sent_as("Nullable(DateTime)"),
        ],
        create: "CREATE TABLE IF NOT EXISTS `orders`\n(\n    `id` UInt64 COMMENT 'Of the shop.' CODEC(Delta, ZSTD(1)),\n    `currency` LowCardinality(String) DEFAULT 'EUR',\n    `net` Decimal(18, 2) DEFAULT 0,\n    `gross` Decimal(18, 2) MATERIALIZED net * 1.19,\n    `shown` String ALIAS concat(toString(net), ' ', currency),\n    `secret` String EPHEMERAL 'none',\n    `raw` String EPHEMERAL defaultValueOfTypeName('String'),\n    `hash` UInt64 DEFAULT cityHash64(raw),\n    `note` Nullable(String) DEFAULT NULL COMMENT 'it\\'s free' CODEC(LZ4),\n    `paid_at` DateTime DEFAULT now() TTL paid_at + INTERVAL 1 YEAR,\n    INDEX `by_currency` currency TYPE set(100) GRANULARITY 4,\n    INDEX `by_hash` hash TYPE bloom_filter(0.01),\n    PROJECTION `by_time` (SELECT * ORDER BY paid_at),\n    PROJECTION `sums` (SELECT currency, sum(net) GROUP BY currency)\n)\nENGINE = MergeTree\nPARTITION BY currency\nORDER BY id\nSETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000\nCOMMENT 'What was ordered.\\nOne row an order; it\\'s final.'",
        format: __rt::Format::RowBinaryWithDefaults,
        row_id: __rt::Some("id"),
        partition_key: __rt::Some("currency"),
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
/// The table `refunds`: its row, its definition and its routes.
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
pub mod refunds {
    use ::rowmill_ingest::__rt;
    /// A row of `refunds`.
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
    pub struct Refunds<'a> {
        /// Of the shop.
        ///
        /// `UInt64`
        pub id: u64,
        /// `LowCardinality(String)`
        pub currency: __rt::Cow<'a, str>,
        /// `Decimal(18, 2)`
        pub net: __rt::Decimal64<18, 2>,
        /// `String`
        pub secret: __rt::Cow<'a, str>,
        /// `String`
        pub raw: __rt::Cow<'a, str>,
        /// `UInt64`
        pub hash: u64,
        /// it's free
        ///
        /// What stands behind the type stays, and a comment there hides nothing.
        ///
        /// `Nullable(String)`
        pub note: __rt::Option<__rt::Cow<'a, str>>,
        /// `DateTime`
        pub paid_at: __rt::DateTime<__rt::Utc>,
        /// `String`
        pub reason: __rt::Cow<'a, str>,
    }
    impl<'a> __rt::Default for Refunds<'a> {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                currency: __rt::Cow::Borrowed("EUR"),
                net: __rt::Default::default(),
                secret: __rt::Default::default(),
                raw: __rt::Default::default(),
                hash: __rt::Default::default(),
                note: __rt::None,
                paid_at: __rt::Default::default(),
                reason: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Refunds<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Refunds<'a>;
    }
    impl<'a> __rt::Row<'a> for Refunds<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                3 => {
                    match path {
                        "net" => __rt::Some(2),
                        "raw" => __rt::Some(6),
                        _ => __rt::None,
                    }
                }
                4 => {
                    match path {
                        "hash" => __rt::Some(7),
                        "note" => __rt::Some(8),
                        _ => __rt::None,
                    }
                }
                6 => {
                    match path {
                        "secret" => __rt::Some(5),
                        "reason" => __rt::Some(10),
                        _ => __rt::None,
                    }
                }
                7 => {
                    match path {
                        "paid_at" => __rt::Some(9),
                        _ => __rt::None,
                    }
                }
                8 => {
                    match path {
                        "currency" => __rt::Some(1),
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
                1 => input.read(&mut self.currency),
                2 => input.read(&mut self.net),
                5 => input.read(&mut self.secret),
                6 => input.read(&mut self.raw),
                7 => input.read(&mut self.hash),
                8 => input.read(&mut self.note),
                9 => input.read(&mut self.paid_at),
                10 => input.read(&mut self.reason),
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
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.id, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.currency, out);
            if given.contains(2) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.net, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(5) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.secret, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(6) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.raw, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(7) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.hash, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.note, out);
            if given.contains(9) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.paid_at, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.reason, out);
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
            if !__rt::is_same(&self.net, &::core::default::Default::default()) {
                present.insert(2);
            }
            if !__rt::is_same(&self.secret, &::core::default::Default::default()) {
                present.insert(5);
            }
            if !__rt::is_same(&self.raw, &::core::default::Default::default()) {
                present.insert(6);
            }
            if !__rt::is_same(&self.hash, &::core::default::Default::default()) {
                present.insert(7);
            }
            if !__rt::is_same(&self.paid_at, &::core::default::Default::default()) {
                present.insert(9);
            }
            present
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "refunds",
        index: 1usize,
        columns: &[
            __rt::Column::new(
                    "id",
                    "UInt64",
                    "`id` UInt64 COMMENT 'Of the shop.' CODEC(Delta, ZSTD(1))",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(8))),
            __rt::Column::new(
                    "currency",
                    "LowCardinality(String)",
                    "`currency` LowCardinality(String) DEFAULT 'EUR'",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::String))
                .sent_as("String"),
            __rt::Column::new(
                    "net",
                    "Decimal(18, 2)",
                    "`net` Decimal(18, 2) DEFAULT 0",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(Decimal(18, 2))"),
            __rt::Column::new(
                "gross",
                "Decimal(18, 2)",
                "`gross` Decimal(18, 2) MATERIALIZED net * 1.19",
                __rt::ColumnKind::Materialized,
            ),
            __rt::Column::new(
                "shown",
                "String",
                "`shown` String ALIAS concat(toString(net), ' ', currency)",
                __rt::ColumnKind::Alias,
            ),
            __rt::Column::new(
                    "secret",
                    "String",
                    "`secret` String EPHEMERAL 'none'",
                    __rt::ColumnKind::Ephemeral,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String))
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "raw",
                    "String",
                    "`raw` String EPHEMERAL defaultValueOfTypeName('String')",
                    __rt::ColumnKind::Ephemeral,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String))
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "hash",
                    "UInt64",
                    "`hash` UInt64 DEFAULT cityHash64(raw)",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(UInt64)"),
            __rt::Column::new(
                    "note",
                    "Nullable(String)",
                    "`note` Nullable(String) DEFAULT NULL COMMENT 'it\\'s free' CODEC(LZ4)",
                    __rt::ColumnKind::Default,
                )
                .nullable()
                .shaped(
                    __rt::Shape::Marked(&__rt::Shape::Nullable(&__rt::Shape::String)),
                ),
            __rt::Column::new(
                    "paid_at",
                    "DateTime",
                    "`paid_at` DateTime DEFAULT now() TTL paid_at + INTERVAL 1 YEAR",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(4)))
                .sent_as("Nullable(DateTime)"),
            __rt::Column::new(
                    "reason",
                    "String",
                    "`reason` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::String)),
        ],
        create: "CREATE TABLE IF NOT EXISTS `refunds`\n(\n    `id` UInt64 COMMENT 'Of the shop.' CODEC(Delta, ZSTD(1)),\n    `currency` LowCardinality(String) DEFAULT 'EUR',\n    `net` Decimal(18, 2) DEFAULT 0,\n    `gross` Decimal(18, 2) MATERIALIZED net * 1.19,\n    `shown` String ALIAS concat(toString(net), ' ', currency),\n    `secret` String EPHEMERAL 'none',\n    `raw` String EPHEMERAL defaultValueOfTypeName('String'),\n    `hash` UInt64 DEFAULT cityHash64(raw),\n    `note` Nullable(String) DEFAULT NULL COMMENT 'it\\'s free' CODEC(LZ4),\n    `paid_at` DateTime DEFAULT now() TTL paid_at + INTERVAL 1 YEAR,\n    `reason` String,\n    INDEX `by_hash` hash TYPE minmax,\n    INDEX `by_reason` lower(reason) TYPE ngrambf_v1(3, 256, 2, 0) GRANULARITY 1,\n    PROJECTION `sums` (SELECT currency, sum(net) GROUP BY currency)\n)\nENGINE = MergeTree\nPARTITION BY currency\nORDER BY id\nSETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinaryWithDefaults,
        row_id: __rt::Some("id"),
        partition_key: __rt::Some("currency"),
    };
    /// The routes that lead to `refunds`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `wh/refund`.
        pub const WH_REFUND: &'static str = "wh/refund";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "wh/refund",
                table: "refunds",
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
                                6 => {
                                    match name {
                                        "refund" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<Refunds<'static>>,
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
pub use refunds::Refunds;
/// The layer that takes the events of `refunds` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type RefundsLayer = __rt::EventLayer<refunds::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&orders::TABLE, &refunds::TABLE],
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
        __rt::Destination {
            path: "wh/refund",
            table: "refunds",
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
                            6 => {
                                match name {
                                    "refund" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<refunds::Refunds<'static>>,
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

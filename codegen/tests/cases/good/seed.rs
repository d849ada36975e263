use ::rowmill_ingest::__rt;
/// The table `webhooks`: its row, its definition and its routes.
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
pub mod webhooks {
    use ::rowmill_ingest::__rt;
    /// A row of `webhooks`.
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
    pub struct Webhooks<'a> {
        /// `UInt64`
        pub id: u64,
        /// `UInt64`
        pub uid: u64,
        /// `Date`
        pub date: __rt::Date,
        /// `UInt64`
        pub timestamp: u64,
        /// `String`
        pub name: __rt::Cow<'a, str>,
        /// `String`
        pub service: __rt::Cow<'a, str>,
        /// `String`
        pub td_ip: __rt::Cow<'a, str>,
        /// `Array(String)`
        #[serde(rename = "td_extra.key")]
        pub td_extra_key: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`
        #[serde(rename = "td_extra.value")]
        pub td_extra_value: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`
        #[serde(rename = "extra.key")]
        pub extra_key: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`
        #[serde(rename = "extra.value")]
        pub extra_value: __rt::Vec<__rt::Cow<'a, str>>,
    }
    impl<'a> __rt::Default for Webhooks<'a> {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                uid: __rt::Default::default(),
                date: __rt::Default::default(),
                timestamp: __rt::Default::default(),
                name: __rt::Default::default(),
                service: __rt::Default::default(),
                td_ip: __rt::Default::default(),
                td_extra_key: __rt::Default::default(),
                td_extra_value: __rt::Default::default(),
                extra_key: __rt::Default::default(),
                extra_value: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Webhooks<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Webhooks<'a>;
    }
    impl<'a> __rt::Row<'a> for Webhooks<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            __rt::None
        }
        fn put(
            &mut self,
            column: usize,
            input: __rt::Input<'_, 'a>,
        ) -> __rt::Result<(), __rt::ValueError> {
            match column {
                _ => __rt::Ok(()),
            }
        }
        fn extra_at(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                0 => {
                    match path {
                        "" => __rt::Some(1),
                        _ => __rt::None,
                    }
                }
                2 => {
                    match path {
                        "td" => __rt::Some(0),
                        _ => __rt::None,
                    }
                }
                _ => __rt::None,
            }
        }
        fn extra(&mut self, extra: usize) -> __rt::Option<__rt::ExtraMut<'_, 'a>> {
            match extra {
                0 => {
                    __rt::Some(__rt::ExtraMut {
                        keys: &mut self.td_extra_key,
                        values: &mut self.td_extra_value,
                    })
                }
                1 => {
                    __rt::Some(__rt::ExtraMut {
                        keys: &mut self.extra_key,
                        values: &mut self.extra_value,
                    })
                }
                _ => __rt::None,
            }
        }
        fn stamp(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) {
            self.id = stamp.id;
            self.uid = stamp.uid;
            self.date = stamp.date();
            self.timestamp = stamp.unix_ms;
            self.name = __rt::Cow::Borrowed(stamp.name);
            self.service = __rt::Cow::Borrowed(stamp.service);
            self.td_ip = __rt::Cow::Borrowed(stamp.ip);
        }
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.id, out);
            __rt::Encode::put(&self.uid, out);
            __rt::Encode::put(&self.date, out);
            __rt::Encode::put(&self.timestamp, out);
            __rt::Encode::put(&self.name, out);
            __rt::Encode::put(&self.service, out);
            __rt::Encode::put(&self.td_ip, out);
            __rt::Encode::put(&self.td_extra_key, out);
            __rt::Encode::put(&self.td_extra_value, out);
            __rt::Encode::put(&self.extra_key, out);
            __rt::Encode::put(&self.extra_value, out);
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
            if __rt::is_same(&self.date, &::core::default::Default::default()) {
                self.date = filled.date;
            }
            if __rt::is_same(&self.timestamp, &::core::default::Default::default()) {
                self.timestamp = filled.timestamp;
            }
            __rt::check_pairs(
                self.td_extra_key.len(),
                self.td_extra_value.len(),
                &TABLE.columns[8],
                refusals,
            );
            __rt::check_pairs(
                self.extra_key.len(),
                self.extra_value.len(),
                &TABLE.columns[10],
                refusals,
            );
            ::core::default::Default::default()
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "webhooks",
        index: 0usize,
        columns: &[
            __rt::Column::new("id", "UInt64", "`id` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("uid", "UInt64", "`uid` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("date", "Date", "`date` Date", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(2)),
            __rt::Column::new(
                    "timestamp",
                    "UInt64",
                    "`timestamp` UInt64",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("name", "String", "`name` String", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "service",
                    "String",
                    "`service` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "td_ip",
                    "String",
                    "`td_ip` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "td_extra.key",
                    "Array(String)",
                    "`td_extra.key` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "td_extra.value",
                    "Array(String)",
                    "`td_extra.value` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "extra.key",
                    "Array(String)",
                    "`extra.key` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "extra.value",
                    "Array(String)",
                    "`extra.value` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
        ],
        create: "CREATE TABLE IF NOT EXISTS `webhooks`\n(\n    `id` UInt64,\n    `uid` UInt64,\n    `date` Date,\n    `timestamp` UInt64,\n    `name` String,\n    `service` String,\n    `td_ip` String,\n    `td_extra.key` Array(String),\n    `td_extra.value` Array(String),\n    `extra.key` Array(String),\n    `extra.value` Array(String)\n)\nENGINE = MergeTree\nPARTITION BY toYYYYMM(date)\nORDER BY (service, name, date)\nSETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::Some("id"),
        partition_key: __rt::Some("toYYYYMM(date)"),
    };
    /// The routes that lead to `webhooks`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {}
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[];
        fn schema() -> &'static __rt::Schema {
            &super::SCHEMA
        }
        fn declared(service: &str, name: &str) -> __rt::Option<__rt::Route> {
            __rt::None
        }
    }
}
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub use webhooks::Webhooks;
/// The layer that takes the events of `webhooks` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type WebhooksLayer = __rt::EventLayer<webhooks::Routes>;
/// The table `mail_statistics`: its row, its definition and its routes.
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
pub mod mail_statistics {
    use ::rowmill_ingest::__rt;
    /// A row of `mail_statistics`.
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
    pub struct MailStatistics<'a> {
        /// `Array(String)`
        #[serde(rename = "extra.key")]
        pub extra_key: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`
        #[serde(rename = "extra.value")]
        pub extra_value: __rt::Vec<__rt::Cow<'a, str>>,
        /// `UInt64`
        pub id: u64,
        /// `UInt64`
        pub uid: u64,
        /// `Date`
        pub date: __rt::Date,
        /// `UInt64`
        pub timestamp: u64,
        /// `String`
        pub name: __rt::Cow<'a, str>,
        /// `String`
        pub service: __rt::Cow<'a, str>,
        /// `String`
        pub td_ip: __rt::Cow<'a, str>,
        /// `Array(String)`
        #[serde(rename = "td_extra.key")]
        pub td_extra_key: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`
        #[serde(rename = "td_extra.value")]
        pub td_extra_value: __rt::Vec<__rt::Cow<'a, str>>,
        /// `String`
        pub event: __rt::Cow<'a, str>,
        /// `String`
        pub email: __rt::Cow<'a, str>,
        /// `String`
        pub detailed: __rt::Cow<'a, str>,
    }
    impl<'a> __rt::Default for MailStatistics<'a> {
        fn default() -> Self {
            Self {
                extra_key: __rt::Default::default(),
                extra_value: __rt::Default::default(),
                id: __rt::Default::default(),
                uid: __rt::Default::default(),
                date: __rt::Default::default(),
                timestamp: __rt::Default::default(),
                name: __rt::Default::default(),
                service: __rt::Default::default(),
                td_ip: __rt::Default::default(),
                td_extra_key: __rt::Default::default(),
                td_extra_value: __rt::Default::default(),
                event: __rt::Default::default(),
                email: __rt::Default::default(),
                detailed: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for MailStatistics<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = MailStatistics<'a>;
    }
    impl<'a> __rt::Row<'a> for MailStatistics<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                5 => {
                    match path {
                        "event" => __rt::Some(11),
                        "email" => __rt::Some(12),
                        _ => __rt::None,
                    }
                }
                8 => {
                    match path {
                        "detailed" => __rt::Some(13),
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
                11 => input.read(&mut self.event),
                12 => input.read(&mut self.email),
                13 => input.read(&mut self.detailed),
                _ => __rt::Ok(()),
            }
        }
        fn extra_at(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                0 => {
                    match path {
                        "" => __rt::Some(0),
                        _ => __rt::None,
                    }
                }
                2 => {
                    match path {
                        "td" => __rt::Some(1),
                        _ => __rt::None,
                    }
                }
                _ => __rt::None,
            }
        }
        fn extra(&mut self, extra: usize) -> __rt::Option<__rt::ExtraMut<'_, 'a>> {
            match extra {
                0 => {
                    __rt::Some(__rt::ExtraMut {
                        keys: &mut self.extra_key,
                        values: &mut self.extra_value,
                    })
                }
                1 => {
                    __rt::Some(__rt::ExtraMut {
                        keys: &mut self.td_extra_key,
                        values: &mut self.td_extra_value,
                    })
                }
                _ => __rt::None,
            }
        }
        fn stamp(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) {
            self.id = stamp.id;
            self.uid = stamp.uid;
            self.date = stamp.date();
            self.timestamp = stamp.unix_ms;
            self.name = __rt::Cow::Borrowed(stamp.name);
            self.service = __rt::Cow::Borrowed(stamp.service);
            self.td_ip = __rt::Cow::Borrowed(stamp.ip);
        }
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.extra_key, out);
            __rt::Encode::put(&self.extra_value, out);
            __rt::Encode::put(&self.id, out);
            __rt::Encode::put(&self.uid, out);
            __rt::Encode::put(&self.date, out);
            __rt::Encode::put(&self.timestamp, out);
            __rt::Encode::put(&self.name, out);
            __rt::Encode::put(&self.service, out);
            __rt::Encode::put(&self.td_ip, out);
            __rt::Encode::put(&self.td_extra_key, out);
            __rt::Encode::put(&self.td_extra_value, out);
            __rt::Encode::put(&self.event, out);
            __rt::Encode::put(&self.email, out);
            __rt::Encode::put(&self.detailed, out);
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
            if __rt::is_same(&self.date, &::core::default::Default::default()) {
                self.date = filled.date;
            }
            if __rt::is_same(&self.timestamp, &::core::default::Default::default()) {
                self.timestamp = filled.timestamp;
            }
            __rt::check_pairs(
                self.extra_key.len(),
                self.extra_value.len(),
                &TABLE.columns[1],
                refusals,
            );
            __rt::check_pairs(
                self.td_extra_key.len(),
                self.td_extra_value.len(),
                &TABLE.columns[10],
                refusals,
            );
            ::core::default::Default::default()
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "mail_statistics",
        index: 1usize,
        columns: &[
            __rt::Column::new(
                    "extra.key",
                    "Array(String)",
                    "`extra.key` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "extra.value",
                    "Array(String)",
                    "`extra.value` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new("id", "UInt64", "`id` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("uid", "UInt64", "`uid` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("date", "Date", "`date` Date", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(2)),
            __rt::Column::new(
                    "timestamp",
                    "UInt64",
                    "`timestamp` UInt64",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new("name", "String", "`name` String", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "service",
                    "String",
                    "`service` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "td_ip",
                    "String",
                    "`td_ip` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "td_extra.key",
                    "Array(String)",
                    "`td_extra.key` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "td_extra.value",
                    "Array(String)",
                    "`td_extra.value` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "event",
                    "String",
                    "`event` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "email",
                    "String",
                    "`email` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "detailed",
                    "String",
                    "`detailed` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
        ],
        create: "CREATE TABLE IF NOT EXISTS `mail_statistics`\n(\n    `extra.key` Array(String),\n    `extra.value` Array(String),\n    `id` UInt64,\n    `uid` UInt64,\n    `date` Date,\n    `timestamp` UInt64,\n    `name` String,\n    `service` String,\n    `td_ip` String,\n    `td_extra.key` Array(String),\n    `td_extra.value` Array(String),\n    `event` String,\n    `email` String,\n    `detailed` String\n)\nENGINE = MergeTree\nPARTITION BY toYYYYMM(date)\nORDER BY (service, name, date)\nSETTINGS index_granularity = 8192, non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::Some("id"),
        partition_key: __rt::Some("toYYYYMM(date)"),
    };
    /// The routes that lead to `mail_statistics`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `wh/mail`.
        pub const WH_MAIL: &'static str = "wh/mail";
        /// The route `pixel/mail`.
        pub const PIXEL_MAIL: &'static str = "pixel/mail";
        /// The route `redir/mail`.
        pub const REDIR_MAIL: &'static str = "redir/mail";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "wh/mail",
                table: "mail_statistics",
                acks: __rt::AckPolicy::NONE,
                rate_limit: __rt::None,
            },
            __rt::Destination {
                path: "pixel/mail",
                table: "mail_statistics",
                acks: __rt::AckPolicy::NONE,
                rate_limit: __rt::None,
            },
            __rt::Destination {
                path: "redir/mail",
                table: "mail_statistics",
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
                                4 => {
                                    match name {
                                        "mail" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<MailStatistics<'static>>,
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
                5 => {
                    match service {
                        "pixel" => {
                            match name.len() {
                                4 => {
                                    match name {
                                        "mail" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<MailStatistics<'static>>,
                                                acks: __rt::AckPolicy::NONE,
                                            })
                                        }
                                        _ => __rt::None,
                                    }
                                }
                                _ => __rt::None,
                            }
                        }
                        "redir" => {
                            match name.len() {
                                4 => {
                                    match name {
                                        "mail" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<MailStatistics<'static>>,
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
pub use mail_statistics::MailStatistics;
/// The layer that takes the events of `mail_statistics` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type MailStatisticsLayer = __rt::EventLayer<mail_statistics::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&webhooks::TABLE, &mail_statistics::TABLE],
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
            path: "wh/mail",
            table: "mail_statistics",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
        __rt::Destination {
            path: "pixel/mail",
            table: "mail_statistics",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
        __rt::Destination {
            path: "redir/mail",
            table: "mail_statistics",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
        __rt::Destination {
            path: "other",
            table: "webhooks",
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
                            4 => {
                                match name {
                                    "mail" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<
                                                mail_statistics::MailStatistics<'static>,
                                            >,
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
            5 => {
                match service {
                    "pixel" => {
                        match name.len() {
                            4 => {
                                match name {
                                    "mail" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<
                                                mail_statistics::MailStatistics<'static>,
                                            >,
                                            acks: __rt::AckPolicy::NONE,
                                        })
                                    }
                                    _ => __rt::None,
                                }
                            }
                            _ => __rt::None,
                        }
                    }
                    "redir" => {
                        match name.len() {
                            4 => {
                                match name {
                                    "mail" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<
                                                mail_statistics::MailStatistics<'static>,
                                            >,
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
        __rt::Some(__rt::Route {
            intake: __rt::intake::<webhooks::Webhooks<'static>>,
            acks: __rt::AckPolicy::NONE,
        })
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

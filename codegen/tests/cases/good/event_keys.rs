use ::rowmill_ingest::__rt;
/// The table `signups`: its row, its definition and its routes.
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
pub mod signups {
    use ::rowmill_ingest::__rt;
    /// A row of `signups`.
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
    pub struct Signups<'a> {
        /// `UInt64`
        pub id: u64,
        /// Where the first letter goes.
        ///
        /// `String`, required, of at most 254 bytes
        pub email: __rt::Cow<'a, str>,
        /// `LowCardinality(String)`, from `address.city`
        pub city: __rt::Cow<'a, str>,
        /// `Nullable(String)`, required, from `user.id` or `account` or `legacy.user.key`, of at most 40 bytes
        pub user: __rt::Option<__rt::Cow<'a, str>>,
        /// The event's own name; the collector's is another column.
        ///
        /// `String`, required, from `name`
        pub kind: __rt::Cow<'a, str>,
        /// `Array(LowCardinality(String))`, of at most 1000 bytes
        pub tags: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(String)`, required, from `order.lines.sku`
        #[serde(rename = "lines.sku")]
        pub lines_sku: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(UInt8)`, required, from `order.lines.n`
        #[serde(rename = "lines.n")]
        pub lines_n: __rt::Vec<u8>,
        /// `String`
        pub notes: __rt::Cow<'a, str>,
    }
    impl<'a> __rt::Default for Signups<'a> {
        fn default() -> Self {
            Self {
                id: __rt::Default::default(),
                email: __rt::Default::default(),
                city: __rt::Default::default(),
                user: __rt::Default::default(),
                kind: __rt::Default::default(),
                tags: __rt::Default::default(),
                lines_sku: __rt::Default::default(),
                lines_n: __rt::Default::default(),
                notes: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Signups<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Signups<'a>;
    }
    impl<'a> __rt::Row<'a> for Signups<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                4 => {
                    match path {
                        "name" => __rt::Some(4),
                        "tags" => __rt::Some(5),
                        _ => __rt::None,
                    }
                }
                5 => {
                    match path {
                        "email" => __rt::Some(1),
                        "notes" => __rt::Some(8),
                        _ => __rt::None,
                    }
                }
                7 => {
                    match path {
                        "user_id" => __rt::Some(3),
                        "user.id" => __rt::Some(3),
                        "account" => __rt::Some(3),
                        _ => __rt::None,
                    }
                }
                12 => {
                    match path {
                        "address_city" => __rt::Some(2),
                        "address.city" => __rt::Some(2),
                        _ => __rt::None,
                    }
                }
                13 => {
                    match path {
                        "order_lines_n" => __rt::Some(7),
                        "order.lines.n" => __rt::Some(7),
                        _ => __rt::None,
                    }
                }
                15 => {
                    match path.as_bytes()[5] {
                        b'.' => {
                            match path {
                                "order.lines.sku" => __rt::Some(6),
                                _ => __rt::None,
                            }
                        }
                        b'_' => {
                            match path {
                                "order_lines_sku" => __rt::Some(6),
                                _ => __rt::None,
                            }
                        }
                        b'y' => {
                            match path {
                                "legacy_user_key" => __rt::Some(3),
                                "legacy.user.key" => __rt::Some(3),
                                _ => __rt::None,
                            }
                        }
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
                1 => {
                    input.read(&mut self.email)?;
                    __rt::at_most(254, self.email.len())
                }
                2 => input.read(&mut self.city),
                3 => {
                    input.read(&mut self.user)?;
                    __rt::at_most(40, self.user.as_deref().map_or(0, __rt::str::len))
                }
                4 => input.read(&mut self.kind),
                5 => {
                    input.read(&mut self.tags)?;
                    __rt::at_most(1000, __rt::encoded_bytes(&self.tags))
                }
                6 => input.read(&mut self.lines_sku),
                7 => input.read(&mut self.lines_n),
                8 => input.read(&mut self.notes),
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
        ) {
            let mut length = 0;
            length = self.lines_sku.len().max(length);
            length = self.lines_n.len().max(length);
            __rt::level(
                &mut self.lines_sku,
                given.contains(6),
                length,
                &TABLE.columns[6],
                refusals,
            );
            __rt::level(
                &mut self.lines_n,
                given.contains(7),
                length,
                &TABLE.columns[7],
                refusals,
            );
        }
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            __rt::Encode::put(&self.id, out);
            __rt::Encode::put(&self.email, out);
            __rt::Encode::put(&self.city, out);
            __rt::Encode::put(&self.user, out);
            __rt::Encode::put(&self.kind, out);
            __rt::Encode::put(&self.tags, out);
            __rt::Encode::put(&self.lines_sku, out);
            __rt::Encode::put(&self.lines_n, out);
            __rt::Encode::put(&self.notes, out);
        }
        fn rules(&self) -> &'static __rt::EventRules {
            const RULES: __rt::EventRules = __rt::EventRules {
                required: &[
                    (1, "email"),
                    (3, "user.id"),
                    (4, "name"),
                    (6, "order.lines.sku"),
                    (7, "order.lines.n"),
                ],
                alternatives: &[(3, &["user.id", "account", "legacy.user.key"])],
            };
            &RULES
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
            __rt::check_max_bytes(254, self.email.len(), &TABLE.columns[1], refusals);
            __rt::check_max_bytes(
                40,
                self.user.as_deref().map_or(0, __rt::str::len),
                &TABLE.columns[3],
                refusals,
            );
            __rt::check_max_bytes(
                1000,
                __rt::encoded_bytes(&self.tags),
                &TABLE.columns[5],
                refusals,
            );
            let mut present: __rt::PresentColumns = ::core::default::Default::default();
            if !__rt::is_same(&self.email, &::core::default::Default::default()) {
                present.insert(1);
            }
            if !__rt::is_same(&self.user, &::core::default::Default::default()) {
                present.insert(3);
            }
            if !__rt::is_same(&self.kind, &::core::default::Default::default()) {
                present.insert(4);
            }
            if !__rt::is_same(&self.lines_sku, &::core::default::Default::default()) {
                present.insert(6);
            }
            if !__rt::is_same(&self.lines_n, &::core::default::Default::default()) {
                present.insert(7);
            }
            present
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "signups",
        index: 0usize,
        columns: &[
            __rt::Column::new("id", "UInt64", "`id` UInt64", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Fixed(8)),
            __rt::Column::new(
                    "email",
                    "String",
                    "`email` String COMMENT 'Where the first letter goes.'",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "city",
                    "LowCardinality(String)",
                    "`city` LowCardinality(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String)
                .sent_as("String"),
            __rt::Column::new(
                    "user",
                    "Nullable(String)",
                    "`user` Nullable(String)",
                    __rt::ColumnKind::Plain,
                )
                .nullable()
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String)),
            __rt::Column::new("kind", "String", "`kind` String", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::String),
            __rt::Column::new(
                    "tags",
                    "Array(LowCardinality(String))",
                    "`tags` Array(LowCardinality(String))",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String))
                .sent_as("Array(String)"),
            __rt::Column::new(
                    "lines.sku",
                    "Array(String)",
                    "`lines.sku` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::String)),
            __rt::Column::new(
                    "lines.n",
                    "Array(UInt8)",
                    "`lines.n` Array(UInt8)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Array(&__rt::Shape::Fixed(1))),
            __rt::Column::new(
                    "notes",
                    "String",
                    "`notes` String",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::String),
        ],
        create: "CREATE TABLE IF NOT EXISTS `signups`\n(\n    `id` UInt64,\n    `email` String COMMENT 'Where the first letter goes.',\n    `city` LowCardinality(String),\n    `user` Nullable(String),\n    `kind` String,\n    `tags` Array(LowCardinality(String)),\n    `lines.sku` Array(String),\n    `lines.n` Array(UInt8),\n    `notes` String\n)\nENGINE = MergeTree\nORDER BY id\nSETTINGS non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinary,
        row_id: __rt::Some("id"),
        partition_key: __rt::None,
    };
    /// The routes that lead to `signups`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `wh/signup`.
        pub const WH_SIGNUP: &'static str = "wh/signup";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "wh/signup",
                table: "signups",
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
                                        "signup" => {
                                            __rt::Some(__rt::Route {
                                                intake: __rt::intake::<Signups<'static>>,
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
pub use signups::Signups;
/// The layer that takes the events of `signups` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type SignupsLayer = __rt::EventLayer<signups::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&signups::TABLE],
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
            path: "wh/signup",
            table: "signups",
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
                            6 => {
                                match name {
                                    "signup" => {
                                        __rt::Some(__rt::Route {
                                            intake: __rt::intake::<signups::Signups<'static>>,
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

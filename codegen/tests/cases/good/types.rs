use ::rowmill_ingest::__rt;
/// The table `types`: its row, its definition and its routes.
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
pub mod types {
    use ::rowmill_ingest::__rt;
    /// A row of `types`.
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
    pub struct Types<'a> {
        /// `String`
        pub text: __rt::Cow<'a, str>,
        /// `FixedString(4)`
        pub code: __rt::FixedString<4>,
        /// `UInt8`
        pub small: u8,
        /// `Int256`
        pub huge: __rt::Int256,
        /// `Float32`
        pub ratio: f32,
        /// `Bool`
        pub flag: bool,
        /// `Decimal(18, 4)`
        pub price: __rt::Decimal64<18, 4>,
        /// `Date`
        pub day: __rt::Date,
        /// `DateTime`
        pub at: __rt::DateTime<__rt::Utc>,
        /// `DateTime64(3, 'Europe/Berlin')`
        pub at_zone: __rt::DateTime64<3, EuropeBerlin>,
        /// `UUID`
        pub uuid: __rt::Uuid,
        /// `IPv4`
        pub ip4: __rt::Ipv4,
        /// `IPv6`
        pub ip6: __rt::Ipv6,
        /// `Enum8('it\'s' = -3, 'open' = 1, 'click' = 2)`
        pub kind: Kind,
        /// `LowCardinality(Nullable(String))`
        pub label: __rt::Option<__rt::Cow<'a, str>>,
        /// `Nullable(Int32)`
        pub maybe: __rt::Option<i32>,
        /// `Array(Array(Nullable(UInt16)))`
        pub list: __rt::Vec<__rt::Vec<__rt::Option<u16>>>,
        /// `Map(String, Array(Float64))`
        pub map: __rt::Map<__rt::Cow<'a, str>, __rt::Vec<f64>>,
        /// `Tuple(lat Float64, `long name` String)`
        pub place: Place<'a>,
        /// `Tuple(UInt8, String)`
        pub pair: (u8, __rt::Cow<'a, str>),
        /// `Array(UInt8)`
        #[serde(rename = "items.size")]
        pub items_size: __rt::Vec<u8>,
        /// `Array(String)`
        #[serde(rename = "items.name")]
        pub items_name: __rt::Vec<__rt::Cow<'a, str>>,
        /// `JSON`
        pub anything: __rt::JsonText<'a>,
        /// `JSON(`user.id` UInt64, SKIP debug)`
        pub some: __rt::JsonText<'a, SomePaths>,
        /// `Time64(3)`
        pub takes: __rt::Time64<3>,
        /// `IntervalSecond`
        pub waits: i64,
        /// `Point`
        pub spot: __rt::Point,
        /// `Variant(Array(UInt64), String, UInt64)`
        pub either: Either<'a>,
        /// `Geometry`
        pub any_shape: __rt::Geometry,
        /// `Dynamic`
        pub whatever: __rt::Dynamic<'a>,
        /// `QBit(Float32, 8)`
        pub vector: __rt::QBit<f32, 8>,
        /// `SimpleAggregateFunction(sum, UInt64)`
        pub total: u64,
        /// Names that Rust keeps for itself.
        ///
        /// `String`
        #[serde(rename = "type")]
        pub r#type: __rt::Cow<'a, str>,
        /// `UInt8`
        #[serde(rename = "self")]
        pub self_: u8,
        /// `String`
        pub raw: __rt::Cow<'a, str>,
        /// `UInt64`
        pub length: u64,
        /// what it is; it's "noted"
        ///
        /// `Int8`
        pub noted: i8,
        /// `Array(String)`
        #[serde(rename = "page_extra.key")]
        pub page_extra_key: __rt::Vec<__rt::Cow<'a, str>>,
        /// `Array(LowCardinality(String))`
        #[serde(rename = "page_extra.value")]
        pub page_extra_value: __rt::Vec<__rt::Cow<'a, str>>,
    }
    __rt::zone! {
        #[doc = " The time zone `Europe/Berlin`."] pub struct EuropeBerlin =
        "Europe/Berlin";
    }
    __rt::enumeration! {
        #[doc = " The values of the column `kind`."] pub enum Kind : i8 { #[doc =
        " `it's`."] ItS = - 3 => "it's", #[doc = " `open`."] Open = 1 => "open", #[doc =
        " `click`."] Click = 2 => "click", }
    }
    __rt::named_tuple! {
        #[doc = " The tuple of the column `place`."] pub struct Place < 'a > { #[doc =
        " The element `lat`."] pub lat : f64 = "lat", #[doc =
        " The element `long name`."] pub long_name : __rt::Cow < 'a, str > = "long name",
        }
    }
    __rt::json_paths! {
        #[doc = " The paths of the column `some` that have a type."] pub struct SomePaths
        { "user.id" : u64, }
    }
    __rt::variant! {
        #[doc = " The values of the column `either`."] pub enum Either < 'a > { #[doc =
        " `Array(UInt64)`."] ArrayUInt64(__rt::Vec < u64 >) = 0, #[doc = " `String`."]
        String(__rt::Cow < 'a, str >) = 1, #[doc = " `UInt64`."] UInt64(u64) = 2, } json
        : [ArrayUInt64, UInt64, String]; text : [UInt64, String];
    }
    impl<'a> __rt::Default for Types<'a> {
        fn default() -> Self {
            Self {
                text: __rt::Default::default(),
                code: __rt::Default::default(),
                small: __rt::Default::default(),
                huge: __rt::Default::default(),
                ratio: __rt::Default::default(),
                flag: __rt::Default::default(),
                price: __rt::Default::default(),
                day: __rt::Default::default(),
                at: __rt::Default::default(),
                at_zone: __rt::Default::default(),
                uuid: __rt::Default::default(),
                ip4: __rt::Default::default(),
                ip6: __rt::Default::default(),
                kind: __rt::Default::default(),
                label: __rt::Default::default(),
                maybe: __rt::Default::default(),
                list: __rt::Default::default(),
                map: __rt::Default::default(),
                place: __rt::Default::default(),
                pair: __rt::Default::default(),
                items_size: __rt::Default::default(),
                items_name: __rt::Default::default(),
                anything: __rt::Default::default(),
                some: __rt::Default::default(),
                takes: __rt::Default::default(),
                waits: __rt::Default::default(),
                spot: __rt::Default::default(),
                either: __rt::Default::default(),
                any_shape: __rt::Default::default(),
                whatever: __rt::Default::default(),
                vector: __rt::Default::default(),
                total: __rt::Default::default(),
                r#type: __rt::Default::default(),
                self_: __rt::Default::default(),
                raw: __rt::Default::default(),
                length: __rt::Default::default(),
                noted: -1,
                page_extra_key: __rt::Default::default(),
                page_extra_value: __rt::Default::default(),
            }
        }
    }
    impl __rt::TypedTable for Types<'static> {
        const TABLE: &'static __rt::Table = &TABLE;
        type Row<'a> = Types<'a>;
    }
    impl<'a> __rt::Row<'a> for Types<'a> {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                2 => {
                    match path {
                        "at" => __rt::Some(8),
                        _ => __rt::None,
                    }
                }
                3 => {
                    match path.as_bytes()[2] {
                        b'4' => {
                            match path {
                                "ip4" => __rt::Some(11),
                                _ => __rt::None,
                            }
                        }
                        b'6' => {
                            match path {
                                "ip6" => __rt::Some(12),
                                _ => __rt::None,
                            }
                        }
                        b'p' => {
                            match path {
                                "map" => __rt::Some(17),
                                _ => __rt::None,
                            }
                        }
                        b'w' => {
                            match path {
                                "raw" => __rt::Some(37),
                                _ => __rt::None,
                            }
                        }
                        b'y' => {
                            match path {
                                "day" => __rt::Some(7),
                                _ => __rt::None,
                            }
                        }
                        _ => __rt::None,
                    }
                }
                4 => {
                    match path.as_bytes()[2] {
                        b'a' => {
                            match path {
                                "flag" => __rt::Some(5),
                                _ => __rt::None,
                            }
                        }
                        b'd' => {
                            match path {
                                "code" => __rt::Some(1),
                                _ => __rt::None,
                            }
                        }
                        b'g' => {
                            match path {
                                "huge" => __rt::Some(3),
                                _ => __rt::None,
                            }
                        }
                        b'i' => {
                            match path {
                                "uuid" => __rt::Some(10),
                                "pair" => __rt::Some(19),
                                _ => __rt::None,
                            }
                        }
                        b'l' => {
                            match path {
                                "self" => __rt::Some(34),
                                _ => __rt::None,
                            }
                        }
                        b'm' => {
                            match path {
                                "some" => __rt::Some(23),
                                _ => __rt::None,
                            }
                        }
                        b'n' => {
                            match path {
                                "kind" => __rt::Some(13),
                                _ => __rt::None,
                            }
                        }
                        b'o' => {
                            match path {
                                "spot" => __rt::Some(26),
                                _ => __rt::None,
                            }
                        }
                        b'p' => {
                            match path {
                                "type" => __rt::Some(33),
                                _ => __rt::None,
                            }
                        }
                        b's' => {
                            match path {
                                "list" => __rt::Some(16),
                                _ => __rt::None,
                            }
                        }
                        b'x' => {
                            match path {
                                "text" => __rt::Some(0),
                                _ => __rt::None,
                            }
                        }
                        _ => __rt::None,
                    }
                }
                5 => {
                    match path.as_bytes()[0] {
                        b'l' => {
                            match path {
                                "label" => __rt::Some(14),
                                _ => __rt::None,
                            }
                        }
                        b'm' => {
                            match path {
                                "maybe" => __rt::Some(15),
                                _ => __rt::None,
                            }
                        }
                        b'n' => {
                            match path {
                                "noted" => __rt::Some(39),
                                _ => __rt::None,
                            }
                        }
                        b'p' => {
                            match path {
                                "price" => __rt::Some(6),
                                "place" => __rt::Some(18),
                                _ => __rt::None,
                            }
                        }
                        b'r' => {
                            match path {
                                "ratio" => __rt::Some(4),
                                _ => __rt::None,
                            }
                        }
                        b's' => {
                            match path {
                                "small" => __rt::Some(2),
                                _ => __rt::None,
                            }
                        }
                        b't' => {
                            match path {
                                "takes" => __rt::Some(24),
                                "total" => __rt::Some(32),
                                _ => __rt::None,
                            }
                        }
                        b'w' => {
                            match path {
                                "waits" => __rt::Some(25),
                                _ => __rt::None,
                            }
                        }
                        _ => __rt::None,
                    }
                }
                6 => {
                    match path {
                        "either" => __rt::Some(27),
                        "vector" => __rt::Some(30),
                        "length" => __rt::Some(38),
                        _ => __rt::None,
                    }
                }
                7 => {
                    match path {
                        "at_zone" => __rt::Some(9),
                        _ => __rt::None,
                    }
                }
                8 => {
                    match path {
                        "anything" => __rt::Some(22),
                        "whatever" => __rt::Some(29),
                        _ => __rt::None,
                    }
                }
                9 => {
                    match path {
                        "any_shape" => __rt::Some(28),
                        _ => __rt::None,
                    }
                }
                10 => {
                    match path.as_bytes()[5] {
                        b'.' => {
                            match path {
                                "items.size" => __rt::Some(20),
                                "items.name" => __rt::Some(21),
                                _ => __rt::None,
                            }
                        }
                        b'_' => {
                            match path {
                                "items_size" => __rt::Some(20),
                                "items_name" => __rt::Some(21),
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
                0 => input.read(&mut self.text),
                1 => input.read(&mut self.code),
                2 => input.read(&mut self.small),
                3 => input.read(&mut self.huge),
                4 => input.read(&mut self.ratio),
                5 => input.read(&mut self.flag),
                6 => input.read(&mut self.price),
                7 => input.read(&mut self.day),
                8 => input.read(&mut self.at),
                9 => input.read(&mut self.at_zone),
                10 => input.read(&mut self.uuid),
                11 => input.read(&mut self.ip4),
                12 => input.read(&mut self.ip6),
                13 => input.read(&mut self.kind),
                14 => input.read(&mut self.label),
                15 => input.read(&mut self.maybe),
                16 => input.read(&mut self.list),
                17 => input.read(&mut self.map),
                18 => input.read(&mut self.place),
                19 => input.read(&mut self.pair),
                20 => input.read(&mut self.items_size),
                21 => input.read(&mut self.items_name),
                22 => input.read(&mut self.anything),
                23 => input.read(&mut self.some),
                24 => input.read(&mut self.takes),
                25 => input.read(&mut self.waits),
                26 => input.read(&mut self.spot),
                27 => input.read(&mut self.either),
                28 => input.read(&mut self.any_shape),
                29 => input.read(&mut self.whatever),
                30 => input.read(&mut self.vector),
                32 => input.read(&mut self.total),
                33 => input.read(&mut self.r#type),
                34 => input.read(&mut self.self_),
                37 => input.read(&mut self.raw),
                38 => input.read(&mut self.length),
                39 => input.read(&mut self.noted),
                _ => __rt::Ok(()),
            }
        }
        fn extra_at(&self, path: &str) -> __rt::Option<usize> {
            match path.len() {
                4 => {
                    match path {
                        "page" => __rt::Some(0),
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
                        keys: &mut self.page_extra_key,
                        values: &mut self.page_extra_value,
                    })
                }
                _ => __rt::None,
            }
        }
        fn stamp(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) {}
        fn level(
            &mut self,
            given: &__rt::PresentColumns,
            refusals: &mut __rt::InvalidColumns,
        ) {
            let mut length = 0;
            length = self.items_size.len().max(length);
            length = self.items_name.len().max(length);
            __rt::level(
                &mut self.items_size,
                given.contains(20),
                length,
                &TABLE.columns[20],
                refusals,
            );
            __rt::level(
                &mut self.items_name,
                given.contains(21),
                length,
                &TABLE.columns[21],
                refusals,
            );
        }
        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.text, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.code, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.small, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.huge, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.ratio, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.flag, out);
            if given.contains(6) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.price, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.day, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.at, out);
            if given.contains(9) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.at_zone, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.uuid, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.ip4, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.ip6, out);
            if given.contains(13) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.kind, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.label, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.maybe, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.list, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.map, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.place, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.pair, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.items_size, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.items_name, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.anything, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.some, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.takes, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.waits, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.spot, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.either, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.any_shape, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.whatever, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.vector, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.total, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.r#type, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.self_, out);
            if given.contains(37) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.raw, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            if given.contains(38) {
                out.push(__rt::VALUE);
                __rt::Encode::put(&self.length, out);
            } else {
                out.push(__rt::DEFAULT);
            }
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.noted, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.page_extra_key, out);
            out.push(__rt::VALUE);
            __rt::Encode::put(&self.page_extra_value, out);
        }
        fn table(&self) -> &'static __rt::Table {
            &TABLE
        }
        fn complete(
            &mut self,
            stamp: &__rt::EventMeta<'a>,
            refusals: &mut __rt::InvalidColumns,
        ) -> __rt::PresentColumns {
            __rt::check_pairs(
                self.page_extra_key.len(),
                self.page_extra_value.len(),
                &TABLE.columns[41],
                refusals,
            );
            let mut present: __rt::PresentColumns = ::core::default::Default::default();
            if !__rt::is_same(&self.price, &::core::default::Default::default()) {
                present.insert(6);
            }
            if !__rt::is_same(&self.at_zone, &::core::default::Default::default()) {
                present.insert(9);
            }
            if !__rt::is_same(&self.kind, &::core::default::Default::default()) {
                present.insert(13);
            }
            if !__rt::is_same(&self.items_size, &::core::default::Default::default()) {
                present.insert(20);
            }
            if !__rt::is_same(&self.items_name, &::core::default::Default::default()) {
                present.insert(21);
            }
            if !__rt::is_same(&self.raw, &::core::default::Default::default()) {
                present.insert(37);
            }
            if !__rt::is_same(&self.length, &::core::default::Default::default()) {
                present.insert(38);
            }
            present
        }
    }
    /// The table as ClickHouse has it.
    pub static TABLE: __rt::Table = __rt::Table {
        name: "types",
        index: 0usize,
        columns: &[
            __rt::Column::new("text", "String", "`text` String", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::String)),
            __rt::Column::new(
                    "code",
                    "FixedString(4)",
                    "`code` FixedString(4)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(4))),
            __rt::Column::new("small", "UInt8", "`small` UInt8", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(1))),
            __rt::Column::new("huge", "Int256", "`huge` Int256", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(32))),
            __rt::Column::new(
                    "ratio",
                    "Float32",
                    "`ratio` Float32",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(4))),
            __rt::Column::new("flag", "Bool", "`flag` Bool", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(1))),
            __rt::Column::new(
                    "price",
                    "Decimal(18, 4)",
                    "`price` Decimal(18, 4) DEFAULT 0.5",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(Decimal(18, 4))"),
            __rt::Column::new("day", "Date", "`day` Date", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(2))),
            __rt::Column::new("at", "DateTime", "`at` DateTime", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(4))),
            __rt::Column::new(
                    "at_zone",
                    "DateTime64(3, 'Europe/Berlin')",
                    "`at_zone` DateTime64(3, 'Europe/Berlin') DEFAULT now64(3)",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(DateTime64(3, 'Europe/Berlin'))"),
            __rt::Column::new("uuid", "UUID", "`uuid` UUID", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(16))),
            __rt::Column::new("ip4", "IPv4", "`ip4` IPv4", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(4))),
            __rt::Column::new("ip6", "IPv6", "`ip6` IPv6", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(16))),
            __rt::Column::new(
                    "kind",
                    "Enum8('it\\'s' = -3, 'open' = 1, 'click' = 2)",
                    "`kind` Enum8('it\\'s' = -3, 'open' = 1, 'click' = 2) DEFAULT 'click'",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(1)))
                .sent_as("Nullable(Enum8('it\\'s' = -3, 'open' = 1, 'click' = 2))"),
            __rt::Column::new(
                    "label",
                    "LowCardinality(Nullable(String))",
                    "`label` LowCardinality(Nullable(String))",
                    __rt::ColumnKind::Plain,
                )
                .nullable()
                .shaped(
                    __rt::Shape::Marked(&__rt::Shape::Nullable(&__rt::Shape::String)),
                )
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "maybe",
                    "Nullable(Int32)",
                    "`maybe` Nullable(Int32)",
                    __rt::ColumnKind::Plain,
                )
                .nullable()
                .shaped(
                    __rt::Shape::Marked(&__rt::Shape::Nullable(&__rt::Shape::Fixed(4))),
                ),
            __rt::Column::new(
                    "list",
                    "Array(Array(Nullable(UInt16)))",
                    "`list` Array(Array(Nullable(UInt16)))",
                    __rt::ColumnKind::Plain,
                )
                .shaped(
                    __rt::Shape::Marked(
                        &__rt::Shape::Array(
                            &__rt::Shape::Array(
                                &__rt::Shape::Nullable(&__rt::Shape::Fixed(2)),
                            ),
                        ),
                    ),
                ),
            __rt::Column::new(
                    "map",
                    "Map(String, Array(Float64))",
                    "`map` Map(String, Array(Float64))",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects()
                .shaped(
                    __rt::Shape::Marked(
                        &__rt::Shape::Array(
                            &__rt::Shape::Tuple(
                                &[
                                    __rt::Shape::String,
                                    __rt::Shape::Array(&__rt::Shape::Fixed(8)),
                                ],
                            ),
                        ),
                    ),
                ),
            __rt::Column::new(
                    "place",
                    "Tuple(lat Float64, `long name` String)",
                    "`place` Tuple(lat Float64, `long name` String)",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects()
                .shaped(
                    __rt::Shape::Marked(
                        &__rt::Shape::Tuple(
                            &[__rt::Shape::Fixed(8), __rt::Shape::String],
                        ),
                    ),
                ),
            __rt::Column::new(
                    "pair",
                    "Tuple(UInt8, String)",
                    "`pair` Tuple(UInt8, String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(
                    __rt::Shape::Marked(
                        &__rt::Shape::Tuple(
                            &[__rt::Shape::Fixed(1), __rt::Shape::String],
                        ),
                    ),
                ),
            __rt::Column::new(
                    "items.size",
                    "Array(UInt8)",
                    "`items.size` Array(UInt8)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(
                    __rt::Shape::Marked(&__rt::Shape::Array(&__rt::Shape::Fixed(1))),
                ),
            __rt::Column::new(
                    "items.name",
                    "Array(String)",
                    "`items.name` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Array(&__rt::Shape::String))),
            __rt::Column::new(
                    "anything",
                    "JSON",
                    "`anything` JSON",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects(),
            __rt::Column::new(
                    "some",
                    "JSON(`user.id` UInt64, SKIP debug)",
                    "`some` JSON(`user.id` UInt64, SKIP debug)",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects(),
            __rt::Column::new(
                    "takes",
                    "Time64(3)",
                    "`takes` Time64(3)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(8))),
            __rt::Column::new(
                    "waits",
                    "IntervalSecond",
                    "`waits` IntervalSecond",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(8))),
            __rt::Column::new("spot", "Point", "`spot` Point", __rt::ColumnKind::Plain)
                .shaped(
                    __rt::Shape::Marked(
                        &__rt::Shape::Tuple(
                            &[__rt::Shape::Fixed(8), __rt::Shape::Fixed(8)],
                        ),
                    ),
                ),
            __rt::Column::new(
                    "either",
                    "Variant(Array(UInt64), String, UInt64)",
                    "`either` Variant(Array(UInt64), String, UInt64)",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects()
                .nullable(),
            __rt::Column::new(
                    "any_shape",
                    "Geometry",
                    "`any_shape` Geometry",
                    __rt::ColumnKind::Plain,
                )
                .nullable(),
            __rt::Column::new(
                    "whatever",
                    "Dynamic",
                    "`whatever` Dynamic",
                    __rt::ColumnKind::Plain,
                )
                .taking_objects()
                .nullable(),
            __rt::Column::new(
                "vector",
                "QBit(Float32, 8)",
                "`vector` QBit(Float32, 8)",
                __rt::ColumnKind::Plain,
            ),
            __rt::Column::new(
                "state",
                "AggregateFunction(sum, UInt64)",
                "`state` AggregateFunction(sum, UInt64) MATERIALIZED initializeAggregation('sumState', total)",
                __rt::ColumnKind::Materialized,
            ),
            __rt::Column::new(
                    "total",
                    "SimpleAggregateFunction(sum, UInt64)",
                    "`total` SimpleAggregateFunction(sum, UInt64)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(8)))
                .sent_as("UInt64"),
            __rt::Column::new("type", "String", "`type` String", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::String)),
            __rt::Column::new("self", "UInt8", "`self` UInt8", __rt::ColumnKind::Plain)
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(1))),
            __rt::Column::new(
                "doubled",
                "UInt16",
                "`doubled` UInt16 MATERIALIZED small * 2",
                __rt::ColumnKind::Materialized,
            ),
            __rt::Column::new(
                "upper",
                "String",
                "`upper` String ALIAS upper(text)",
                __rt::ColumnKind::Alias,
            ),
            __rt::Column::new(
                    "raw",
                    "String",
                    "`raw` String EPHEMERAL defaultValueOfTypeName('String')",
                    __rt::ColumnKind::Ephemeral,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::String))
                .sent_as("Nullable(String)"),
            __rt::Column::new(
                    "length",
                    "UInt64",
                    "`length` UInt64 DEFAULT length(raw)",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Nullable(&__rt::Shape::Fixed(8)))
                .sent_as("Nullable(UInt64)"),
            __rt::Column::new(
                    "noted",
                    "Int8",
                    "`noted` Int8 DEFAULT -1 COMMENT 'what it is; it\\'s \"noted\"' CODEC(T64, ZSTD(1))",
                    __rt::ColumnKind::Default,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Fixed(1))),
            __rt::Column::new(
                    "page_extra.key",
                    "Array(String)",
                    "`page_extra.key` Array(String)",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Array(&__rt::Shape::String))),
            __rt::Column::new(
                    "page_extra.value",
                    "Array(LowCardinality(String))",
                    "`page_extra.value` Array(LowCardinality(String))",
                    __rt::ColumnKind::Plain,
                )
                .shaped(__rt::Shape::Marked(&__rt::Shape::Array(&__rt::Shape::String)))
                .sent_as("Array(String)"),
        ],
        create: "CREATE TABLE IF NOT EXISTS `types` ON CLUSTER `main`\n(\n    `text` String,\n    `code` FixedString(4),\n    `small` UInt8,\n    `huge` Int256,\n    `ratio` Float32,\n    `flag` Bool,\n    `price` Decimal(18, 4) DEFAULT 0.5,\n    `day` Date,\n    `at` DateTime,\n    `at_zone` DateTime64(3, 'Europe/Berlin') DEFAULT now64(3),\n    `uuid` UUID,\n    `ip4` IPv4,\n    `ip6` IPv6,\n    `kind` Enum8('it\\'s' = -3, 'open' = 1, 'click' = 2) DEFAULT 'click',\n    `label` LowCardinality(Nullable(String)),\n    `maybe` Nullable(Int32),\n    `list` Array(Array(Nullable(UInt16))),\n    `map` Map(String, Array(Float64)),\n    `place` Tuple(lat Float64, `long name` String),\n    `pair` Tuple(UInt8, String),\n    `items.size` Array(UInt8),\n    `items.name` Array(String),\n    `anything` JSON,\n    `some` JSON(`user.id` UInt64, SKIP debug),\n    `takes` Time64(3),\n    `waits` IntervalSecond,\n    `spot` Point,\n    `either` Variant(Array(UInt64), String, UInt64),\n    `any_shape` Geometry,\n    `whatever` Dynamic,\n    `vector` QBit(Float32, 8),\n    `state` AggregateFunction(sum, UInt64) MATERIALIZED initializeAggregation('sumState', total),\n    `total` SimpleAggregateFunction(sum, UInt64),\n    `type` String,\n    `self` UInt8,\n    `doubled` UInt16 MATERIALIZED small * 2,\n    `upper` String ALIAS upper(text),\n    `raw` String EPHEMERAL defaultValueOfTypeName('String'),\n    `length` UInt64 DEFAULT length(raw),\n    `noted` Int8 DEFAULT -1 COMMENT 'what it is; it\\'s \"noted\"' CODEC(T64, ZSTD(1)),\n    `page_extra.key` Array(String),\n    `page_extra.value` Array(LowCardinality(String))\n)\nENGINE = ReplacingMergeTree\nPARTITION BY toYYYYMM(day)\nPRIMARY KEY code\nORDER BY (code, day)\nTTL day + INTERVAL 1 YEAR\nSETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000",
        format: __rt::Format::RowBinaryWithDefaults,
        row_id: __rt::None,
        partition_key: __rt::Some("toYYYYMM(day)"),
    };
    /// The routes that lead to `types`.
    #[derive(Debug, Clone, Copy)]
    pub struct Routes;
    impl Routes {
        /// The route `shop/default`.
        pub const SHOP_DEFAULT: &'static str = "shop/default";
        /// The route `wh/order`.
        pub const WH_ORDER: &'static str = "wh/order";
    }
    impl __rt::Routes for Routes {
        const DESTINATIONS: &'static [__rt::Destination] = &[
            __rt::Destination {
                path: "shop/default",
                table: "types",
                acks: __rt::AckPolicy::NONE,
                rate_limit: __rt::None,
            },
            __rt::Destination {
                path: "wh/order",
                table: "types",
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
                                                intake: __rt::intake::<Types<'static>>,
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
                4 => {
                    match service {
                        "shop" => {
                            __rt::Some(__rt::Route {
                                intake: __rt::intake::<Types<'static>>,
                                acks: __rt::AckPolicy::NONE,
                            })
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
pub use types::Types;
/// The layer that takes the events of `types` and hands all other requests on.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub type TypesLayer = __rt::EventLayer<types::Routes>;
/// All tables, in the order of the schema's files.
#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)]
pub static SCHEMA: __rt::Schema = __rt::Schema {
    tables: &[&types::TABLE],
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
            path: "shop/default",
            table: "types",
            acks: __rt::AckPolicy::NONE,
            rate_limit: __rt::None,
        },
        __rt::Destination {
            path: "wh/order",
            table: "types",
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
                                            intake: __rt::intake::<types::Types<'static>>,
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
            4 => {
                match service {
                    "shop" => {
                        __rt::Some(__rt::Route {
                            intake: __rt::intake::<types::Types<'static>>,
                            acks: __rt::AckPolicy::NONE,
                        })
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

CREATE TABLE plain (id UInt64, name String, `on` Bool, `a b` LowCardinality(String)) ENGINE = MergeTree ORDER BY id;

CREATE TABLE full
(
    id UInt64 CODEC(Delta, ZSTD(1)),
    at DateTime64(3, 'Europe/Berlin') DEFAULT now64(3) COMMENT 'it''s: # "quoted", \\ and a\nline' CODEC(DoubleDelta, LZ4),
    day Date MATERIALIZED toDate(at),
    kind Enum8('a, (b' = 1, 'c' = 2) DEFAULT 'c',
    tags Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    items Nested(sku String, n UInt32),
    short String TTL day + INTERVAL 7 DAY,
    size ALIAS length(short),
    input String EPHEMERAL 'x',
    maybe Nullable(Decimal(18, 4)) DEFAULT 1.5,
    INDEX by_kind kind TYPE set(100) GRANULARITY 4,
    INDEX words lower(short) TYPE tokenbf_v1(256, 2, 0) GRANULARITY 1,
    PROJECTION by_day (SELECT day, count(), sum(id) GROUP BY day),
    PROJECTION newest (SELECT * ORDER BY at),
    PROJECTION exact INDEX short TYPE basic
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
PRIMARY KEY (kind, day, id)
ORDER BY (kind, day, id, cityHash64(tags))
SAMPLE BY id
TTL toDateTime(at) + INTERVAL 1 YEAR, day + INTERVAL 1 MONTH RECOMPRESS CODEC(ZSTD(9))
SETTINGS index_granularity = 4096, min_bytes_for_wide_part = 0, merge_with_ttl_timeout = 3600
COMMENT 'All of it: "quoted"';

CREATE TABLE newest (id UInt64, version DateTime, deleted UInt8) ENGINE = ReplacingMergeTree(version, deleted) ORDER BY (id);

CREATE TABLE sums (day Date, page String, hits UInt64, states SimpleAggregateFunction(max, UInt64)) ENGINE = SummingMergeTree(hits) PARTITION BY day ORDER BY (day, page);

CREATE TABLE nothing (a UInt8) ENGINE = MergeTree ORDER BY tuple();

CREATE TABLE small (a UInt8, b Array(Tuple(x Float64, y Float64))) ENGINE = Memory;

CREATE TABLE lines (a UInt8 DEFAULT 5, t Tuple(a String, b Nullable(UInt8))) ENGINE = Log;

CREATE TABLE docs (key UUID DEFAULT generateUUIDv7(), doc JSON(max_dynamic_paths = 8, user.id UInt64), v Variant(String, UInt64), d Dynamic) ENGINE = MergeTree ORDER BY key;

CREATE TABLE forwarded (a UInt8, b String DEFAULT 'x') ENGINE = Null;

CREATE TABLE IF NOT EXISTS `graphite`
(
    `Path` String,
    `Time` DateTime,
    `Value` Float64,
    `Timestamp` UInt32
)
ENGINE = GraphiteMergeTree('graphite_rollup')
ORDER BY (Path, Time)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'It\'s Graphite\'s.';

CREATE TABLE IF NOT EXISTS `replicated` ON CLUSTER `{cluster}`
(
    `id` UInt64,
    `date` Date
)
ENGINE = ReplicatedMergeTree
ORDER BY (id, date)
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `replicated_at` ON CLUSTER `{cluster}`
(
    `id` UInt64,
    `date` Date,
    INDEX `by_date` date TYPE minmax GRANULARITY 4,
    PROJECTION `by_date` (SELECT * ORDER BY date)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY toYYYYMM(date)
PRIMARY KEY id
ORDER BY (id, date)
SAMPLE BY id
TTL date + INTERVAL 1 YEAR
SETTINGS index_granularity = 1024, storage_policy = 'tiered', replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `replicated_old` ON CLUSTER `{cluster}`
(
    `id` UInt64,
    `date` Date
)
ENGINE = ReplicatedMergeTree('/t/{shard}', '{replica}')
PARTITION BY toYYYYMM(date)
ORDER BY (id, date)
SETTINGS index_granularity = 8192, replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `versions` ON CLUSTER `{cluster}`
(
    `id` UInt64,
    `date` Date,
    `deleted` UInt8
)
ENGINE = ReplicatedReplacingMergeTree('/t/{shard}', '{replica}', id, deleted)
ORDER BY (id, date)
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `shared` ON CLUSTER `{cluster}`
(
    `id` UInt64,
    `date` Date
)
ENGINE = SharedSummingMergeTree
ORDER BY (id, date);

CREATE TABLE IF NOT EXISTS `everywhere` ON CLUSTER `{cluster}`
(
    `deleted` UInt8,
    `id` UInt64,
    `date` Date
)
ENGINE = Distributed('{cluster}', currentDatabase(), 'versions', id)
SETTINGS fsync_after_insert = 1;

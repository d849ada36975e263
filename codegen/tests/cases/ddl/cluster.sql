CREATE TABLE IF NOT EXISTS `orders_local` ON CLUSTER `fleet`
(
    `id` UInt64,
    `email` String,
    `note` String CODEC(ZSTD(3)) TTL at + INTERVAL 1 YEAR,
    `at` DateTime,
    `day` Date MATERIALIZED toDate(at),
    INDEX `by_day` day TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedReplacingMergeTree(id)
PARTITION BY toYYYYMM(at)
ORDER BY (email, id)
TTL at + INTERVAL 2 YEAR
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800
COMMENT 'Orders of the shop\'s customers.';

CREATE TABLE IF NOT EXISTS `clicks_local` ON CLUSTER `a b`
(
    `id` UInt64,
    `email` String
)
ENGINE = MergeTree
ORDER BY id
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS `sums_local` ON CLUSTER `fleet`
(
    `email` String,
    `orders` UInt64
)
ENGINE = ReplicatedSummingMergeTree
ORDER BY email
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `orders` ON CLUSTER `fleet`
(
    `id` UInt64,
    `email` String,
    `note` String,
    `at` DateTime,
    `day` Date MATERIALIZED toDate(at)
)
ENGINE = Distributed('fleet', currentDatabase(), 'orders_local', cityHash64(email))
COMMENT 'Orders of the shop\'s customers.';

CREATE TABLE IF NOT EXISTS `clicks` ON CLUSTER `a b`
(
    `id` UInt64,
    `email` String
)
ENGINE = Distributed('other', currentDatabase(), 'clicks_local', `id`);

CREATE TABLE IF NOT EXISTS `notes` ON CLUSTER `fleet`
(
    `id` UInt64,
    `email` String
)
ENGINE = ReplicatedMergeTree
ORDER BY id
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `visits` ON CLUSTER `fleet`
(
    `id` UInt64
)
ENGINE = ReplicatedMergeTree('/t/{shard}', '{replica}')
ORDER BY id
SETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800;

CREATE TABLE IF NOT EXISTS `sums` ON CLUSTER `fleet`
(
    `email` String,
    `orders` UInt64
)
ENGINE = Distributed('fleet', currentDatabase(), 'sums_local', cityHash64(email));

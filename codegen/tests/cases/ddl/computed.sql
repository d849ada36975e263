CREATE TABLE IF NOT EXISTS `calls`
(
    `id` UInt64,
    `seconds` UInt32,
    `place` Tuple(city String, zip String),
    `kind` ALIAS if(seconds > 60, 'long', 'short'),
    `city` ALIAS place.city,
    `same_kind` ALIAS kind,
    PROJECTION `by_seconds` INDEX seconds TYPE basic
)
ENGINE = MergeTree
ORDER BY (id)
SETTINGS non_replicated_deduplication_window = 1000;

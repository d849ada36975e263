//! List of table engines: their names, how many arguments each takes, and which options apply to
//! it.
//!
//! The engines are those of `system.table_engines` of ClickHouse 26.7, and the Shared ones of
//! ClickHouse Cloud. A test compares the list with them.

use std::ops::RangeInclusive;

use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    sql::Sql,
    types,
};

/// The properties that engines of one kind share.
#[derive(Debug, Clone, Copy)]
struct Family {
    /// The keys `order_by`, `partition_by`, `primary_key` and `sample_by`.
    keys: bool,
    /// `ttl`, of the table and of columns.
    ttl: bool,
    settings: bool,
    /// Indexes and projections.
    elements: bool,
    /// Whether rows can be inserted.
    rows: bool,
}

const MERGE_TREE: Family = Family {
    keys: true,
    ttl: true,
    settings: true,
    elements: true,
    rows: true,
};

/// Engines that keep rows in no order, or pass them on.
const PLAIN: Family = Family {
    keys: false,
    ttl: false,
    settings: false,
    elements: false,
    rows: true,
};

const WITH_SETTINGS: Family = Family {
    settings: true,
    ..PLAIN
};

const KEYED: Family = Family { keys: true, ..PLAIN };

/// Stores of files, where the partition decides the file of a row.
const FILES: Family = Family {
    keys: true,
    settings: true,
    ..PLAIN
};

const READ_ONLY: Family = Family { rows: false, ..PLAIN };

/// The number of arguments of an engine that is not checked.
const ANY: RangeInclusive<usize> = 0..=usize::MAX;

/// The variants of MergeTree without `MergeTree` in their names, and how many arguments each takes.
const MERGE_TREES: [(&str, RangeInclusive<usize>); 8] = [
    ("", 0..=0),
    ("Aggregating", 0..=0),
    ("Coalescing", 0..=1),
    ("Collapsing", 1..=1),
    ("Graphite", 1..=1),
    ("Replacing", 0..=2),
    ("Summing", 0..=1),
    ("VersionedCollapsing", 2..=2),
];

/// All other engines.
const OTHERS: [(&str, Family, RangeInclusive<usize>); 65] = [
    ("Alias", READ_ONLY, ANY),
    ("AzureBlobStorage", FILES, ANY),
    ("AzureQueue", READ_ONLY, ANY),
    ("Buffer", PLAIN, 9..=12),
    ("COSN", FILES, ANY),
    ("DeltaLake", WITH_SETTINGS, ANY),
    ("DeltaLakeAzure", WITH_SETTINGS, ANY),
    ("DeltaLakeLocal", WITH_SETTINGS, ANY),
    ("DeltaLakeS3", WITH_SETTINGS, ANY),
    ("Dictionary", READ_ONLY, ANY),
    ("Distributed", WITH_SETTINGS, 3..=5),
    ("EmbeddedRocksDB", Family { ttl: true, ..FILES }, 0..=3),
    ("Executable", READ_ONLY, ANY),
    ("ExecutablePool", READ_ONLY, ANY),
    ("File", WITH_SETTINGS, 1..=3),
    ("FileLog", READ_ONLY, ANY),
    ("FuzzJSON", READ_ONLY, ANY),
    ("FuzzQuery", READ_ONLY, ANY),
    ("GCS", FILES, ANY),
    ("GenerateRandom", READ_ONLY, ANY),
    ("HDFS", FILES, ANY),
    ("Hudi", READ_ONLY, ANY),
    ("Iceberg", FILES, ANY),
    ("IcebergAzure", FILES, ANY),
    ("IcebergHDFS", FILES, ANY),
    ("IcebergLocal", FILES, ANY),
    ("IcebergS3", FILES, ANY),
    ("JDBC", READ_ONLY, ANY),
    ("Join", WITH_SETTINGS, 3..=usize::MAX),
    ("Kafka", WITH_SETTINGS, ANY),
    ("KeeperMap", KEYED, 1..=3),
    ("Log", WITH_SETTINGS, 0..=0),
    ("Loop", READ_ONLY, ANY),
    ("MaterializedPostgreSQL", READ_ONLY, ANY),
    ("MaterializedView", READ_ONLY, ANY),
    ("Memory", WITH_SETTINGS, 0..=0),
    ("Merge", READ_ONLY, ANY),
    ("MongoDB", READ_ONLY, ANY),
    ("MySQL", WITH_SETTINGS, ANY),
    ("NATS", WITH_SETTINGS, ANY),
    ("Null", PLAIN, 0..=0),
    ("ODBC", PLAIN, ANY),
    ("OSS", FILES, ANY),
    ("Paimon", READ_ONLY, ANY),
    ("PaimonAzure", READ_ONLY, ANY),
    ("PaimonHDFS", READ_ONLY, ANY),
    ("PaimonLocal", READ_ONLY, ANY),
    ("PaimonS3", READ_ONLY, ANY),
    ("PostgreSQL", WITH_SETTINGS, ANY),
    ("QueryRunner", READ_ONLY, ANY),
    ("RabbitMQ", WITH_SETTINGS, ANY),
    ("Redis", KEYED, ANY),
    ("Remote", WITH_SETTINGS, ANY),
    ("RemoteSecure", WITH_SETTINGS, ANY),
    ("S3", FILES, ANY),
    ("S3Queue", READ_ONLY, ANY),
    ("SQLite", PLAIN, ANY),
    ("Set", WITH_SETTINGS, 0..=0),
    ("StripeLog", WITH_SETTINGS, 0..=0),
    ("TimeSeries", READ_ONLY, ANY),
    ("TinyLog", WITH_SETTINGS, 0..=0),
    ("URL", WITH_SETTINGS, ANY),
    ("View", READ_ONLY, ANY),
    ("WindowView", READ_ONLY, ANY),
    ("YTsaurus", READ_ONLY, ANY),
];

/// The settings of a Memory table.
const MEMORY_SETTINGS: [&str; 5] = [
    "compress",
    "max_bytes_to_keep",
    "max_rows_to_keep",
    "min_bytes_to_keep",
    "min_rows_to_keep",
];

/// Returns an engine's family and how many arguments it takes.
fn family(name: &str) -> Option<(Family, RangeInclusive<usize>)> {
    let Some(variant) = name.strip_suffix("MergeTree") else {
        let (_, family, arguments) = OTHERS.iter().find(|(known, ..)| *known == name)?;
        return Some((*family, arguments.clone()));
    };
    // The path and the replica's name, or neither: a server has defaults for them.
    let (variant, before) = match variant.strip_prefix("Replicated").or(variant.strip_prefix("Shared")) {
        Some(variant) => (variant, 2),
        None => (variant, 0),
    };
    let (_, arguments) = MERGE_TREES.iter().find(|(known, _)| *known == variant)?;
    Some((MERGE_TREE, *arguments.start()..=arguments.end() + before))
}

/// Rule: ClickHouse has the engine; names are case-sensitive.
pub(crate) fn unknown_engine(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = &table.engine else { return };
    let name = engine.name();
    if family(name).is_some() {
        return;
    }
    let span = engine.name.whole_span().unwrap_or_else(|| span.clone());
    let diagnostic = Diagnostic::error("unknown-engine", format!("ClickHouse has no engine `{name}`"))
        .label(span, format!("of `{}`", table.name.text));
    report.push(match closest_engine(name) {
        Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
        None => diagnostic.help("for most tables, write `MergeTree`"),
    });
}

/// Rule: the engine accepts inserted rows, since events become rows.
pub(crate) fn engine_takes_no_rows(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = &table.engine else { return };
    let name = engine.name();
    if family(name).is_some_and(|(family, _)| !family.rows) {
        let diagnostic = Diagnostic::error(
            "engine-takes-no-rows",
            format!("ClickHouse cannot insert rows into a `{name}`"),
        )
        .label(span.clone(), format!("the engine of `{}`", table.name.text))
        .help("create it in ClickHouse yourself, and use a table that stores rows for the events");
        report.push(diagnostic);
    }
}

/// Rule: the engine takes this number and kind of arguments.
pub(crate) fn engine_arguments(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = &table.engine else { return };
    let name = engine.name();
    let Some((family, arguments)) = family(name).filter(|(family, _)| family.rows) else {
        return;
    };
    let found = engine.arguments().len();
    let (replica, own) = engine.own_arguments();
    let is_text = |argument: &Sql| argument.as_str().starts_with('\'');
    let message = if !arguments.contains(&found) {
        format!("`{name}` takes {}, not {found}", counted(&arguments))
    } else if own.len() < *arguments.start() {
        let own = *arguments.start()..=arguments.end().saturating_sub(replica.len());
        format!(
            "`{name}` takes {} after the path and the name of the replica",
            counted(&own)
        )
    } else if family.elements && engine.is_replicated() && replica.len() == 1 {
        format!("`{name}` takes a path and the name of the replica, or neither")
    } else if engine.kind() == "GraphiteMergeTree" && !own.iter().all(is_text) {
        format!("`{name}` takes a string, the name of a section of the server's configuration")
    } else {
        return;
    };
    let diagnostic = Diagnostic::error("engine-arguments", message)
        .label(span.clone(), format!("the engine of `{}`", table.name.text));
    report.push(match example(name) {
        Some(example) => diagnostic.help(format!("write `{example}`")),
        None => diagnostic,
    });
}

/// Rule: the table sets no option that its engine does not have.
pub(crate) fn engine_misfit(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, engine_span)) = &table.engine else {
        return;
    };
    let name = engine.name();
    let Some((family, _)) = family(name).filter(|(family, _)| family.rows) else {
        return;
    };
    let takes = |option: &str| match option {
        "order_by" | "partition_by" | "primary_key" | "sample_by" => family.keys,
        "ttl" => family.ttl,
        "settings" => family.settings,
        _ => true,
    };
    let mut misfit = |message: String, span| {
        let diagnostic = Diagnostic::error("engine-misfit", message)
            .label(span, "")
            .label(engine_span.clone(), format!("the engine of `{}`", table.name.text))
            .help("remove it, or use an engine of the MergeTree family");
        report.push(diagnostic);
    };
    for key in table.present_keys.iter().filter(|key| !takes(&key.text)) {
        misfit(format!("`{name}` has no `{}`", key.text), key.span.clone());
    }
    let clauses = &engine.clauses;
    let inline_clauses = [
        ("order_by", clauses.order_by.is_some()),
        ("partition_by", clauses.partition_by.is_some()),
        ("primary_key", clauses.primary_key.is_some()),
        ("sample_by", clauses.sample_by.is_some()),
        ("ttl", clauses.ttl.is_some()),
        ("settings", !clauses.settings.is_empty()),
    ];
    for (option, _) in inline_clauses
        .iter()
        .filter(|(option, is_set)| *is_set && !takes(option))
    {
        let clause = option.replace('_', " ").to_uppercase();
        misfit(format!("`{name}` has no {clause}"), engine_span.clone());
    }
    if !family.elements {
        for element in &table.elements {
            misfit(
                format!("`{name}` has no {}", element.kind.plural()),
                element.name.span.clone(),
            );
        }
    }
    if !family.ttl {
        for column in table.columns.iter().filter(|column| column.declaration.ttl.is_some()) {
            misfit(format!("columns of a `{name}` cannot have a TTL"), column.span.clone());
        }
    }
    if !family.keys {
        for column in table.columns.iter().filter(|column| column.declaration.primary_key) {
            misfit(
                format!("columns of a `{name}` cannot be a primary key"),
                column.span.clone(),
            );
        }
    }
    if name == "Memory" {
        let unknown = table.clauses.settings.iter().map(|setting| setting.name.as_str());
        for setting in unknown.filter(|name| !MEMORY_SETTINGS.contains(name)) {
            let present = table.present_keys.iter().find(|key| key.text == "settings");
            let span = present.map_or(engine_span, |key| &key.span);
            misfit(format!("`Memory` has no setting `{setting}`"), span.clone());
        }
    }
}

/// Returns the engine whose name is closest to `name`.
fn closest_engine(name: &str) -> Option<String> {
    let merge_trees = ["", "Replicated", "Shared"].iter().flat_map(|before| {
        MERGE_TREES
            .iter()
            .map(move |(variant, _)| format!("{before}{variant}MergeTree"))
    });
    let others = OTHERS.iter().filter(|(_, family, _)| family.rows);
    let names: Vec<String> = merge_trees.chain(others.map(|(name, ..)| (*name).to_owned())).collect();
    let is_same = |known: &&String| known.eq_ignore_ascii_case(name);
    let closest = || types::closest(name, names.iter().map(String::as_str)).map(str::to_owned);
    names.iter().find(is_same).cloned().or_else(closest)
}

fn counted(arguments: &RangeInclusive<usize>) -> String {
    match (*arguments.start(), *arguments.end()) {
        (0, 0) => "no arguments".to_owned(),
        (1, 1) => "one argument".to_owned(),
        (0, 1) => "at most one argument".to_owned(),
        (0, most) => format!("at most {most} arguments"),
        (least, usize::MAX) => format!("at least {least} arguments"),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    }
}

fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "CollapsingMergeTree" => "CollapsingMergeTree(sign)",
        "VersionedCollapsingMergeTree" => "VersionedCollapsingMergeTree(sign, version)",
        "GraphiteMergeTree" => "GraphiteMergeTree('graphite_rollup')",
        "Buffer" => "Buffer('', 'table', 1, 10, 100, 10000, 1000000, 10000000, 100000000)",
        "Distributed" => "Distributed('cluster', currentDatabase(), 'table', rand())",
        "SummingMergeTree" => "SummingMergeTree((clicks, cost))",
        _ => return None,
    })
}

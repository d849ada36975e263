//! Shards: the two tables of a distributed table.
//!
//! A table `orders` with `distributed` becomes two in ClickHouse: `orders_local` has the rows of one
//! shard, with the engine and the clauses of the schema, and `orders` passes rows on to the shards
//! and reads from them, with the engine Distributed.

use crate::{
    declare::{Clauses, Distributed},
    emit::quote_name,
    inherit::ResolvedTable,
    model::Table,
    paths,
    sql::Sql,
    table_engine::Engine,
    types::quote_text,
};

/// The end of the name of a table that has the rows of one shard.
const SUFFIX: &str = "_local";

/// Returns the name of the table that has the rows of one shard.
pub(crate) fn local_name(table: &str) -> String {
    format!("{table}{SUFFIX}")
}

/// The shards of a table.
#[derive(Debug)]
pub(crate) struct Shards {
    cluster: String,
    /// `None` is the id of the row.
    key: Option<Sql>,
}

/// Returns the shards of a table; none if it is not distributed, or if no cluster is known.
pub(crate) fn shards(table: &ResolvedTable) -> Option<Shards> {
    let (distributed, _) = table.distribution.distributed.as_ref()?;
    let cluster = match distributed {
        Distributed::No => return None,
        Distributed::OwnCluster => table.clauses.cluster.clone()?,
        Distributed::Cluster(name) => name.clone(),
    };
    let key = table.distribution.sharding_key.as_ref().map(|(key, _)| key.clone());
    Some(Shards { cluster, key })
}

/// Splits a table into the one that has the rows of a shard, and the one over all shards.
pub(crate) fn split(table: Table, shards: &Shards) -> (Table, Table) {
    let name = local_name(&table.name);
    let mut all = table.clone();
    let row_id = paths::row_id(all.columns.iter().map(|column| (column.role, &column.declaration)));
    let key = match (&shards.key, row_id.and_then(|index| all.columns.get(index))) {
        (Some(key), _) => format!(", {key}"),
        (None, Some(id)) => format!(", {}", quote_name(&id.name)),
        (None, None) => String::new(),
    };
    let arguments = format!(
        "{}, currentDatabase(), {}{key}",
        quote_text(&shards.cluster),
        quote_text(&name)
    );
    all.engine = Engine::named("Distributed");
    all.engine.arguments = Some(Sql::unplaced(&arguments));
    all.clauses = Clauses {
        cluster: table.clauses.cluster.clone(),
        ..Clauses::default()
    };
    all.elements.clear();
    for column in &mut all.columns {
        let declaration = &mut column.declaration;
        declaration.codec = None;
        declaration.statistics = None;
        declaration.ttl = None;
        declaration.settings = None;
        declaration.primary_key = false;
    }
    let local = Table {
        name,
        insert_settings: Vec::new(),
        ..table
    };
    (local, all)
}

//! Check: turns resolved tables into the model, or reports every rule that they break.
//!
//! A rule is a function and an entry of [`RULES`]. [`check`] runs all rules, so that one run
//! reports all problems.

mod collapsed;
mod columns;
mod destinations;
mod dictionaries;
mod distribution;
mod engine;
mod engine_columns;
mod enum_names;
mod expressions;
mod insert_settings;
mod keys;
mod names;
mod partition;
mod privacy;
mod redirects;
mod renamed;
mod route_idempotency;
mod route_paths;
mod route_stream;
mod server_names;
mod table;
mod throwing;
mod value_rules;
mod verified_paths;
mod views;

use crate::{
    declare::{Declared, Destination},
    diagnostic::Report,
    inherit::ResolvedTable,
    model::{Model, Route, Table},
    names::TableNames,
    paths, shards, table_engine_list,
};

/// One rule.
struct Rule {
    #[cfg(test)]
    name: &'static str,
    check: Check,
}

/// The items that a rule checks.
#[derive(Clone, Copy)]
enum Check {
    /// Each table.
    Table(fn(&ResolvedTable, &mut Report)),
    /// Each table that exists in ClickHouse and could be read completely.
    Existing(fn(&ResolvedTable, &mut Report)),
    /// Each destination.
    Destination(fn(&Destination, &Schema<'_>, &mut Report)),
    /// The whole schema at once.
    Schema(fn(&Schema<'_>, &mut Report)),
}

/// The input of the rules.
struct Schema<'a> {
    declared: &'a Declared,
    tables: &'a [ResolvedTable],
}

/// Names each rule after its function.
macro_rules! rules {
    ($($check:ident($module:ident::$function:ident),)*) => {
        &[$(Rule {
            #[cfg(test)]
            name: stringify!($function),
            check: Check::$check($module::$function),
        }),*]
    };
}

/// The rules, in the order in which they run.
const RULES: &[Rule] = rules![
    Table(names::reserved_table),
    Table(names::empty_name),
    Table(names::long_name),
    Table(names::duplicate_column),
    Table(names::field_collision),
    Table(enum_names::named_values),
    Table(names::similar_columns),
    Table(renamed::renamed_column),
    Table(columns::extra_of_no_texts),
    Table(columns::server_column),
    Table(paths::event_paths),
    Table(value_rules::unit_misfit),
    Existing(columns::half_an_extra),
    Existing(value_rules::unknown_misfit),
    Existing(columns::no_columns),
    Existing(engine::missing_engine),
    Existing(table_engine_list::unknown_engine),
    Existing(table_engine_list::engine_takes_no_rows),
    Existing(table_engine_list::engine_arguments),
    Existing(table_engine_list::engine_misfit),
    Existing(engine::missing_order_by),
    Existing(engine::unsorted_table),
    Existing(engine::projection_mode),
    Existing(engine_columns::version_column),
    Existing(engine_columns::deleted_column),
    Existing(engine_columns::sign_column),
    Existing(engine_columns::summed_column),
    Existing(collapsed::dimension_outside_key),
    Existing(collapsed::collapsed_columns),
    Existing(expressions::expression_syntax),
    Existing(expressions::subquery),
    Existing(expressions::unknown_column),
    Existing(expressions::untyped_column),
    Existing(expressions::unstored_column),
    Existing(expressions::default_cycle),
    Existing(expressions::unquoted_date),
    Existing(expressions::index_type),
    Existing(server_names::changed_default),
    Existing(server_names::unknown_function),
    Existing(server_names::aggregate_in_expression),
    Existing(server_names::unknown_setting),
    Existing(insert_settings::insert_setting),
    Existing(throwing::throwing_expression),
    Existing(keys::key_without_brackets),
    Existing(keys::nullable_key),
    Existing(keys::key_type),
    Existing(keys::constant_key),
    Existing(keys::key_twice),
    Existing(keys::two_primary_keys),
    Existing(keys::primary_key_prefix),
    Existing(keys::sampling_key),
    Existing(keys::ttl_type),
    Existing(keys::ttl_of_nothing),
    Existing(keys::ttl_of_key),
    Existing(partition::client_partition),
    Existing(columns::no_row_id),
    Existing(columns::collector_value),
    Existing(engine::buffered_table),
    Existing(distribution::missing_cluster),
    Existing(distribution::cluster_misfit),
    Existing(distribution::sharding_key),
    Schema(distribution::local_table),
    Schema(names::duplicate_table),
    Schema(names::type_collision),
    Destination(destinations::bad_path),
    Destination(destinations::abstract_table),
    Destination(destinations::unknown_table),
    Destination(destinations::view_target),
    Destination(destinations::buffered_ack),
    Destination(redirects::redirect_elsewhere),
    Destination(verified_paths::unsigned_path),
    Schema(route_paths::path_conflict),
    Destination(route_idempotency::idempotency_column),
    Destination(privacy::unsalted_hash),
    Destination(privacy::hash_of_address),
    Destination(privacy::private_header),
    Destination(privacy::rejected_consent),
    Destination(route_stream::stream_without_whole_body),
    Schema(dictionaries::duplicate_dictionary),
    Schema(dictionaries::dictionary_syntax),
    Schema(dictionaries::dictionary_key),
    Schema(views::duplicate_view),
    Schema(views::view_query),
    Schema(views::view_table),
    Schema(views::lost_column),
    Schema(views::view_cycle),
    Schema(distribution::view_over_shards),
    Schema(server_names::unknown_view_function),
    Schema(destinations::unreached_table),
    Schema(redirects::open_redirect),
    Schema(value_rules::ambiguous_unit),
];

/// Returns the model; it is complete only if `report` has no errors afterwards.
pub(crate) fn check(declared: &Declared, tables: Vec<ResolvedTable>, report: &mut Report) -> Model {
    let schema = Schema {
        declared,
        tables: &tables,
    };
    for rule in RULES.iter().filter(|rule| !is_skipped(rule)) {
        rule.check(&schema, report);
    }
    model(declared, tables)
}

impl Rule {
    fn check(&self, schema: &Schema<'_>, report: &mut Report) {
        match self.check {
            Check::Table(check) => schema.tables.iter().for_each(|table| check(table, report)),
            Check::Existing(check) => schema
                .tables
                .iter()
                .filter(|table| !table.is_abstract && table.is_complete)
                .for_each(|table| check(table, report)),
            Check::Destination(check) => {
                for destination in &schema.declared.destinations {
                    check(destination, schema, report);
                }
            }
            Check::Schema(check) => check(schema, report),
        }
    }
}

fn model(declared: &Declared, tables: Vec<ResolvedTable>) -> Model {
    let rust = names::rust_names(&tables);
    let (targets, tables): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .zip(rust)
        .partition(|(table, _)| table.is_view_target);
    let mut local_tables = Vec::new();
    let mut tables = existing(tables, &mut local_tables);
    let mut asking = Vec::new();
    let index_of = |name: &str| tables.iter().position(|table| table.name == name);
    let mut routes = Vec::new();
    let mut other = None;
    for destination in &declared.destinations {
        let Some(table) = index_of(&destination.table.text) else {
            continue;
        };
        let mut options = destination.options.clone();
        options.privacy = options.privacy.or(&tables[table].privacy);
        options.privacy.columns = tables[table].personal_columns();
        asking.extend(options.privacy.asks_for_consent().then_some(table));
        match destination.path.text.split_once('/') {
            Some((service, name)) => routes.push(Route {
                service: service.to_owned(),
                name: (name != "default").then(|| name.to_owned()),
                table,
                options,
            }),
            None => other = Some((table, options)),
        }
    }
    for table in asking {
        tables[table].asks_for_consent = true;
    }
    Model {
        tables,
        targets: existing(targets, &mut local_tables),
        local_tables,
        views: views::ordered(declared),
        dictionaries: dictionaries::dictionaries(&declared.dictionaries),
        routes,
        other,
    }
}

/// Returns the tables that exist in ClickHouse. Those with the rows of a shard are added to
/// `local_tables`.
fn existing(tables: Vec<(ResolvedTable, TableNames)>, local_tables: &mut Vec<Table>) -> Vec<Table> {
    tables
        .into_iter()
        .filter(|(table, _)| !table.is_abstract)
        .filter_map(|(mut table, rust)| {
            let (engine, _) = table.engine.take()?;
            let shards = shards::shards(&table);
            let table = Table::new(table, engine, rust);
            let Some(shards) = shards else {
                return Some(table);
            };
            let (local, all) = shards::split(table, &shards);
            local_tables.push(local);
            Some(all)
        })
        .collect()
}

#[cfg(test)]
use tests::is_skipped;

#[cfg(not(test))]
const fn is_skipped(_: &Rule) -> bool {
    false
}

#[cfg(test)]
mod tests;

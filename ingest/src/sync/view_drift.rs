//! Finds where a materialized view differs from the schema: its table, its schedule, its query and
//! its comment.
//!
//! ClickHouse itself writes the schema's query in the form in which it shows that of the view.

use super::{
    Drift, DriftReport, Impact, Kind, SyncError, adapt_to_database,
    dictionary_names::qualify_dictionaries,
    of_database,
    view_query::{ExistingView, cut_of, existing_view, formatted, select_from, without_database},
    views::{Tables, qualified, target_in},
};
use crate::{
    store::{ClickHouseError, ClickHouseUrl, quoted},
    table::{Schema, View},
};

/// Compares the schema's views with those that exist in the database. Changes nothing. A view that
/// reads a table of the schema, and that the schema lacks, is only noted.
///
/// # Errors
/// ClickHouse is unreachable, or the user lacks the permission.
pub async fn view_drift(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, SyncError> {
    compare(url, schema).await.map_err(|kind| kind.at(url))
}

async fn compare(url: &ClickHouseUrl, schema: &Schema) -> Result<DriftReport, Kind> {
    let failed = |error| Kind::of("comparing its views", error);
    let mut report = DriftReport::default();
    for view in schema.views {
        let Some(existing) = existing_view(url, view).await.map_err(failed)? else {
            continue;
        };
        match compare_view(url, schema, view, &existing).await {
            Ok(drifts) => report.drifts.extend(drifts),
            Err(error) if error.is_transient() => return Err(failed(error)),
            Err(error) => report.warnings.push(format!(
                "the definition of view {} cannot be compared with the schema: {error}",
                quoted(view.name)
            )),
        }
    }
    let statements = report.drifts.iter_mut().flat_map(|drift| &mut drift.statements);
    adapt_to_database(url, statements).await.map_err(of_database)?;
    let names = schema.all_tables().map(|table| table.name);
    let tables = Tables::read(&url.server_client(), url.database(), names)
        .await
        .map_err(failed)?;
    for table in schema.all_tables() {
        let views = tables.views_of(&(url.database().to_owned(), table.name.to_owned()));
        let others = views.into_iter().filter(|(database, name)| {
            database != url.database() || !schema.views.iter().any(|view| view.name == name)
        });
        report.notes.extend(others.map(|name| {
            format!(
                "view {} reads {} and is not in the schema",
                qualified(&name),
                quoted(table.name)
            )
        }));
    }
    Ok(report)
}

async fn compare_view(
    url: &ClickHouseUrl,
    schema: &Schema,
    view: &'static View,
    existing: &ExistingView,
) -> Result<Vec<Drift>, ClickHouseError> {
    let drift = |impact, part: &str, found: &str, wanted: &str, statements: Vec<String>| Drift {
        table: view.name,
        difference: format!(
            "{part} is {} in the database and {} in the schema",
            described(found),
            described(wanted)
        ),
        impact,
        statements,
        records: Vec::new(),
        closes_table: false,
        stops_start: false,
        rows: None,
        bytes: None,
    };
    if existing.engine != "MaterializedView" {
        let difference = drift(
            Impact::Impossible,
            "the object",
            &existing.engine,
            "a materialized view",
            Vec::new(),
        );
        return Ok(vec![difference]);
    }
    let name = view.altered(url.database());
    let server = url.server_client();
    // The sync then creates the view again.
    let again = || vec![format!("DROP VIEW {name}")];
    let found_refresh = refresh_in(&existing.create_table_query);
    let without_refresh = existing
        .create_table_query
        .replacen(&format!(" {found_refresh}"), "", 1);
    let target = if found_refresh.is_empty() {
        target_in(&existing.create_table_query)
    } else {
        target_in(&without_refresh)
    };
    let refresh = match view.refresh {
        None => String::new(),
        Some(_) => {
            let create = formatted(&server, &view.create(url.database(), "SELECT 1")).await?;
            refresh_in(&create).to_owned()
        }
    };
    let wanted_target = (url.database().to_owned(), view.target.to_owned());
    if target.as_ref() != Some(&wanted_target) {
        let found = target.map_or_else(|| "a table of its own".to_owned(), |(_, target)| target);
        return Ok(vec![drift(Impact::Drop, "the table", &found, view.target, again())]);
    }
    if found_refresh.is_empty() != refresh.is_empty() {
        return Ok(vec![drift(
            Impact::Drop,
            "the schedule",
            found_refresh,
            &refresh,
            again(),
        )]);
    }
    let mut drifts = Vec::new();
    if without_database(found_refresh, url.database()) != without_database(&refresh, url.database()) {
        let change = format!("ALTER TABLE {name} MODIFY {refresh}");
        drifts.push(drift(
            Impact::Safe,
            "the schedule",
            found_refresh,
            &refresh,
            vec![change],
        ));
    }
    let source = view.source.as_ref().and_then(|source| schema.table(source.table));
    let cut = source.and_then(|source| cut_of(view, source, &existing.as_select));
    let select = select_from(view, schema, url.database(), cut);
    let wanted = formatted(&server, &qualify_dictionaries(&select, url.database())).await?;
    let wanted = without_database(&wanted, url.database());
    let found = without_database(&existing.as_select, url.database());
    if wanted != found {
        // The next refresh of a view with a schedule replaces all rows of its table.
        let impact = if view.refresh.is_some() {
            Impact::Rewrite
        } else {
            Impact::Safe
        };
        let change = format!("ALTER TABLE {name} MODIFY QUERY {select}");
        drifts.push(drift(impact, "the query", &found, &wanted, vec![change]));
    }
    let comment = view.comment.unwrap_or_default();
    if existing.comment != comment {
        let text = comment.replace('\\', "\\\\").replace('\'', "\\'");
        let change = format!("ALTER TABLE {name} MODIFY COMMENT '{text}'");
        drifts.push(drift(
            Impact::Safe,
            "the comment",
            &existing.comment,
            comment,
            vec![change],
        ));
    }
    Ok(drifts)
}

fn described(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// Returns the clause REFRESH of a statement that creates a view, or an empty text.
fn refresh_in(create: &str) -> &str {
    let head = create.find(" AS ").map_or(create, |end| &create[..end]);
    let Some(at) = head.find(" REFRESH ") else {
        return "";
    };
    let clause = &head[at + 1..];
    clause.find(" TO ").map_or("", |end| &clause[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_read_from_the_statement() {
        for (create, refresh) in [
            (
                "CREATE MATERIALIZED VIEW d.v REFRESH EVERY 1 HOUR APPEND TO d.t (`a` Date) AS SELECT 1",
                "REFRESH EVERY 1 HOUR APPEND",
            ),
            (
                "CREATE MATERIALIZED VIEW d.v TO d.t (`a` Date) AS SELECT ' REFRESH x TO '",
                "",
            ),
        ] {
            assert_eq!(refresh_in(create), refresh, "{create}");
        }
    }
}

//! Judges the columns of a table whose names or types differ from the schema.

use clickhouse::Client;

use super::{
    Impact,
    compare::{Drifts, is_metadata},
};
use crate::{
    store::quoted,
    sync::{
        Kind,
        columns::{Accepted, Difference, Existing, accepted, add_column, missing},
        evolved::note,
        narrow::{Effect, effect, needs_closing},
    },
    table::{
        column_history::{CREATE, ColumnChange, ColumnHistory},
        conversion::keeps_values,
    },
};

impl Drifts {
    /// Adds the differences of names and types: those that stop a start, and those that the sync
    /// accepts.
    pub(super) async fn compare_columns(
        &mut self,
        client: &Client,
        existing: &[Existing],
        history: &ColumnHistory,
        notes: &mut Vec<String>,
    ) -> Result<(), Kind> {
        for difference in missing(&[self.table], existing, history).err().into_iter().flatten() {
            self.push_difference(client, existing, difference, "").await?;
        }
        self.found.iter_mut().for_each(|drift| drift.stops_start = true);
        for accepted in accepted(self.table, existing, history) {
            match accepted {
                Accepted::Wider(difference) => self.push_difference(client, existing, difference, "").await?,
                Accepted::Narrowed(difference) => {
                    let reason = ", since a later schema has narrowed it";
                    self.push_difference(client, existing, difference, reason).await?;
                }
                Accepted::Dropped { column } => {
                    let clause = format!("column {} was dropped and is in the schema", quoted(column.name));
                    self.push(Impact::Safe, clause, [add_column(self.table, column, "")]);
                }
                Accepted::Renamed { ref new_name, .. } => {
                    notes.push(note(self.table, &accepted));
                    self.later_names.push(new_name.clone());
                }
            }
        }
        Ok(())
    }

    /// Adds a difference of a column's name or type with its effect on the data.
    async fn push_difference(
        &mut self,
        client: &Client,
        existing: &[Existing],
        difference: Difference,
        reason: &str,
    ) -> Result<(), Kind> {
        let Difference {
            column,
            found,
            wanted,
            statement,
            ..
        } = difference;
        let mut clause = format!(
            "column {} is {found} in the database and {wanted} in the schema{reason}",
            quoted(column)
        );
        let table = self.table;
        let type_of = |name: &str| {
            let found = existing.iter().find(|found| found.is(table.name, name));
            found.map(Existing::data_type)
        };
        let schema = table.columns.iter().find(|known| known.name == column);
        let Some((schema, found_type)) = schema.zip(type_of(column)) else {
            self.push(Impact::Rewrite, clause, [statement]);
            let old = schema.and_then(|schema| schema.was.iter().find(|old| type_of(old).is_some()));
            self.record(old.map(|old| ColumnChange::renamed(table.name, old, column)));
            return Ok(());
        };
        // A column with another source may have no values.
        let is_retyped = found == found_type && wanted == schema.data_type;
        if is_metadata(&found, &wanted) || !is_retyped {
            let impact = if is_metadata(&found, &wanted) {
                Impact::Safe
            } else {
                Impact::Rewrite
            };
            self.push(impact, clause, [statement]);
            return Ok(());
        }
        let effect = effect(client, table.name, column, &found, &wanted).await?;
        let impact = match &effect {
            Effect::None => Impact::Rewrite,
            Effect::Unchanged => {
                clause.push_str("; no value would change");
                Impact::Rewrite
            }
            Effect::Changed(count) => {
                clause.push_str(&format!("; {count} of its values would change"));
                Impact::Lossy
            }
            Effect::Unknown(error) => {
                clause.push_str(&format!(
                    "; ClickHouse cannot convert a value, or compare all of them ({error})"
                ));
                self.push(Impact::Lossy, clause, []);
                return Ok(());
            }
        };
        self.push(impact, clause, [statement]);
        let closes = needs_closing(table, &effect);
        self.found
            .iter_mut()
            .last()
            .into_iter()
            .for_each(|drift| drift.closes_table = closes);
        let narrowed = (!keeps_values(&found, &wanted)).then(|| ColumnChange::narrowed(table.name, column, &wanted));
        self.record(narrowed);
        Ok(())
    }

    /// Lets the last difference record a change.
    pub(super) fn record(&mut self, change: Option<ColumnChange>) {
        if let Some((drift, change)) = self.found.last_mut().zip(change) {
            drift.records = vec![CREATE.to_owned(), change.statement()];
        }
    }
}

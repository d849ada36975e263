//! `AggregateFunction(F, T, …)`: states of aggregation, which only ClickHouse creates.
//!
//! A row cannot hold a state: in the formats of inserts, ClickHouse reads only the bytes of the
//! state itself. Only a column that ClickHouse computes may have the type.

use std::ops::Range;

use {
    super::{ast::Type, error::TypeError, grammar::Grammar},
    crate::types::ast::DefaultKind,
};

use crate::types::ast::State;

enum Argument {
    Function(String),
    Type(Type),
}

impl Grammar<'_> {
    pub(super) fn state(&mut self, name: &Range<usize>) -> Option<Type> {
        let mut is_first = true;
        let arguments = self.arguments(name, |grammar| {
            if std::mem::take(&mut is_first) {
                grammar.function_text().map(Argument::Function)
            } else {
                grammar.data_type().map(Argument::Type)
            }
        })?;
        let mut items = arguments.items.into_iter().map(|(item, _)| item);
        let Some(Argument::Function(function)) = items.next() else {
            return self.wrong_count(name, arguments.span, "a function, and the types of its arguments");
        };
        let arguments = items.filter_map(|item| match item {
            Argument::Type(ty) => Some(ty),
            Argument::Function(_) => None,
        });
        Some(Type::AggregateFunction(State {
            function,
            arguments: arguments.collect(),
        }))
    }

    /// Reads `uniq`, `quantiles(0.5, 0.9)`.
    fn function_text(&mut self) -> Option<String> {
        let start = self.cursor.here().start;
        if self.element_name().is_none() {
            return self.problem(self.cursor.expected("the name of an aggregate function"));
        }
        self.cursor.enter("(");
        Some(self.cursor.slice(self.cursor.since(start)).to_owned())
    }
}

/// Checks that ClickHouse computes a column that holds states.
pub(super) fn is_computed(ty: &Type, kind: Option<DefaultKind>, span: &Range<usize>) -> Result<(), TypeError> {
    if !ty.holds_states() || matches!(kind, Some(DefaultKind::Materialized | DefaultKind::Alias)) {
        return Ok(());
    }
    let problem = TypeError::new(
        "aggregate-state",
        span.clone(),
        format!("an event cannot fill `{ty}`: only ClickHouse can create its values, which are states"),
    );
    Err(problem.help(
        "store the events in an ordinary table and fill this one with a materialized view, \
         or let ClickHouse compute the column: `MATERIALIZED initializeAggregation('…State', …)`",
    ))
}

impl Type {
    fn holds_states(&self) -> bool {
        match self {
            Self::AggregateFunction(_) => true,
            Self::Nullable(inner) | Self::LowCardinality(inner) | Self::Array(inner) => inner.holds_states(),
            Self::SimpleAggregateFunction(_, inner) => inner.holds_states(),
            Self::Map(key, value) => key.holds_states() || value.holds_states(),
            Self::Tuple(elements) => elements.iter().any(|(_, ty)| ty.holds_states()),
            Self::Nested(elements) => elements.iter().any(|(_, ty)| ty.holds_states()),
            Self::Variant(variants) => variants.iter().any(Self::holds_states),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::parse;

    #[test]
    fn only_computed_columns_have_states() {
        for (written, shown) in [
            (
                "AggregateFunction(uniq, VARCHAR) MATERIALIZED initializeAggregation('uniqState', email)",
                "AggregateFunction(uniq, String)",
            ),
            (
                "AggregateFunction(quantiles(0.5, 0.9),Float64) ALIAS x",
                "AggregateFunction(quantiles(0.5, 0.9), Float64)",
            ),
            ("AggregateFunction(count) MATERIALIZED x", "AggregateFunction(count)"),
        ] {
            assert_eq!(parse(written).unwrap().ty.to_string(), shown);
        }
        for (text, code) in [
            ("AggregateFunction(sum, UInt64)", "aggregate-state"),
            ("Array(AggregateFunction(sum, UInt64)) DEFAULT []", "aggregate-state"),
            ("AggregateFunction()", "type-arguments"),
            ("AggregateFunction(sum, Strng) ALIAS x", "unknown-type"),
            ("Nullable(AggregateFunction(sum, UInt8)) ALIAS x", "nullable-inner"),
        ] {
            assert_eq!(parse(text).unwrap_err()[0].code, code, "{text}");
        }
    }
}

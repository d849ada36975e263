//! `Dynamic`, `Dynamic(max_types = N)`: values of any type.

use std::ops::Range;

use super::{ast::Type, error::TypeError, grammar::Grammar, suggest};

use crate::types::ast::DEFAULT_MAX_TYPES;

const LARGEST_MAX_TYPES: u8 = 254;

const MAX_TYPES: &str = "max_types";

impl Grammar<'_> {
    pub(super) fn dynamic(&mut self, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, Self::max_types)?;
        match arguments.items.as_slice() {
            [] => Some(Type::Dynamic {
                max_types: DEFAULT_MAX_TYPES,
            }),
            [(max_types, _)] => Some(Type::Dynamic { max_types: *max_types }),
            _ => self.wrong_count(name, arguments.span, "at most one argument, `max_types = 32`"),
        }
    }

    fn max_types(&mut self) -> Option<u8> {
        let span = self.cursor.here();
        let name = self.element_name();
        if name.as_deref() != Some(MAX_TYPES) || !self.cursor.eat_sign('=') {
            let problem = TypeError::new("type-arguments", span, "expected `max_types = 32`");
            let closest = name.and_then(|name| suggest::closest(&name, [MAX_TYPES]));
            return self.problem(problem.did_you_mean(closest));
        }
        let start = self.cursor.here().start;
        let number = self.number()?;
        match u8::try_from(number) {
            Ok(number @ ..=LARGEST_MAX_TYPES) => Some(number),
            _ => {
                let message = format!("`{MAX_TYPES}` must be from 0 to {LARGEST_MAX_TYPES}, not {number}");
                self.problem(TypeError::new("type-range", self.cursor.since(start), message))
            }
        }
    }
}

//! The type before each value of a Dynamic
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/data-types-binary-encoding)).

use super::{Input, MalformedRow, data_type::DataType, text::put_text};

/// The depth of types in types. Events are not nested as deeply.
const MAX_DEPTH: usize = 128;

impl Input<'_> {
    /// Reads a type; `None` for that of NULL. The collector writes no other types than these.
    pub(super) fn dynamic_type(&mut self, depth: usize) -> Result<Option<DataType>, MalformedRow> {
        if depth > MAX_DEPTH {
            return Err(MalformedRow);
        }
        Ok(Some(match self.byte()? {
            0x00 => return Ok(None),
            0x04 => DataType::int(64, false),
            0x0a => DataType::int(64, true),
            0x0e => DataType::Float64,
            0x0f => DataType::Date,
            0x11 => DataType::DateTime,
            0x13 => DataType::DateTime64 {
                scale: self.byte()?.into(),
            },
            0x15 => DataType::String,
            0x1e => DataType::Array(Box::new(self.inner_type(depth)?)),
            0x20 => {
                let count = self.length()?;
                let mut elements = Vec::new();
                for _ in 0..count {
                    let mut key = Vec::new();
                    put_text(self.text()?, &mut key);
                    elements.push((key.into(), self.inner_type(depth)?));
                }
                DataType::NamedTuple(elements)
            }
            0x23 => DataType::Nullable(Box::new(self.inner_type(depth)?)),
            0x2b => {
                // The number of types that ClickHouse keeps apart.
                self.byte()?;
                DataType::Dynamic
            }
            0x2d => DataType::Bool,
            _ => return Err(MalformedRow),
        }))
    }

    fn inner_type(&mut self, depth: usize) -> Result<DataType, MalformedRow> {
        self.dynamic_type(depth + 1)?.ok_or(MalformedRow)
    }
}

//! The sharding key: an expression over columns that is computed from the bytes of a row.
//!
//! A key is one column of integers, or one of ClickHouse's
//! [hash functions](https://clickhouse.com/docs/sql-reference/functions/hash-functions) over columns.
//! The hash of an integer of up to 64 bits depends on the function; of a text it is that of its
//! bytes, and of any other value that of its bytes in RowBinary, which are ClickHouse's own.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use twox_hash::XxHash64;

use super::city_hash::{city_hash_64, hash_16};
use crate::{
    block::layout::{InsertTarget, TargetColumn},
    table::shape::ShapeBuf,
};

/// The largest number of columns of a key.
const MAX_COLUMNS: usize = 16;

/// The number that `intHash64` begins with.
const INT_HASH_SEED: u64 = 0x4cf2_d2ba_ae6d_a887;

/// The sharding key of a table, for the rows of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardingKey {
    function: Function,
    /// The values of a row up to the last one of the key.
    steps: Box<[Step]>,
    /// The arguments of the function, in their order.
    arguments: Box<[Value]>,
}

/// The function of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    /// The column's own number.
    Identity,
    CityHash64,
    IntHash64,
    SipHash64,
    XxHash64,
}

/// What a key does with the next values of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Skip(ShapeBuf),
    /// Skips this many bytes.
    SkipBytes(usize),
    /// The next value is this argument of the function.
    Take {
        argument: usize,
        width: Width,
        /// Whether a byte before the value states whether the column's DEFAULT replaces it.
        has_flag: bool,
    },
}

/// The length of a value in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fixed(usize),
    /// A length in LEB128 is before the value.
    Text,
}

/// The kind of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// An integer of up to 64 bits, or a type that ClickHouse stores as one.
    Unsigned,
    Signed,
    Bytes,
}

/// The reason why only ClickHouse can compute a sharding key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UnknownKey {
    /// The key is neither a column nor a known function of columns.
    Expression,
    /// The rows do not have this column, or have it as another type.
    Column(String),
    /// The column has a type that is not computed here.
    Type(String),
}

impl ShardingKey {
    /// Returns the key with this text, as ClickHouse writes it in the definition of a table, for the
    /// rows of `layout`. `types` are the table's columns with their types.
    ///
    /// # Errors
    /// Only ClickHouse can compute the key.
    pub(crate) fn parse(text: &str, layout: &InsertTarget, types: &[(String, String)]) -> Result<Self, UnknownKey> {
        let (function, names) = expression(text).ok_or(UnknownKey::Expression)?;
        let mut steps: Vec<Step> = Vec::new();
        let mut arguments = vec![None; names.len()];
        for column in &layout.columns {
            if arguments.iter().all(Option::is_some) {
                break;
            }
            let Some(argument) = names.iter().position(|name| *name == *column.name) else {
                skip_column(column, &mut steps)?;
                continue;
            };
            let of_table = types.iter().find(|(name, _)| *name == *column.name);
            if of_table.is_none_or(|(_, data_type)| *data_type != *column.data_type) {
                return Err(UnknownKey::Column(column.name.to_string()));
            }
            let data_type = inner_type(&column.data_type, "LowCardinality");
            let (value, width, has_flag) = column
                .shape
                .as_ref()
                .and_then(|shape| value_of(data_type, shape))
                .ok_or_else(|| UnknownKey::Type(column.data_type.to_string()))?;
            arguments[argument] = Some(value);
            steps.push(Step::Take {
                argument,
                width,
                has_flag,
            });
        }
        if let Some(missing) = arguments.iter().position(Option::is_none) {
            return Err(UnknownKey::Column(names[missing].clone()));
        }
        let arguments: Box<[Value]> = arguments.into_iter().flatten().collect();
        let needs_integer = matches!(function, Function::Identity | Function::IntHash64);
        if needs_integer && arguments[..] == [Value::Bytes] {
            return Err(UnknownKey::Expression);
        }
        Ok(Self {
            function,
            steps: steps.into(),
            arguments,
        })
    }

    /// Returns the key that is the xxHash64 of the bytes of one column, for the rows of `layout`. A
    /// row whose value is NULL has no key.
    ///
    /// # Errors
    /// The rows do not have the column, or it or a column before it has a type that is not computed
    /// here.
    pub(crate) fn of_column(name: &str, layout: &InsertTarget) -> Result<Self, UnknownKey> {
        let at = layout.columns.iter().position(|column| *column.name == *name);
        let at = at.ok_or_else(|| UnknownKey::Column(name.to_owned()))?;
        let (before, column) = (&layout.columns[..at], &layout.columns[at]);
        let mut steps = Vec::new();
        before.iter().try_for_each(|column| skip_column(column, &mut steps))?;
        let data_type = inner_type(&column.data_type, "LowCardinality");
        let data_type = inner_type(data_type, "Nullable");
        let (value, width, has_flag) = column
            .shape
            .as_ref()
            .and_then(|shape| value_of(data_type, shape))
            .ok_or_else(|| UnknownKey::Type(column.data_type.to_string()))?;
        steps.push(Step::Take {
            argument: 0,
            width,
            has_flag,
        });
        Ok(Self {
            function: Function::XxHash64,
            steps: steps.into(),
            arguments: [value].into(),
        })
    }

    /// Returns the key of a row; `None` if ClickHouse computes a value of it, since the row leaves the
    /// column to its DEFAULT.
    pub(crate) fn of(&self, row: &[u8]) -> Option<u64> {
        let mut values: [&[u8]; MAX_COLUMNS] = [&[]; MAX_COLUMNS];
        let mut rest = row;
        for step in &self.steps {
            match step {
                Step::SkipBytes(count) => rest = rest.get(*count..)?,
                Step::Skip(shape) => skip(shape, &mut rest)?,
                Step::Take {
                    argument,
                    width,
                    has_flag,
                } => {
                    if *has_flag && take_byte(&mut rest)? != 0 {
                        return None;
                    }
                    let length = match width {
                        Width::Fixed(length) => *length,
                        Width::Text => take_length(&mut rest)?,
                    };
                    values[*argument] = take(&mut rest, length)?;
                }
            }
        }
        let mut hashes = self
            .arguments
            .iter()
            .zip(values)
            .map(|(kind, value)| self.function.hash(*kind, value));
        let first = hashes.next()?;
        Some(hashes.fold(first, |left, right| self.function.combine(left, right)))
    }
}

impl Function {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "cityHash64" => Self::CityHash64,
            "intHash64" => Self::IntHash64,
            "sipHash64" => Self::SipHash64,
            "xxHash64" => Self::XxHash64,
            _ => return None,
        })
    }

    fn hash(self, kind: Value, value: &[u8]) -> u64 {
        match (self, kind) {
            // ClickHouse takes the remainder of a negative number as that of an unsigned one of its
            // width, but of at least 32 bits.
            (Self::Identity, Value::Signed) if value.len() < 4 => sign_extended(value) & u64::from(u32::MAX),
            (Self::Identity, _) => unsigned(value),
            (Self::IntHash64, Value::Signed) => int_hash_64(sign_extended(value)),
            (Self::IntHash64, _) | (Self::CityHash64, Value::Unsigned | Value::Signed) => int_hash_64(unsigned(value)),
            (Self::CityHash64, Value::Bytes) => city_hash_64(value),
            (Self::SipHash64, _) => sip_hash_64(value),
            (Self::XxHash64, _) => XxHash64::oneshot(0, value),
        }
    }

    /// Returns the hash of two values from their own.
    fn combine(self, left: u64, right: u64) -> u64 {
        match self {
            Self::SipHash64 => {
                let mut both = [0; 16];
                both[..8].copy_from_slice(&left.to_le_bytes());
                both[8..].copy_from_slice(&right.to_le_bytes());
                sip_hash_64(&both)
            }
            _ => hash_16(left, right),
        }
    }
}

fn sip_hash_64(value: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(value);
    hasher.finish()
}

/// ClickHouse's `intHash64`: the last mixing of MurmurHash3, of the number with a seed.
fn int_hash_64(number: u64) -> u64 {
    let mut hash = number ^ INT_HASH_SEED;
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn unsigned(value: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = value.len().min(8);
    bytes[..length].copy_from_slice(&value[..length]);
    u64::from_le_bytes(bytes)
}

fn sign_extended(value: &[u8]) -> u64 {
    let unused = 64 - 8 * value.len().clamp(1, 8);
    ((unsigned(value) << unused).cast_signed() >> unused).cast_unsigned()
}

/// Adds the step that skips a column.
fn skip_column(column: &TargetColumn, steps: &mut Vec<Step>) -> Result<(), UnknownKey> {
    let shape = column.shape.as_ref();
    let shape = shape.ok_or_else(|| UnknownKey::Type(column.data_type.to_string()))?;
    match (fixed_length(shape), steps.last_mut()) {
        (Some(length), Some(Step::SkipBytes(before))) => *before += length,
        (Some(length), _) => steps.push(Step::SkipBytes(length)),
        (None, _) => steps.push(Step::Skip(shape.clone())),
    }
    Ok(())
}

/// Returns the length of all values of a shape, if it is always the same.
fn fixed_length(shape: &ShapeBuf) -> Option<usize> {
    match shape {
        ShapeBuf::Fixed(width) => Some(*width),
        ShapeBuf::Tuple(elements) => elements.iter().map(fixed_length).sum(),
        ShapeBuf::WithDefaultFlag(value) => Some(1 + fixed_length(value)?),
        ShapeBuf::String | ShapeBuf::Nullable(_) | ShapeBuf::Array(_) => None,
    }
}

/// Returns the type within `wrapper`, or the type itself if it is not wrapped.
fn inner_type<'t>(data_type: &'t str, wrapper: &str) -> &'t str {
    let inner = data_type.strip_prefix(wrapper).and_then(|rest| rest.strip_prefix('('));
    inner.and_then(|inner| inner.strip_suffix(')')).unwrap_or(data_type)
}

/// Returns the kind and the length of the values of a type, and whether a flag is before each; `None`
/// for a type that is not computed here.
fn value_of(data_type: &str, shape: &ShapeBuf) -> Option<(Value, Width, bool)> {
    let name = data_type.split('(').next()?;
    let (shape, has_flag) = match shape {
        // A column with a DEFAULT has the shape of a Nullable one.
        ShapeBuf::Nullable(value) | ShapeBuf::WithDefaultFlag(value) => (&**value, true),
        shape => (shape, false),
    };
    let (kind, bytes) = match name {
        "UInt8" | "Bool" => (Value::Unsigned, 1),
        "UInt16" | "Date" => (Value::Unsigned, 2),
        "UInt32" | "DateTime" | "IPv4" => (Value::Unsigned, 4),
        "UInt64" => (Value::Unsigned, 8),
        "Int8" | "Enum8" => (Value::Signed, 1),
        "Int16" | "Enum16" => (Value::Signed, 2),
        "Int32" | "Date32" => (Value::Signed, 4),
        "Int64" => (Value::Signed, 8),
        "DateTime64" => (Value::Bytes, 8),
        "UInt128" | "Int128" | "UUID" | "IPv6" => (Value::Bytes, 16),
        "UInt256" | "Int256" => (Value::Bytes, 32),
        "FixedString" | "Decimal" => match shape {
            ShapeBuf::Fixed(width) => (Value::Bytes, *width),
            _ => return None,
        },
        "String" if *shape == ShapeBuf::String => return Some((Value::Bytes, Width::Text, has_flag)),
        _ => return None,
    };
    (*shape == ShapeBuf::Fixed(bytes)).then_some((kind, Width::Fixed(bytes), has_flag))
}

/// Reads a column, or a known function of different columns.
fn expression(text: &str) -> Option<(Function, Vec<String>)> {
    let mut rest = text.trim();
    let first = take_name(&mut rest)?;
    if rest.is_empty() {
        return Some((Function::Identity, vec![first]));
    }
    let function = Function::of_name(&first)?;
    rest = rest.strip_prefix('(')?;
    let mut names: Vec<String> = Vec::new();
    loop {
        rest = rest.trim_start();
        let name = take_name(&mut rest)?;
        if names.contains(&name) {
            return None;
        }
        names.push(name);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    let is_whole = rest.strip_prefix(')')?.trim().is_empty();
    let is_alone = function != Function::IntHash64 || names.len() == 1;
    (is_whole && is_alone && names.len() <= MAX_COLUMNS).then_some((function, names))
}

/// Takes a name as ClickHouse writes it: as it is, or in backticks.
fn take_name(text: &mut &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('`') else {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let (name, rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        *text = rest;
        return is_name.then(|| name.to_owned());
    };
    let mut name = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '`' => break,
            '\\' => name.push(chars.next().filter(|c| matches!(c, '\\' | '`' | '\''))?),
            c => name.push(c),
        }
    }
    *text = chars.as_str();
    Some(name)
}

/// Skips a value of this shape; `None` if the row is too short.
fn skip(shape: &ShapeBuf, rest: &mut &[u8]) -> Option<()> {
    match shape {
        ShapeBuf::Fixed(width) => take(rest, *width).map(drop),
        ShapeBuf::String => {
            let length = take_length(rest)?;
            take(rest, length).map(drop)
        }
        ShapeBuf::Nullable(value) => match take_byte(rest)? {
            0 => skip(value, rest),
            _ => Some(()),
        },
        ShapeBuf::WithDefaultFlag(value) => {
            take_byte(rest)?;
            skip(value, rest)
        }
        ShapeBuf::Tuple(elements) => elements.iter().try_for_each(|element| skip(element, rest)),
        ShapeBuf::Array(element) => {
            let count = take_length(rest)?;
            if let Some(length) = fixed_length(element) {
                return take(rest, length.checked_mul(count)?).map(drop);
            }
            (0..count).try_for_each(|_| skip(element, rest))
        }
    }
}

fn take<'r>(rest: &mut &'r [u8], length: usize) -> Option<&'r [u8]> {
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

/// Takes a length in LEB128.
fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = take_byte(rest)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(length);
        }
    }
    None
}

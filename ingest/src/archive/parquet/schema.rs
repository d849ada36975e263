//! The schema of the file: the type of each column, and the leaves to which its values go.

use std::sync::Arc;

use parquet::{
    basic::{LogicalType, Repetition, TimeUnit, Type as Physical},
    errors::ParquetError,
    schema::types::{ColumnPath, Type, TypePtr},
};

use super::{
    column::{Column, Node},
    leaf::{Kind, Leaf, Values},
};
use crate::{
    block::layout::{InsertTarget, TargetColumn},
    row_bytes::DataType,
    table::{Format, shape::ShapeBuf},
};

/// The columns of a file, and the leaves to which their values go.
#[derive(Debug)]
pub(super) struct FileSchema {
    pub(super) root: TypePtr,
    pub(super) columns: Vec<Column>,
    pub(super) leaves: Vec<Leaf>,
    /// The leaves whose least and largest values mean nothing to their readers.
    pub(super) without_statistics: Vec<ColumnPath>,
}

/// The reason why no row of a table can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) String);

impl FileSchema {
    /// Returns the schema for the rows of a target.
    ///
    /// # Errors
    /// The column whose type or form this build does not know.
    pub(super) fn of(target: &InsertTarget) -> Result<Self, Unsupported> {
        let format = Format::of_name(target.format());
        let has_flags = match format {
            Some(Format::RowBinary) => false,
            Some(Format::RowBinaryWithDefaults) => true,
            None => return Err(Unsupported(format!("rows in the format `{}`", target.format()))),
        };
        let mut builder = Builder::default();
        let mut fields = Vec::with_capacity(target.columns.len());
        let mut columns = Vec::with_capacity(target.columns.len());
        for column in &target.columns {
            let unsupported = |reason: &str| {
                let TargetColumn { name, data_type, .. } = column;
                Unsupported(format!("column `{name}` has the type {data_type}, {reason}"))
            };
            let data_type = DataType::parse(&column.data_type)
                .ok_or_else(|| unsupported("whose values this build does not know"))?;
            // Only ClickHouse knows the value that it computes.
            let is_computed = has_flags && !matches!(column.shape, Some(ShapeBuf::WithDefaultFlag(_)));
            let is_nullable = matches!(data_type, DataType::Nullable(_) | DataType::Geometry);
            let repetition = match is_computed && !is_nullable {
                true => Repetition::OPTIONAL,
                false => Repetition::REQUIRED,
            };
            let at = Place::default().below(repetition);
            let (field, node) = builder
                .field(&column.name, &data_type, at, &[])
                .map_err(|error| unsupported(&format!("which Parquet does not have: {error}")))?;
            fields.push(Arc::new(field));
            columns.push(Column {
                name: column.name.clone(),
                has_flag: has_flags,
                is_computed,
                definition: at.definition,
                node,
            });
        }
        let root = Type::group_type_builder("schema").with_fields(fields).build();
        Ok(Self {
            root: Arc::new(root.map_err(|error| Unsupported(error.to_string()))?),
            columns,
            leaves: builder.leaves,
            without_statistics: builder.without_statistics,
        })
    }
}

/// The place of a type in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    repetition: Repetition,
    /// The levels of a value here that is present.
    definition: i16,
    repetitions: i16,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            repetition: Repetition::REQUIRED,
            definition: 0,
            repetitions: 0,
        }
    }
}

impl Place {
    /// Returns the place of a field with this repetition.
    fn below(self, repetition: Repetition) -> Self {
        Self {
            repetition,
            definition: self.definition + i16::from(repetition != Repetition::REQUIRED),
            repetitions: self.repetitions + i16::from(repetition == Repetition::REPEATED),
        }
    }
}

/// A column without its nesting.
struct LeafType {
    physical: Physical,
    logical: Option<LogicalType>,
    kind: Kind,
    values: Values,
    has_statistics: bool,
}

impl LeafType {
    fn new(physical: Physical, logical: Option<LogicalType>, kind: Kind, values: Values) -> Self {
        Self {
            physical,
            logical,
            kind,
            values,
            has_statistics: true,
        }
    }

    fn without_statistics(self) -> Self {
        Self {
            has_statistics: false,
            ..self
        }
    }
}

#[derive(Default)]
struct Builder {
    leaves: Vec<Leaf>,
    without_statistics: Vec<ColumnPath>,
}

impl Builder {
    /// Returns the field of a type, and the node that fills its leaves. `above` has the names of the
    /// fields above.
    fn field(
        &mut self,
        name: &str,
        data_type: &DataType,
        at: Place,
        above: &[&str],
    ) -> Result<(Type, Node), ParquetError> {
        let path = [above, &[name]].concat();
        match data_type {
            DataType::Nullable(inner) => {
                let (field, node) = self.field(name, inner, at.below(Repetition::OPTIONAL), above)?;
                Ok((field, Node::Optional(Box::new(node))))
            }
            DataType::Array(element) => {
                let inner = at.below(Repetition::REPEATED);
                let path = [&*path, &["list"]].concat();
                let (field, node) = self.field("element", element, inner.below(Repetition::REQUIRED), &path)?;
                let list = group("list", Repetition::REPEATED, None, vec![field])?;
                let list = group(name, at.repetition, Some(LogicalType::List), vec![list])?;
                Ok((list, Node::list(node, inner.repetitions)))
            }
            DataType::Map(key, value) => {
                let inner = at.below(Repetition::REPEATED);
                let path = [&*path, &["key_value"]].concat();
                let place = inner.below(Repetition::REQUIRED);
                let (key, key_node) = self.field("key", key, place, &path)?;
                let (value, value_node) = self.field("value", value, place, &path)?;
                let pairs = group("key_value", Repetition::REPEATED, None, vec![key, value])?;
                let map = group(name, at.repetition, Some(LogicalType::Map), vec![pairs])?;
                Ok((
                    map,
                    Node::list(Node::Group(vec![key_node, value_node]), inner.repetitions),
                ))
            }
            DataType::Tuple(elements) => {
                let (mut fields, mut nodes) = (Vec::new(), Vec::new());
                for (index, element) in elements.iter().enumerate() {
                    let number = (index + 1).to_string();
                    let name = element.name.as_deref().unwrap_or(&number);
                    let (field, node) = self.field(name, &element.data_type, at.below(Repetition::REQUIRED), &path)?;
                    fields.push(field);
                    nodes.push(node);
                }
                Ok((group(name, at.repetition, None, fields)?, Node::Group(nodes)))
            }
            DataType::Geometry => {
                let at = at.below(Repetition::OPTIONAL);
                let leaf = self.leaf(name, data_type, at, &path)?;
                Ok((leaf, Node::Geometry(self.leaves.len() - 1)))
            }
            _ => {
                let leaf = self.leaf(name, data_type, at, &path)?;
                Ok((leaf, Node::Leaf(self.leaves.len() - 1)))
            }
        }
    }

    /// Adds a leaf, and returns its field.
    fn leaf(&mut self, name: &str, data_type: &DataType, at: Place, path: &[&str]) -> Result<Type, ParquetError> {
        let leaf = leaf_type(data_type)?;
        let mut field = Type::primitive_type_builder(name, leaf.physical)
            .with_repetition(at.repetition)
            .with_logical_type(leaf.logical);
        if let Values::Fixed { width, .. } = leaf.values {
            field = field.with_length(i32::try_from(width).map_err(|_| too_long(width))?);
        }
        if let DataType::Decimal { precision, scale } = data_type {
            field = field.with_precision((*precision).into()).with_scale((*scale).into());
        }
        if !leaf.has_statistics {
            let parts = path.iter().map(|part| (*part).to_owned());
            self.without_statistics.push(ColumnPath::new(parts.collect()));
        }
        self.leaves
            .push(Leaf::new(leaf.kind, leaf.values, at.definition, at.repetitions));
        field.build()
    }
}

fn too_long(width: usize) -> ParquetError {
    ParquetError::General(format!("{width} bytes are too many"))
}

fn group(
    name: &str,
    repetition: Repetition,
    logical: Option<LogicalType>,
    fields: Vec<Type>,
) -> Result<Type, ParquetError> {
    Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .with_fields(fields.into_iter().map(Arc::new).collect())
        .build()
}

/// Returns the leaf of a type without nesting.
fn leaf_type(data_type: &DataType) -> Result<LeafType, ParquetError> {
    let int32 = |logical, kind| LeafType::new(Physical::INT32, logical, kind, Values::Int32(Vec::new()));
    let int64 = |logical, kind| LeafType::new(Physical::INT64, logical, kind, Values::Int64(Vec::new()));
    let float = |kind| LeafType::new(Physical::FLOAT, None, kind, Values::Float(Vec::new()));
    let text = |logical, kind| LeafType::new(Physical::BYTE_ARRAY, Some(logical), kind, Values::texts());
    let fixed =
        |width, logical, kind| LeafType::new(Physical::FIXED_LEN_BYTE_ARRAY, logical, kind, Values::fixed(width));
    let moment = |unit, kind| int64(Some(LogicalType::timestamp(true, unit)), kind);
    Ok(match data_type {
        DataType::Bool => LeafType::new(Physical::BOOLEAN, None, Kind::Bool, Values::Bool(Vec::new())),
        DataType::Int { bits, is_signed } => {
            let (bytes, is_signed) = (usize::from(*bits) / 8, *is_signed);
            let kind = Kind::Int { bytes, is_signed };
            match (*bits, is_signed) {
                (32, true) => int32(None, kind),
                (64, true) => int64(None, kind),
                (64, false) => int64(Some(LogicalType::integer(64, false)), kind),
                (8, _) => int32(Some(LogicalType::integer(8, is_signed)), kind),
                (16, _) => int32(Some(LogicalType::integer(16, is_signed)), kind),
                (32, false) => int32(Some(LogicalType::integer(32, false)), kind),
                // The bytes have the lowest one first, which no reader compares as a number.
                _ => fixed(bytes, None, Kind::Fixed).without_statistics(),
            }
        }
        DataType::Interval => int64(None, Kind::Ticks(1)),
        DataType::Float32 => float(Kind::Float32),
        DataType::BFloat16 => float(Kind::BFloat16),
        DataType::Float64 => LeafType::new(Physical::DOUBLE, None, Kind::Float64, Values::Double(Vec::new())),
        DataType::Decimal { precision, scale } => {
            let logical = LogicalType::decimal((*scale).into(), (*precision).into());
            fixed(DataType::decimal_width(*precision), Some(logical), Kind::Reversed)
        }
        DataType::Date => int32(Some(LogicalType::Date), Kind::Date),
        DataType::Date32 => int32(
            Some(LogicalType::Date),
            Kind::Int {
                bytes: 4,
                is_signed: true,
            },
        ),
        DataType::DateTime => moment(TimeUnit::MILLIS, Kind::DateTime),
        DataType::DateTime64(digits) => {
            let (unit, unit_digits) = match digits {
                ..=3 => (TimeUnit::MILLIS, 3),
                ..=6 => (TimeUnit::MICROS, 6),
                _ => (TimeUnit::NANOS, 9_u8),
            };
            moment(
                unit,
                Kind::Ticks(10_i64.pow(unit_digits.saturating_sub(*digits).into())),
            )
        }
        DataType::String => text(LogicalType::String, Kind::String),
        DataType::FixedString(length) => fixed(*length, None, Kind::Fixed),
        DataType::Uuid => fixed(16, Some(LogicalType::Uuid), Kind::Uuid).without_statistics(),
        DataType::Ipv4 => int32(
            Some(LogicalType::integer(32, false)),
            Kind::Int {
                bytes: 4,
                is_signed: false,
            },
        ),
        DataType::Ipv6 => fixed(16, None, Kind::Fixed).without_statistics(),
        // The order of the names is not that of the numbers, by which ClickHouse compares.
        DataType::Enum(names) => text(LogicalType::Enum, Kind::Enum(names.clone())).without_statistics(),
        DataType::Json => text(LogicalType::Json, Kind::String).without_statistics(),
        DataType::Time | DataType::Time64(_) => {
            text(LogicalType::String, Kind::Time(data_type.clone())).without_statistics()
        }
        DataType::Geometry => {
            LeafType::new(Physical::BYTE_ARRAY, None, Kind::Geometry, Values::texts()).without_statistics()
        }
        DataType::Variant(_) | DataType::Dynamic | DataType::QBit(_) => {
            text(LogicalType::String, Kind::Json(data_type.clone())).without_statistics()
        }
        DataType::Nullable(_) | DataType::Array(_) | DataType::Map(..) | DataType::Tuple(_) => {
            return Err(ParquetError::General("a nested type is no leaf".to_owned()));
        }
    })
}

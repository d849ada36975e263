//! The door through which generated code reaches the runtime; nothing else is promised to it, and nothing here to anybody else.

pub use std::{
    borrow::Cow,
    default::Default,
    option::Option::{self, None, Some},
    primitive::str,
    result::Result::{self, Ok},
    vec::Vec,
};

pub use clickhouse::{self, Row as ClickHouseRow};
pub use serde::{self, Deserialize, Serialize};

pub use crate::{
    ack::{Ack, AckRule},
    enumeration,
    far_off_date::check_date,
    intake::{Intake, intake},
    layer::{Destination, EventLayer, Route, Routes},
    named_tuple,
    native::columns_of,
    rate::RateLimit,
    refusal::{Problem, Refusals},
    row::{DEFAULT, ExtraMut, Given, Input, Row, Rules, TypedTable, VALUE, at_most, encoded_bytes, level},
    stamp::{ServerValue, Stamp},
    table::{Column, ColumnKind, Format, Schema, Shape, Table},
    value::*,
    variant,
    writer::Writer,
    zone,
};

//! The interface of generated code to the runtime. Generated code relies on nothing else in this
//! crate, and no other code may rely on this module.

pub use clickhouse::{self, Row as ClickHouseRow};
pub use serde::{self, Deserialize, Serialize};

pub use crate::{
    ack::{Ack, AckPolicy},
    adapters::Adapter,
    answer::FixedAnswer,
    block::layout::columns_of,
    collect::{
        echo::{Echo, EchoToken},
        idempotency::{Idempotency, KeySource},
        item_path::ItemPath,
        own_paths::{Methods, OwnPaths},
        rate_limit::RateLimit,
        redirect_policy::RedirectPolicy,
        route::{Destination, Route, RouteOptions, Routes},
    },
    intake::{
        event::TableHandler,
        event_meta::{CollectorValue, EventMeta},
        far_off_date::check_date,
        insert::{check_max_bytes, check_pairs, is_same},
        intake,
        list::put_element,
        list_columns::ListColumns,
        owned::Owned,
        row::{
            DEFAULT, EventRules, ExtraMut, Input, PresentColumns, Row, TypedTable, VALUE, at_most, encoded_bytes,
            pad_nested,
        },
        unknown::UnknownKeyPolicy,
    },
    privacy::{AddressRule, PersonalColumn, Privacy, Salt, UserAgentRule},
    service::layer::{EventLayer, SchemaMismatch},
    table::{
        Column, ColumnKind, Dictionary, Format, Schema, Table, View,
        refusal::{InvalidColumns, ValueError},
        shape::Shape,
    },
    value::{IntoOwned, Unit},
    verify::{
        Verification,
        scheme::{Algorithm, BodyHmac, Encoding, Scheme},
        secret::SecretSource,
    },
    writer::Writer,
};

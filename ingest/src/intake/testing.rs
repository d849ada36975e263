//! A table for the tests of the walk and of whole requests, and its rows as text.

use std::{borrow::Cow, fmt::Write};

use crate::{
    intake::{
        event::Event,
        event_meta::EventMeta,
        rejection::Rejection,
        row::{EventRules, ExtraMut, Input, PresentColumns, Row, TypedTable},
        walk::decode,
    },
    table::{
        Column, ColumnKind, Format, Table,
        refusal::{InvalidColumns, ValueError},
        shape::Shape,
    },
    value::Encode,
};

const fn column(name: &'static str, data_type: &'static str) -> Column {
    Column::new(name, data_type, "", ColumnKind::Plain)
}

const ID: usize = 0;
const N: usize = 1;
const CITY: usize = 2;
const USER: usize = 3;
const TAGS: usize = 4;
const DOC: usize = 5;

/// The columns with a name of their own, and those of the extras.
static COLUMNS: [Column; 12] = [
    column("id", "UInt64").shaped(Shape::Fixed(8)),
    column("n", "Int8"),
    column("city", "String"),
    column("user", "Nullable(Int8)").nullable(),
    column("tags", "Array(String)"),
    column("doc", "JSON").accepting_objects(),
    column("extra.key", "Array(String)"),
    column("extra.value", "Array(String)"),
    column("page_extra.key", "Array(String)"),
    column("page_extra.value", "Array(String)"),
    column("td.key", "Array(String)"),
    column("td.value", "Array(String)"),
];

pub(crate) static TABLE: Table = Table::new("events", 0, &COLUMNS, "", Format::RowBinary);

/// The extras, and the paths below which they accept values.
const EXTRAS: [(&str, &str); 3] = [("extra", ""), ("page_extra", "page"), ("td", "td")];

type Texts<'a> = Vec<Cow<'a, str>>;

/// A row of [`TABLE`]; `STRICT` makes `city` and `user` required.
#[derive(Debug, Default)]
pub(crate) struct TestRow<'a, const STRICT: bool> {
    id: u64,
    n: i8,
    city: Cow<'a, str>,
    user: Option<i8>,
    tags: Vec<Cow<'a, str>>,
    doc: Cow<'a, str>,
    extras: [(Texts<'a>, Texts<'a>); EXTRAS.len()],
}

impl<const STRICT: bool> TypedTable for TestRow<'static, STRICT> {
    const TABLE: &'static Table = &TABLE;
    type Row<'a> = TestRow<'a, STRICT>;
}

impl<'a, const STRICT: bool> Row<'a> for TestRow<'a, STRICT> {
    fn column(&self, path: &str) -> Option<usize> {
        Some(match path {
            "n" => N,
            "address_city" | "address.city" => CITY,
            "user_id" | "user.id" | "account" => USER,
            "tags" => TAGS,
            "doc" => DOC,
            _ => return None,
        })
    }

    fn put(&mut self, column: usize, input: Input<'_, 'a>) -> Result<(), ValueError> {
        match (column, input) {
            (N, input) => input.read(&mut self.n),
            (CITY, input) => input.read(&mut self.city),
            (USER, input) => input.read(&mut self.user),
            (TAGS, input) => input.read(&mut self.tags),
            (_, Input::Json(reader)) => {
                self.doc = Cow::Borrowed(reader.raw_value()?);
                Ok(())
            }
            (_, Input::Text(text)) => {
                self.doc = text;
                Ok(())
            }
        }
    }

    fn extra_at(&self, path: &str) -> Option<usize> {
        EXTRAS.iter().position(|(_, known)| *known == path)
    }

    fn extra(&mut self, extra: usize) -> Option<ExtraMut<'_, 'a>> {
        let (keys, values) = self.extras.get_mut(extra)?;
        Some(ExtraMut { keys, values })
    }

    fn fill_metadata(&mut self, meta: &EventMeta<'a>, _present: &mut PresentColumns, _invalid: &mut InvalidColumns) {
        self.id = meta.id;
    }

    fn pad_nested(&mut self, _present: &PresentColumns, _invalid: &mut InvalidColumns) {}

    fn encode(&self, _present: &PresentColumns, out: &mut Vec<u8>) {
        self.id.put(out);
    }

    fn table(&self) -> &'static Table {
        &TABLE
    }

    fn complete(&mut self, _meta: &EventMeta<'a>, _invalid: &mut InvalidColumns) -> PresentColumns {
        PresentColumns::default()
    }

    fn rules(&self) -> &'static EventRules {
        const ALTERNATIVES: &[(usize, &[&str])] = &[(USER, &["user.id", "account"])];
        static LENIENT: EventRules = EventRules {
            alternatives: ALTERNATIVES,
            ..EventRules::DEFAULT
        };
        static STRICTLY: EventRules = EventRules {
            required: &[(CITY, "address.city"), (USER, "user.id")],
            alternatives: ALTERNATIVES,
            is_strict: true,
            ..EventRules::DEFAULT
        };
        if STRICT { &STRICTLY } else { &LENIENT }
    }
}

impl<const STRICT: bool> TestRow<'_, STRICT> {
    /// Returns the values of the columns that the event has, and of the extras.
    fn to_text(&self, present: &PresentColumns) -> String {
        assert!(!present.contains(ID));
        let mut text = String::new();
        let values = [
            (N, self.n.to_string()),
            (CITY, self.city.to_string()),
            (USER, self.user.map_or("NULL".to_owned(), |user| user.to_string())),
            (TAGS, self.tags.join("|")),
            (DOC, self.doc.to_string()),
        ];
        for (column, value) in values {
            if present.contains(column) {
                let _ = write!(text, "{}={value} ", COLUMNS[column].name);
            }
        }
        for ((name, _), (keys, values)) in EXTRAS.iter().zip(&self.extras) {
            assert_eq!(keys.len(), values.len());
            let pairs: Vec<_> = keys
                .iter()
                .zip(values)
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            if !pairs.is_empty() {
                let _ = write!(text, "{name}[{}] ", pairs.join(" "));
            }
        }
        text.trim_end().to_owned()
    }
}

/// Returns the text of the row that an event becomes.
pub(crate) fn row_text<const STRICT: bool>(event: &Event<'_>) -> Result<String, Rejection> {
    let mut row = TestRow::<STRICT>::default();
    let present = decode(&mut row, &TABLE, event, &mut 0)?;
    assert_eq!(row.id, event.meta.id);
    Ok(row.to_text(&present))
}

//! Event metadata: the collector's own values for an event, and the columns of these values.

use std::borrow::Cow;

use http::HeaderMap;
use jiff::Timestamp;

use crate::{
    fields::Fields,
    identify::{Project, header_text},
    intake::present_columns::PresentColumns,
    json::{self, Reader},
    request::automated::automated,
    table::{
        Column,
        refusal::{InvalidColumns, ValueError},
    },
    value::{Date, DateTime, DateTime64, Decode, Utc, Zone},
};

/// The channel of an event that came over a WebSocket.
pub(crate) const WEBSOCKET_CHANNEL: &str = "ws";

/// The collector's metadata of an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventMeta<'a> {
    /// The event's id: `(milliseconds since 1970) << 22 | node << 12 | sequence`. The lower 22 bits
    /// are 2 097 152 or more in a process without a node number.
    pub id: u64,
    /// The visitor's id.
    pub uid: u64,
    /// The event's time of arrival, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The channel that the event arrived by: `http` or `pixel`.
    pub channel: &'static str,
    /// The project that the request names.
    pub(crate) project: Project,
    /// The service, with its alias resolved.
    pub service: &'a str,
    /// The event's name as sent.
    pub name: &'a str,
    /// The client's address.
    pub ip: &'a str,
    /// The header User-Agent.
    pub user_agent: Option<&'a str>,
    /// The header Referer.
    pub referer: Option<&'a str>,
    /// The host that the client asked for, as a trusted proxy reports it.
    pub host: Option<&'a str>,
    /// The fingerprint of address and user agent; 0 without a user agent.
    pub fingerprint: u64,
    /// The headers of the request; `None` for a row without a request.
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The fields of the query; `None` for a row without a request.
    pub(crate) query: Option<&'a Fields<'a>>,
}

/// A value of an [`EventMeta`], for columns of a type other than the value's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after a value of EventMeta")]
pub enum CollectorValue {
    Id,
    Uid,
    Date,
    DateTime,
    Timestamp,
    Channel,
    ProjectId,
    Name,
    Service,
    Ip,
    UserAgent,
    Fingerprint,
    Referer,
    Automated,
}

const SECONDS_PER_DAY: u64 = 86_400;
const MS_PER_SECOND: u64 = 1_000;

impl<'a> EventMeta<'a> {
    /// Returns whether the event is recorded without its visitor's data.
    #[inline]
    pub fn is_anonymous(&self) -> bool {
        self.uid == 0 && self.headers.is_some()
    }

    /// Removes the visitor's data: uid, address, user agent and what follows from them.
    pub(crate) fn make_anonymous(&mut self) {
        self.uid = 0;
        self.ip = "";
        self.user_agent = None;
        self.fingerprint = 0;
    }

    /// Returns the day of arrival in UTC.
    #[inline]
    pub fn date(&self) -> Date {
        let days = self.unix_ms / (MS_PER_SECOND * SECONDS_PER_DAY);
        Date(u16::try_from(days).unwrap_or(u16::MAX))
    }

    /// Returns the second of arrival.
    #[inline]
    pub fn date_time(&self) -> DateTime<Utc> {
        DateTime::from_seconds(u32::try_from(self.unix_ms / MS_PER_SECOND).unwrap_or(u32::MAX))
    }

    /// Returns the millisecond of arrival, in a type of any precision and time zone.
    #[inline]
    pub fn date_time64<const P: u8, Z: Zone>(&self) -> DateTime64<P, Z> {
        const MS_DIGITS: u32 = 3;
        let ms = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
        let digits = u32::from(P);
        DateTime64::from_ticks(if digits < MS_DIGITS {
            ms / 10_i64.pow(MS_DIGITS - digits)
        } else {
            ms.saturating_mul(10_i64.pow(digits - MS_DIGITS))
        })
    }

    /// Returns the day of arrival in UTC as `YYYY-MM-DD`.
    pub fn date_text(&self) -> String {
        self.timestamp().strftime("%Y-%m-%d").to_string()
    }

    /// Returns the second of arrival in UTC as `YYYY-MM-DD hh:mm:ss`.
    pub fn date_time_text(&self) -> String {
        self.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Puts the project into a column of an integer type. For text that is not a number, the
    /// column keeps its default.
    #[inline]
    pub fn put_project<T: TryFrom<i128>>(&self, field: &mut T, column: &'static Column, invalid: &mut InvalidColumns) {
        let number = match self.project {
            Project::Missing => Some(0),
            Project::Whole(number) => Some(number),
            Project::Real(_) => None,
            Project::NotANumber => return,
        };
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => *field = number,
            None => {
                let got = self.project.to_text().unwrap_or_default();
                let error = match self.project {
                    Project::Real(number) if number.fract() != 0.0 => ValueError::NotAnInteger,
                    _ => ValueError::OutOfRange,
                };
                invalid.push(column, error, &got);
            }
        }
    }

    /// Puts a value into a column of another type, as if it had arrived as text. The column keeps its
    /// default if there is no value.
    pub fn put<T: Decode<'a>>(
        &self,
        value: CollectorValue,
        field: &mut T,
        column: &'static Column,
        invalid: &mut InvalidColumns,
    ) {
        if let Some(text) = self.text(value) {
            put_text(text, field, column, invalid);
        }
    }

    /// Like [`put`](Self::put), and adds the column, which has this index, to `present` if it has
    /// the value.
    pub fn put_asked<T: Decode<'a>>(
        &self,
        value: CollectorValue,
        field: &mut T,
        column: &'static Column,
        index: usize,
        present: &mut PresentColumns,
        invalid: &mut InvalidColumns,
    ) {
        if let Some(text) = self.text(value)
            && put_text(text, field, column, invalid)
        {
            present.insert(index);
        }
    }

    /// Puts the first header with this name, in lower case, into a column, and adds the column to
    /// `present`. Bytes that are not UTF-8 become U+FFFD. The column keeps its default if the header
    /// is missing or empty.
    pub fn put_header<T: Decode<'a>>(
        &self,
        name: &str,
        field: &mut T,
        column: &'static Column,
        index: usize,
        present: &mut PresentColumns,
        invalid: &mut InvalidColumns,
    ) {
        let value = self.headers.and_then(|headers| headers.get(name));
        if let Some(text) = value.map(header_text).filter(|text| !text.is_empty())
            && put_text(text, field, column, invalid)
        {
            present.insert(index);
        }
    }

    /// Puts the field of the query with this name into a column, and adds the column to `present`.
    /// The column keeps its default if the query has no such field.
    pub fn put_query<T: Decode<'a>>(
        &self,
        name: &str,
        field: &mut T,
        column: &'static Column,
        index: usize,
        present: &mut PresentColumns,
        invalid: &mut InvalidColumns,
    ) {
        let is_put = match self.query {
            None => false,
            Some(Fields::Flat(pairs)) => {
                let value = pairs.iter().find(|(known, _)| *known == name);
                value.is_some_and(|(_, text)| put_text(Cow::Borrowed(text), field, column, invalid))
            }
            // A tree is the text of one object.
            Some(Fields::Tree(tree)) => {
                let mut reader = Reader::new(tree.json());
                put_member(&mut reader, name, field, column, invalid).unwrap_or(false)
            }
        };
        if is_put {
            present.insert(index);
        }
    }

    /// Returns whether `value` repeats the metadata that the event has under `key`.
    pub(crate) fn matches(&self, key: &str, value: &str) -> bool {
        match key {
            "name" => value == self.name,
            "service" => value == self.service,
            // The uid of an anonymous event is not recorded under any name.
            "uid" => self.is_anonymous() || value.parse() == Ok(self.uid),
            "projectId" => self.project.is_written(value),
            _ => false,
        }
    }

    fn text(&self, value: CollectorValue) -> Option<Cow<'a, str>> {
        Some(match value {
            CollectorValue::Id => Cow::Owned(self.id.to_string()),
            CollectorValue::Uid => Cow::Owned(self.uid.to_string()),
            CollectorValue::Fingerprint => Cow::Owned(self.fingerprint.to_string()),
            CollectorValue::Timestamp => Cow::Owned(self.unix_ms.to_string()),
            CollectorValue::Date => Cow::Owned(self.date_text()),
            // With the offset, the text is the same moment in a column of any time zone.
            CollectorValue::DateTime => Cow::Owned(self.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            CollectorValue::ProjectId => self.project.to_text()?,
            CollectorValue::Channel => Cow::Borrowed(self.channel),
            CollectorValue::Name => Cow::Borrowed(self.name),
            CollectorValue::Service => Cow::Borrowed(self.service),
            CollectorValue::Ip if self.ip.is_empty() => return None,
            CollectorValue::Ip => Cow::Borrowed(self.ip),
            CollectorValue::UserAgent => Cow::Borrowed(self.user_agent?),
            CollectorValue::Referer => Cow::Borrowed(self.referer?),
            CollectorValue::Automated => Cow::Borrowed(self.headers.map_or("", automated)),
        })
    }

    fn timestamp(&self) -> Timestamp {
        let ms = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    }
}

/// Puts a text into a column; returns whether the text is a value of the column.
fn put_text<'a, T: Decode<'a>>(
    text: Cow<'a, str>,
    field: &mut T,
    column: &'static Column,
    invalid: &mut InvalidColumns,
) -> bool {
    match T::from_text(text.clone()) {
        Ok(value) => {
            *field = value;
            true
        }
        Err(error) => {
            invalid.push(column, error, &text);
            false
        }
    }
}

/// Puts a member of the object that `reader` is positioned at into a column; returns whether there
/// is a member with this name that is a value of the column.
fn put_member<'a, T: Decode<'a>>(
    reader: &mut Reader<'a>,
    name: &str,
    field: &mut T,
    column: &'static Column,
    invalid: &mut InvalidColumns,
) -> Result<bool, json::Error> {
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if key != name {
            reader.skip()?;
            continue;
        }
        let start = reader.position();
        return Ok(match T::from_json(reader) {
            Ok(value) => {
                *field = value;
                true
            }
            Err(error) => {
                reader.seek(start);
                invalid.push(column, error, reader.raw_value()?);
                false
            }
        });
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_arrival_has_any_precision() {
        let meta = EventMeta {
            unix_ms: 1_780_000_000_987,
            ..EventMeta::default()
        };
        assert_eq!(meta.date_time64::<0, Utc>().ticks(), 1_780_000_000);
        assert_eq!(meta.date_time64::<1, Utc>().ticks(), 17_800_000_009);
        assert_eq!(meta.date_time64::<3, Utc>().ticks(), 1_780_000_000_987);
        assert_eq!(meta.date_time64::<6, Utc>().ticks(), 1_780_000_000_987_000);
        assert_eq!(meta.date_time64::<9, Utc>().ticks(), 1_780_000_000_987_000_000);
    }
}

//! The tree under construction, and how two values under one name merge.

use std::{borrow::Cow, collections::HashMap};

use serde::{Serialize, Serializer};

use super::SCANNED;

/// A value of the tree under construction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    /// A key without a value, such as `c` in `a[b]=1&a=c`.
    Flag,
    /// `None` is a position that an index has skipped; serialization leaves it out.
    Array(Vec<Option<Value<'a>>>),
    Object(Box<Object<'a>>),
}

/// The values of an object by name, in the order of the names' first occurrence.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Object<'a> {
    pub(super) entries: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The position of each name, kept only above [`SCANNED`] entries. The map hashes with a random
    /// key, so no choice of names makes it slow.
    positions: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Object<'a> {
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        if self.entries.len() <= SCANNED {
            self.entries.iter().position(|(n, _)| n == name)
        } else {
            self.positions.get(name).copied()
        }
    }

    /// Adds a name that the object does not have yet.
    pub(super) fn push(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        self.entries.push((name, value));
        let indexed = if self.entries.len() <= SCANNED {
            self.entries.len()
        } else {
            self.positions.len()
        };
        for (at, (name, _)) in self.entries.iter().enumerate().skip(indexed) {
            self.positions.insert(name.clone(), at);
        }
    }

    fn merge_entry(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        match self.position(&name) {
            Some(at) => self.entries[at].1.merge(value),
            None => self.push(name, value),
        }
    }

    pub(super) fn merge(&mut self, source: Value<'a>) {
        match source {
            Value::Text(flag) => match self.position(&flag) {
                Some(at) => self.entries[at].1 = Value::Flag,
                None => self.push(flag, Value::Flag),
            },
            Value::Array(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    if let Some(item) = item {
                        self.merge_entry(Cow::Owned(at.to_string()), item);
                    }
                }
            }
            Value::Object(source) => {
                for (name, value) in source.entries {
                    self.merge_entry(name, value);
                }
            }
            // Merging creates flags; a source is never one.
            Value::Flag => {}
        }
    }
}

impl<'a> Value<'a> {
    /// Adds another value of the same name.
    pub(super) fn append(&mut self, value: Cow<'a, str>) {
        match self {
            Self::Array(items) => items.push(Some(Self::Text(value))),
            _ => *self = Self::Array(vec![Some(self.take()), Some(Self::Text(value))]),
        }
    }

    /// Merges `source`, which is later in the text, into `self`: one arm for each rule of `qs`.
    pub(super) fn merge(&mut self, source: Self) {
        match (&mut *self, source) {
            (_, Self::Text(text)) if text.is_empty() => {}
            (Self::Object(object), source) => object.merge(source),
            (Self::Array(items), Self::Text(text)) => items.push(Some(Self::Text(text))),
            (Self::Array(items), Self::Array(more)) => merge_items(items, more),
            (Self::Array(items), source) => {
                let mut object = Object::default();
                object.merge(Self::Array(std::mem::take(items)));
                object.merge(source);
                *self = Self::Object(Box::new(object));
            }
            (_, Self::Array(more)) => {
                *self = Self::Array([Some(self.take())].into_iter().chain(more).collect());
            }
            (_, source) => *self = Self::Array(vec![Some(self.take()), Some(source)]),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Flag)
    }

    const fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }
}

fn merge_items<'a>(items: &mut Vec<Option<Value<'a>>>, more: Vec<Option<Value<'a>>>) {
    for (at, item) in more.into_iter().enumerate() {
        let Some(item) = item else { continue };
        match items.get_mut(at) {
            Some(Some(old)) if old.is_nested() && item.is_nested() => old.merge(item),
            Some(Some(_)) => items.push(Some(item)),
            Some(slot) => *slot = Some(item),
            None => {
                items.resize_with(at, || None);
                items.push(Some(item));
            }
        }
    }
}

/// Returns an object with one entry.
pub(super) fn keyed<'a>(name: Cow<'a, str>, value: Value<'a>) -> Value<'a> {
    let entries = vec![(name, value)];
    Value::Object(Box::new(Object {
        entries,
        ..Object::default()
    }))
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag => serializer.serialize_bool(true),
            Self::Array(items) => serializer.collect_seq(items.iter().flatten()),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

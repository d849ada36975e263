//! Walks an event: each value goes into its column, or into the nearest extra above it.

mod hidden;

use std::{borrow::Cow, collections::HashSet};

use crate::{
    arena::Arena,
    fields::{Fields, Names},
    intake::{
        duplicate_keys::DuplicateKeys,
        event::Event,
        list::ListWalk,
        list_columns::is_same_path,
        path::Path,
        rejection::Rejection,
        reserved::ReservedKeys,
        row::{PresentColumns, Row},
        row_builder::RowBuilder,
        unknown::is_of_the_collector,
    },
    json::{self, Kind, Reader},
    request::body::Payload,
    table::Table,
    value::js_string,
};

/// Decodes an event, fills in its metadata and checks the row; the same code serves all tables.
/// Sets `unknown_keys` to the number of keys to count.
///
/// # Errors
///
/// Any [`Rejection`] except [`Rejection::SpoolFull`].
pub(super) fn decode<'a>(
    row: &mut dyn Row<'a>,
    table: &'static Table,
    event: &Event<'a>,
    unknown_keys: &mut u32,
) -> Result<PresentColumns, Rejection> {
    let row = RowBuilder::new(row, table);
    let mut walk = Walk {
        path: Path::new_in(event.arena),
        reserved: ReservedKeys {
            meta: &event.meta,
            table,
            are_owned: row.owns_reserved_keys(),
        },
        row,
        is_query: false,
        arena: event.arena,
    };
    let root = Scope {
        extra: walk.row.extra_at(""),
        relative_from: 0,
        is_root: true,
    };
    let names = event.query.names();
    let overridden_by = (!names.is_empty()).then_some(&names);
    let payload = match event.hiding {
        [] => event.payload,
        hiding => walk.unhidden(event.payload, hiding, root, overridden_by)?,
    };
    match payload {
        Payload::Empty | Payload::Batch { .. } => {}
        Payload::Json(text) => {
            let kind = walk.document(text, root, overridden_by).map_err(Rejection::Syntax)?;
            if kind != Kind::Object {
                return Err(Rejection::NotAnObject(kind));
            }
        }
        Payload::Item { text, shared } => {
            walk.shared(shared, text, root, overridden_by)
                .map_err(Rejection::Syntax)?;
            let kind = walk.document(text, root, overridden_by).map_err(Rejection::Syntax)?;
            if kind != Kind::Object {
                return Err(Rejection::NotAnObject(kind));
            }
        }
        Payload::Form(fields) => walk.fields(fields, root, overridden_by).map_err(Rejection::Syntax)?,
    }
    walk.is_query = true;
    walk.fields(event.query, root, None).map_err(Rejection::Syntax)?;
    *unknown_keys = walk.row.unknown_keys();
    walk.row.finish(&event.meta)
}

/// The state of a walk over one event.
struct Walk<'r, 'a> {
    row: RowBuilder<'r, 'a>,
    path: Path<'a>,
    reserved: ReservedKeys<'r, 'a>,
    /// Whether the walk has reached the query.
    is_query: bool,
    arena: &'a Arena,
}

/// The destination of a value.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Column(usize),
    /// The value is an object whose fields have destinations.
    Scope,
    Extra,
    Ignored,
    /// No column and no extra reads the value; it may be a list of objects for array columns.
    Unread,
}

/// The object that is being walked.
#[derive(Debug, Clone, Copy)]
struct Scope {
    /// The nearest extra.
    extra: Option<usize>,
    /// The position in a path where the part relative to that extra begins.
    relative_from: usize,
    is_root: bool,
}

impl<'a> Walk<'_, 'a> {
    /// Walks a whole document and returns its kind; only an object has fields.
    fn document(&mut self, text: &'a str, root: Scope, overridden_by: Option<&Names<'_>>) -> Result<Kind, json::Error> {
        let mut reader = Reader::new_in(text, self.arena);
        reader.set_lenient(self.row.is_lenient());
        let kind = reader.peek()?;
        match kind {
            Kind::Object => self.object(&mut reader, root, overridden_by)?,
            _ => reader.skip()?,
        }
        reader.end()?;
        Ok(kind)
    }

    /// Walks fields that an event shares with others, except those that it has itself.
    fn shared(
        &mut self,
        shared: &'a [(&'a str, &'a str)],
        event: &'a str,
        root: Scope,
        overridden_by: Option<&Names<'_>>,
    ) -> Result<(), json::Error> {
        if shared.is_empty() {
            return Ok(());
        }
        let own = keys_of(event, self.arena);
        let is_kept = |name: &str| !own.contains(name) && !overridden_by.is_some_and(|names| names.contains(name));
        let shared = shared.iter().copied().filter(|(name, _)| is_kept(name));
        self.document(object_of(shared, self.arena), root, None).map(drop)
    }

    /// Walks the fields of a query or a form, except those that `overridden_by` contains, too.
    ///
    /// # Errors
    ///
    /// [`PathsTooLong`](json::ErrorKind::PathsTooLong).
    fn fields(
        &mut self,
        fields: &'a Fields<'a>,
        root: Scope,
        overridden_by: Option<&Names<'_>>,
    ) -> Result<(), json::Error> {
        match fields {
            Fields::Flat(pairs) => {
                let is_kept = |name: &str| !overridden_by.is_some_and(|names| names.contains(name));
                for (name, value) in pairs.iter().filter(|(name, _)| is_kept(name)) {
                    self.text(name, value, root);
                }
                Ok(())
            }
            Fields::Tree(tree) => self.document(tree.json(), root, overridden_by).map(drop),
        }
    }

    /// Walks one field of a query or a form.
    fn text(&mut self, name: &'a str, value: &'a str, root: Scope) {
        match self.row.find_column(name) {
            Some(column) => self.row.put_text(column, name, value),
            None if self.reserved.is_array_of_extra(name) || self.reserved.is_repetition(name, value) => {}
            None if self.is_query && self.row.takes_from_query(name) => {}
            None => match self.row.extra(root.extra) {
                Some(mut extra) => extra.push(Cow::Borrowed(name), Cow::Borrowed(value)),
                None => self.unread_text(name),
            },
        }
    }

    /// Walks a field without a column and without an extra.
    #[cold]
    fn unread_text(&mut self, name: &str) {
        if !is_of_the_collector(name, self.reserved.meta, self.reserved.table) {
            self.row.find_unknown(name);
        }
    }

    fn object(
        &mut self,
        reader: &mut Reader<'a>,
        scope: Scope,
        overridden_by: Option<&Names<'_>>,
    ) -> Result<(), json::Error> {
        let mut duplicates = DuplicateKeys::new_in(self.arena);
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            if overridden_by.is_some_and(|names| names.contains(&key)) {
                reader.skip()?;
            } else {
                self.entry(key, reader, scope, &mut duplicates)?;
            }
        }
        Ok(())
    }

    // `object` is the only caller, so the compiler inlines this function. A call for each field costs
    // an event 4 %.
    #[inline]
    fn entry(
        &mut self,
        key: Cow<'a, str>,
        reader: &mut Reader<'a>,
        scope: Scope,
        duplicates: &mut DuplicateKeys<'a>,
    ) -> Result<(), json::Error> {
        let parent_length = self.path.len();
        if !scope.is_root {
            self.path.push(&key);
        }
        let path = if scope.is_root { &*key } else { self.path.as_str() };
        let kind = reader.peek()?;
        let result = match self.slot(path, kind, scope, reader)? {
            Slot::Column(column) => self.row.put_json(column, path, kind, reader),
            Slot::Scope => {
                let below = self.enter(&key, scope);
                self.object(reader, below, None)
            }
            Slot::Extra => self.put_extra(key, reader, scope, parent_length, duplicates),
            Slot::Ignored => reader.skip(),
            Slot::Unread => self.unread(&key, kind, reader, scope),
        };
        self.path.pop_to(parent_length);
        result
    }

    /// Returns the destination of a value of this kind; `reader` is positioned at the value.
    #[inline]
    fn slot(&self, path: &str, kind: Kind, scope: Scope, reader: &Reader<'a>) -> Result<Slot, json::Error> {
        if let Some(index) = self.row.find_column(path) {
            return Ok(match kind {
                // A column without NULL gets its default, as if the event had no value for it.
                Kind::Null if !self.row.column(index).is_nullable => Slot::Ignored,
                Kind::Object if !self.row.column(index).accepts_object => Slot::Scope,
                _ => Slot::Column(index),
            });
        }
        Ok(match kind {
            Kind::Object => Slot::Scope,
            _ if scope.is_root && self.is_query && self.row.takes_from_query(path) => Slot::Ignored,
            _ if scope.extra.is_none() && self.row.rules().skips_unknown_values() => Slot::Ignored,
            _ if scope.extra.is_none() => Slot::Unread,
            _ if scope.is_root && self.reserved.is_array_of_extra(path) => Slot::Ignored,
            Kind::String | Kind::Number if scope.is_root && self.reserved.is_json_repetition(path, reader)? => {
                Slot::Ignored
            }
            _ => Slot::Extra,
        })
    }

    /// Walks a value without a column and without an extra.
    #[cold]
    #[inline(never)]
    fn unread(&mut self, key: &str, kind: Kind, reader: &mut Reader<'a>, scope: Scope) -> Result<(), json::Error> {
        let path = if scope.is_root { key } else { self.path.as_str() };
        let mut lists = self.row.rules().lists.iter();
        match lists.find(|list| is_same_path(list.path, path)) {
            Some(list) if kind == Kind::Array && is_list_of_objects(reader)? => {
                if scope.is_root {
                    self.path.push_first(key);
                }
                return ListWalk::new(&mut self.row, &mut self.path, list).walk(reader);
            }
            Some(_) if kind == Kind::Null => return reader.skip(),
            _ => {}
        }
        let is_known = scope.is_root
            && (is_of_the_collector(key, self.reserved.meta, self.reserved.table)
                || self.reserved.is_array_of_extra(key));
        if !is_known {
            self.row.find_unknown(path);
        }
        reader.skip()
    }

    /// Enters the object under `key`.
    fn enter(&mut self, key: &str, above: Scope) -> Scope {
        if above.is_root {
            self.path.push_first(key);
        }
        // Only the collector writes to the extra `td`; a client's values below `td` go to the extra
        // above it, under their whole path.
        let is_td = above.is_root && key == "td" && !self.reserved.are_owned;
        let extra = if is_td {
            None
        } else {
            self.row.extra_at(self.path.as_str())
        };
        Scope {
            extra: extra.or(above.extra),
            // Skips the `_` after the extra's path.
            relative_from: if extra.is_some() {
                self.path.len() + 1
            } else {
                above.relative_from
            },
            is_root: false,
        }
    }

    fn put_extra(
        &mut self,
        key: Cow<'a, str>,
        reader: &mut Reader<'a>,
        scope: Scope,
        parent_length: usize,
        duplicates: &mut DuplicateKeys<'a>,
    ) -> Result<(), json::Error> {
        let value = js_string(reader)?;
        let is_whole_key = scope.is_root || scope.relative_from == parent_length + 1;
        let key = if is_whole_key {
            key
        } else {
            let at = reader.position().at();
            let relative = self.path.relative(scope.relative_from);
            relative.map_err(|kind| json::Error { at, kind })?
        };
        if let Some(mut extra) = self.row.extra(scope.extra) {
            match duplicates.find_or_insert(&key, extra.keys, extra.keys.len()) {
                Some(index) => extra.values[index] = value,
                None => extra.push(key, value),
            }
        }
        Ok(())
    }
}

/// Returns the object with these members: names, and values that are JSON.
fn object_of<'a>(members: impl Iterator<Item = (&'a str, &'a str)>, arena: &'a Arena) -> &'a str {
    let mut object = String::from("{");
    for (name, value) in members {
        if object.len() > 1 {
            object.push(',');
        }
        json::write_string(&mut object, name);
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    arena.alloc_str(&object)
}

/// Returns the keys of an object, as far as the text is one.
fn keys_of<'a>(object: &'a str, arena: &'a Arena) -> HashSet<Cow<'a, str>> {
    let mut keys = HashSet::new();
    let mut reader = Reader::new_in(object, arena);
    let mut read = || -> Result<(), json::Error> {
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            keys.insert(key);
            reader.skip_unchecked()?;
        }
        Ok(())
    };
    // The decoder reports the error.
    let _ = read();
    keys
}

/// Returns whether the array that `reader` is positioned at is empty, or begins with an object or a
/// null.
fn is_list_of_objects(reader: &Reader<'_>) -> Result<bool, json::Error> {
    let mut reader = reader.clone();
    reader.begin_array()?;
    Ok(!reader.next_element()? || matches!(reader.peek()?, Kind::Object | Kind::Null))
}

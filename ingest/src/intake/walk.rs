//! Walks an event: each value goes into its column, or into the nearest extra above it.

use std::{borrow::Cow, collections::HashMap};

use bumpalo::collections::{String as BumpString, Vec as BumpVec};

use crate::{
    arena::Arena,
    fields::{Fields, Names},
    intake::{
        event::{Event, Reason},
        row::{EventRules, Input, PresentColumns, Row},
        stamp::EventMeta,
    },
    json::{self, ErrorKind, Kind, Reader},
    request::body::Payload,
    table::{
        Table,
        refusal::{InvalidColumns, ValueError},
    },
    value::js_string,
};

/// The keys of an event that the collector's values override.
///
/// A client's value under such a key goes to the extra, unless it only repeats the collector's
/// value.
const RESERVED: [&str; 10] = [
    "channel",
    "date",
    "dateTime",
    "id",
    "name",
    "projectId",
    "service",
    "td",
    "timestamp",
    "uid",
];

/// The maximum size of the paths that one event's extras contain, in bytes. Each leaf of an object
/// has the object's whole path, so without a limit, a long key above many leaves would make a row
/// thousands of times as large as its event.
const MAX_COPIED_BYTES: usize = 1 << 20;

/// Decodes an event, fills in its metadata and checks the row; the same code serves all tables.
pub(super) fn decode<'a>(
    row: &mut dyn Row<'a>,
    table: &'static Table,
    event: &Event<'a>,
) -> Result<PresentColumns, Reason> {
    let mut walk = EventVisitor {
        rules: row.rules(),
        row,
        table,
        stamp: &event.stamp,
        given: PresentColumns::default(),
        refusals: InvalidColumns::default(),
        ranks: Vec::new(),
        path: BumpString::new_in(event.arena),
        arena: event.arena,
        copied_bytes: 0,
    };
    let root = Scope {
        extra: walk.row.extra_at(""),
        relative_from: 0,
        is_root: true,
    };
    let names = event.query.names();
    let over = (!names.is_empty()).then_some(&names);
    match event.payload {
        Payload::Empty | Payload::Lines(_) => {}
        Payload::Json(text) => match walk.document(text, root, over).map_err(Reason::Syntax)? {
            Kind::Object => {}
            other => return Err(Reason::NotAnObject(other)),
        },
        Payload::Form(fields) => walk.fields(fields, root, over),
    }
    walk.fields(event.query, root, None);

    walk.row.stamp(&event.stamp, &mut walk.refusals);
    if let Some(host) = event.stamp.host
        && let Some(mut extra) = walk.row.extra_at("td").and_then(|extra| walk.row.extra(extra))
    {
        extra.push(Cow::Borrowed("host"), Cow::Borrowed(host));
    }
    walk.row.level(&walk.given, &mut walk.refusals);
    walk.row.check_dates(&event.stamp, &walk.given, &mut walk.refusals);
    walk.refuse_missing();
    if walk.refusals.is_empty() {
        Ok(walk.given)
    } else {
        Err(Reason::Refused(walk.refusals.into_vec()))
    }
}

/// The state of a walk over one event.
struct EventVisitor<'r, 'a> {
    row: &'r mut dyn Row<'a>,
    rules: &'static EventRules,
    table: &'static Table,
    stamp: &'r EventMeta<'a>,
    given: PresentColumns,
    refusals: InvalidColumns,
    /// For columns with alternatives, the rank of the path whose value was put last.
    ranks: Vec<(usize, usize)>,
    /// The path of the current object; empty at the root.
    path: BumpString<'a>,
    arena: &'a Arena,
    /// The number of path bytes that were copied into extras.
    copied_bytes: usize,
}

/// The destination of a value.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Column(usize),
    /// The value is an object whose fields have destinations.
    Scope,
    Extra,
    Nowhere,
}

/// The rank of a null; any other value of the event for the column replaces it.
const LAST_RANK: usize = usize::MAX;

/// The object that is being walked.
#[derive(Debug, Clone, Copy)]
struct Scope {
    /// The nearest extra.
    extra: Option<usize>,
    /// The position in a path where the part relative to that extra begins.
    relative_from: usize,
    is_root: bool,
}

impl<'a> EventVisitor<'_, 'a> {
    /// Walks a whole document and returns its kind; only an object has fields.
    fn document(&mut self, text: &'a str, root: Scope, over: Option<&Names<'_>>) -> Result<Kind, json::Error> {
        let mut reader = Reader::new_in(text, self.arena);
        let kind = reader.peek()?;
        match kind {
            Kind::Object => self.object(&mut reader, root, over)?,
            _ => reader.skip()?,
        }
        reader.end()?;
        Ok(kind)
    }

    /// Walks the fields of a query or a form, except those that `over` contains, too.
    fn fields(&mut self, fields: &'a Fields<'a>, root: Scope, over: Option<&Names<'_>>) {
        match fields {
            Fields::Flat(pairs) => {
                let is_kept = |name: &str| !over.is_some_and(|over| over.contains(name));
                for (name, value) in pairs.iter().filter(|(name, _)| is_kept(name)) {
                    self.text(name, value, root);
                }
            }
            Fields::Tree(tree) => {
                let result = self.document(tree.json(), root, over);
                debug_assert!(result.is_ok(), "the tree of fields is JSON of our own");
            }
        }
    }

    fn text(&mut self, name: &'a str, value: &'a str, root: Scope) {
        match self.row.column(name) {
            Some(column) => {
                if !self.takes(column, self.rules.rank(column, name)) {
                    return;
                }
                match self.row.put(column, Input::Text(Cow::Borrowed(value))) {
                    Ok(()) => self.given.insert(column),
                    Err(problem) => self.refusals.push(&self.table.columns[column], problem, value),
                }
            }
            None if self.is_part_of_extra(name) => {}
            None if self.is_repetition(name, || Some(Cow::Borrowed(value))) => {}
            None => {
                if let Some(mut extra) = root.extra.and_then(|extra| self.row.extra(extra)) {
                    extra.push(Cow::Borrowed(name), Cow::Borrowed(value));
                }
            }
        }
    }

    fn object(&mut self, reader: &mut Reader<'a>, branch: Scope, over: Option<&Names<'_>>) -> Result<(), json::Error> {
        let mut repeats = DuplicateKeys::new(self.arena);
        reader.begin_object()?;
        while let Some(key) = reader.next_key()? {
            if over.is_some_and(|over| over.contains(&key)) {
                reader.skip()?;
            } else {
                self.entry(key, reader, branch, &mut repeats)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn entry(
        &mut self,
        key: Cow<'a, str>,
        reader: &mut Reader<'a>,
        branch: Scope,
        repeats: &mut DuplicateKeys<'a>,
    ) -> Result<(), json::Error> {
        let parent_length = self.path.len();
        if !branch.is_root {
            self.path.push('_');
            self.path.push_str(&key);
        }
        let path = if branch.is_root { &*key } else { &self.path };
        let kind = reader.peek()?;
        let result = match self.place(path, kind, branch, reader)? {
            Slot::Column(column) => {
                let rank = self.rules.rank(column, path);
                let rank = rank.map(|rank| if kind == Kind::Null { LAST_RANK } else { rank });
                self.put(column, rank, reader)
            }
            Slot::Scope => {
                let below = self.branch(&key, branch);
                self.object(reader, below, None)
            }
            Slot::Extra => self.put_extra(key, reader, branch, parent_length, repeats),
            Slot::Nowhere => reader.skip(),
        };
        if self.path.len() > parent_length {
            self.path.truncate(parent_length);
        }
        result
    }

    /// Returns the destination of a value of this kind; `reader` is positioned at the value.
    #[inline]
    fn place(&self, path: &str, kind: Kind, branch: Scope, reader: &Reader<'a>) -> Result<Slot, json::Error> {
        if let Some(index) = self.row.column(path) {
            let column = || &self.table.columns[index];
            return Ok(match kind {
                // A column without NULL gets its default, as if the event had no value for it.
                Kind::Null if !column().is_nullable => Slot::Nowhere,
                Kind::Object if !column().takes_object => Slot::Scope,
                _ => Slot::Column(index),
            });
        }
        Ok(match kind {
            Kind::Object => Slot::Scope,
            _ if branch.extra.is_none() => Slot::Nowhere,
            _ if branch.is_root && self.is_part_of_extra(path) => Slot::Nowhere,
            Kind::String | Kind::Number if branch.is_root && self.is_repeated_json(path, reader)? => Slot::Nowhere,
            _ => Slot::Extra,
        })
    }

    /// Enters the object under `key`.
    fn branch(&mut self, key: &str, above: Scope) -> Scope {
        if above.is_root {
            self.path.push_str(key);
        }
        // Only the collector writes to the extra `td`; a client's values below `td` go to the extra
        // above it, under their whole path.
        let is_ours = above.is_root && key == "td";
        let extra = if is_ours { None } else { self.row.extra_at(&self.path) };
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

    fn put(&mut self, column: usize, rank: Option<usize>, reader: &mut Reader<'a>) -> Result<(), json::Error> {
        if !self.takes(column, rank) {
            return reader.skip();
        }
        let start = reader.position();
        match self.row.put(column, Input::Json(reader)) {
            Ok(()) => self.given.insert(column),
            Err(ValueError::Syntax(error)) => return Err(error),
            Err(problem) => {
                reader.seek(start);
                let got = reader.raw_value()?;
                self.refusals.push(&self.table.columns[column], problem, got);
            }
        }
        Ok(())
    }

    /// Returns whether a value of this rank goes into the column. It does not if the event already
    /// had a value of a better rank.
    fn takes(&mut self, column: usize, rank: Option<usize>) -> bool {
        let Some(rank) = rank else { return true };
        match self.ranks.iter_mut().find(|(known, _)| *known == column) {
            Some((_, best)) if *best < rank => return false,
            Some((_, best)) if *best == rank => {}
            Some((_, best)) => {
                *best = rank;
                self.refusals.retract(&self.table.columns[column]);
            }
            None => self.ranks.push((column, rank)),
        }
        true
    }

    fn put_extra(
        &mut self,
        key: Cow<'a, str>,
        reader: &mut Reader<'a>,
        branch: Scope,
        parent_length: usize,
        repeats: &mut DuplicateKeys<'a>,
    ) -> Result<(), json::Error> {
        let value = js_string(reader)?;
        let is_whole_key = branch.is_root || branch.relative_from == parent_length + 1;
        let key = if is_whole_key {
            key
        } else {
            let relative = &self.path[branch.relative_from..];
            self.copied_bytes += relative.len();
            if self.copied_bytes > MAX_COPIED_BYTES {
                let at = reader.position().at();
                return Err(json::Error {
                    at,
                    kind: ErrorKind::PathsTooLong,
                });
            }
            Cow::Borrowed(self.arena.alloc_str(relative))
        };
        if let Some(mut extra) = branch.extra.and_then(|extra| self.row.extra(extra)) {
            match repeats.find_or_note(&key, extra.keys, extra.keys.len()) {
                Some(place) => extra.values[place] = value,
                None => extra.push(key, value),
            }
        }
        Ok(())
    }

    /// Reports each required column that the event lacks; an invalid value does not count as
    /// missing.
    fn refuse_missing(&mut self) {
        for (index, path) in self.rules.required {
            let column = &self.table.columns[*index];
            if !self.given.contains(*index) && !self.refusals.has(column) {
                self.refusals.push(column, ValueError::Missing(path), "");
            }
        }
    }

    /// Returns whether a key names an array of an extra; only the collector fills these.
    fn is_part_of_extra(&self, key: &str) -> bool {
        (key.ends_with("extra.key") || key.ends_with("extra.value"))
            && self.table.columns.iter().any(|column| column.name == key)
    }

    /// Returns whether a reserved key only repeats the collector's value.
    fn is_repetition(&self, key: &str, value: impl FnOnce() -> Option<Cow<'a, str>>) -> bool {
        RESERVED.contains(&key) && value().is_some_and(|value| self.stamp.says(key, &value))
    }

    /// Like [`is_repetition`](Self::is_repetition), for the string or number that `reader` is
    /// positioned at.
    fn is_repeated_json(&self, key: &str, reader: &Reader<'a>) -> Result<bool, json::Error> {
        if !RESERVED.contains(&key) {
            return Ok(false);
        }
        let value = js_string(&mut reader.clone())?;
        Ok(self.stamp.says(key, &value))
    }
}

/// The keys that one object has added to extras, so that the last duplicate wins, as in JavaScript.
#[derive(Debug)]
struct DuplicateKeys<'a> {
    few: BumpVec<'a, usize>,
    many: HashMap<Cow<'a, str>, usize>,
}

impl<'a> DuplicateKeys<'a> {
    /// Up to this number, keys are compared one by one; a hash table pays off above.
    const FEW: usize = 16;

    fn new(arena: &'a Arena) -> Self {
        Self {
            few: BumpVec::new_in(arena),
            many: HashMap::new(),
        }
    }

    /// Returns the index of `key` in `keys` if this object has added it before; otherwise notes
    /// `place` for it.
    #[expect(
        clippy::ptr_arg,
        reason = "a key that is borrowed from the event stays borrowed in the table"
    )]
    fn find_or_note(&mut self, key: &Cow<'a, str>, keys: &[Cow<'a, str>], place: usize) -> Option<usize> {
        if self.few.len() < Self::FEW {
            let found = self.few.iter().copied().find(|place| keys[*place] == *key);
            if found.is_none() {
                self.few.push(place);
            }
            return found;
        }
        if self.many.is_empty() {
            self.many = self.few.iter().map(|place| (keys[*place].clone(), *place)).collect();
        }
        let found = self.many.get(key).copied();
        if found.is_none() {
            self.many.insert(key.clone(), place);
        }
        found
    }
}

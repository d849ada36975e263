//! The long form of a column: its type under one key, and the modifiers of the short form under
//! others.
//!
//! [`LongColumn::complete`] appends the modifiers to the type's text and parses all as one
//! declaration, so that every rule of a declaration holds for both forms. It reports a problem in
//! the value that has it. The event keys are separate, as a declaration has none.

use std::{mem, ops::Range};

use crate::{
    diagnostic::Diagnostic,
    source::{Sources, Span},
    types::{self, Declaration, DefaultKind, Filler},
    yaml::{Key, Node, Value},
};
use {
    super::{DeclarationReader, EventKeys, RustNames, documentation::Documentation, options::OPTION_KEYS},
    crate::declare::value::truncation_help,
};

/// The keys of a column.
pub(crate) const COLUMN_KEYS: [&str; 21] = [
    "alias",
    "codec",
    "comment",
    "default",
    "deprecated",
    "ephemeral",
    "example",
    "from",
    "materialized",
    "max_age",
    "max_ahead",
    "max_bytes",
    "owner",
    "pii",
    "required",
    "rust",
    "strict",
    "ttl",
    "type",
    "unit",
    "was",
];

/// A modifier that has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Modifier {
    Codec,
    Default(DefaultKind),
    Ttl,
}

impl Modifier {
    /// Returns the text before and after the key's value in a declaration.
    const fn affixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Codec => ("CODEC(", ")"),
            Self::Default(DefaultKind::Default) => ("DEFAULT ", ""),
            Self::Default(DefaultKind::Materialized) => ("MATERIALIZED ", ""),
            Self::Default(DefaultKind::Alias) => ("ALIAS ", ""),
            Self::Default(DefaultKind::Ephemeral) => ("EPHEMERAL ", ""),
            Self::Ttl => ("TTL ", ""),
        }
    }

    /// Returns the modifier's text in a declaration.
    fn text_in(self, declaration: &Declaration) -> Option<&str> {
        match self {
            Self::Codec => declaration.codec.as_deref(),
            Self::Default(_) => declaration.default.as_ref().map(|default| default.text.as_str()),
            Self::Ttl => declaration.ttl.as_deref(),
        }
    }

    /// Returns the message for a modifier that is set twice.
    const fn duplicate_message(self) -> &'static str {
        match self {
            Self::Codec => "this column has two CODECs",
            Self::Default(_) => "a column can have only one of DEFAULT, MATERIALIZED, ALIAS and EPHEMERAL",
            Self::Ttl => "this column has two TTLs",
        }
    }
}

/// The parts of a column other than its type.
#[derive(Debug, Default)]
pub(super) struct LongColumn {
    comment: Option<(String, Span)>,
    event: EventKeys,
    /// The earlier names of the column.
    was: Vec<Key>,
    /// The names in Rust.
    rust: RustNames,
    documentation: Documentation,
    pieces: Vec<Piece>,
}

/// A key with a modifier.
#[derive(Debug)]
struct Piece {
    modifier: Modifier,
    key: Key,
    node: Node,
    /// The value without the white space around it; empty for an EPHEMERAL without an expression.
    text: String,
}

impl DeclarationReader<'_> {
    /// Splits the keys of a column into its type and the other parts; returns `None` if there is no
    /// type.
    pub(super) fn long_column(&mut self, entries: Vec<(Key, Node)>, name: &Key) -> Option<(Node, LongColumn)> {
        let known_problems = self.report.found();
        let is_known = |key: &str| types::closest(key, COLUMN_KEYS).is_some();
        if !entries.iter().any(|(key, _)| is_known(&key.text)) {
            let diagnostic = Diagnostic::error("not-a-type", format!("column `{}` has no type", name.text))
                .label(name.span.clone(), "");
            let is_option = |(key, _): &(Key, Node)| OPTION_KEYS.contains(&key.text.as_str());
            let is_table = entries.iter().any(|(key, _)| key.text == "_options");
            self.report.push(if is_table {
                diagnostic.help("indent the table as deep as the table around it")
            } else if entries.iter().any(is_option) {
                diagnostic.help("did you mean `_options`?")
            } else if name.text == "columns" {
                diagnostic.help("write the columns directly under the table")
            } else {
                let diagnostic = diagnostic.help(format!("write `{}: {{ type: …, comment: … }}`", name.text));
                match entries.first().map(|(part, _)| format!("{}_{}", name.text, part.text)) {
                    Some(part) => diagnostic.help(format!("for an object, write a column for each part: `{part}: …`")),
                    None => diagnostic,
                }
            });
            return None;
        }
        let mut ty = None;
        let mut long = LongColumn::default();
        for (key, node) in entries {
            let modifier = match key.text.as_str() {
                "type" => {
                    ty = Some(node);
                    continue;
                }
                "comment" => {
                    long.comment = self.text(node, "the comment");
                    continue;
                }
                "required" | "from" | "max_age" | "max_ahead" | "max_bytes" | "strict" | "unit" => {
                    self.event_key(key, node, &mut long.event);
                    continue;
                }
                "deprecated" | "example" | "owner" => {
                    self.documentation(&key, node, &mut long.documentation);
                    continue;
                }
                "pii" => {
                    long.event.personal = self.personal(node, &key);
                    continue;
                }
                "was" => {
                    long.was = self.earlier_names(node);
                    continue;
                }
                "rust" => {
                    long.rust = self.rust_names(node);
                    continue;
                }
                "codec" => Modifier::Codec,
                "default" => Modifier::Default(DefaultKind::Default),
                "materialized" => Modifier::Default(DefaultKind::Materialized),
                "alias" => Modifier::Default(DefaultKind::Alias),
                "ephemeral" => Modifier::Default(DefaultKind::Ephemeral),
                "ttl" => Modifier::Ttl,
                _ => {
                    self.unknown_key(&key, "a column", &COLUMN_KEYS);
                    continue;
                }
            };
            if let Some(text) = self.piece(modifier, &key, &node) {
                long.pieces.push(Piece {
                    modifier,
                    key,
                    node,
                    text,
                });
            }
        }
        if ty.is_none() && self.report.found() == known_problems {
            let diagnostic = Diagnostic::error("not-a-type", format!("column `{}` has no type", name.text));
            self.report
                .push(diagnostic.label(name.span.clone(), "").help("add `type: …`"));
        }
        Some((ty?, long))
    }

    /// Reads the earlier names of a column: one, or a list of them.
    fn earlier_names(&mut self, node: Node) -> Vec<Key> {
        let nodes = match node.value {
            Value::List(nodes) => nodes,
            _ => vec![node],
        };
        let names = nodes.into_iter().filter_map(|node| self.text(node, "an earlier name"));
        names.map(|(text, span)| Key { text, span }).collect()
    }

    fn piece(&mut self, modifier: Modifier, key: &Key, node: &Node) -> Option<String> {
        let diagnostic = match &node.value {
            Value::Text(text) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Value::Null | Value::Text(_) if modifier == Modifier::Default(DefaultKind::Ephemeral) => {
                return Some(String::new());
            }
            Value::Text(_) => Diagnostic::error("type-syntax", format!("`{}` is empty", key.text)),
            other => Diagnostic::error(
                "not-a-text",
                format!("`{}` must be a string, not {}", key.text, other.kind()),
            ),
        };
        let diagnostic = diagnostic.label(node.span.clone().or(&key.span), "");
        self.report.push(match (&node.value, modifier) {
            (Value::Null, Modifier::Default(_)) => diagnostic.help("for the NULL of SQL, write `\"NULL\"`"),
            (Value::Text(_), Modifier::Default(_)) => diagnostic.help("for the empty string, write `\"''\"`"),
            _ => diagnostic,
        });
        None
    }
}

impl LongColumn {
    /// Moves the event keys out.
    pub(super) fn take_event(&mut self) -> EventKeys {
        mem::take(&mut self.event)
    }

    /// Moves the documentation out.
    pub(super) fn take_documentation(&mut self) -> Documentation {
        mem::take(&mut self.documentation)
    }

    /// Moves the earlier names out.
    pub(super) fn take_was(&mut self) -> Vec<Key> {
        mem::take(&mut self.was)
    }

    /// Moves the names in Rust out.
    pub(super) fn take_rust(&mut self) -> RustNames {
        mem::take(&mut self.rust)
    }

    /// Adds the parts under other keys to `short`, the declaration that `ty` holds alone.
    pub(super) fn complete(
        mut self,
        short: Declaration,
        ty: &Node,
        sources: &Sources,
        filler: Filler,
    ) -> Result<Declaration, Vec<Diagnostic>> {
        let twice = self.duplicate_modifiers(&short, ty, sources);
        if !twice.is_empty() {
            return Err(twice);
        }
        let Value::Text(type_text) = &ty.value else {
            return Ok(short);
        };
        // The modifier with brackets is first and the one that may be empty is last, so that the
        // parser cannot read one as the beginning of the next.
        self.pieces.sort_by_key(|piece| match piece.modifier {
            Modifier::Codec => 0,
            Modifier::Ttl => 1,
            Modifier::Default(_) => 2,
        });
        let (text, places) = self.append_to(type_text);
        let mut declaration = types::parse_filled_by(filler, &text).map_err(|errors| {
            let placed = errors.into_iter().map(|error| {
                // At the border of two pieces, the problem belongs to the one that begins last
                // before it.
                let (node, range) = self
                    .pieces
                    .iter()
                    .zip(&places)
                    .map(|(piece, place)| (&piece.node, &place.whole, &place.value))
                    .rfind(|(_, whole, _)| whole.start <= error.span.start)
                    .map_or((ty, 0..type_text.len()), |(node, _, value)| (node, value.clone()));
                let diagnostic =
                    Diagnostic::error(error.code, error.message).label(within(node, &range, &error.span, sources), "");
                let help = truncation_help(node, sources).map(str::to_owned).or(error.help);
                help.into_iter().fold(diagnostic, Diagnostic::help)
            });
            placed.collect::<Vec<_>>()
        })?;
        for modifier in [Modifier::Default(DefaultKind::Default), Modifier::Ttl] {
            if modifier
                .text_in(&short)
                .is_some_and(|text| modifier.text_in(&declaration) != Some(text))
            {
                let end = type_text.len();
                let span = ty.span_within(sources, end..end);
                return Err(vec![incomplete_value("type", span)]);
            }
        }
        for piece in &self.pieces {
            piece
                .is_complete(&declaration, sources)
                .map_err(|problem| vec![problem])?;
        }
        if let Some((comment, _)) = self.comment {
            declaration.comment = Some(comment);
        }
        Ok(declaration)
    }

    /// Appends the pieces to a type; returns the whole text, and the place of each piece in it.
    fn append_to(&self, ty: &str) -> (String, Vec<Place>) {
        let mut text = ty.to_owned();
        let places = self
            .pieces
            .iter()
            .map(|piece| {
                let (before, after) = piece.modifier.affixes();
                // A new line for each piece, as the text before it may end in a comment.
                text.push('\n');
                let whole_start = text.len();
                text.push_str(before);
                let value_start = text.len();
                text.push_str(&piece.text);
                let value = value_start..text.len();
                text.push_str(after);
                Place {
                    whole: whole_start..text.len(),
                    value,
                }
            })
            .collect();
        (text, places)
    }

    /// Finds modifiers that are set under two keys, or under a key and after the type.
    fn duplicate_modifiers(&self, short: &Declaration, ty: &Node, sources: &Sources) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut twice = |message: &str, here: Span, there: Span| {
            problems.push(
                Diagnostic::error("modifier-conflict", message)
                    .label(here, "")
                    .label(there, "the other one")
                    .help("remove one of them"),
            );
        };
        if let (Some((_, span)), Some(_)) = (&self.comment, &short.comment) {
            twice("this column has two COMMENTs", span.clone(), ty.span.clone());
        }
        for (index, piece) in self.pieces.iter().enumerate() {
            let is_default = |modifier| matches!(modifier, Modifier::Default(_));
            let first = self.pieces[..index]
                .iter()
                .find(|first| is_default(first.modifier) && is_default(piece.modifier));
            if let Some(first) = first {
                twice(
                    piece.modifier.duplicate_message(),
                    piece.key.span.clone(),
                    first.key.span.clone(),
                );
            } else if piece.modifier.text_in(short).is_some() {
                let there = match &short.default {
                    Some(default) if is_default(piece.modifier) => ty.span_within(sources, default.span.clone()),
                    _ => ty.span.clone(),
                };
                twice(piece.modifier.duplicate_message(), piece.key.span.clone(), there);
            }
        }
        problems
    }
}

/// The place of a piece after the type, and of the value within the piece.
struct Place {
    whole: Range<usize>,
    value: Range<usize>,
}

impl Piece {
    /// Checks that the parser consumed exactly this value for this modifier.
    fn is_complete(&self, declaration: &Declaration, sources: &Sources) -> Result<(), Diagnostic> {
        let read = self.modifier.text_in(declaration).unwrap_or_default();
        if self.text.is_empty() || read == self.text {
            return Ok(());
        }
        let length = self.text.len();
        let at = |span: Range<usize>| within(&self.node, &(0..length), &span, sources);
        Err(match self.text.strip_prefix(read) {
            None => incomplete_value(&self.key.text, at(length..length)),
            Some(rest) => {
                let start = length - rest.trim_start().len();
                Diagnostic::error(
                    "type-syntax",
                    format!("unexpected text after the value of `{}`", self.key.text),
                )
                .label(at(start..length), "")
                .help("a key has one value; write every other modifier under its own key, or after the type")
            }
        })
    }
}

fn incomplete_value(key: &str, end: Span) -> Diagnostic {
    Diagnostic::error("type-syntax", format!("the value of `{key}` is incomplete"))
        .label(end, "an operand is missing here")
}

/// Returns the place in the file of `span` of the declaration, clamped to `value`, the part that
/// `node` holds.
fn within(node: &Node, value: &Range<usize>, span: &Range<usize>, sources: &Sources) -> Span {
    let untrimmed = match &node.value {
        Value::Text(text) => text.len() - text.trim_start().len(),
        _ => 0,
    };
    let at = |byte: usize| byte.clamp(value.start, value.end) - value.start + untrimmed;
    node.span_within(sources, at(span.start)..at(span.end))
}

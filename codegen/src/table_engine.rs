//! Table engines: parses the text of `engine:` and the clauses after it, and translates the old
//! MergeTree form.

use std::ops::Range;

use crate::{source::Span, sql::Sql};

/// A table engine: its name, its arguments and the clauses after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) name: Sql,
    /// The text between the parentheses; `None` if there are no parentheses.
    pub(crate) arguments: Option<Sql>,
    pub(crate) clauses: Clauses,
}

/// Without this setting, a plain MergeTree forgets deduplication tokens. By default, a block closes
/// after a second, or earlier if it is full, so a window of a thousand blocks outlasts each retry
/// that no operator pauses.
const OWN_WINDOW: &[(&str, &str)] = &[("non_replicated_deduplication_window", "1000")];

/// Replicas share their window. Some versions end it after an hour; the second setting makes it a
/// week.
const SHARED_WINDOW: &[(&str, &str)] = &[
    ("replicated_deduplication_window", "10000"),
    ("replicated_deduplication_window_seconds", "604800"),
];

const CLAUSES: [&str; 6] = [
    "PARTITION BY",
    "PRIMARY KEY",
    "ORDER BY",
    "SAMPLE BY",
    "TTL",
    "SETTINGS",
];

impl Engine {
    /// Parses `Name`, `Name(arguments)` and both with clauses after them.
    ///
    /// # Errors
    /// Returns a message for the user if there is no name, if the parentheses do not match, or if
    /// unknown text follows the arguments.
    pub(crate) fn parse(written: &Sql) -> Result<Self, String> {
        let text = written.as_str();
        let start = text.len() - text.trim_start().len();
        let name_end = text[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .map_or(text.len(), |length| start + length);
        if name_end == start {
            return Err("an engine must begin with its name".to_owned());
        }
        let open = text.len() - text[name_end..].trim_start().len();
        let (arguments, rest) = if text[open..].starts_with('(') {
            let end = open + 1 + closing(&text[open + 1..]).ok_or("the engine's parentheses are unbalanced")?;
            (Some(written.part(trimmed(text, open + 1..end))), end + 1)
        } else {
            (None, open)
        };
        let mut engine = Self {
            name: written.part(start..name_end),
            arguments,
            clauses: clauses(&written.part(trimmed(text, rest..text.len())))?,
        };
        engine.translate_old_form();
        Ok(engine)
    }

    /// Returns an engine without arguments and clauses.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: Sql::unplaced(name),
            arguments: None,
            clauses: Clauses::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Returns the arguments, each without the space around it.
    pub(crate) fn arguments(&self) -> Vec<Sql> {
        self.arguments.as_ref().map(split_arguments).unwrap_or_default()
    }

    /// Returns whether the engine is of the MergeTree family, which has keys and parts.
    pub(crate) fn is_merge_tree(&self) -> bool {
        self.name().ends_with("MergeTree")
    }

    /// Returns whether the engine keeps rows only in memory before it passes them on.
    pub(crate) fn is_buffer(&self) -> bool {
        self.name() == "Buffer"
    }

    /// Returns the name of the table that a Distributed engine passes its rows on to.
    pub(crate) fn distributed_to(&self) -> Option<String> {
        let arguments = (self.name() == "Distributed").then(|| self.arguments())?;
        let name = arguments.get(2)?.as_str();
        Some(name.trim_matches(['\'', '`', '"']).to_owned())
    }

    /// Splits the arguments into those of replication (path and replica) and those of the engine's
    /// kind.
    pub(crate) fn own_arguments(&self) -> (Vec<Sql>, Vec<Sql>) {
        let mut replica = self.arguments();
        let texts = replica
            .iter()
            .take(2)
            .take_while(|argument| argument.as_str().starts_with('\''))
            .count();
        // The argument of a GraphiteMergeTree is itself a text.
        let is_replica = self.is_replicated() && (texts == 2 || self.kind() != "GraphiteMergeTree");
        let own = replica.split_off(if is_replica { texts } else { 0 });
        (replica, own)
    }

    /// Returns the name without a replication prefix: `ReplicatedSummingMergeTree` is a
    /// `SummingMergeTree`.
    pub(crate) fn kind(&self) -> &str {
        let name = self.name();
        ["Replicated", "Shared"]
            .into_iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name)
    }

    /// Returns whether a merge of parts may combine several rows into one.
    pub(crate) fn merges_rows(&self) -> bool {
        self.is_merge_tree() && self.kind() != "MergeTree"
    }

    /// Makes an engine of the MergeTree family replicated, at ClickHouse's default path in Keeper,
    /// which has the macro of the shard.
    pub(crate) fn replicate(&mut self) {
        if self.is_merge_tree() && !self.is_replicated() {
            self.name = self.name.surrounded("Replicated", "");
        }
    }

    /// Returns whether the engine itself remembers the blocks that it has received, across
    /// replicas.
    pub(crate) fn is_replicated(&self) -> bool {
        self.name().starts_with("Replicated") || self.name().starts_with("Shared")
    }

    /// Returns the settings that let a table remember the blocks that it has received. ClickHouse
    /// Cloud sets them for a Shared engine.
    pub(crate) fn deduplication_settings(&self) -> &'static [(&'static str, &'static str)] {
        match self.is_merge_tree() {
            true if !self.is_replicated() => OWN_WINDOW,
            true if self.name().starts_with("Replicated") => SHARED_WINDOW,
            _ => &[],
        }
    }

    /// Translates `MergeTree(date, [sample,] (key, …), 8192[, …])`, which ClickHouse no longer
    /// accepts, into modern clauses: parts by month of the date, the key as the sorting key, the
    /// granularity as a setting.
    fn translate_old_form(&mut self) {
        if !self.is_merge_tree() {
            return;
        }
        let arguments = self.arguments();
        // A number after the key marks the old form. A Replicated engine has its two texts before
        // all of this.
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let Some(granularity) = arguments.iter().position(|argument| is_number(argument.as_str())) else {
            return;
        };
        let texts = arguments
            .iter()
            .take_while(|argument| argument.as_str().starts_with('\''))
            .count();
        let (key, sample) = match granularity.checked_sub(texts) {
            Some(2) => (&arguments[texts + 1], None),
            Some(3) => (&arguments[texts + 2], Some(&arguments[texts + 1])),
            _ => return,
        };
        let old = Clauses {
            partition_by: Some(arguments[texts].surrounded("toYYYYMM(", ")")),
            order_by: Some(key.clone()),
            sample_by: sample.cloned(),
            settings: vec![Setting {
                name: "index_granularity".to_owned(),
                value: arguments[granularity].as_str().to_owned(),
                span: arguments[granularity].whole_span(),
            }],
            ..Clauses::default()
        };
        let mut kept = arguments[..texts].to_vec();
        kept.extend_from_slice(&arguments[granularity + 1..]);
        self.clauses.inherit(&old);
        self.arguments = (!kept.is_empty()).then(|| {
            let list = Sql::list(&kept);
            list.part(1..list.as_str().len() - 1)
        });
    }
}

/// Parses the clauses after an engine.
fn clauses(written: &Sql) -> Result<Clauses, String> {
    let text = written.as_str();
    let begins_at = |at: usize| {
        let is_word_start = at == 0 || text[..at].ends_with(char::is_whitespace);
        CLAUSES.iter().copied().filter(|_| is_word_start).find(|clause| {
            text.get(at..at + clause.len())
                .is_some_and(|word| word.eq_ignore_ascii_case(clause))
                && text[at + clause.len()..].starts_with(|c: char| c.is_whitespace() || c == '(')
        })
    };
    let starts: Vec<(usize, &str)> = outside_quotes(text)
        .filter(|(_, _, depth)| *depth == 0)
        .filter_map(|(at, _, _)| Some((at, begins_at(at)?)))
        .collect();
    let first = starts.first().map_or(text.len(), |(at, _)| *at);
    if first > 0 {
        return Err(format!("unknown clause `{}` of the engine", text[..first].trim()));
    }
    let mut clauses = Clauses::default();
    for (index, (at, clause)) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let body = written.part(trimmed(text, at + clause.len()..end));
        match *clause {
            "PARTITION BY" => clauses.partition_by = Some(body),
            "PRIMARY KEY" => clauses.primary_key = Some(body),
            "ORDER BY" => clauses.order_by = Some(body),
            "SAMPLE BY" => clauses.sample_by = Some(body),
            "TTL" => clauses.ttl = Some(body),
            _ => {
                for setting in split_arguments(&body) {
                    let (name, value) = setting
                        .as_str()
                        .split_once('=')
                        .ok_or_else(|| format!("invalid setting `{setting}`: write `name = value`"))?;
                    clauses.settings.push(Setting {
                        name: name.trim().to_owned(),
                        value: value.trim().to_owned(),
                        span: setting.span(&(0..name.trim().len())),
                    });
                }
            }
        }
    }
    Ok(clauses)
}

/// Returns the characters outside of quotes, each with its byte offset and the number of brackets
/// open around it. An unmatched closing bracket has depth -1.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char, isize)> {
    let (mut depth, mut quote) = (0, None);
    text.char_indices().filter_map(move |(at, c)| {
        match (quote, c) {
            (Some(open), c) => {
                if open == c {
                    quote = None;
                }
                return None;
            }
            (None, '\'' | '`' | '"') => {
                quote = Some(c);
                return None;
            }
            (None, '(' | '[') => {
                depth += 1;
                return Some((at, c, depth - 1));
            }
            (None, ')' | ']') => depth -= 1,
            _ => {}
        }
        Some((at, c, depth))
    })
}

/// Returns the offset of the parenthesis that closes the one opened before `text`.
fn closing(text: &str) -> Option<usize> {
    outside_quotes(text)
        .find(|(_, c, depth)| *c == ')' && *depth < 0)
        .map(|(at, _, _)| at)
}

/// Splits at the commas outside of brackets and quotes.
pub(crate) fn split_arguments(written: &Sql) -> Vec<Sql> {
    let text = written.as_str();
    let commas: Vec<usize> = outside_quotes(text)
        .filter(|(_, c, depth)| *c == ',' && *depth == 0)
        .map(|(at, _, _)| at)
        .collect();
    if commas.is_empty() && text.trim().is_empty() {
        return Vec::new();
    }
    let starts = std::iter::once(0).chain(commas.iter().map(|comma| comma + 1));
    let ends = commas.iter().copied().chain([text.len()]);
    starts
        .zip(ends)
        .map(|(start, end)| written.part(trimmed(text, start..end)))
        .collect()
}

/// Returns the range without the white space at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

/// The clauses after the engine in the DDL; expressions go to ClickHouse unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Clauses {
    pub(crate) partition_by: Option<Sql>,
    pub(crate) primary_key: Option<Sql>,
    pub(crate) order_by: Option<Sql>,
    pub(crate) sample_by: Option<Sql>,
    pub(crate) ttl: Option<Sql>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) cluster: Option<String>,
}

/// One of the engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The place of the name; none if the setting is not written in a file.
    pub(crate) span: Option<Span>,
}

impl Clauses {
    /// Copies the clauses and settings that `self` does not have from `base`.
    pub(crate) fn inherit(&mut self, base: &Self) {
        for (mine, theirs) in [
            (&mut self.partition_by, &base.partition_by),
            (&mut self.primary_key, &base.primary_key),
            (&mut self.order_by, &base.order_by),
            (&mut self.sample_by, &base.sample_by),
            (&mut self.ttl, &base.ttl),
        ] {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
        if self.cluster.is_none() {
            self.cluster.clone_from(&base.cluster);
        }
        for setting in &base.settings {
            if self.setting(&setting.name).is_none() {
                self.settings.push(setting.clone());
            }
        }
    }

    /// Returns a setting's value, without quotes.
    pub(crate) fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        Some(setting.value.trim_matches('\''))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(text: &str) -> Engine {
        Engine::parse(&Sql::from(text)).unwrap()
    }

    fn text(sql: &Option<Sql>) -> Option<&str> {
        sql.as_ref().map(Sql::as_str)
    }

    #[test]
    fn the_old_form_becomes_clauses() {
        let engine = parsed("MergeTree(date, (service, name, date), 8192)");
        assert_eq!(engine.arguments, None);
        assert_eq!(text(&engine.clauses.partition_by), Some("toYYYYMM(date)"));
        assert_eq!(text(&engine.clauses.order_by), Some("(service, name, date)"));
        assert_eq!(
            engine.clauses.settings,
            [Setting {
                name: "index_granularity".to_owned(),
                value: "8192".to_owned(),
                span: Some(crate::source::Span { file: 0, range: 39..43 })
            }]
        );
    }

    #[test]
    fn the_old_form_with_a_sampling_key_and_a_version_keeps_both() {
        let engine = parsed("ReplacingMergeTree(date, intHash32(uid), (uid, intHash32(uid)), 4096, version)");
        assert_eq!(text(&engine.arguments), Some("version"));
        assert_eq!(text(&engine.clauses.sample_by), Some("intHash32(uid)"));
        assert_eq!(text(&engine.clauses.order_by), Some("(uid, intHash32(uid))"));
    }

    #[test]
    fn the_old_replicated_form_keeps_its_path_and_replica() {
        let engine = parsed("ReplicatedMergeTree('/t/{shard}', '{replica}', date, (a, b), 8192)");
        assert_eq!(text(&engine.arguments), Some("'/t/{shard}', '{replica}'"));
        assert_eq!(text(&engine.clauses.order_by), Some("(a, b)"));
    }

    #[test]
    fn modern_forms_are_unchanged() {
        assert_eq!(parsed("MergeTree").arguments, None);
        assert_eq!(text(&parsed("Log()").arguments), Some(""));
        let engine = parsed(
            "ReplacingMergeTree(version) ORDER BY (a, toDate(b)) PARTITION BY toYYYYMM(d) SETTINGS a = 1, b = 'x, y'",
        );
        assert_eq!(text(&engine.arguments), Some("version"));
        assert_eq!(text(&engine.clauses.order_by), Some("(a, toDate(b))"));
        assert_eq!(text(&engine.clauses.partition_by), Some("toYYYYMM(d)"));
        assert_eq!(engine.clauses.settings[1].value, "'x, y'");
    }

    #[test]
    fn invalid_engines_are_rejected() {
        for text in ["", "(a)", "MergeTree(a", "MergeTree() WITH x", "Log SETTINGS x"] {
            assert!(Engine::parse(&Sql::from(text)).is_err(), "{text}");
        }
    }
}

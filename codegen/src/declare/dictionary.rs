//! Dictionaries: tables of keys and values that ClickHouse keeps in memory and loads from a source,
//! for `dictGet`.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    sql::Sql,
    types::{self, Declaration},
    yaml::{Key, Node, Value},
};

/// One dictionary as its entry declares it.
#[derive(Debug)]
pub(crate) struct Dictionary {
    pub(crate) name: Key,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) primary_key: Sql,
    /// The text in the brackets of SOURCE.
    pub(crate) source: Sql,
    /// The text in the brackets of LAYOUT.
    pub(crate) layout: Sql,
    /// The text in the brackets of LIFETIME.
    pub(crate) lifetime: Option<Sql>,
    /// The text in the brackets of RANGE.
    pub(crate) range: Option<Sql>,
    /// The text in the brackets of SETTINGS.
    pub(crate) settings: Option<Sql>,
    pub(crate) cluster: Option<String>,
    pub(crate) comment: Option<String>,
}

/// A column of a dictionary.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Key,
    /// The type and what follows it.
    pub(crate) declaration: Sql,
}

/// The keys of a dictionary.
pub(crate) const DICTIONARY_KEYS: [&str; 9] = [
    "attributes",
    "cluster",
    "comment",
    "layout",
    "lifetime",
    "primary_key",
    "range",
    "settings",
    "source",
];

/// The keys that each dictionary has, each with an example.
const REQUIRED: [(&str, &str); 5] = [
    ("attributes", "attributes: { code: String, name: String }"),
    ("primary_key", "primary_key: code"),
    ("source", "source: CLICKHOUSE(TABLE 'countries')"),
    ("layout", "layout: COMPLEX_KEY_HASHED()"),
    ("lifetime", "lifetime: 300"),
];

/// The words after the type of an attribute that columns do not have.
const FLAGS: [&str; 4] = ["BIDIRECTIONAL", "HIERARCHICAL", "INJECTIVE", "IS_OBJECT_ID"];

/// Returns whether the entries of `dictionaries` under `clickhouse` are dictionaries, as opposed to
/// the columns of a table of that name. No column has these keys.
pub(super) fn are_dictionaries(entries: &[(Key, Node)]) -> bool {
    let is_of_dictionary = |key: &Key| matches!(key.text.as_str(), "attributes" | "source" | "layout" | "lifetime");
    entries
        .iter()
        .any(|(_, node)| matches!(&node.value, Value::Map(keys) if keys.iter().any(|(key, _)| is_of_dictionary(key))))
}

impl DeclarationReader<'_> {
    /// Reads the section `dictionaries`.
    pub(super) fn dictionaries(&mut self, entries: Vec<(Key, Node)>) {
        for (name, node) in entries {
            // An empty entry removes the dictionary of an earlier file.
            if matches!(node.value, Value::Null) {
                continue;
            }
            let known_problems = self.report.found();
            match self.dictionary(name, node) {
                Some(dictionary) if self.report.found() == known_problems => {
                    self.declared.dictionaries.push(dictionary);
                }
                _ => self.declared.is_complete = false,
            }
        }
    }

    fn dictionary(&mut self, name: Key, node: Node) -> Option<Dictionary> {
        let entries = self.mapping(
            node,
            "a dictionary must map keys to values",
            "countries: { attributes: { code: String, name: String }, primary_key: code, source: …, layout: … }",
        )?;
        let known_problems = self.report.found();
        let (mut attributes, mut primary_key, mut source, mut layout) = (Vec::new(), None, None, None);
        let (mut lifetime, mut range, mut settings, mut cluster, mut comment) = (None, None, None, None, None);
        for (key, node) in entries {
            if matches!(node.value, Value::Null) && DICTIONARY_KEYS.contains(&key.text.as_str()) {
                continue;
            }
            match key.text.as_str() {
                "attributes" => attributes = self.attributes(node),
                "primary_key" => primary_key = self.expression(node, "`primary_key`"),
                "source" => source = self.trimmed_sql(node, "`source`"),
                "layout" => layout = self.trimmed_sql(node, "`layout`"),
                "lifetime" => lifetime = self.trimmed_sql(node, "`lifetime`"),
                "range" => range = self.trimmed_sql(node, "`range`"),
                "settings" => settings = self.trimmed_sql(node, "`settings`"),
                "cluster" => cluster = self.text(node, "`cluster`").map(|(text, _)| text),
                "comment" => comment = self.text(node, "`comment`").map(|(text, _)| text.trim().to_owned()),
                _ => self.unknown_key(&key, "a dictionary", &DICTIONARY_KEYS),
            }
        }
        let missing = |key: &str| match key {
            "attributes" => attributes.is_empty(),
            "primary_key" => primary_key.is_none(),
            "source" => source.is_none(),
            "layout" => layout.is_none(),
            // Such a layout asks the source for each value.
            _ => {
                lifetime.is_none()
                    && !layout
                        .as_ref()
                        .is_some_and(|layout: &Sql| layout.as_str().contains("DIRECT"))
            }
        };
        if self.report.found() == known_problems {
            for (key, example) in REQUIRED.into_iter().filter(|(key, _)| missing(key)) {
                let message = format!("dictionary `{}` has no `{key}`", name.text);
                let diagnostic = Diagnostic::error("bad-dictionary", message)
                    .label(name.span.clone(), "")
                    .help(format!("write the clause as in ClickHouse, for example `{example}`"));
                self.report.push(diagnostic);
            }
        }
        Some(Dictionary {
            attributes,
            primary_key: primary_key?,
            source: source?,
            layout: layout?,
            name,
            lifetime,
            range,
            settings,
            cluster,
            comment,
        })
    }

    /// Reads the attributes of a dictionary, and reports those without a type.
    fn attributes(&mut self, node: Node) -> Vec<Attribute> {
        let entries = self.mapping(
            node,
            "`attributes` must map names to types",
            "attributes: { code: String, name: String DEFAULT 'unknown' }",
        );
        let mut attributes = Vec::new();
        for (name, node) in entries.unwrap_or_default() {
            if matches!(node.value, Value::Null) {
                let diagnostic = Diagnostic::error("bad-dictionary", format!("attribute `{}` has no type", name.text))
                    .label(name.span.clone(), "")
                    .help(format!(
                        "write its type as in ClickHouse, for example `{}: String`",
                        name.text
                    ));
                self.report.push(diagnostic);
                continue;
            }
            let place = node.clone();
            let Some(declaration) = self.trimmed_sql(node, &format!("`{}`", name.text)) else {
                continue;
            };
            if let Err(problems) = parsed(declaration.as_str()) {
                for problem in problems {
                    let span = declaration.span(&problem.span).unwrap_or_else(|| place.span.clone());
                    let diagnostic = Diagnostic::error(problem.code, problem.message)
                        .label(span, format!("the attribute `{}`", name.text));
                    self.report
                        .push(problem.help.into_iter().fold(diagnostic, Diagnostic::help));
                }
            }
            attributes.push(Attribute { name, declaration });
        }
        attributes
    }
}

/// Parses the type and the default of an attribute, without what only attributes have.
///
/// # Errors
/// Returns the problems.
pub(crate) fn parsed(declaration: &str) -> Result<Declaration, Vec<types::TypeError>> {
    let mut text = declaration.trim_end();
    if let Some(at) = find_word(text, "EXPRESSION") {
        text = text[..at].trim_end();
    }
    while let Some(flag) = FLAGS.iter().find_map(|flag| {
        let (start, last) = text.split_at_checked(text.len().checked_sub(flag.len())?)?;
        (last.eq_ignore_ascii_case(flag) && start.ends_with(char::is_whitespace)).then_some(start)
    }) {
        text = flag.trim_end();
    }
    types::parse(text)
}

/// Returns the place of a word that is not in quotes.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.char_indices().find_map(|(at, c)| {
        is_quoted ^= c == '\'';
        let is_start = at > 0 && text[..at].ends_with(char::is_whitespace);
        let found = text.get(at..at + word.len())?;
        (!is_quoted && is_start && found.eq_ignore_ascii_case(word)).then_some(at)
    })
}

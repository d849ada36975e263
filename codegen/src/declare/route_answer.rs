//! The answer of a route that its sender expects: `answer`.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node},
};

/// The response to each recorded event of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FixedAnswer {
    pub(crate) status: u16,
    /// `None` without a body.
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
}

/// The field of a request that the response sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Echo {
    pub(crate) field: String,
    pub(crate) is_json: bool,
    /// The field with the token, and the environment variable with the expected one.
    pub(crate) token: Option<(String, String)>,
}

/// The keys of `answer`.
pub(crate) const ANSWER_KEYS: [&str; 6] = ["body", "content_type", "echo", "status", "token", "token_env"];

/// The services whose answers are an image, a redirect or a greeting.
const OWN_ANSWERS: [(&str, &str); 3] = [("pixel", "an image"), ("redir", "a redirect"), ("hello", "a greeting")];

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// The values of the keys, each with its place.
#[derive(Default)]
struct Keys {
    body: Option<(String, Span)>,
    content_type: Option<(String, Span)>,
    echo: Option<(String, Span)>,
    status: Option<(u16, Span)>,
    token: Option<(String, Span)>,
    token_env: Option<(String, Span)>,
}

impl DeclarationReader<'_> {
    pub(super) fn answer(&mut self, node: Node, key: &Key, route: &Key) -> (Option<FixedAnswer>, Option<Echo>) {
        let known_problems = self.report.found();
        let example = "answer: { status: 204 }";
        let entries = self
            .mapping(node, "`answer` must map keys to values", example)
            .unwrap_or_default();
        let mut keys = Keys::default();
        for (name, node) in entries {
            match name.text.as_str() {
                "body" => keys.body = self.text(node, "the body"),
                "content_type" => keys.content_type = self.content_type(node),
                "echo" => keys.echo = self.text(node, "the field to echo"),
                "status" => keys.status = self.status(node),
                "token" => keys.token = self.text(node, "the field with the token"),
                "token_env" => keys.token_env = self.variable(node),
                _ => self.unknown_key(&name, "`answer`", &ANSWER_KEYS),
            }
        }
        if self.report.found() == known_problems
            && let Some((problem, span, help)) = keys.problem(key, route)
        {
            let diagnostic = Diagnostic::error("bad-answer", problem).label(span, "").help(help);
            self.report.push(diagnostic);
        }
        (keys.fixed(), keys.into_echo())
    }

    fn content_type(&mut self, node: Node) -> Option<(String, Span)> {
        let (text, span) = self.text(node, "the content type")?;
        let is_valid = text.contains('/') && text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !is_valid {
            let diagnostic = Diagnostic::error("bad-answer", format!("invalid content type `{text}`"));
            self.report.push(
                diagnostic
                    .label(span, "")
                    .help("write `text/plain` or another media type"),
            );
            return None;
        }
        Some((text, span))
    }

    fn status(&mut self, node: Node) -> Option<(u16, Span)> {
        let (text, span) = self.text(node, "the status")?;
        let status = text.parse().ok().filter(|status| (200..300).contains(status));
        if status.is_none() {
            let diagnostic = Diagnostic::error("bad-answer", format!("invalid status `{text}`"));
            let help = "write a status from 200 to 299: it is the answer to a recorded event";
            self.report.push(diagnostic.label(span.clone(), "").help(help));
        }
        status.map(|status| (status, span))
    }

    fn variable(&mut self, node: Node) -> Option<(String, Span)> {
        let (text, span) = self.text(node, "the environment variable")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.is_empty() || !text.chars().all(is_name) || text.starts_with(|c: char| c.is_ascii_digit()) {
            let diagnostic = Diagnostic::error("bad-answer", format!("invalid environment variable `{text}`"));
            let help = "write the name of the variable that contains the token, for example `META_TOKEN`";
            self.report.push(diagnostic.label(span, "").help(help));
            return None;
        }
        Some((text, span))
    }
}

impl Keys {
    /// Returns the first problem, its place, and its cure.
    fn problem(&self, key: &Key, route: &Key) -> Option<(String, Span, String)> {
        let service = route.text.split('/').next().unwrap_or_default();
        let problem =
            |problem: &str, span: &Span, help: &str| Some((problem.to_owned(), span.clone(), help.to_owned()));
        if let Some((_, what)) = OWN_ANSWERS.iter().find(|(own, _)| *own == service) {
            let message = format!("the answer of `{service}` is {what}");
            return problem(&message, &key.span, "remove `answer`, or use another service");
        }
        match self {
            Self {
                body: None,
                echo: None,
                status: None,
                ..
            } => problem(
                "`answer` has neither a status, nor a body, nor an echo",
                &key.span,
                "write `status: 204`, `body: ok`, or `echo:` and the name of a field",
            ),
            Self {
                status: Some((status @ (204 | 205), _)),
                body: Some((_, span)),
                ..
            } => {
                let message = format!("a response with status {status} has no body");
                problem(&message, span, "remove `body`, or write `status: 200`")
            }
            Self {
                content_type: Some((_, span)),
                body: None,
                echo: None,
                ..
            } => problem(
                "`content_type` without a body",
                span,
                "add `body`, or remove `content_type`",
            ),
            Self {
                content_type: Some((content_type, span)),
                echo: Some(_),
                ..
            } if content_type != JSON && content_type != TEXT => {
                let help = format!("write `{TEXT}` for the value alone, or `{JSON}` for an object with the field");
                problem("an echo has another content type", span, &help)
            }
            Self {
                token: Some((_, span)),
                token_env: None,
                ..
            } => problem(
                "`token` without the expected token",
                span,
                "add `token_env:` and the environment variable that contains it",
            ),
            Self {
                token: None,
                token_env: Some((_, span)),
                ..
            } => problem(
                "`token_env` without the field that contains the token",
                span,
                "add `token:` and the name of the field, for example `token: hub.verify_token`",
            ),
            Self {
                token: Some((_, span)),
                echo: None,
                ..
            } => problem("`token` without an echo", span, "add `echo:` and the name of a field"),
            _ => None,
        }
    }

    fn fixed(&self) -> Option<FixedAnswer> {
        let body = self.body.as_ref().map(|(body, _)| body.clone());
        if body.is_none() && self.status.is_none() {
            return None;
        }
        let given = self.content_type.as_ref().map(|(content_type, _)| content_type.clone());
        Some(FixedAnswer {
            status: self.status.as_ref().map_or(200, |(status, _)| *status),
            content_type: body
                .as_ref()
                .map(|_| given.unwrap_or_else(|| format!("{TEXT}; charset=utf-8"))),
            body: body.unwrap_or_default(),
        })
    }

    fn into_echo(self) -> Option<Echo> {
        let text = |(text, _)| text;
        Some(Echo {
            field: self.echo.map(text)?,
            is_json: self
                .content_type
                .map(text)
                .is_some_and(|content_type| content_type == JSON),
            token: self.token.map(text).zip(self.token_env.map(text)),
        })
    }
}

//! The grammar of types: turns tokens into a [`Type`] and checks the rules of `check` on the way.
//!
//! For a type that has a problem, the grammar records the problem and returns `None`. It still
//! reads the types beside it, so that one run finds the problems of all elements of a Tuple.

use std::{mem, ops::Range};

use super::{
    arguments::{Argument, Arguments, Ignored},
    ast::Type,
    check,
    cursor::Cursor,
    enumeration,
    error::TypeError,
    family::{self, Family},
    lexer::TokenKind,
};

/// The maximum depth of types. ClickHouse itself stops at an AST of 1000 levels; deeper types than
/// this are mistakes, and the stack is limited.
const MAX_DEPTH: usize = 100;

/// Words that begin a modifier; ClickHouse does not accept them as type names, quoted or not.
pub(super) const RESERVED: [&str; 12] = [
    "ALIAS",
    "AUTO",
    "CODEC",
    "COMMENT",
    "DEFAULT",
    "EPHEMERAL",
    "MATERIALIZED",
    "NOT",
    "NULL",
    "PRIMARY",
    "SETTINGS",
    "TTL",
];

/// Reads types from the position of `cursor`.
pub(super) struct Grammar<'t> {
    pub(super) cursor: Cursor<'t>,
    pub(super) problems: Vec<TypeError>,
    /// Problems that ClickHouse accepts and that are probably mistakes.
    pub(super) warnings: Vec<TypeError>,
    depth: usize,
}

impl<'t> Grammar<'t> {
    pub(super) fn new(cursor: Cursor<'t>) -> Self {
        Self {
            cursor,
            problems: Vec::new(),
            warnings: Vec::new(),
            depth: 0,
        }
    }

    /// Reads the type that begins here. If the type has a problem, records it, moves after the
    /// invalid part and returns `None`.
    pub(super) fn data_type(&mut self) -> Option<Type> {
        let start = self.cursor.here().start;
        let (family, mut name_span) = self.family()?;
        if self.depth >= MAX_DEPTH {
            self.cursor.enter("(");
            let message = format!("types nest deeper than {MAX_DEPTH} levels here");
            return self.problem(TypeError::new("type-too-deep", name_span, message));
        }
        self.depth += 1;
        name_span.start = start;
        let ty = self.of_family(family, &name_span);
        self.depth -= 1;
        ty
    }

    /// Records a problem.
    pub(super) fn problem<T>(&mut self, problem: TypeError) -> Option<T> {
        self.problems.push(problem);
        None
    }

    /// Records the problem of a broken rule.
    pub(super) fn require(&mut self, rule: Result<(), TypeError>) -> Option<()> {
        rule.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn family(&mut self) -> Option<(Family, Range<usize>)> {
        let mut span = self.cursor.here();
        let Some(first) = self.cursor.name() else {
            return self.problem(self.cursor.expected("a type"));
        };
        if RESERVED.iter().any(|word| word.eq_ignore_ascii_case(&first)) {
            return self.problem(self.cursor.expected("a type"));
        }
        self.cursor.next();
        // Each word of a name is quoted separately, if at all.
        if !first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.cursor.enter("(");
            let message = format!("ClickHouse has no type `{first}`");
            return self.problem(TypeError::new("unknown-type", span, message).help("write the type without quotes"));
        }
        let mut name = first.clone();
        let rests = family::continuations(&first);
        if let Some(rest) = rests.iter().find(|rest| self.cursor.eat_keywords(rest)) {
            name = format!("{name} {rest}");
        } else if rests == family::SIGNS {
            name = self.sign_after_width(name);
        }
        span.end = self.cursor.since(span.start).end;
        match family::lookup(&name) {
            Some(Family::Nothing) => {
                self.cursor.enter("(");
                self.problem(TypeError::new(
                    "type-not-storable",
                    span,
                    "a table cannot contain the type `Nothing`",
                ))
            }
            Some(family) => Some((family, span)),
            None => {
                self.cursor.enter("(");
                let problem = TypeError::new("unknown-type", span, format!("ClickHouse has no type `{name}`"));
                self.problem(match family::foreign(&name) {
                    Some(name) => problem.help(format!("ClickHouse calls it `{name}`")),
                    None => problem
                        .help("write the type as in ClickHouse: `String`, `UInt64`, `DateTime`, `Array(String)`, …")
                        .did_you_mean(family::closest(&name)),
                })
            }
        }
    }

    /// Reads `INT(11) UNSIGNED`: the display width has no meaning, but the sign after it has one.
    fn sign_after_width(&mut self, name: String) -> String {
        let before = self.cursor.at();
        if self.cursor.enter("(").is_some()
            && let Some(sign) = family::SIGNS.iter().find(|sign| self.cursor.eat_keyword(sign))
        {
            return format!("{name} {sign}");
        }
        self.cursor.go_to(before);
        name
    }

    fn of_family(&mut self, family: Family, name: &Range<usize>) -> Option<Type> {
        match family {
            Family::String => self.width(name).map(|()| Type::String),
            Family::Int { bits, signed } => self.width(name).map(|()| Type::Int { bits, signed }),
            Family::Float { bits } => self.float_width(name).map(|()| Type::Float(bits)),
            Family::BFloat16 => self.float_width(name).map(|()| Type::BFloat16),
            Family::Bool => self.bare(name, Type::Bool),
            Family::Date => self.bare(name, Type::Date),
            Family::Date32 => self.bare(name, Type::Date32),
            Family::Uuid => self.bare(name, Type::Uuid),
            Family::Ipv4 => self.bare(name, Type::Ipv4),
            Family::Ipv6 => self.bare(name, Type::Ipv6),
            Family::FixedString => {
                let [(length, span)] = self.exactly(name, "one argument, its length in bytes", Self::number)?;
                self.require(check::fixed_string_length(length, &span))?;
                u32::try_from(length).ok().map(Type::FixedString)
            }
            Family::Decimal => self.decimal(name),
            Family::DecimalOf { precision } => {
                let [scale] = self.exactly(name, "one argument, its scale", Self::number)?;
                self.decimal_of(None, u64::from(precision), scale)
            }
            Family::DateTime | Family::DateTime32 | Family::DateTime64 => self.date_time(family, name),
            Family::Time => self.time(name, None),
            Family::Time64 => self.time(name, Some(3)),
            Family::Interval(unit) => self.bare(name, Type::Interval(unit)),
            Family::Shape(shape) => self.bare(name, Type::Shape(shape)),
            Family::SimpleAggregateFunction => self.simple_aggregate_function(name),
            Family::Json => self.json(name),
            Family::Enum { bits } => self.enumeration(bits, name),
            Family::LowCardinality => self.wrapper(name, check::low_cardinality, Type::LowCardinality),
            Family::Nullable => self.wrapper(name, check::nullable, Type::Nullable),
            Family::Array => self.wrapper(name, |_, _| Ok(()), Type::Array),
            Family::Map => {
                let [(key, span), (value, _)] = self.exactly(
                    name,
                    "two arguments, the types of its keys and of its values",
                    Self::data_type,
                )?;
                self.require(check::map_key(&key, &span))?;
                Some(Type::Map(Box::new(key), Box::new(value)))
            }
            Family::Tuple => self.tuple(name),
            Family::Nested => self.nested(name),
            Family::Variant => self.variant(name),
            Family::Geometry => self.bare(name, Type::Geometry),
            Family::Dynamic => self.dynamic(name),
            Family::QBit => self.qbit(name),
            Family::AggregateFunction => self.state(name),
            // `family` has rejected it.
            Family::Nothing => None,
        }
    }

    /// Reads a type without arguments.
    fn bare(&mut self, name: &Range<usize>, ty: Type) -> Option<Type> {
        if let Some((inner, span)) = self.cursor.enter("(")
            && !inner.is_done()
        {
            let problem = TypeError::new("type-arguments", span, format!("`{ty}` takes no arguments"));
            return self.problem(problem.help(format!("write `{}`", self.cursor.slice(name.clone()))));
        }
        Some(ty)
    }

    /// Reads the width of a MySQL type, `VARCHAR(20)`, and ignores it, as ClickHouse does.
    fn width(&mut self, name: &Range<usize>) -> Option<()> {
        let arguments = self.arguments(name, Self::number)?;
        self.at_most(1, "1 argument", name, &arguments)
    }

    /// Reads `DOUBLE(10, 2)`, and ignores the arguments, which may be anything.
    fn float_width(&mut self, name: &Range<usize>) -> Option<()> {
        let arguments = self.arguments(name, Self::anything)?;
        self.at_most(2, "2 arguments", name, &arguments)?;
        let unexpected = arguments
            .items
            .into_iter()
            .find(|(kind, _)| *kind != Ignored::WholeNumber);
        if let Some((_, span)) = unexpected {
            let shown = self.cursor.slice(name.clone());
            self.ignored_argument(span, "it is not a number of digits", format!("write `{shown}`"));
        }
        Some(())
    }

    fn at_most<T>(&mut self, most: usize, wanted: &str, name: &Range<usize>, found: &Arguments<T>) -> Option<()> {
        let count = found.items.len();
        if count > most {
            let shown = self.cursor.slice(name.clone());
            let message = format!("`{shown}` takes at most {wanted}, found {count}");
            return self.problem(TypeError::new("type-arguments", found.span.clone(), message));
        }
        Some(())
    }

    fn decimal(&mut self, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, Self::number)?;
        let mut items = arguments.items.into_iter();
        match (items.next(), items.next(), items.next()) {
            (None, ..) => Some(Type::Decimal {
                precision: 10,
                scale: 0,
            }),
            (Some((precision, span)), scale, None) => {
                let scale = scale.unwrap_or((0, span.clone()));
                self.decimal_of(Some(span), precision, scale)
            }
            _ => self.wrong_count(name, arguments.span, "a precision and a scale"),
        }
    }

    fn decimal_of(&mut self, span: Option<Range<usize>>, precision: u64, scale: Argument<u64>) -> Option<Type> {
        if let Some(span) = span {
            self.require(check::decimal_precision(precision, &span))?;
        }
        self.require(check::decimal_scale(scale.0, precision, &scale.1))?;
        Some(Type::Decimal {
            precision: u8::try_from(precision).ok()?,
            scale: u8::try_from(scale.0).ok()?,
        })
    }

    /// Reads `DateTime`, `DateTime(zone)`, `DateTime(digits)`, `DateTime64(digits, zone)`, …;
    /// ClickHouse ignores other arguments.
    fn date_time(&mut self, family: Family, name: &Range<usize>) -> Option<Type> {
        let mut is_first = true;
        let arguments = self.arguments(name, |grammar| {
            if matches!(grammar.cursor.peek()?.kind, TokenKind::Text(_)) {
                is_first = false;
                grammar.text("a time zone").map(DateTimeArgument::Zone)
            } else if mem::take(&mut is_first) {
                if grammar
                    .cursor
                    .word()
                    .is_some_and(|word| !word.eq_ignore_ascii_case("NULL"))
                {
                    let problem = grammar.cursor.expected("a precision or a time zone");
                    return grammar.problem(
                        problem.help("write a time zone between single quotes, for example `'Europe/Berlin'`"),
                    );
                }
                grammar.number().map(DateTimeArgument::Digits)
            } else {
                grammar.anything().map(|_| DateTimeArgument::Ignored)
            }
        })?;
        let count = arguments.items.len();
        let (mut digits, mut zone) = (None, None);
        for (index, (argument, span)) in arguments.items.into_iter().enumerate() {
            match argument {
                DateTimeArgument::Digits(found) if family != Family::DateTime32 => {
                    self.require(check::date_time64_digits(found, &span))?;
                    digits = u8::try_from(found).ok();
                }
                DateTimeArgument::Zone(found)
                    if index == usize::from(digits.is_some()) && accepts_zone(family, index) =>
                {
                    self.require(check::time_zone(&found, &span))?;
                    self.warnings.extend(check::zone_of_the_machine(&found, &span));
                    zone = Some(found);
                }
                _ if index > 0 && (family == Family::DateTime || family == Family::DateTime64 && count == 2) => {
                    let help = match digits {
                        Some(_) if index == 1 => "write a time zone as the second argument, for example `'UTC'`",
                        Some(_) => "remove it",
                        None => "remove it, or write the precision before the time zone: `DateTime64(3, 'UTC')`",
                    };
                    self.ignored_argument(span, "it has no effect on the type", help);
                }
                _ => {
                    let wanted = match family {
                        Family::DateTime32 => "a time zone",
                        Family::DateTime64 => "a precision and a time zone",
                        _ => "a precision or a time zone",
                    };
                    return self.wrong_count(name, span, wanted);
                }
            }
        }
        // An empty name means no zone to ClickHouse.
        let zone = zone.filter(|zone| !zone.is_empty());
        Some(match (family, digits) {
            (Family::DateTime64, digits) => Type::DateTime64(digits.unwrap_or(3), zone),
            (_, None | Some(0)) => Type::DateTime(zone),
            (_, Some(digits)) => Type::DateTime64(digits, zone),
        })
    }

    /// Reads `Time`, `Time(digits)`, `Time64(digits)`; `digits` is the default of the argument.
    fn time(&mut self, name: &Range<usize>, digits: Option<u8>) -> Option<Type> {
        let arguments = self.arguments(name, |grammar| {
            if matches!(grammar.cursor.peek()?.kind, TokenKind::Text(_)) {
                let problem = TypeError::new(
                    "type-arguments",
                    grammar.cursor.here(),
                    "a time of day cannot have a time zone",
                );
                return grammar.problem(problem.help("remove the time zone"));
            }
            grammar.number()
        })?;
        let mut items = arguments.items.into_iter();
        let digits = match (items.next(), items.next()) {
            (None, _) => digits,
            (Some((found, span)), None) => {
                self.require(check::time64_digits(found, &span))?;
                u8::try_from(found).ok().filter(|found| digits.is_some() || *found > 0)
            }
            _ => return self.wrong_count(name, arguments.span, "a precision"),
        };
        Some(digits.map_or(Type::Time, Type::Time64))
    }

    fn enumeration(&mut self, bits: Option<u8>, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, enumeration::element)?;
        match enumeration::number(bits, arguments.items, arguments.span) {
            Ok(ty) => Some(ty),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    /// Reads a type that wraps one other type.
    fn wrapper(
        &mut self,
        name: &Range<usize>,
        rule: impl FnOnce(&Type, &Range<usize>) -> Result<(), TypeError>,
        wrap: impl FnOnce(Box<Type>) -> Type,
    ) -> Option<Type> {
        let [(inner, span)] = self.exactly(name, "one argument, the type of its elements", Self::data_type)?;
        self.require(rule(&inner, &span))?;
        Some(wrap(Box::new(inner)))
    }

    /// Reads a tuple. Two names in a row are a name and a type, so `Tuple(BIGINT UNSIGNED)` has an
    /// element `BIGINT`, as in ClickHouse.
    fn tuple(&mut self, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, |grammar| {
            let is_named = grammar.cursor.peek_nth(1).is_some_and(|token| is_name(&token.kind));
            let element_span = grammar.cursor.here();
            let element_name = if is_named { grammar.element_name() } else { None };
            grammar.data_type().map(|ty| (element_name, element_span, ty))
        })?;
        let names = arguments
            .items
            .iter()
            .map(|((name, span, _), _)| (name.as_deref(), span));
        let rule = check::element_names(names);
        self.require(rule)?;
        Some(Type::Tuple(
            arguments
                .items
                .into_iter()
                .map(|((name, _, ty), _)| (name, ty))
                .collect(),
        ))
    }

    fn nested(&mut self, name: &Range<usize>) -> Option<Type> {
        let arguments = self.arguments(name, |grammar| {
            let span = grammar.cursor.here();
            let Some(element_name) = grammar.element_name() else {
                return grammar.problem(grammar.cursor.expected("the name of an element"));
            };
            if grammar.cursor.is_done() || grammar.cursor.is_sign(',') || grammar.cursor.is_open(0, "(") {
                let problem = TypeError::new(
                    "type-syntax",
                    span,
                    "an element of a Nested must have a name and a type",
                );
                return grammar.problem(problem.help(format!("write `name {element_name}`")));
            }
            grammar.data_type().map(|ty| (element_name, span, ty))
        })?;
        self.require(check::nested_is_not_empty(arguments.items.len(), &arguments.span))?;
        let names = arguments
            .items
            .iter()
            .map(|((name, span, _), _)| (Some(name.as_str()), span));
        let rule = check::element_names(names);
        self.require(rule)?;
        Some(Type::Nested(
            arguments
                .items
                .into_iter()
                .map(|((name, _, ty), _)| (name, ty))
                .collect(),
        ))
    }

    pub(super) fn element_name(&mut self) -> Option<String> {
        let name = self.cursor.name()?;
        self.cursor.next();
        Some(name)
    }
}

enum DateTimeArgument {
    Digits(u64),
    Zone(String),
    Ignored,
}

/// Returns whether the argument may be a zone; a DateTime64 has its precision first.
fn accepts_zone(family: Family, index: usize) -> bool {
    index == 1 || family != Family::DateTime64
}

fn is_name(kind: &TokenKind) -> bool {
    matches!(kind, TokenKind::Word | TokenKind::Quoted(_))
}

//! Extras: values without a column, kept as the text that JavaScript's `String(v)` returns for
//! them, as in the original.
//!
//! One difference is intentional: integers keep all of their digits; the original rounded them to
//! 53 bits.

use std::{borrow::Cow, fmt::Write};

use crate::json::{self, Kind, Reader, write_string};

/// Reads any JSON value and returns it as text.
///
/// Strings stay as they are; `null` and booleans become their names. Numbers have the
/// [form of JavaScript](https://tc39.es/ecma262/#sec-numeric-types-number-tostring): `1.50` is
/// `1.5`, `1e21` is `1e+21`, `-0` is `0`. Commas join the elements of an array; nested arrays and
/// objects are JSON without white space.
///
/// # Errors
/// The value is malformed.
///
/// ```
/// use rowmill_ingest::{json::Reader, value::js_string};
///
/// let text = js_string(&mut Reader::new(r#"["a", 1.0, null, {"k": [2, 3]}]"#))?;
/// assert_eq!(text, r#"a,1,null,{"k":[2,3]}"#);
/// # Ok::<(), rowmill_ingest::json::Error>(())
/// ```
pub fn js_string<'a>(json: &mut Reader<'a>) -> Result<Cow<'a, str>, json::Error> {
    match json.peek()? {
        Kind::Null => json.null().map(|()| Cow::Borrowed("null")),
        Kind::Bool => json
            .bool()
            .map(|value| Cow::Borrowed(if value { "true" } else { "false" })),
        Kind::Number => json.number().map(js_number),
        Kind::String => json.string(),
        Kind::Object => {
            let mut out = String::new();
            write_json(&mut out, json)?;
            Ok(Cow::Owned(out))
        }
        Kind::Array => {
            let mut out = String::new();
            let mut separator = "";
            json.begin_array()?;
            while json.next_element()? {
                out.push_str(std::mem::replace(&mut separator, ","));
                if json.peek()? == Kind::String {
                    out.push_str(&json.string()?);
                } else {
                    write_json(&mut out, json)?;
                }
            }
            Ok(Cow::Owned(out))
        }
    }
}

/// Appends a value as `JSON.stringify` writes it. The reader bounds the depth of the recursion.
fn write_json(out: &mut String, json: &mut Reader<'_>) -> Result<(), json::Error> {
    match json.peek()? {
        Kind::Null => {
            json.null()?;
            out.push_str("null");
        }
        Kind::Bool => out.push_str(if json.bool()? { "true" } else { "false" }),
        Kind::Number => out.push_str(&js_number(json.number()?)),
        Kind::String => write_string(out, &json.string()?),
        Kind::Array => {
            json.begin_array()?;
            let mut separator = "[";
            while json.next_element()? {
                out.push_str(std::mem::replace(&mut separator, ","));
                write_json(out, json)?;
            }
            out.push_str(if separator == "[" { "[]" } else { "]" });
        }
        Kind::Object => {
            json.begin_object()?;
            let mut separator = "{";
            while let Some(key) = json.next_key()? {
                out.push_str(std::mem::replace(&mut separator, ","));
                write_string(out, &key);
                out.push(':');
                write_json(out, json)?;
            }
            out.push_str(if separator == "{" { "{}" } else { "}" });
        }
    }
    Ok(())
}

/// Returns a JSON number in the form of JavaScript.
fn js_number(number: &str) -> Cow<'_, str> {
    if memchr::memchr3(b'.', b'e', b'E', number.as_bytes()).is_none() {
        return Cow::Borrowed(if number == "-0" { "0" } else { number });
    }
    match number.parse::<f64>() {
        // A number that overflows keeps its form in the event.
        Ok(value) if value.is_finite() => Cow::Owned(js_float(value)),
        _ => Cow::Borrowed(number),
    }
}

fn js_float(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // Rust prints the same shortest digits, `d.ddde±x`; only the position of the point differs in
    // JavaScript.
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |mantissa| ("-", mantissa));
    let digits: String = mantissa.chars().filter(|char| *char != '.').collect();

    // The number of digits before the point.
    let point = exponent + 1;
    let length = digits.len() as i32;
    let mut out = sign.to_owned();
    match point {
        1..=21 if length <= point => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', (point - length) as usize));
        }
        1..=21 => {
            let (whole, fraction) = digits.split_at(point as usize);
            out.extend([whole, ".", fraction]);
        }
        -5..=0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', -point as usize));
            out.push_str(&digits);
        }
        _ => {
            let (first, others) = digits.split_at(1);
            out.push_str(first);
            if !others.is_empty() {
                out.extend([".", others]);
            }
            // Writing into a `String` cannot fail.
            let _ = write!(out, "e{exponent:+}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn string(text: &str) -> String {
        let mut json = Reader::new(text);
        let string = js_string(&mut json).unwrap().into_owned();
        json.end().unwrap();
        string
    }

    #[test]
    fn values_become_the_texts_of_the_original() {
        for (value, expected) in [
            ("null", "null"),
            ("true", "true"),
            (r#""a\"b""#, "a\"b"),
            ("[]", ""),
            (r#"["a","b"]"#, "a,b"),
            (r#"[1,true,null,{"k":1},[2,3]]"#, r#"1,true,null,{"k":1},[2,3]"#),
            (
                r#"[ [ ], { }, "a,b", [ "\u0041\n", 1.50 ] ]"#,
                r#"[],{},a,b,["A\n",1.5]"#,
            ),
            (r#"{"x" : [ 1 ]}"#, r#"{"x":[1]}"#),
        ] {
            assert_eq!(string(value), expected);
        }
        assert!(matches!(
            js_string(&mut Reader::new("\"plain\"")),
            Ok(Cow::Borrowed("plain"))
        ));
        assert!(js_string(&mut Reader::new("[1,")).is_err());
        assert!(js_string(&mut Reader::new(&"[".repeat(100_000))).is_err());
    }

    #[test]
    fn fractions_and_exponents_are_written_as_javascript_writes_them() {
        for (number, expected) in [
            ("1.5", "1.5"),
            ("1.0", "1"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e5", "0"),
            ("1e3", "1000"),
            ("1.5E3", "1500"),
            ("-123.456e1", "-1234.56"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("-1.25e21", "-1.25e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.1", "0.1"),
            ("0.000001", "0.000001"),
            ("0.00000123", "0.00000123"),
            ("0.0000001", "1e-7"),
            ("1.5e-7", "1.5e-7"),
            ("5e-324", "5e-324"),
            ("1e-400", "0"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("1e400", "1e400"),
        ] {
            assert_eq!(string(number), expected);
        }
    }

    #[test]
    fn integers_keep_all_of_their_digits() {
        for number in ["9007199254740993", "-12345678901234567890", "1000000000000000000000000"] {
            assert_eq!(string(number), number);
        }
    }
}

//! `opensrf.simple-text`, as the Perl demo service of that name. Params are taken as Perl takes
//! scalars: a number is its digits, null is the empty string. One thing differs: the delimiter of
//! `split` is plain text, not a regular expression, which a stranger must not choose.

use super::{Failure, Method, Params, Results, Running, Service};
use slackwater_core::osrf::quote::quote;

/// The service.
#[derive(Debug)]
pub struct SimpleText;

static METHODS: [Method; 3] = [
    Method {
        name: "opensrf.simple-text.reverse",
        symbol: "text_reverse",
        notes: "Reverses a text, character by character. Params: text",
        argc: 1,
        streams: false,
    },
    Method {
        name: "opensrf.simple-text.split",
        symbol: "text_split",
        notes: "Yields the parts of a text. Params: text, delimiter (one space or nothing: white space)",
        argc: 2,
        streams: true,
    },
    Method {
        name: "opensrf.simple-text.substring",
        symbol: "text_substring",
        notes: "Cuts a part out of a text, negative numbers counting from its end. \
                Params: text, start (0), length (all the rest)",
        argc: 1,
        streams: false,
    },
];

impl Service for SimpleText {
    fn name(&self) -> &'static str {
        "opensrf.simple-text"
    }

    fn methods(&self) -> &'static [Method] {
        &METHODS
    }

    fn call<'a>(&'a self, method: &'a str, params: Params<'a>, results: Results) -> Running<'a> {
        Box::pin(async move {
            let text = scalar(params, 0)?;
            match method {
                "opensrf.simple-text.reverse" => {
                    results.put(quote(&text.chars().rev().collect::<String>())).await
                }
                "opensrf.simple-text.split" => {
                    let delimiter = scalar(params, 1)?;
                    for part in split(&text, &delimiter) {
                        results.put(quote(part)).await?;
                    }
                    Ok(())
                }
                _substring => {
                    let start = integer(&scalar(params, 1)?);
                    let length = Some(integer(&scalar(params, 2)?)).filter(|length| *length != 0);
                    match substring(&text, start, length) {
                        Some(part) => results.put(quote(&part)).await,
                        // What is undefined in Perl is no result.
                        None => Ok(()),
                    }
                }
            }
        })
    }
}

/// A param as Perl's scalar: absent and null are the empty string.
fn scalar(params: Params<'_>, index: usize) -> Result<String, Failure> {
    match params.json(index) {
        None | Some("null") => Ok(String::new()),
        Some(_) => params
            .scalar(index)
            .ok_or_else(|| Failure::new(500, format!("param {} is not a text", index + 1))),
    }
}

/// The integer that a text begins with, 0 if none, as Perl takes it.
fn integer(text: &str) -> i64 {
    let text = text.trim_ascii_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    text[..sign + digits].parse().unwrap_or(0)
}

/// Perl's `split`: empty parts at the end are left out; a delimiter of one space, which an empty
/// one or `0` stands for too, means any white space and leaves out empty parts everywhere.
fn split<'a>(text: &'a str, delimiter: &str) -> Vec<&'a str> {
    if matches!(delimiter, "" | "0" | " ") {
        return text.split_whitespace().collect();
    }
    let mut parts: Vec<&str> = text.split(delimiter).collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    parts
}

/// Perl's `substr`, in characters: a negative `start` counts from the end, a negative `length`
/// leaves as many off the end; `None` if the part lies outside the text.
fn substring(text: &str, start: i64, length: Option<i64>) -> Option<String> {
    let all = i64::try_from(text.chars().count()).ok()?;
    let start = if start < 0 { start.saturating_add(all) } else { start };
    let end = match length {
        None => all,
        Some(length) if length < 0 => all.saturating_add(length),
        Some(length) => start.saturating_add(length),
    };
    if start > all || (start < 0 && end < 0) {
        return None;
    }
    let start = start.max(0);
    let length = end.min(all).saturating_sub(start);
    let skipped = usize::try_from(start).ok()?;
    Some(text.chars().skip(skipped).take(usize::try_from(length).unwrap_or(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_is_that_of_perl() {
        assert_eq!(split("one two three four", " "), ["one", "two", "three", "four"]);
        assert_eq!(split("  a \t b\n", ""), ["a", "b"]);
        assert_eq!(split(",a,,b,,", ","), ["", "a", "", "b"]);
        assert_eq!(split("a|b", "|"), ["a", "b"]);
        assert_eq!(split("", ","), [""; 0]);
        assert_eq!(split(",,", ","), [""; 0]);
    }

    /// Expectations printed by Perl 5.
    #[test]
    fn substring_is_that_of_perl() {
        for (start, length, part) in SUBSTRINGS {
            assert_eq!(substring("frédy", *start, *length).as_deref(), *part, "{start} {length:?}");
        }
        assert_eq!(substring("", 0, None).as_deref(), Some(""));
        assert_eq!(substring("x", i64::MIN, Some(i64::MIN)), None);
        assert_eq!(substring("x", 1, Some(i64::MAX)).as_deref(), Some(""));
    }

    const SUBSTRINGS: &[(i64, Option<i64>, Option<&str>)] = &[
        (-9, None, Some("frédy")),
        (-9, Some(-9), None),
        (-9, Some(-6), None),
        (-9, Some(-5), Some("")),
        (-9, Some(-2), Some("fré")),
        (-9, Some(1), None),
        (-9, Some(2), None),
        (-9, Some(3), None),
        (-9, Some(7), Some("fré")),
        (-7, None, Some("frédy")),
        (-7, Some(-9), None),
        (-7, Some(-6), None),
        (-7, Some(-5), Some("")),
        (-7, Some(-2), Some("fré")),
        (-7, Some(1), None),
        (-7, Some(2), Some("")),
        (-7, Some(3), Some("f")),
        (-7, Some(7), Some("frédy")),
        (-5, None, Some("frédy")),
        (-5, Some(-9), Some("")),
        (-5, Some(-6), Some("")),
        (-5, Some(-5), Some("")),
        (-5, Some(-2), Some("fré")),
        (-5, Some(1), Some("f")),
        (-5, Some(2), Some("fr")),
        (-5, Some(3), Some("fré")),
        (-5, Some(7), Some("frédy")),
        (-2, None, Some("dy")),
        (-2, Some(-9), Some("")),
        (-2, Some(-6), Some("")),
        (-2, Some(-5), Some("")),
        (-2, Some(-2), Some("")),
        (-2, Some(1), Some("d")),
        (-2, Some(2), Some("dy")),
        (-2, Some(3), Some("dy")),
        (-2, Some(7), Some("dy")),
        (0, None, Some("frédy")),
        (0, Some(-9), Some("")),
        (0, Some(-6), Some("")),
        (0, Some(-5), Some("")),
        (0, Some(-2), Some("fré")),
        (0, Some(1), Some("f")),
        (0, Some(2), Some("fr")),
        (0, Some(3), Some("fré")),
        (0, Some(7), Some("frédy")),
        (1, None, Some("rédy")),
        (1, Some(-9), Some("")),
        (1, Some(-6), Some("")),
        (1, Some(-5), Some("")),
        (1, Some(-2), Some("ré")),
        (1, Some(1), Some("r")),
        (1, Some(2), Some("ré")),
        (1, Some(3), Some("réd")),
        (1, Some(7), Some("rédy")),
        (4, None, Some("y")),
        (4, Some(-9), Some("")),
        (4, Some(-6), Some("")),
        (4, Some(-5), Some("")),
        (4, Some(-2), Some("")),
        (4, Some(1), Some("y")),
        (4, Some(2), Some("y")),
        (4, Some(3), Some("y")),
        (4, Some(7), Some("y")),
        (5, None, Some("")),
        (5, Some(-9), Some("")),
        (5, Some(-6), Some("")),
        (5, Some(-5), Some("")),
        (5, Some(-2), Some("")),
        (5, Some(1), Some("")),
        (5, Some(2), Some("")),
        (5, Some(3), Some("")),
        (5, Some(7), Some("")),
        (6, None, None),
        (6, Some(-9), None),
        (6, Some(-6), None),
        (6, Some(-5), None),
        (6, Some(-2), None),
        (6, Some(1), None),
        (6, Some(2), None),
        (6, Some(3), None),
        (6, Some(7), None),
    ];

    #[test]
    fn integers_are_read_as_far_as_they_go() {
        for (text, number) in [("", 0), ("3", 3), (" -2x", -2), ("x", 0), ("1.9", 1), ("é", 0)] {
            assert_eq!(integer(text), number, "{text:?}");
        }
    }
}

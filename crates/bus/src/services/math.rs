//! `opensrf.math`, as the C service of that name: params are numbers or strings, of which C
//! reads what looks like a number at the beginning; results have up to 30 digits. Where C would
//! answer `inf` or `nan`, which is no JSON, this one fails.

use super::{Failure, Method, Params, Results, Running, Service};

/// The service.
#[derive(Debug)]
pub struct Math;

static METHODS: [Method; 4] = [
    method("add", "Adds two numbers"),
    method("sub", "Subtracts two numbers"),
    method("mult", "Multiplies two numbers"),
    method("div", "Divides two numbers"),
];

const fn method(name: &'static str, notes: &'static str) -> Method {
    Method { name, symbol: "osrfMathRun", notes, argc: 2, streams: false }
}

impl Service for Math {
    fn name(&self) -> &'static str {
        "opensrf.math"
    }

    fn methods(&self) -> &'static [Method] {
        &METHODS
    }

    fn tells_time(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, method: &'a str, params: Params<'a>, results: Results) -> Running<'a> {
        Box::pin(async move { results.put(calculate(method, params)?).await })
    }
}

fn calculate(method: &str, params: Params<'_>) -> Result<String, Failure> {
    let number = |index| params.scalar(index).map(|text| leading_number(&text));
    let (Some(a), Some(b)) = (number(0), number(1)) else { return Err(Failure::unknown()) };
    let result = match method {
        "add" => a + b,
        "sub" => a - b,
        "mult" => a * b,
        "div" => a / b,
        _ => return Err(Failure::unknown()),
    };
    if !result.is_finite() {
        return Err(Failure::new(500, format!("the result of {method} is not a finite number")));
    }
    Ok(thirty_digits(result))
}

/// The decimal number that a text begins with, 0 if it begins with none: C's `strtod`, without
/// its hexadecimal, infinite and undefined numbers.
fn leading_number(text: &str) -> f64 {
    let text = text.trim_ascii_start();
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let sign = |from: usize| usize::from(text[from..].starts_with(['+', '-']));

    let mut end = sign(0);
    let whole = digits(end);
    end += whole;
    let mut fraction = 0;
    if text[end..].starts_with('.') {
        fraction = digits(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction > 0 && text[end..].starts_with(['e', 'E']) {
        let from = end + 1 + sign(end + 1);
        if digits(from) > 0 {
            end = from + digits(from);
        }
    }
    text[..end].parse().unwrap_or(0.0)
}

/// C's `%.30g` of a finite number.
fn thirty_digits(number: f64) -> String {
    let scientific = format!("{number:.29e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match usize::try_from(29 - exponent) {
        Ok(decimals) if exponent >= -4 => trim(&format!("{number:.decimals$}")),
        Ok(_) | Err(_) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(mantissa), exponent.unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn numbers_and_strings_are_calculated_with() {
        assert_eq!(run("add", "[1,2]"), Ok("3".to_owned()));
        assert_eq!(run("sub", "[9,1]"), Ok("8".to_owned()));
        assert_eq!(run("mult", "[\"2.5\",\" 4 apples\"]"), Ok("10".to_owned()));
        assert_eq!(run("div", "[1,3]"), Ok("0.333333333333333314829616256247".to_owned()));
        assert_eq!(run("add", "[\"x\",1e5]"), Ok("100000".to_owned()));
        assert_eq!(run("add", "[0.1,0.2]"), Ok("0.300000000000000044408920985006".to_owned()));
    }

    #[test]
    fn what_is_no_number_fails_as_in_c() {
        for params in ["[1,{\"a\":1}]", "[null,1]", "[true,1]", "[[1],1]"] {
            assert_eq!(run("add", params), Err(Failure::unknown()), "{params}");
        }
    }

    #[test]
    fn what_has_no_finite_result_fails() {
        for (method, params) in
            [("div", "[1,0]"), ("div", "[0,0]"), ("mult", "[1e308,10]"), ("add", "[1e400,1]")]
        {
            assert_eq!(run(method, params).map_err(|failure| failure.code), Err(500), "{params}");
        }
    }

    /// As printf prints them.
    #[test]
    fn numbers_are_printed_as_c_prints_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (100.0, "100"),
            (-5.25, "-5.25"),
            (1e22, "10000000000000000000000"),
            (2f64.powi(100), "1.26765060022822940149670320538e+30"),
            (1e-4, "0.000100000000000000004792173602386"),
            (1e-5, "1.00000000000000008180305391403e-05"),
            (1e300, "1.0000000000000000525047602552e+300"),
            (1e29, "99999999999999991433150857216"),
        ] {
            assert_eq!(thirty_digits(number), text);
        }
    }

    #[test]
    fn a_number_is_read_as_far_as_it_goes() {
        for (text, number) in [
            ("", 0.0),
            ("-", 0.0),
            (".", 0.0),
            ("e5", 0.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("-1.5e-1x", -0.15),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("  7é", 7.0),
            ("inf", 0.0),
            ("nan", 0.0),
        ] {
            assert_eq!(leading_number(text), number, "{text:?}");
        }
    }

    fn run(method: &str, params: &str) -> Result<String, Failure> {
        calculate(method, Params::new(&values(params)))
    }

    fn values(params: &str) -> Vec<&RawValue> {
        serde_json::from_str(params).expect("an array")
    }
}

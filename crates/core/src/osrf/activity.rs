//! What the activity log shows of a request's parameters: one line of them, cut to a length, or
//! that they are not to be seen. OpenSRF's services log the same (OPENSRF-REDIS §4.2).

/// Which parameters may be seen, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// The parameters of a method that begins with one of these are never shown (`log_protect`).
    pub protect: Vec<String>,
    /// What is shown has about so many bytes at most; what was cut off ends in `...`.
    pub max_length: usize,
}

/// In the place of parameters that are not to be seen.
const REDACTED: &str = "**PARAMS REDACTED**";

impl Activity {
    /// The parameters of a call from their text, which must be sound JSON: `1, {"a":"b"}`.
    pub fn show(&self, method: &str, params: Option<&str>) -> String {
        if self.protect.iter().any(|start| method.starts_with(start.as_str())) {
            return REDACTED.to_owned();
        }
        match params {
            None | Some("null") => String::new(),
            Some(text) => in_one_line(text, self.max_length),
        }
    }
}

/// JSON without white space; an array without its brackets. A string can hold neither a line break
/// nor anything that a terminal obeys.
fn in_one_line(json: &str, max_length: usize) -> String {
    let json = json.trim();
    let items = json.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let (mut line, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    for letter in items.unwrap_or(json).chars() {
        if line.len() >= max_length {
            line.push_str("...");
            return line;
        }
        if in_string {
            in_string = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            if letter.is_control() {
                line.push_str(&format!("\\u{:04x}", u32::from(letter)));
            } else {
                line.push(letter);
            }
            continue;
        }
        match letter {
            ' ' | '\t' | '\r' | '\n' => continue,
            '"' => in_string = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        line.push(letter);
        if letter == ',' && depth == 0 {
            line.push(' ');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(params: &str) -> String {
        let activity = Activity { protect: vec!["open-ils.auth.".to_owned()], max_length: 40 };
        activity.show("add", Some(params))
    }

    #[test]
    fn parameters_stand_in_one_line_as_the_c_gateway_writes_them() {
        for (params, line) in [
            ("null", ""),
            ("[]", ""),
            ("[ ]", ""),
            ("[1, 2]", "1, 2"),
            ("5", "5"),
            (
                r#"["a",1,null,true,{"k": [1, 2]},"last"]"#,
                r#""a", 1, null, true, {"k":[1,2]}, "last""#,
            ),
            (" [\n \"a , b\\\"[\" ,\t1.0 ] ", r#""a , b\"[", 1.0"#),
            (r#"["\\", 1]"#, r#""\\", 1"#),
            ("[\"\u{7f}\u{9b}31m é\"]", r#""\u007f\u009b31m é""#),
        ] {
            assert_eq!(shown(params), line, "{params}");
        }
    }

    #[test]
    fn long_parameters_are_cut() {
        let line = shown(&format!("[\"{}\"]", "é".repeat(1_000_000)));
        assert_eq!(line, format!("\"{}...", "é".repeat(20)));
    }

    #[test]
    fn what_is_protected_is_not_shown() {
        let activity = Activity { protect: vec!["open-ils.auth.".to_owned()], max_length: 100 };
        let show = |method: &str| activity.show(method, Some("[\"secret\"]"));
        assert_eq!(show("open-ils.auth.login"), "**PARAMS REDACTED**");
        assert_eq!(show("open-ils.authority.x"), "\"secret\"");
        assert_eq!(activity.show("open-ils.auth.login", None), "**PARAMS REDACTED**");
    }
}

//! The names of the options: which there are, and which one was meant.

use std::collections::BTreeSet;

use clap::Args;

use super::error::ConfigError;
use super::options::ServeOptions;

/// Refuses variables that begin with `SLACKWATER_` and belong to no option. Kubernetes gives each
/// container variables for the services it knows, `SLACKWATER_SERVICE_HOST` and
/// `SLACKWATER_PORT_7682_TCP` among them: those pass.
///
/// # Errors
/// [`ConfigError::UnknownVariable`].
pub fn check_variables<'a>(
    set: impl IntoIterator<Item = &'a String>,
    known: &BTreeSet<String>,
) -> Result<(), ConfigError> {
    let by_kubernetes = |name: &str| {
        name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT")
    };
    match set.into_iter().find(|name| !known.contains(*name) && !by_kubernetes(name)) {
        Some(name) => Err(ConfigError::UnknownVariable {
            name: name.clone(),
            hint: most_like(name, known.iter().map(String::as_str)).map(str::to_owned),
        }),
        None => Ok(()),
    }
}

/// The keys of the file are the names of the flags, but for `config` itself.
pub(super) fn file_keys() -> BTreeSet<String> {
    ServeOptions::augment_args(clap::Command::new("serve"))
        .get_arguments()
        .map(|argument| argument.get_id().to_string())
        .filter(|key| key != "config")
        .collect()
}

/// The name that at most two changed letters make of this one.
pub(super) fn most_like<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance of two names: how many letters must be changed, added or taken out.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, other) in right.iter().enumerate() {
            let above = row[column + 1];
            let changed = diagonal + usize::from(letter != *other);
            row[column + 1] = changed.min(above + 1).min(row[column] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("listn", "listen", 1),
            ("lsiten", "listen", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn variables_of_kubernetes_are_not_ours() {
        let known = BTreeSet::from(["SLACKWATER_LISTEN".to_owned()]);
        let check = |name: &str| {
            check_variables(&[name.to_owned()], &known).map_err(|error| error.to_string())
        };
        assert_eq!(check("SLACKWATER_LISTEN"), Ok(()));
        assert_eq!(check("SLACKWATER_SERVICE_HOST"), Ok(()));
        assert_eq!(check("SLACKWATER_ADMIN_PORT_7682_TCP_ADDR"), Ok(()));
        let hint = "no option has this environment variable; did you mean SLACKWATER_LISTEN?";
        assert_eq!(check("SLACKWATER_LISTN"), Err(format!("SLACKWATER_LISTN: {hint}")));
        let none = "SLACKWATER_X: no option has this environment variable";
        assert_eq!(check("SLACKWATER_X"), Err(none.to_owned()));
    }
}

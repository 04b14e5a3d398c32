//! The params of a request: raw JSON, read only as far as a method needs.

use serde_json::value::RawValue;

use super::Failure;

/// Raw JSON values, in order.
#[derive(Debug, Clone, Copy)]
pub struct Params<'a>(&'a [&'a RawValue]);

impl<'a> Params<'a> {
    /// These values.
    pub fn new(values: &'a [&'a RawValue]) -> Self {
        Self(values)
    }

    /// The JSON text of each.
    pub fn iter(self) -> impl Iterator<Item = &'a str> + Send {
        self.0.iter().map(|raw| raw.get())
    }

    /// The JSON text of one; `None` if it is absent.
    pub fn json(self, index: usize) -> Option<&'a str> {
        self.0.get(index).map(|raw| raw.get())
    }

    /// A string's text or a number's digits; `None` if it is absent or anything else.
    pub fn scalar(self, index: usize) -> Option<String> {
        let json = self.json(index)?;
        match json.bytes().next()? {
            b'"' => serde_json::from_str(json).ok(),
            b'-' | b'0'..=b'9' => Some(json.to_owned()),
            _ => None,
        }
    }

    /// A number, or a string of one.
    ///
    /// # Errors
    /// STATUS 400 naming `what` if it is absent or something else.
    pub fn number(self, index: usize, what: &str) -> Result<f64, Failure> {
        self.scalar(index)
            .and_then(|text| text.trim().parse().ok())
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| Failure::new(400, format!("{what} must be a number")))
    }

    /// A whole number from 0 to `most`.
    ///
    /// # Errors
    /// STATUS 400 naming `what` if it is absent or something else.
    pub fn whole(self, index: usize, what: &str, most: u32) -> Result<u32, Failure> {
        self.scalar(index)
            .and_then(|text| text.trim().parse().ok())
            .filter(|number| *number <= most)
            .ok_or_else(|| {
                Failure::new(400, format!("{what} must be a whole number from 0 to {most}"))
            })
    }

    /// A string or a number's digits, at most `longest` bytes.
    ///
    /// # Errors
    /// STATUS 400 naming `what` if it is absent or something else.
    pub fn text(self, index: usize, what: &str, longest: usize) -> Result<String, Failure> {
        self.scalar(index).filter(|text| text.len() <= longest).ok_or_else(|| {
            Failure::new(400, format!("{what} must be a string of at most {longest} bytes"))
        })
    }
}

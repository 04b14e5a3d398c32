//! A text that is known to hold one JSON value. To say so in its type spares a second look at
//! every byte of every answer.

use std::fmt;
use std::ops::Deref;

use serde_json::value::RawValue;

/// One JSON value as a text, without white space around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// A text from outside; `None` if it is not JSON.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(Self::from)
    }

    /// A text that we have put together ourselves.
    pub const fn of_our_making(text: String) -> Self {
        Self(text)
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(raw.get().to_owned())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Deref for Json {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

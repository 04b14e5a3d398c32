//! Durations and sizes as operators write them: `200ms`, `1h30m`, `10MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::{Unfit, deserialize_as_text};

/// A duration with units, at most 365 days: `200ms`, `2m`, `1h30m`. A bare number is seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

/// A [`Period`] that is not zero: how long to wait for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patience(Period);

/// A number of bytes, at least 1: `10MiB`, `16KiB`. A bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// A size from which on something is done: a [`Size`], or `off` for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold(Option<Size>);

deserialize_as_text!(Period, Patience, Size, Threshold);

/// Milliseconds in each unit, the largest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes in each unit, the largest first.
const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Long enough for anybody, and far from overflowing a clock.
const LONGEST: u64 = 365 * 86_400_000;

impl Period {
    /// The duration itself.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The duration, or `None` if it is zero: for settings where `0s` means never or off.
    pub fn unless_zero(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Period {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let expected = || Unfit::expected("a duration such as 200ms, 30s or 1h30m");
        let milliseconds = match text.parse::<u64>() {
            Ok(seconds) => seconds.checked_mul(1_000),
            Err(_) => sum_of_units(text, &TIME_UNITS),
        };
        let milliseconds = milliseconds.ok_or_else(expected)?;
        if milliseconds > LONGEST {
            return Err(Unfit::expected("a duration of at most 365d"));
        }
        Ok(Self(Duration::from_millis(milliseconds)))
    }
}

/// As [`FromStr`] reads it, cut to whole milliseconds.
impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return formatter.write_str("0s");
        }
        for (unit, milliseconds) in TIME_UNITS {
            if left >= milliseconds {
                write!(formatter, "{}{unit}", left / milliseconds)?;
                left %= milliseconds;
            }
        }
        Ok(())
    }
}

impl Patience {
    /// The duration itself, more than zero.
    pub const fn duration(self) -> Duration {
        self.0.0
    }
}

impl FromStr for Patience {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let period: Period = text.parse()?;
        if period.0.is_zero() {
            return Err(Unfit::expected("a duration above 0s"));
        }
        Ok(Self(period))
    }
}

impl Size {
    /// The number of bytes, cut to what this machine can address.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        text.parse::<u64>()
            .ok()
            .or_else(|| sum_of_units(text, &SIZE_UNITS))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| Unfit::expected("a size such as 16KiB or 10MiB"))
    }
}

/// In the largest unit that divides it.
impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            SIZE_UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = unit.unwrap_or(&("B", 1));
        write!(formatter, "{}{unit}", self.0 / bytes)
    }
}

impl Threshold {
    /// Never.
    pub const OFF: Self = Self(None);

    /// The number of bytes; `None`: never.
    pub fn bytes(self) -> Option<usize> {
        self.0.map(Size::bytes)
    }
}

impl FromStr for Threshold {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let size = text.parse().map_err(|_| Unfit::expected("a size such as 2KiB, or off"))?;
        Ok(Self(Some(size)))
    }
}

/// Reads `1h30m`: numbers each followed by a unit, the units falling from large to small.
fn sum_of_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let mut rest = text;
    let mut units = units.iter();
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|character: char| character.is_ascii_digit()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(letters);
        let (_, worth) = units.find(|(unit, _)| *unit == name)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*worth)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("5", 5_000),
            ("200ms", 200),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("365d", LONGEST),
        ] {
            let read = text.parse::<Period>().map(Period::duration);
            assert_eq!(read, Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_refused() {
        for text in [
            "",
            "s",
            "-1",
            "1.5s",
            "5 s",
            "5sec",
            "30s1h",
            "1s1s",
            "1h30",
            "366d",
            "5S",
            "ms5",
            "18446744073709551615",
            "18446744073709551616s",
            "18446744073709551615d",
            "１s",
        ] {
            let error = text.parse::<Period>().expect_err(text).to_string();
            assert!(error.starts_with("expected a duration"), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_it_is_read() {
        for text in ["0s", "5ms", "1s", "2m", "1h30m", "1d2h3m4s5ms", "365d"] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn patience_is_more_than_zero() {
        assert_eq!("1ms".parse().map(Patience::duration), Ok(Duration::from_millis(1)));
        let error = "0s".parse::<Patience>().unwrap_err();
        assert_eq!(error.to_string(), "expected a duration above 0s");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("12", 12), ("12B", 12), ("16KiB", 16_384), ("10MiB", 10_485_760), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
        for text in ["", "0", "0B", "-1", "10MB", "10 MiB", "KiB", "1.5KiB", "99999999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_as_it_is_read() {
        for text in ["12B", "16KiB", "10MiB", "3GiB", "1025B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }
}

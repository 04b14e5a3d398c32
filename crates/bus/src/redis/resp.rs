//! Redis's protocol (RESP2), as far as five commands need it.
//!
//! Law: any bytes may be read, in any pieces, and nothing is copied.

use std::fmt;

/// A list in a list is more than anything that we ask for is answered with.
const DEEPEST: usize = 2;
/// Neither a number nor a server's words are longer.
const LONGEST_LINE: usize = 64 * 1024;
/// Redis's own limit (proto-max-bulk-len), which also bounds how many there are in a list.
const LONGEST_TEXT: usize = 512 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    /// `OK`, say.
    Word(&'a str),
    Number(i64),
    Text(&'a [u8]),
    List(Vec<Self>),
    Nil,
    /// The server refuses, in its own words.
    Refused(&'a str),
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Not {
    /// It takes at least so many bytes, more than there are.
    Yet(usize),
    /// It is none.
    Ever,
}

/// What speaks, but not as Redis does.
impl fmt::Display for Not {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Yet(_) => "half an answer",
            Self::Ever => "an answer that is not Redis's",
        })
    }
}

/// Appends a command and its arguments.
pub(super) fn command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut digits = itoa::Buffer::new();
    let mut line = |out: &mut Vec<u8>, kind: u8, number: usize| {
        out.push(kind);
        out.extend_from_slice(digits.format(number).as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    line(out, b'*', words.len());
    for word in words {
        line(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The answer that `bytes` begin with, and its length.
pub(super) fn reply(bytes: &[u8]) -> Result<(Reply<'_>, usize), Not> {
    nested(bytes, DEEPEST)
}

fn nested(bytes: &[u8], depth: usize) -> Result<(Reply<'_>, usize), Not> {
    let searched = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = searched.windows(2).position(|two| two == b"\r\n") else {
        let too_long = searched.len() == LONGEST_LINE;
        return Err(if too_long { Not::Ever } else { Not::Yet(bytes.len() + 1) });
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| Not::Ever)?;
    let (kind, rest) = line.split_at_checked(1).ok_or(Not::Ever)?;
    let begin = end + 2;
    let reply = match kind {
        "+" => Reply::Word(rest),
        "-" => Reply::Refused(rest),
        ":" => Reply::Number(rest.parse().map_err(|_| Not::Ever)?),
        "$" => {
            let Some(size) = size(rest)? else { return Ok((Reply::Nil, begin)) };
            let end = begin + size;
            let Some(tail) = bytes.get(end..end + 2) else { return Err(Not::Yet(end + 2)) };
            if tail != b"\r\n" {
                return Err(Not::Ever);
            }
            return Ok((Reply::Text(&bytes[begin..end]), end + 2));
        }
        "*" => {
            let Some(count) = size(rest)? else { return Ok((Reply::Nil, begin)) };
            let depth = depth.checked_sub(1).ok_or(Not::Ever)?;
            let (mut items, mut at) = (Vec::new(), begin);
            for _ in 0..count {
                let item = nested(&bytes[at..], depth).map_err(|not| match not {
                    Not::Yet(bytes) => Not::Yet(at + bytes),
                    Not::Ever => Not::Ever,
                });
                let (item, length) = item?;
                items.push(item);
                at += length;
            }
            return Ok((Reply::List(items), at));
        }
        _ => return Err(Not::Ever),
    };
    Ok((reply, begin))
}

/// How much follows; `None`: there is nothing, which is not the same as an empty text.
fn size(digits: &str) -> Result<Option<usize>, Not> {
    if digits == "-1" {
        return Ok(None);
    }
    let size = digits.parse().ok().filter(|&size| size <= LONGEST_TEXT);
    size.map(Some).ok_or(Not::Ever)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_a_list_of_texts() {
        let mut out = Vec::new();
        command(&mut out, [&b"RPUSH"[..], b"list", "é\r\n".as_bytes()].into_iter());
        assert_eq!(out, "*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n$4\r\né\r\n\r\n".as_bytes());
    }

    #[test]
    fn each_kind_of_answer_is_read_once_it_is_all_there_and_not_before() {
        let text = |text: &'static str| Reply::Text(text.as_bytes());
        for (bytes, expected) in [
            ("+OK\r\n", Reply::Word("OK")),
            (":-7\r\n", Reply::Number(-7)),
            ("-NOPERM no\r\n", Reply::Refused("NOPERM no")),
            ("$-1\r\n", Reply::Nil),
            ("*-1\r\n", Reply::Nil),
            ("$0\r\n\r\n", text("")),
            ("$4\r\na\r\nb\r\n", text("a\r\nb")),
            (
                "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
                Reply::List(vec![text("a"), Reply::List(vec![Reply::Number(1)])]),
            ),
        ] {
            let more = format!("{bytes}+more\r\n");
            assert_eq!(reply(more.as_bytes()), Ok((expected, bytes.len())), "{bytes:?}");
            for cut in 0..bytes.len() {
                let Err(Not::Yet(least)) = reply(&bytes.as_bytes()[..cut]) else {
                    panic!("{cut} bytes of {bytes:?}")
                };
                assert!((cut + 1..=bytes.len()).contains(&least), "{cut} bytes of {bytes:?}");
            }
        }
        assert_eq!(reply(b"*1\r\n$1000\r\nab"), Err(Not::Yet(4 + 7 + 1000 + 2)));
    }

    #[test]
    fn what_is_no_answer_never_becomes_one() {
        let long = format!("+{}", "x".repeat(LONGEST_LINE));
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            ":x\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
            "$18446744073709551615\r\n",
            "$1\r\nabc",
            "*1\r\n*1\r\n*1\r\n:1\r\n",
            long.as_str(),
        ] {
            assert_eq!(reply(bytes.as_bytes()), Err(Not::Ever), "{bytes:.40}");
        }
        assert_eq!(reply(b"+\xff\r\n"), Err(Not::Ever));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_or_wait_for_more(
            bytes in prop::collection::vec(prop::sample::select(b"+-:$*019\r\nx\xff".to_vec()), 0..40),
        ) {
            match reply(&bytes) {
                Ok((_, length)) => prop_assert!((3..=bytes.len()).contains(&length)),
                Err(Not::Yet(least)) => prop_assert!(least > bytes.len()),
                Err(Not::Ever) => {}
            }
        }
    }
}

//! Whether a condition from the settings is one expression, so that it stays between the parentheses that it is put in.
//!
//! PostgreSQL itself says whether it is SQL over its table's columns. What it cannot say is whether parentheses of ours
//! were closed and opened again: that is looked for here, with literals, quoted names and comments left out.

/// What keeps a condition from being one expression; nothing where it is one.
pub(crate) fn fault(condition: &str) -> Option<&'static str> {
    let bytes = condition.as_bytes();
    let (mut place, mut depth) = (0_usize, 0_usize);
    while let Some(&byte) = bytes.get(place) {
        match byte {
            b'\'' => match after_literal(bytes, place) {
                Some(after) => place = after,
                None => return Some("a text in it does not end"),
            },
            b'"' => match after_quoted(bytes, place + 1, b'"', false) {
                Some(after) => place = after,
                None => return Some("a quoted name in it does not end"),
            },
            b'$' if !follows_word(bytes, place) => match after_dollar(condition, place) {
                Ok(after) => place = after,
                Err(fault) => return Some(fault),
            },
            b'-' if bytes.get(place + 1) == Some(&b'-') => {
                let rest = &bytes[place..];
                place += rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            }
            b'/' if bytes.get(place + 1) == Some(&b'*') => match after_comment(bytes, place) {
                Some(after) => place = after,
                None => return Some("a comment in it does not end"),
            },
            b'(' => {
                depth += 1;
                place += 1;
            }
            b')' if depth == 0 => return Some("it closes a parenthesis that it does not open"),
            b')' => {
                depth -= 1;
                place += 1;
            }
            b';' => return Some("it is more than one statement"),
            0 => return Some("it holds a byte that is no text"),
            _ => place += 1,
        }
    }
    (depth > 0).then_some("it opens a parenthesis that it does not close")
}

/// Whether the byte before belongs to a word.
fn follows_word(bytes: &[u8], place: usize) -> bool {
    place.checked_sub(1).is_some_and(|before| is_of_word(bytes[before]))
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

/// The place after a literal that begins at `place`. `E'…'` takes backslashes for more than themselves.
fn after_literal(bytes: &[u8], place: usize) -> Option<usize> {
    let escapes = place
        .checked_sub(1)
        .is_some_and(|before| bytes[before].eq_ignore_ascii_case(&b'e') && !follows_word(bytes, before));
    after_quoted(bytes, place + 1, b'\'', escapes)
}

/// The place after the quote that ends what `from` is in; a doubled quote does not.
fn after_quoted(bytes: &[u8], from: usize, quote: u8, escapes: bool) -> Option<usize> {
    let mut place = from;
    loop {
        match *bytes.get(place)? {
            b'\\' if escapes => place += 2,
            byte if byte == quote && bytes.get(place + 1) == Some(&quote) => place += 2,
            byte if byte == quote => return Some(place + 1),
            _ => place += 1,
        }
    }
}

/// The place after a text in dollar quotes, or after a dollar that begins none.
fn after_dollar(condition: &str, place: usize) -> Result<usize, &'static str> {
    let rest = &condition[place + 1..];
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("it names a parameter, and there is none");
    }
    let Some(end) = rest.find('$') else { return Ok(place + 1) };
    if !rest[..end].bytes().all(is_of_word) {
        return Ok(place + 1);
    }
    let tag = &condition[place..place + end + 2];
    let text = place + tag.len();
    let closing = condition[text..].find(tag).ok_or("a text in it does not end")?;
    Ok(text + closing + tag.len())
}

/// The place after a comment, which may have comments in it.
fn after_comment(bytes: &[u8], place: usize) -> Option<usize> {
    let (mut place, mut depth) = (place + 2, 1_usize);
    while depth > 0 {
        match (*bytes.get(place)?, bytes.get(place + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                place += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                place += 2;
            }
            _ => place += 1,
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_left_alone() {
        for condition in [
            "region = 'north'",
            "(a = 1 OR (b)) AND c IN (1, 2)",
            "note <> 'it''s :) ; (' AND \"odd) \"\";\" = 1",
            "note <> E'it\\'s )' AND note <> '\\'",
            "note = $$) ;$$ OR note = $tag$ ) $$ $tag$",
            "a = 1 -- ) and so on\n AND b = 2 /* ) /* ; */ ( */",
            "price$ > 1",
            "größe > 1",
        ] {
            assert_eq!(fault(condition), None, "{condition}");
        }
    }

    #[test]
    fn what_would_break_out_is_found() {
        for condition in [
            "1 = 1) OR (1 = 1",
            "(1 = 1",
            "1 = 1)",
            "1 = 1; DELETE FROM orders",
            "'1 = 1",
            "\"a = 1",
            "1 = 1 /* the rest",
            "1 = 1 /* /* */",
            "E'\\') OR (1 = 1",
            "$a$ ) $b$",
            "id = $1",
            "a = '\\' ) OR (b = '",
            "a = 1 -- (\n)",
            "name'x' ) OR ( e'\\'' = ''",
        ] {
            assert!(fault(condition).is_some(), "{condition}");
        }
    }
}

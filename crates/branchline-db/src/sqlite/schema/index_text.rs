//! What a unique index is over, as its declaration says it: for indexes that are partial, or over expressions.
//!
//! SQLite's pragmas name plain columns and no expressions, so the text of the declaration is taken apart: the list in
//! its first parentheses at the commas outside of any others, and what follows a `WHERE`. Quotes and comments are passed
//! over. What does not look like that gives nothing.

/// The terms of an index, and the condition of a partial one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexText {
    pub(super) terms: Vec<String>,
    pub(super) condition: Option<String>,
}

/// Takes the declaration of an index apart.
pub(super) fn take_apart(declaration: &str) -> Option<IndexText> {
    let mut terms = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = declaration;
    while let Some(token) = next_token(rest) {
        rest = &rest[token.len()..];
        match token {
            "(" => depth += 1,
            ")" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    let terms = terms.iter().map(|term| without_order(term)).collect();
                    return Some(IndexText { terms, condition: condition(rest)? });
                }
            }
            "," if depth == 1 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth > 1 || (depth == 1 && token != "(") {
            terms.last_mut()?.push_str(token);
        }
    }
    None
}

/// What follows the list: nothing, or a condition.
fn condition(rest: &str) -> Option<Option<String>> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Some(None);
    }
    let (word, condition) = rest.split_at_checked(5)?;
    // A comment at its end must not hide what stands behind it.
    word.eq_ignore_ascii_case("where").then(|| Some(format!("{condition}\n")))
}

/// A term without `ASC` or `DESC`.
fn without_order(term: &str) -> String {
    let term = term.trim();
    let last = term.rsplit(char::is_whitespace).next().unwrap_or_default();
    let is_order = last.eq_ignore_ascii_case("asc") || last.eq_ignore_ascii_case("desc");
    let term = if is_order { &term[..term.len() - last.len()] } else { term };
    format!("{}\n", term.trim_end())
}

/// A quoted text, a comment, or one character.
fn next_token(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    let closing = match first {
        '\'' | '"' | '`' => first,
        '[' => ']',
        _ if text.starts_with("--") => '\n',
        _ if text.starts_with("/*") => {
            return Some(text[2..].find("*/").map_or(text, |end| &text[..end + 4]));
        }
        _ => return Some(&text[..first.len_utf8()]),
    };
    // A doubled quote begins another text right behind, which comes to the same here.
    Some(
        text[first.len_utf8()..]
            .find(closing)
            .map_or(text, |end| &text[..first.len_utf8() + end + closing.len_utf8()]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(declaration: &str) -> Option<(Vec<String>, Option<String>)> {
        let found = take_apart(declaration)?;
        let terms = found.terms.iter().map(|term| term.trim().to_owned()).collect();
        Some((terms, found.condition.map(|condition| condition.trim().to_owned())))
    }

    #[test]
    fn terms_and_condition_are_found() {
        for (declaration, terms, condition) in [
            ("CREATE UNIQUE INDEX i ON t (a, b)", vec!["a", "b"], None),
            ("CREATE UNIQUE INDEX i ON \"t (x)\" (lower(a), b desc)", vec!["lower(a)", "b"], None),
            ("CREATE UNIQUE INDEX i ON t(a) where b IS NULL", vec!["a"], Some("b IS NULL")),
            (
                "CREATE UNIQUE INDEX i ON t (coalesce(a, ')', \"x,y\"), (b + 1) * 2 ASC) WHERE (c > 0)",
                vec!["coalesce(a, ')', \"x,y\")", "(b + 1) * 2"],
                Some("(c > 0)"),
            ),
            (
                "CREATE UNIQUE INDEX i ON t (a /* ) , */, 'it''s' || b)",
                vec!["a /* ) , */", "'it''s' || b"],
                None,
            ),
            ("CREATE UNIQUE INDEX i ON [t (] (a COLLATE NOCASE)", vec!["a COLLATE NOCASE"], None),
        ] {
            let terms: Vec<String> = terms.into_iter().map(str::to_owned).collect();
            assert_eq!(apart(declaration), Some((terms, condition.map(str::to_owned))), "{declaration}");
        }
    }

    #[test]
    fn what_is_no_index_gives_nothing() {
        for declaration in
            ["", "CREATE UNIQUE INDEX i ON t", "CREATE UNIQUE INDEX i ON t (a", "x (a) USING b"]
        {
            assert_eq!(apart(declaration), None, "{declaration}");
        }
    }
}

//! A Rust file as the rules see it: code with comments and literals blanked out, the string literals by themselves,
//! which lines are tests, and what is allowed where.
//!
//! Invariant: `code` has the lines of the file, each as long in characters as it was, so that places stay the same.

/// A Rust source file, scanned once.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) lines: Vec<&'a str>,
    /// The lines with comments and the insides of literals replaced by spaces.
    pub(super) code: Vec<String>,
    /// String literals with the line they begin on (from 1).
    pub(super) strings: Vec<(usize, String)>,
    /// Lines of comments, with their numbers.
    pub(super) comments: Vec<(usize, String)>,
    /// For each line, whether it belongs to tests.
    test: Vec<bool>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let scanned = Scanner::scan(text);
        let code: Vec<String> = scanned.code.split('\n').map(str::to_owned).collect();
        let test = if is_test_path(path) { vec![true; code.len()] } else { test_lines(&code) };
        Self {
            path,
            lines: text.lines().collect(),
            code,
            strings: scanned.strings,
            comments: scanned.comments,
            test,
        }
    }

    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        is_test_path(self.path)
    }

    /// Whether a line (from 1) belongs to tests.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.test.get(line - 1).copied().unwrap_or(false)
    }

    /// Whether a rule is allowed to be broken at a line (from 1).
    pub(super) fn allows(&self, rule: &str, line: usize) -> bool {
        let in_head = || self.lines.iter().take(30).any(|text| allows(text, rule));
        allows_near(&self.lines, rule, line) || (is_file_rule(rule) && in_head())
    }

    /// Lines of code outside tests, with their numbers from 1.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
            .filter(|(line, _)| !self.is_test_line(*line))
    }
}

/// Rules that speak of a whole file, so that the comment may stand anywhere at its head.
fn is_file_rule(rule: &str) -> bool {
    !matches!(rule, "function-length" | "unfinished" | "name")
}

/// Whether a rule is allowed to be broken at a line (from 1) of any kind of file, by it or by the line before.
pub(super) fn allows_near(lines: &[&str], rule: &str, line: usize) -> bool {
    let at = |index: usize| lines.get(index).is_some_and(|text| allows(text, rule));
    at(line - 1) || (line >= 2 && at(line - 2))
}

/// Whether a line has the comment, in the form of Rust, of TOML or of Markdown.
fn allows(line: &str, rule: &str) -> bool {
    let Some((before, after)) = line.split_once(" tidy: allow(") else {
        return false;
    };
    let Some((named, reason)) = after.split_once("):") else {
        return false;
    };
    let is_comment = ["//", "#", "<!--"].iter().any(|opening| before.ends_with(opening));
    is_comment && named.trim() == rule && !reason.trim_end_matches("-->").trim().is_empty()
}

fn is_test_path(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.starts_with("crates/branchline-testkit/")
}

/// Marks what stands in the braces after each `#[cfg(test)]`.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let mut index = 0;
    while index < code.len() {
        if code[index].trim_start().starts_with("#[cfg(test)]") {
            let end = block_end(code, index).unwrap_or(index);
            test[index..=end].fill(true);
            index = end;
        }
        index += 1;
    }
    test
}

/// The line (from 0) on which the first brace opened at or after `from` is closed; none when a `;` comes first.
pub(super) fn block_end(code: &[String], from: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (index, line) in code.iter().enumerate().skip(from) {
        for character in line.chars() {
            match character {
                '(' | '[' => others += 1,
                ')' | ']' => others = others.saturating_sub(1),
                ';' if braces == 0 && others == 0 => return None,
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

/// Walks over the text once, telling code from comments and literals.
struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    code: String,
    strings: Vec<(usize, String)>,
    comments: Vec<(usize, String)>,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn scan(text: &'a str) -> Self {
        let mut scanner = Self {
            rest: text.chars().peekable(),
            code: String::with_capacity(text.len()),
            strings: Vec::new(),
            comments: Vec::new(),
            line: 1,
        };
        while let Some(character) = scanner.rest.next() {
            scanner.step(character);
        }
        scanner
    }

    fn step(&mut self, character: char) {
        match character {
            '/' if self.rest.peek() == Some(&'/') => self.line_comment(),
            '/' if self.rest.peek() == Some(&'*') => self.block_comment(),
            '"' => self.string(),
            'r' | 'b' | 'c' if !self.in_word() => self.prefixed(character),
            '\'' => self.quote(),
            other => self.keep(other),
        }
    }

    fn keep(&mut self, character: char) {
        if character == '\n' {
            self.line += 1;
        }
        self.code.push(character);
    }

    fn blank(&mut self, character: char) {
        if character == '\n' {
            self.keep('\n');
        } else {
            self.code.push(' ');
        }
    }

    fn in_word(&self) -> bool {
        self.code.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
    }

    fn line_comment(&mut self) {
        self.code.push(' ');
        let mut comment = String::new();
        while let Some(character) = self.rest.next_if(|next| *next != '\n') {
            comment.push(character);
            self.blank(character);
        }
        self.comments.push((self.line, comment));
    }

    fn block_comment(&mut self) {
        self.code.push(' ');
        let mut depth = 0_usize;
        let mut previous = '/';
        self.comments.push((self.line, String::new()));
        while let Some(character) = self.rest.next() {
            self.blank(character);
            if character == '\n' {
                self.comments.push((self.line, String::new()));
            } else if let Some((_, comment)) = self.comments.last_mut() {
                comment.push(character);
            }
            match (previous, character) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    previous = character;
                    continue;
                }
            }
            if depth == 0 {
                return;
            }
            previous = ' ';
        }
    }

    /// The inside of `"…"`, whose opening quote is eaten.
    fn string(&mut self) {
        let line = self.line;
        let mut literal = String::new();
        self.code.push('"');
        while let Some(character) = self.rest.next() {
            match character {
                '"' => {
                    self.code.push('"');
                    break;
                }
                '\\' => {
                    self.code.push(' ');
                    if let Some(escaped) = self.rest.next() {
                        self.blank(escaped);
                        literal.push(' ');
                    }
                }
                other => {
                    literal.push(other);
                    self.blank(other);
                }
            }
        }
        self.strings.push((line, literal));
    }

    /// After a letter that may begin `r"…"`, `r#"…"#`, `b"…"`, `br"…"` or `b'…'`.
    fn prefixed(&mut self, first: char) {
        self.code.push(first);
        let mut raw = first == 'r';
        if first != 'r' && self.rest.next_if_eq(&'r').is_some() {
            self.code.push('r');
            raw = true;
        }
        if !raw {
            return;
        }
        let mut hashes = 0;
        while self.rest.next_if_eq(&'#').is_some() {
            self.code.push('#');
            hashes += 1;
        }
        if self.rest.next_if_eq(&'"').is_some() {
            self.raw_string(hashes);
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        let line = self.line;
        let end = format!("\"{}", "#".repeat(hashes));
        let mut literal = String::new();
        self.code.push('"');
        while let Some(character) = self.rest.next() {
            literal.push(character);
            self.blank(character);
            if literal.ends_with(&end) {
                literal.truncate(literal.len() - end.len());
                break;
            }
        }
        self.strings.push((line, literal));
    }

    /// A character literal, or a lifetime, which is code.
    fn quote(&mut self) {
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        self.code.push('\'');
        if first == Some('\\') {
            self.rest.next();
            self.code.push(' ');
            // The escaped character itself may be a quote.
            if let Some(escaped) = self.rest.next() {
                self.blank(escaped);
            }
            while let Some(character) = self.rest.next_if(|next| *next != '\'') {
                self.blank(character);
            }
        } else if second == Some('\'') {
            if let Some(character) = self.rest.next() {
                self.blank(character);
            }
        } else {
            return;
        }
        self.rest.next();
        self.code.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, block_end};

    const TEXT: &str = "//! doc {\nfn a<'x>() { /* { /* } */ */ let b = \"SELECT {\"; let c = '{'; }\n\
                        #[cfg(test)]\nmod tests {\n    const R: &str = r#\"a \"{\" b\"#;\n}\nfn z() {}\n";

    #[test]
    fn comments_and_literals_are_blanked_and_places_stay() {
        let source = Source::new("a.rs", TEXT);
        assert!(!source.code.join("\n").contains("SELECT"));
        for (code, line) in source.code.iter().zip(&source.lines) {
            assert_eq!(code.chars().count(), line.chars().count(), "{line}");
        }
        assert_eq!(block_end(&source.code, 1), Some(1));
    }

    #[test]
    fn string_literals_are_kept_with_their_lines() {
        let source = Source::new("a.rs", TEXT);
        let expected = vec![(2, "SELECT {".to_owned()), (5, "a \"{\" b".to_owned())];
        assert_eq!(source.strings, expected);
    }

    #[test]
    fn only_what_is_in_the_test_module_is_test() {
        let source = Source::new("a.rs", TEXT);
        let test: Vec<bool> = (1..=7).map(|line| source.is_test_line(line)).collect();
        assert_eq!(test, [false, false, true, true, true, true, false]);
    }

    #[test]
    fn an_allowance_needs_its_rule_and_a_reason() {
        let text = "//! doc\n// tidy: allow(sql): the demo's own tables\nlet a;\n// tidy: allow(name):\nb\n";
        let source = Source::new("a.rs", text);
        assert!(source.allows("sql", 3));
        assert!(!source.allows("name", 5), "no reason given");
        assert!(!source.allows("clock", 3));
        let document = ["<!-- tidy: allow(document-path): made at run time -->", "`docs/x.md`"];
        assert!(super::allows_near(&document, "document-path", 2));
        assert!(!super::allows_near(&["<!-- tidy: allow(document-path): -->"], "document-path", 1));
    }
}

//! Text that a peer wrote and a person may read: without control characters, and short.
//!
//! A terminal obeys escape sequences and a log is read by lines, so neither may come from outside.

/// Characters of a peer's text at most.
pub const CHARACTERS_MAX: usize = 256;

/// The text without control characters (nor those that turn the direction of writing), cut to
/// [`CHARACTERS_MAX`].
#[must_use]
pub fn cleaned(text: &str) -> String {
    text.chars().filter(|&character| !is_harmful(character)).take(CHARACTERS_MAX).collect()
}

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_gone_and_the_rest_is_cut() {
        assert_eq!(cleaned("a\n\u{1b}[2Jb\0\u{9b}c\u{202e}d"), "a[2Jbcd");
        assert_eq!(cleaned(&"x".repeat(CHARACTERS_MAX + 1)).len(), CHARACTERS_MAX);
        assert_eq!(cleaned("größe"), "größe");
    }
}

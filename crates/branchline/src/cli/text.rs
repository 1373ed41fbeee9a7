//! How things are written for people: numbers, sizes, times, tables; and what a terminal must never be sent.

use std::time::Duration;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Characters across, where no terminal says otherwise.
const COLUMNS: u16 = 80;

/// Whether a terminal might obey that character: controls but the line end, and what turns the direction of text.
pub(crate) fn is_unsafe(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && character != '\n')
}

/// The text without what a terminal might obey.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\t', " ").replace(is_unsafe, "")
}

/// Each line moved to the right.
pub(crate) fn indent(text: &str, columns: usize) -> String {
    let margin = " ".repeat(columns);
    text.lines().map(|line| format!("{margin}{line}")).collect::<Vec<_>>().join("\n")
}

/// `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(crate) fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// `512 B`, `1.3 MB`; never more than there is.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if value < 1_000 {
        return format!("{value} B");
    }
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1_000_000 && unit + 1 < UNITS.len() {
        scaled /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", scaled / 1_000, scaled % 1_000 / 100, UNITS[unit])
}

/// `350 ms`, `1.2 s`, `2 min 4 s`, `3 h 5 min`, `2 d 4 h`.
pub(crate) fn duration(value: Duration) -> String {
    let seconds = value.as_secs();
    let two = |large: u64, one: &str, small: u64, other: &str| match small {
        0 => format!("{large} {one}"),
        small => format!("{large} {one} {small} {other}"),
    };
    match seconds {
        0 => format!("{} ms", value.as_millis()),
        1..60 => format!("{}.{} s", seconds, value.subsec_millis() / 100),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The same of milliseconds.
pub(crate) fn millis(value: u64) -> String {
    duration(Duration::from_millis(value))
}

/// `12 s ago`, `in 3 h`, of a time as an answer writes it.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else { return time.to_owned() };
    let seconds = now.as_second() - time.as_second();
    let rounded = match seconds.unsigned_abs() {
        few @ 0..120 => format!("{few} s"),
        some @ 120..7_200 => format!("{} min", some / 60),
        more @ 7_200..172_800 => format!("{} h", more / 3_600),
        many => format!("{} d", many / 86_400),
    };
    if seconds < 0 { format!("in {rounded}") } else { format!("{rounded} ago") }
}

/// `2026-11-23 14:03:05 (12 s ago)`, in the time of this machine.
pub(crate) fn time(time: &str, now: Timestamp) -> String {
    let Ok(parsed) = time.parse::<Timestamp>() else { return time.to_owned() };
    let local = parsed.to_zoned(TimeZone::system());
    format!("{} ({})", local.strftime("%Y-%m-%d %H:%M:%S"), ago(time, now))
}

/// A table without lines, headed, as wide as the terminal or 80 columns.
pub(crate) fn table<const WIDTH: usize>(
    head: [&str; WIDTH],
    rows: impl IntoIterator<Item = [String; WIDTH]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(table.width().unwrap_or(COLUMNS).max(COLUMNS));
    table.set_header(head);
    for (column, name) in table.column_iter_mut().zip(head) {
        // An id that is broken over two lines cannot be copied.
        if name == "backup" {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    text.lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

/// Lines of `name  value`, the values under one another.
pub(crate) fn pairs<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<(&str, String)> = lines.into_iter().collect();
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    lines.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_human() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1_000, 1_349_999, 999_999_999, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.3 MB", "999.9 MB", "18.4 EB"]
        );
        assert_eq!(
            [5, 1_250, 124_000, 120_000, 11_100_000, 187_200_000].map(millis),
            ["5 ms", "1.2 s", "2 min 4 s", "2 min", "3 h 5 min", "2 d 4 h"]
        );
        assert_eq!(count(1, "row", "rows"), "1 row");
    }

    #[test]
    fn times_are_relative_as_well() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-11-23T11:59:48Z", now), "12 s ago");
        assert_eq!(ago("2026-11-23T15:00:00Z", now), "in 3 h");
        assert_eq!(ago("never", now), "never");
        assert!(time("2026-11-23T11:59:48Z", now).ends_with("(12 s ago)"));
    }

    #[test]
    fn tables_stay_within_80_columns() {
        let text = table(["table", "why not"], [["orders".to_owned(), "because ".repeat(30)]]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().count() > 3);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(clean("a\u{1b}[2Jb\r\u{85}c\u{202e}d\te\n"), "a[2Jbcd e\n");
    }
}

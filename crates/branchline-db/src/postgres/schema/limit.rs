//! What a column's declared length, precision or scale would do to a value that does not fit: PostgreSQL refuses
//! some and silently rounds, cuts or pads others. The latter are found here, before the value is sent.

use super::types::Resolved;

/// What a column does not hold unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// It holds, or refuses, all values of its type.
    None,
    /// Longer texts are cut where what is cut is spaces.
    Characters(usize),
    /// Shorter texts are padded as well.
    Padded(usize),
    /// Longer names are cut.
    Bytes(usize),
    /// Further digits after the point are rounded away; a negative scale rounds before it.
    Scale(i16),
    /// Further digits of a second are rounded away.
    Fraction(usize),
    /// Parts of an interval after these units (an index into [`UNITS`]), and further digits of a second, go away.
    Units(usize, usize),
}

/// The units of an interval in ISO 8601, each with whether it stands after the `T`.
const UNITS: [(char, bool); 6] =
    [('Y', false), ('M', false), ('D', false), ('H', true), ('M', true), ('S', true)];

impl Limit {
    pub(super) fn of(resolved: &Resolved) -> Self {
        let Some(name) = resolved.builtin.as_deref() else { return Self::None };
        if matches!(name, "name" | "_name") {
            return if name == "name" { Self::Bytes(63) } else { Self::None };
        }
        let Ok(modifier) = usize::try_from(resolved.modifier) else { return Self::None };
        match name.trim_start_matches('_') {
            "varchar" => Self::Characters(modifier.saturating_sub(4)),
            "bpchar" => Self::Padded(modifier.saturating_sub(4)),
            "numeric" => match element(&resolved.logical) {
                branchline_core::schema::LogicalType::Decimal(Some((_, scale))) => Self::Scale(*scale),
                _ => Self::None,
            },
            "time" | "timetz" | "timestamp" | "timestamptz" => Self::Fraction(modifier),
            "interval" => Self::Units(finest(modifier >> 16 & 0x7fff), (modifier & 0xffff).min(6)),
            _ => Self::None,
        }
    }

    /// Whether `text` would be stored as another value, and why.
    pub(crate) fn changes(self, text: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::Characters(max) => (text.len() > max && text.chars().count() > max)
                .then(|| format!("it has more than {max} characters")),
            Self::Padded(width) => {
                (text.chars().count() != width).then(|| format!("it does not have {width} characters"))
            }
            Self::Bytes(max) => (text.len() > max).then(|| format!("it has more than {max} bytes")),
            Self::Scale(scale) => {
                (digits_lost(text, scale)).then(|| format!("it has digits beyond a scale of {scale}"))
            }
            Self::Fraction(max) => {
                (fraction_digits(text) > max).then(|| format!("it has more than {max} digits after a second"))
            }
            Self::Units(unit, max) => (units_lost(text, unit) || fraction_digits(text) > max)
                .then(|| "it has parts that the column drops".to_owned()),
        }
    }
}

fn element(logical: &branchline_core::schema::LogicalType) -> &branchline_core::schema::LogicalType {
    match logical {
        branchline_core::schema::LogicalType::Array(element) => element,
        other => other,
    }
}

/// Whether rounding to `scale` would lose a digit that is not zero.
fn digits_lost(text: &str, scale: i16) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let Ok(kept) = usize::try_from(scale) else {
        let zeros = usize::from(scale.unsigned_abs());
        let start = whole.len().saturating_sub(zeros);
        let lost = whole.as_bytes().get(start..).unwrap_or_default().iter().chain(fraction.as_bytes());
        return lost.clone().any(|byte| (b'1'..=b'9').contains(byte));
    };
    fraction.len() > kept && fraction.as_bytes()[kept..].iter().any(|byte| *byte != b'0')
}

/// Digits after the point, however many zeros they end with: `time(0)` must not be given `.5`, `.50` is `.5`.
fn fraction_digits(text: &str) -> usize {
    let Some((_, after)) = text.split_once('.') else { return 0 };
    let digits = after.find(|c: char| !c.is_ascii_digit()).map_or(after, |end| &after[..end]);
    digits.trim_end_matches('0').len()
}

/// The finest unit that a column keeps, from the bits of its declaration (`interval year to month`).
fn finest(range: usize) -> usize {
    const YEAR: usize = 1 << 2;
    const MONTH: usize = 1 << 1;
    const DAY: usize = 1 << 3;
    const HOUR: usize = 1 << 10;
    const MINUTE: usize = 1 << 11;
    const SECOND: usize = 1 << 12;
    match range {
        range if range & SECOND != 0 => 5,
        range if range & MINUTE != 0 => 4,
        range if range & HOUR != 0 => 3,
        range if range & DAY != 0 => 2,
        range if range & MONTH != 0 => 1,
        range if range & YEAR != 0 => 0,
        _ => 5,
    }
}

fn units_lost(text: &str, finest: usize) -> bool {
    let mut after_t = false;
    text.chars().any(|letter| {
        after_t |= letter == 'T';
        UNITS[finest + 1..].contains(&(letter, after_t))
    }) && text != "PT0S"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_cut_padded_or_rounded_is_found() {
        for (limit, good, bad) in [
            (Limit::Characters(3), vec!["", "abc", "äöü"], vec!["abc ", "abcd"]),
            (Limit::Padded(3), vec!["abc", "a  "], vec!["a", "abcd"]),
            (Limit::Scale(2), vec!["1", "1.10", "1.100", "NaN", "-0.01"], vec!["1.105"]),
            (Limit::Scale(-2), vec!["1200", "0", "1200.0"], vec!["1250", "50", "-5"]),
            (Limit::Fraction(0), vec!["12:00:00", "2025-01-01T00:00:00Z"], vec!["12:00:00.5"]),
            (Limit::Fraction(3), vec!["12:00:00.125+02"], vec!["2025-01-01T00:00:00.1255Z"]),
            (Limit::Units(1, 6), vec!["P1Y2M", "PT0S", "P-3M"], vec!["P1D", "PT1M"]),
            (Limit::Units(4, 6), vec!["P1Y2M3DT4H5M"], vec!["PT1S"]),
            (Limit::Units(5, 0), vec!["PT1S"], vec!["PT1.5S"]),
        ] {
            for text in good {
                assert_eq!(limit.changes(text), None, "{limit:?} {text}");
            }
            for text in bad {
                assert!(limit.changes(text).is_some(), "{limit:?} {text}");
            }
        }
    }
}

//! Checks of the canonical texts in which values of textual types are carried.
//!
//! These decide whether a text from an engine without such a type (SQLite) may enter a column of the type. They
//! are strict where a lenient reader could change the value, and take both `T` and a space between date and
//! time, because SQLite's own functions write a space.

use std::borrow::Cow;

use crate::schema::LogicalType;

/// The canonical form of `text` as a value of `logical_type`, or nothing where it is not such a value.
#[must_use]
pub fn canonical<'a>(text: &'a str, logical_type: &LogicalType) -> Option<Cow<'a, str>> {
    use LogicalType as T;
    let as_is = |valid: bool| valid.then_some(Cow::Borrowed(text));
    match logical_type {
        T::Text | T::Any | T::Enumeration | T::Native(_) => Some(Cow::Borrowed(text)),
        T::Decimal(limit) => as_is(is_decimal(text, *limit)),
        T::Uuid => uuid(text),
        T::Date => as_is(is_infinity(text) || is_date(strip_era(text))),
        T::Time => as_is(is_time(text)),
        T::TimeWithZone => as_is(split_zone(text).is_some_and(|(time, _)| is_time(time))),
        T::Timestamp => timestamp(text, false),
        T::TimestampWithZone => timestamp(text, true),
        T::Interval => as_is(is_interval(text)),
        _ => None,
    }
}

fn is_infinity(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

fn strip_era(text: &str) -> &str {
    text.strip_suffix(" BC").unwrap_or(text)
}

/// Digits with an optional sign and point, within the precision and scale that a column declares.
fn is_decimal(text: &str, limit: Option<(u16, i16)>) -> bool {
    if text == "NaN" {
        return true;
    }
    if matches!(text, "Infinity" | "-Infinity") {
        return limit.is_none();
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || digits.ends_with('.') || !all_digits(whole) || !all_digits(fraction) {
        return false;
    }
    let Some((precision, scale)) = limit else { return true };
    let fraction = fraction.trim_end_matches('0').len();
    if scale < 0 {
        let zeros = usize::from(scale.unsigned_abs());
        let whole = whole.trim_start_matches('0');
        let trailing = whole.len() - whole.trim_end_matches('0').len();
        return fraction == 0
            && (whole.is_empty() || trailing >= zeros)
            && whole.len() <= usize::from(precision) + zeros;
    }
    let scale = usize::from(scale.unsigned_abs());
    let whole_max = usize::from(precision).saturating_sub(scale);
    fraction <= scale && whole.trim_start_matches('0').len() <= whole_max
}

/// Capitals are another spelling of the same value.
fn uuid(text: &str) -> Option<Cow<'_, str>> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let lower = text.to_ascii_lowercase();
        return is_uuid(&lower).then_some(Cow::Owned(lower));
    }
    is_uuid(text).then_some(Cow::Borrowed(text))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `YYYY-MM-DD`, with more digits for years past 9999; the calendar is the proleptic Gregorian one.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(year) = ((4..=7).contains(&year.len())).then(|| number(year, year.len())).flatten() else {
        return false;
    };
    let (Some(month), Some(day)) = (number(month, 2), number(day, 2)) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        // The leap years of the era before ours are counted otherwise; the database has the last word there.
        2 if leap || text.len() != 10 => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    year > 0 && (1..=days).contains(&day)
}

/// `HH:MM:SS`, with up to six digits of a second; `24:00:00` is the end of a day.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction_fits = (1..=6).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let mut parts = clock.splitn(3, ':').map(|part| number(part, 2));
    let (Some(Some(hour)), Some(Some(minute)), Some(Some(second))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    fraction_fits && ((hour < 24 && minute < 60 && second < 60) || clock == "24:00:00")
}

/// Splits `08:00:00+02:30` before its offset.
fn split_zone(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind(['+', '-'])?;
    let (time, zone) = text.split_at(at);
    let parts: Vec<&str> = zone[1..].split(':').collect();
    ((1..=3).contains(&parts.len()) && parts.iter().all(|part| number(part, 2).is_some()))
        .then_some((time, zone))
}

fn timestamp(text: &str, zoned: bool) -> Option<Cow<'_, str>> {
    if is_infinity(text) {
        return Some(Cow::Borrowed(text));
    }
    let body = strip_era(text);
    let body = match (zoned, body.strip_suffix('Z')) {
        (true, Some(body)) => body,
        (false, None) => body,
        _ => return None,
    };
    let at = body.find(['T', ' '])?;
    let (date, time) = (&body[..at], &body[at + 1..]);
    if !is_date(date) || !is_time(time) {
        return None;
    }
    let with_trailing_zeros = time.contains('.') && time.ends_with('0');
    if body.as_bytes()[at] == b'T' && !with_trailing_zeros {
        return Some(Cow::Borrowed(text));
    }
    let time = if with_trailing_zeros { time.trim_end_matches('0').trim_end_matches('.') } else { time };
    let zone = if zoned { "Z" } else { "" };
    let era = if text.ends_with(" BC") { " BC" } else { "" };
    Some(Cow::Owned(format!("{date}T{time}{zone}{era}")))
}

/// `P1Y2M3DT4H5M6.7S`: the units in order, each at most once, numbers perhaps negative.
fn is_interval(text: &str) -> bool {
    let Some(body) = text.strip_prefix('P') else { return false };
    let (days, clock) = body.split_once('T').unwrap_or((body, ""));
    if body.is_empty() || (body.contains('T') && clock.is_empty()) {
        return false;
    }
    has_units(days, "YMWD", false) && has_units(clock, "HMS", true)
}

fn has_units(mut text: &str, units: &str, fractions: bool) -> bool {
    let mut allowed = units;
    while !text.is_empty() {
        let Some(at) = text.find(|c: char| c.is_ascii_uppercase()) else { return false };
        let (quantity, unit) = (&text[..at], &text[at..=at]);
        let Some(place) = allowed.find(unit) else { return false };
        let digits = quantity.strip_prefix('-').unwrap_or(quantity);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || (digits.contains('.') && !(fractions && unit == "S")) {
            return false;
        }
        allowed = &allowed[place + 1..];
        text = &text[at + 1..];
    }
    true
}

#[cfg(test)]
mod tests;
